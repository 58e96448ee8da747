import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { isMainThread } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordVersion, SessionStore, StoredRecord } from "../../src/core/store.ts";
import { fileStore } from "../../src/stores/file.ts";
import { removeIfEmpty } from "../../src/stores/file/folders.ts";
import { storeCases } from "../../src/testing.ts";

const run = promisify(execFile);
const worker = join(import.meta.dirname, "file.worker.ts");
const KEY = "0123456789abcdef".repeat(4);
const OTHER = "fedcba9876543210".repeat(4);

let root: string;
let directory: string;
let store: SessionStore;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "file-store-"));
  directory = join(root, "deep", "sessions");
  store = fileStore({ directory });
});

afterEach(() => rm(root, { recursive: true }));

describe("fileStore()", () => {
  for (const { name, run: runCase } of storeCases()) {
    it(name, async () => {
      await runCase(() => ({
        store,
        neighbour: fileStore({ directory: join(root, "neighbour") }),
        spoil: async (key) => {
          const [data = ""] = await filesOf(key);
          await writeFile(join(directory, key, data), "somebody else's");
        },
        // Puts a file in the place of the folder.
        fail: async () => {
          await rename(directory, join(root, "away"));
          await writeFile(directory, "");
        },
      }));
    });
  }

  for (const { name, run: runCase } of storeCases()) {
    it(`with durability "process": ${name}`, () => runCase(() => fileStore({ directory, durability: "process" })));
  }

  it("keeps everything when a case is over: names of sessions only, and one file in each", async () => {
    for (const { run: runCase } of storeCases()) await runCase(() => store);
    const keys = await readdir(directory);
    expect(keys.filter((key) => !/^[0-9a-f]{64}$/.test(key))).toEqual([]);
    for (const key of keys) expect(await filesOf(key)).toHaveLength(1);
  });

  it("lets nobody else in when it creates folders and files", async () => {
    await create(KEY);
    await change(KEY, await present(KEY), { a: "2" });
    await touch(KEY, await present(KEY));
    const [head = ""] = await readdir(join(directory, KEY));
    const [data = ""] = await readdir(join(directory, KEY, head));
    const modes = [directory, join(directory, KEY), join(directory, KEY, head), join(directory, KEY, head, data)];
    expect(await Promise.all(modes.map(modeOf))).toEqual(["700", "700", "700", "600"]);
  });

  // A worker thread, as `npm run mutation` uses, cannot change the working directory.
  it.runIf(isMainThread)(
    "stays in its folder when the program changes the working directory, as a daemon does",
    async () => {
      const before = process.cwd();
      try {
        process.chdir(root);
        store = fileStore({ directory: "./relative" });
        await create(KEY);
        process.chdir(tmpdir());
        expect(await store.load(KEY)).not.toBeNull();
        await store.delete(KEY);
        process.chdir(root);
        expect(await store.load(KEY)).toBeNull();
      } finally {
        process.chdir(before);
      }
    },
  );

  it("finds what another store on the same folder wrote, when a process starts anew", async () => {
    await create(KEY, { a: "1" });
    const again = fileStore({ directory });
    expect([...((await again.load(KEY))?.fields ?? [])]).toEqual([["a", "1"]]);
  });

  it("leaves the data file alone when it touches", async () => {
    await create(KEY);
    const before = await filesOf(KEY);
    const { ino, mtimeMs } = await stat(join(directory, KEY, before[0] ?? ""));
    await touch(KEY, await present(KEY));
    const after = await filesOf(KEY);
    const touched = await stat(join(directory, KEY, after[0] ?? ""));
    expect([touched.ino, touched.mtimeMs]).toEqual([ino, mtimeMs]);
    expect(after).not.toEqual(before);
  });

  it("rejects when a key is not 64 lowercase hexadecimal digits", async () => {
    const { fields } = await present(await create(KEY));
    const write = { id: "", record: { fields, lastSeenAt: 0 }, changed: fields, expiresAt: 1 };
    for (const key of ["", "..", "../escape", KEY.toUpperCase(), `${KEY}0`, `${KEY}\n`, KEY.slice(1)]) {
      const calls = [
        () => store.load(key),
        () => store.save(key, { ...write, expected: null }),
        () => store.save(key, { ...write, expected: 1 }),
        () => store.save(key, { ...write, changed: new Map(), expected: 1 }),
        () => store.delete(key),
      ];
      for (const call of calls) await expect((async () => await call())()).rejects.toThrow(TypeError);
    }
  });

  it("answers conflict and touches nothing when a version is not one of its own", async () => {
    await create(KEY, { a: "1" });
    const before = await present(KEY);
    const outside = `0123456789abcdef_0_1_1/../../${KEY}`;
    for (const version of ["", ".", "..", `../${KEY}`, "x/y", 7, outside]) {
      expect(await change(KEY, { ...before, version }, { a: "2" })).toBe("conflict");
      expect(await touch(KEY, { ...before, version })).toBe("conflict");
      expect(await store.delete(KEY, version)).toBe("conflict");
    }
    await isUnchanged(before);
  });

  it("throws when directory is not a path, durability is unknown, or an option is", () => {
    expect(() => fileStore({ directory: "" })).toThrow(
      new TypeError("fileStore: directory must be the path of a folder"),
    );
    // @ts-expect-error The folder is missing.
    expect(() => fileStore()).toThrow(TypeError);
    // @ts-expect-error The folder is missing.
    expect(() => fileStore({})).toThrow("directory must be the path of a folder");
    // @ts-expect-error There is no such durability.
    expect(() => fileStore({ directory, durability: "never" })).toThrow('"power-loss" or "process"');
    // @ts-expect-error There is no such option.
    expect(() => fileStore({ directory, path: "x" })).toThrow(TypeError);
  });

  it("knows a missing file by its code when the error is of another realm, as under jest", async () => {
    // In another context, the errors of the file system are not instances of that context's Error.
    const script = `
      const { runInContext, createContext } = require("node:vm");
      const foreign = createContext({});
      const ForeignError = runInContext("Error", foreign);
      Object.defineProperty(Error, Symbol.hasInstance, { value: (error) => Object.getPrototypeOf(error) === ForeignError.prototype });
      import(${JSON.stringify(new URL("../../src/stores/file.ts", import.meta.url).href)}).then(async ({ fileStore }) => {
        const store = fileStore({ directory: ${JSON.stringify(directory)} });
        const error = await require("node:fs/promises").stat("/missing").catch((reason) => reason);
        console.log(error instanceof Error, await store.load("${KEY}"));
      });
    `;
    const { stdout } = await run(process.execPath, ["-e", script]);
    expect(stdout).toBe("false null\n");
  });

  it("rejects, and keeps what was stored, when a file cannot be written wholly", async () => {
    await create(KEY, { a: "1" });
    const before = await present(KEY);
    // A limit on the size of files simulates a full disk: the first part can be written, the rest cannot.
    const limited = ["-c", 'ulimit -f 16; exec "$0" "$@"', process.execPath, worker, "overflow", directory, KEY];
    const { stdout } = await run("sh", limited);
    expect(stdout).toBe("EFBIG");
    await isUnchanged(before);
    expect(await filesOf(KEY)).toHaveLength(1);
  });
});

