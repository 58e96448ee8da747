import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { RecordVersion, SessionStore, Write } from "../../src/core/store.ts";
import { fileStore } from "../../src/stores/file.ts";
import { failedWith, parentsOf, removeIfEmpty } from "../../src/stores/file/folders.ts";
import { parseHead } from "../../src/stores/file/head.ts";

const KEY = "0123456789abcdef".repeat(4);

let directory: string;
let store: SessionStore;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "file-store-"));
  store = fileStore({ directory, durability: "process" });
});
afterEach(() => rm(directory, { recursive: true }));

function writeOf(a: string, expected: RecordVersion | null, lastSeenAt: number, changed = true): Write {
  const fields = new Map([["=a", a]]);
  const record = { fields, lastSeenAt };
  return { id: crypto.randomUUID(), record, changed: changed ? fields : new Map(), expected, expiresAt: 1e12 };
}

test("fileStore() keeps a session through any number of touches, also one that began at the first instant", async () => {
  let version = await store.save(KEY, writeOf("1", null, 0));
  for (let instant = 1; instant <= 101; instant++) {
    version = await store.save(KEY, writeOf("1", version, instant, false));
    const found = await store.load(KEY);
    expect([found?.lastSeenAt, found?.version, found?.fields.get("=a")]).toEqual([instant, version, "1"]);
  }
});

test("prune() of fileStore() leaves files and folders whose names only resemble its own", async () => {
  const head = "0123456789abcdef_0_1_2";
  const names = [`x${head}`, `${head}_3`, "x0123456789abcdef.new", "0123456789abcdef.newer", `${KEY}0`, `x${KEY}`];
  for (const name of names) await mkdir(join(directory, name));
  for (const name of names) await writeFile(join(directory, `${name}~`), "somebody else's");
  const before = (await readdir(directory)).toSorted();
  expect(await store.prune?.(1e15)).toBe(0);
  expect((await readdir(directory)).toSorted()).toEqual(before);
});

test("a version is the whole name of a head", () => {
  const name = "0123456789abcdef_12_1.5_Infinity";
  expect(parseHead(name)).toEqual({
    name,
    data: "0123456789abcdef",
    touches: 12,
    lastSeenAt: 1.5,
    expiresAt: Infinity,
  });
  for (const other of [`x${name}`, `${name}_3`, `${name}/..`, `../${name}`, "", "0123456789abcdef_12_1.5"])
    expect(parseHead(other)).toBeNull();
});

describe("the folders of fileStore()", () => {
  test("have new names in them from the parent of the first that was created downwards", () => {
    expect(parentsOf("/a/b/c", "/a/b")).toEqual(["/a/b", "/a"]);
    expect(parentsOf("/a/b/c", "/a/b/c")).toEqual(["/a/b"]);
    // Another process has created the folders, so the last name may not be on the disk yet.
    expect(parentsOf("/a/b/c", undefined)).toEqual(["/a/b"]);
    expect(parentsOf("/a", "/a")).toEqual(["/"]);
    expect(parentsOf("/a/b", "/elsewhere")).toEqual(["/a", "/"]);
    expect(parentsOf("/", undefined)).toEqual([]);
  });

  test("are removed only if they are empty, and need not be there", async () => {
    const folder = join(directory, "folder");
    await mkdir(folder);
    await writeFile(join(folder, "file"), "");
    await removeIfEmpty(folder);
    expect(await readdir(folder)).toEqual(["file"]);
    await rm(join(folder, "file"));
    await removeIfEmpty(folder);
    await removeIfEmpty(folder);
    expect(await readdir(directory)).toEqual([]);
  });

  test("fail with what was thrown, whatever it is", () => {
    for (const thrown of [undefined, null, "ENOENT", 1, {}, { code: "EACCES" }, new Error("ENOENT")])
      expect(failedWith(thrown, "ENOENT", "undefined")).toBe(false);
    expect(failedWith({ code: "ENOENT" }, "EEXIST", "ENOENT")).toBe(true);
  });
});
