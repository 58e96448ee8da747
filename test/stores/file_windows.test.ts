/** The file store with the rules of Windows. */
import { mkdir, mkdtemp, open, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isBusy, isLocked } from "../../src/core/errors.ts";
import type { RecordVersion, SessionStore } from "../../src/core/store.ts";
import { fileStore } from "../../src/stores/file.ts";
import { isInUse } from "../../src/stores/file/folders.ts";
import { storeCases } from "../../src/testing.ts";

// The store and this test call these functions.
vi.mock("node:fs/promises", async (importOriginal) => {
  const fs = await importOriginal<typeof import("node:fs/promises")>();
  const { windowsFs } = await import("./windows_fs.ts");
  return { ...fs, ...windowsFs(fs) };
});

const KEY = "0123456789abcdef".repeat(4);

let directory: string;
let store: SessionStore;
beforeEach(async () => {
  vi.spyOn(process, "platform", "get").mockReturnValue("win32");
  directory = await mkdtemp(join(tmpdir(), "file-windows-"));
  store = fileStore({ directory });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(directory, { recursive: true });
});

const fields = new Map([["=a", "1"]]);
const save = async (expected: RecordVersion | null): Promise<RecordVersion> =>
  await store.save(KEY, {
    id: crypto.randomUUID(),
    record: { fields, lastSeenAt: 1000 },
    changed: fields,
    expected,
    expiresAt: 2000,
  });

describe("the file system of Windows", () => {
  it("flushes no folder", async () => {
    const folder = await open(directory, "r");
    await expect(folder.sync()).rejects.toMatchObject({ code: "EPERM", syscall: "fsync" });
    await folder.close();
  });

  it("renames no folder to a name that exists, or while a file in it is open", async () => {
    const [a, b, c] = ["a", "b", "c"].map((name) => join(directory, name)) as [string, string, string];
    await mkdir(a);
    await mkdir(b);
    await expect(rename(a, b)).rejects.toMatchObject({ code: "EPERM", syscall: "rename" });
    const file = await open(`${a}/file`, "wx");
    await expect(rename(a, c)).rejects.toMatchObject({ code: "EPERM", syscall: "rename" });
    await file.close();
    await rename(a, c);
    expect(await readdir(c)).toEqual(["file"]);
  });
});

describe.each(["power-loss", "process"] as const)('fileStore({ durability: "%s" }) on Windows', (durability) => {
  for (const { name, run } of storeCases()) it(name, () => run(() => fileStore({ directory, durability })));
});

describe("fileStore() on Windows", () => {
  it("takes each of the codes for a file that is in use, and no other one", () => {
    const errors = ["EPERM", "EACCES", "EBUSY", "ENOENT"].map((code) => Object.assign(new Error(code), { code }));
    expect(errors.map(isInUse)).toEqual([true, true, true, false]);
  });

  it("lets the core try again while somebody reads the file of a session", async () => {
    const version = await save(null);
    const [file = ""] = await readdir(join(directory, KEY, String(version)));
    const reader = await open(join(directory, KEY, String(version), file), "r");
    for (const refused of [() => save(version), async () => await store.delete(KEY)]) {
      const error: unknown = await refused().catch((error: unknown) => error);
      expect([isBusy(error), isLocked(error)]).toEqual([true, true]);
      expect(error).toMatchObject({ code: "EPERM" });
    }
    await reader.close();
    expect(await save(version)).not.toBe("conflict");
  });

  it("creates a session whose folder is there and empty, as after a crash during its end", async () => {
    await mkdir(join(directory, KEY));
    const error: unknown = await save(null).catch((error: unknown) => error);
    expect(isLocked(error)).toBe(true);
    expect(await save(null)).not.toBe("conflict");
  });
});

it("fileStore() elsewhere reports a folder that it may not rename, and does not ask for another attempt", async () => {
  vi.spyOn(process, "platform", "get").mockReturnValue("linux");
  await mkdir(join(directory, KEY));
  const error: unknown = await save(null).catch((error: unknown) => error);
  expect(error).toMatchObject({ code: "EPERM" });
  expect(isBusy(error)).toBe(false);
});