describe("fileStore() among processes", () => {
  it("rejects, and leaves nothing of a new session, when a file is in the place of its folder", async () => {
    await create(OTHER);
    await writeFile(join(directory, KEY), "somebody else's");
    await expect(create(KEY)).rejects.toMatchObject({ code: "ENOTDIR" });
    expect((await readdir(directory)).toSorted()).toEqual([KEY, OTHER].toSorted());
    await expect(removeIfEmpty(join(directory, KEY))).rejects.toMatchObject({ code: "ENOTDIR" });
    expect(await readFile(join(directory, KEY), "utf8")).toBe("somebody else's");
  });

  it("counts every increment when four processes count in one session", async () => {
    await create(KEY, { count: "0" });
    await Promise.all([1, 2, 3, 4].map(() => run(process.execPath, [worker, "increment", directory, KEY, "250"])));
    const { fields } = await present(KEY);
    expect(fields.get("count")).toBe("1000");
    expect([...fields.values()].sort()).toEqual(["1000", "250", "250", "250", "250"]);
    expect(await filesOf(KEY)).toHaveLength(1);
  });

  it("brings no session back when processes change what another one deletes", async () => {
    const keys = Array.from({ length: 20 }, (_, i) => i.toString(16).padStart(64, "0"));
    for (const key of keys) await create(key, { count: "0" });
    const hammers = [1, 2].map(() => run(process.execPath, [worker, "hammer", directory, ...keys]));
    for (const key of keys) {
      // Deletes while the other processes are writing this session, not before.
      while (Number((await present(key)).fields.get("count")) < 10);
      await store.delete(key);
    }
    await Promise.all(hammers);
    expect(await readdir(directory)).toEqual([]);
  });

  it("leaves a whole record when a process is killed in the middle of writing", async () => {
    await create(KEY, { one: "", two: "" });
    for (let round = 0; round < 5; round++) {
      const child = spawn(process.execPath, [worker, "rewrite", directory, KEY], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await once(child.stdout, "data");
      child.kill("SIGKILL");
      await once(child, "exit");
      const { fields } = await present(KEY);
      expect(fields.get("one")).toBe(fields.get("two")?.repeat(100_000));
    }
    await change(KEY, await present(KEY), { one: "", two: "" });
    expect(await filesOf(KEY)).toHaveLength(1);
  });

  it("lets exactly one win when a change and a deletion start from one version", async () => {
    const other = fileStore({ directory });
    for (let round = 0; round < 100; round++) {
      const before = await present(await create(KEY));
      const [deleted, changed] = await Promise.all(
        round % 2 === 0
          ? [other.delete(KEY, before.version), change(KEY, before, { a: "2" })]
          : [change(KEY, before, { a: "2" }), other.delete(KEY, before.version)].reverse(),
      );
      const after = await store.load(KEY);
      if (deleted === "conflict") expect(after?.version).toBe(changed);
      else expect([changed, after]).toEqual(["conflict", null]);
      await store.delete(KEY);
    }
  });
});

describe("fileStore() after a crash", () => {
  it("sees no session, and prunes what is left, when a creation was interrupted", async () => {
    await create(KEY, {}, 1000, 2000);
    const [head = ""] = await readdir(join(directory, KEY));
    const [data = ""] = await readdir(join(directory, KEY, head));
    await rename(join(directory, KEY), join(directory, `${data}.new`));
    await mkdir(join(directory, "0000000000000000.new"));
    await mkdir(join(directory, "1111111111111111.new", head), { recursive: true });
    await writeFile(join(directory, "1111111111111111.new", head, data), "[1000,{");
    expect(await store.load(KEY)).toBeNull();

    // Another process may be about to finish a creation that has not expired.
    expect(await store.prune?.(2000)).toBe(0);
    expect(await readdir(directory)).toHaveLength(2);
    expect(await store.prune?.(2001)).toBe(0);
    expect(await readdir(directory)).toEqual([]);
  });

  it("finds the older record when a change was interrupted before its rename", async () => {
    await create(KEY, { a: "1" });
    const before = await present(KEY);
    await writeFile(join(directory, KEY, String(before.version), "2222222222222222"), '[1000,{"a":');
    await isUnchanged(before);

    expect(await change(KEY, before, { a: "2" })).not.toBe("conflict");
    expect(await filesOf(KEY)).toHaveLength(1);
    expect([...(await present(KEY)).fields]).toEqual([["a", "2"]]);
  });

  it("finds the newer record when a change was interrupted after its rename", async () => {
    await create(KEY, { a: "1" });
    const [old = ""] = await filesOf(KEY);
    const text = await readFile(join(directory, KEY, old), "utf8");
    await change(KEY, await present(KEY), { a: "2" });
    const after = await present(KEY);
    await writeFile(join(directory, KEY, String(after.version), old.split("/")[1] ?? ""), text);
    await isUnchanged(after);

    await change(KEY, after, { a: "3" });
    expect(await filesOf(KEY)).toHaveLength(1);
  });

  it("sees no session, and prunes what is left, when a deletion was interrupted before its removal", async () => {
    await create(KEY);
    const before = await present(KEY);
    await rename(join(directory, KEY, String(before.version)), join(directory, String(before.version)));
    await isMissing(before);
    await store.delete(KEY);
    expect(await readdir(directory)).toEqual([String(before.version)]);
    expect(await store.prune?.(0)).toBe(0);
    expect(await readdir(directory)).toEqual([]);
  });

  it("sees no session, and creates or prunes, when a deletion was interrupted before its end", async () => {
    const before = await present(await create(OTHER));
    await mkdir(join(directory, KEY));
    await isMissing(before);
    await create(KEY, { a: "new" });
    expect((await present(KEY)).fields.get("a")).toBe("new");

    await store.delete(KEY);
    await mkdir(join(directory, KEY));
    expect(await store.prune?.(0)).toBe(0);
    expect(await readdir(directory)).toEqual([OTHER]);
  });

  it("finds a record without fields when its data are lost or not its own", async () => {
    await create(KEY);
    const [data = ""] = await filesOf(KEY);
    for (const text of ["", "[", "null", "{}"]) {
      await writeFile(join(directory, KEY, data), text);
      const { fields, lastSeenAt } = await present(KEY);
      expect([fields.size, lastSeenAt]).toEqual([0, 0]);
    }
    await rm(join(directory, KEY, data));
    const lost = await present(KEY);
    expect(lost.fields.size).toBe(0);
    expect(await store.delete(KEY, lost.version)).toBeUndefined();
    expect(await readdir(directory)).toEqual([]);
  });
});

describe("fileStore().prune()", () => {
  it("answers 0 when there is no folder yet", async () => {
    expect(await store.prune?.(1)).toBe(0);
  });

  it("leaves what is not its own when it lies in the folder", async () => {
    await create(KEY, {}, 0, 1);
    await writeFile(join(directory, ".gitignore"), "*\n");
    await mkdir(join(directory, "notes"));
    expect(await store.prune?.(2)).toBe(1);
    expect((await readdir(directory)).sort()).toEqual([".gitignore", "notes"]);
  });

  it("counts each record once when two processes prune at once", async () => {
    for (let i = 0; i < 50; i++) await create(i.toString(16).padStart(64, "0"), {}, 0, 1);
    const counts = await Promise.all([store.prune?.(2), fileStore({ directory }).prune?.(2)]);
    expect((counts[0] ?? 0) + (counts[1] ?? 0)).toBe(50);
    expect(await readdir(directory)).toEqual([]);
  });
});

async function create(
  key: string,
  fields: Record<string, string> = { a: "1" },
  lastSeenAt: number = Date.now(),
  expiresAt: number = lastSeenAt + 3_600_000,
): Promise<string> {
  const record = { fields: new Map(Object.entries(fields)), lastSeenAt };
  const write = { id: crypto.randomUUID(), record, changed: record.fields, expected: null, expiresAt };
  expect(await store.save(key, write)).not.toBe("conflict");
  return key;
}

async function change(
  key: string,
  found: StoredRecord,
  fields: Record<string, string>,
): Promise<RecordVersion | "conflict"> {
  const changed = new Map(Object.entries(fields));
  const record = { fields: new Map([...found.fields, ...changed]), lastSeenAt: found.lastSeenAt };
  const expiresAt = found.lastSeenAt + 3_600_000;
  return await store.save(key, { id: crypto.randomUUID(), record, changed, expected: found.version, expiresAt });
}

async function touch(key: string, found: StoredRecord): Promise<RecordVersion | "conflict"> {
  return await change(key, { ...found, lastSeenAt: found.lastSeenAt + 1 }, {});
}

async function present(key: string): Promise<StoredRecord> {
  const found = await store.load(key);
  if (found === null) throw new Error("The session is gone");
  return found;
}

async function isUnchanged(before: StoredRecord): Promise<void> {
  const { fields, lastSeenAt, version } = await present(KEY);
  expect([[...fields], lastSeenAt, version]).toEqual([[...before.fields], before.lastSeenAt, before.version]);
}

async function isMissing(before: StoredRecord): Promise<void> {
  expect(await store.load(KEY)).toBeNull();
  expect(await change(KEY, before, { a: "2" })).toBe("conflict");
  expect(await touch(KEY, before)).toBe("conflict");
  expect(await store.load(KEY)).toBeNull();
}

/** The files of one session, as `<head>/<data>`. */
async function filesOf(key: string): Promise<string[]> {
  const entries = await readdir(join(directory, key), { recursive: true });
  return entries.filter((entry) => entry.includes("/"));
}

async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8);
}
