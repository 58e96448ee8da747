import { mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { RecordVersion, StoredRecord, Write } from "../../src/core/store.ts";

type Fs = typeof import("node:fs/promises");

/** Functions that the store calls instead of the file system's. Without one, it calls the file system. */
let faults: {
  open?: Fs["open"];
  mkdir?: (path: string) => Promise<void>;
  rm?: Fs["rm"];
  rename?: Fs["rename"];
  readdir?: (path: string) => Promise<string[]>;
  readFile?: (path: string, encoding: "utf8") => Promise<string>;
} = {};
/** The file system itself. */
const real = await vi.importActual<Fs>("node:fs/promises");

vi.mock("node:fs/promises", async (importOriginal) => {
  const fs = await importOriginal<Fs>();
  const open: Fs["open"] = (...args) => (faults.open ?? fs.open)(...args);
  const makeFolder = async (path: string, options: { recursive?: boolean; mode: number }) => {
    const made = await fs.mkdir(path, options);
    await faults.mkdir?.(path);
    return made;
  };
  const remove: Fs["rm"] = (...args) => (faults.rm ?? fs.rm)(...args);
  const readFile = (path: string, encoding: "utf8") => (faults.readFile ?? fs.readFile)(path, encoding);
  const list = (path: string, options: { recursive?: boolean } = {}) =>
    faults.readdir?.(path) ?? fs.readdir(path, options);
  const move: Fs["rename"] = (...args) => (faults.rename ?? fs.rename)(...args);
  return { ...fs, open, mkdir: makeFolder, rm: remove, readFile, readdir: list, rename: move };
});
const { fileStore } = await import("../../src/stores/file.ts");

const KEY = "0123456789abcdef".repeat(4);

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "file-store-"));
});
afterEach(async () => {
  faults = {};
  await rm(directory, { recursive: true });
});

function writeOf(a: string, expected: RecordVersion | null): Write {
  const fields = new Map([["=a", a]]);
  return { id: crypto.randomUUID(), record: { fields, lastSeenAt: 1000 }, changed: fields, expected, expiresAt: 2000 };
}

async function present(): Promise<StoredRecord> {
  const found = await fileStore({ directory }).load(KEY);
  if (found === null) throw new Error("There is no record");
  return found;
}

/** Blocks the first removal until it is released. */
function holdFirstRemoval(): { isHeld: Promise<void>; release: () => void } {
  let release = (): void => {};
  const isHeld = new Promise<void>((held) => {
    const released = new Promise<void>((resolve) => (release = resolve));
    let isFirst = true;
    faults.rm = async (...args) => {
      if (isFirst) {
        isFirst = false;
        held();
        await released;
      }
      await real.rm(...args);
    };
  });
  return { isHeld, release };
}

/** Counts the files that this process opens from now on and has not closed. */
function countOpenFiles({ isFull }: { isFull: boolean }): () => number {
  let count = 0;
  faults.open = async (...args) => {
    const file = await real.open(...args);
    count++;
    const [writeFile, close] = [file.writeFile.bind(file), file.close.bind(file)];
    file.writeFile = async (text) => {
      if (!isFull) return await writeFile(text);
      await writeFile(String(text).slice(0, 5));
      throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    };
    file.close = async () => {
      count--;
      await close();
    };
    return file;
  };
  return () => count;
}

test("fileStore() leaves no part of a session, and no open file, when the disk is full", async () => {
  const store = fileStore({ directory });
  const openFiles = countOpenFiles({ isFull: true });
  await expect(Promise.resolve(store.save(KEY, writeOf("1", null)))).rejects.toMatchObject({ code: "ENOSPC" });
  expect(await readdir(directory)).toEqual([]);
  faults = {};
  const version = await store.save(KEY, writeOf("1", null));
  const before = await readdir(directory, { recursive: true });
  const alsoOpen = countOpenFiles({ isFull: true });
  await expect(Promise.resolve(store.save(KEY, writeOf("2", version)))).rejects.toMatchObject({ code: "ENOSPC" });
  expect((await readdir(directory, { recursive: true })).toSorted()).toEqual(before.toSorted());
  expect((await present()).fields.get("=a")).toBe("1");
  expect([openFiles(), alsoOpen()]).toEqual([0, 0]);
});

test("fileStore() leaves no file open after a creation and a change", async () => {
  const openFiles = countOpenFiles({ isFull: false });
  const store = fileStore({ directory });
  const version = await store.save(KEY, writeOf("1", null));
  expect(await store.save(KEY, writeOf("2", version))).not.toBe("conflict");
  expect(openFiles()).toBe(0);
});

test("fileStore() has done a change also when the next one removes the old data before it does", async () => {
  const store = fileStore({ directory });
  const created = await store.save(KEY, writeOf("1", null));
  const { isHeld, release } = holdFirstRemoval();
  const first = store.save(KEY, writeOf("2", created));
  await isHeld;
  const second = await store.save(KEY, writeOf("3", (await present()).version));
  expect(second).not.toBe("conflict");
  release();
  expect(await first).not.toBe("conflict");
  expect((await present()).version).toBe(second);
  expect((await readdir(directory, { recursive: true })).length).toBe(3);
});

test("fileStore() has ended a session also when prune() removes what is left before it does", async () => {
  const store = fileStore({ directory });
  const version = await store.save(KEY, writeOf("1", null));
  const { isHeld, release } = holdFirstRemoval();
  if (version === "conflict") throw new Error("conflict");
  const ended = store.delete(KEY, version);
  await isHeld;
  expect(await fileStore({ directory }).prune?.(0)).toBe(0);
  release();
  expect(await ended).toBeUndefined();
  expect(await readdir(directory)).toEqual([]);
});

test("fileStore() finds the newer record when another process changes it between the name and the data", async () => {
  const store = fileStore({ directory });
  let expected = await store.save(KEY, writeOf("0", null));
  let changes = 0;
  faults.readFile = async (path, encoding) => {
    if (changes < 3) expected = await fileStore({ directory }).save(KEY, writeOf(`${++changes}`, expected));
    return await real.readFile(path, encoding);
  };
  const found = await store.load(KEY);
  expect(found?.fields.get("=a")).toBe("3");
  expect(found?.version).toBe(expected);
});

test("fileStore() says what can be relied on", () => {
  const traits = { consistency: "strong", compareAndSet: true, maxBytes: Infinity };
  expect(fileStore({ directory }).traits).toEqual(traits);
});

test("fileStore() ends a session that is changed in the middle of that, and none that is newer than was expected", async () => {
  for (const isExpected of [false, true]) {
    const store = fileStore({ directory });
    const version = await store.save(KEY, writeOf("1", null));
    if (version === "conflict") throw new Error("conflict");
    let isFirst = true;
    faults.rename = async (...args) => {
      if (isFirst) {
        isFirst = false;
        expect(await fileStore({ directory }).save(KEY, writeOf("2", version))).not.toBe("conflict");
      }
      await real.rename(...args);
    };
    expect(await store.delete(KEY, isExpected ? version : undefined)).toBe(isExpected ? "conflict" : undefined);
    expect((await store.load(KEY))?.fields.get("=a")).toBe(isExpected ? "2" : undefined);
    faults = {};
  }
});

test("fileStore() creates a session also when prune() takes its first folder for the remains of a crash", async () => {
  const store = fileStore({ directory });
  let times = 0;
  faults.mkdir = async (path) => {
    if (path.endsWith(".new") && times++ < 2) await fileStore({ directory }).prune?.(0);
  };
  await store.save(KEY, writeOf("1", null));
  expect(times).toBe(3);
  expect((await present()).fields.get("=a")).toBe("1");
  expect(await readdir(directory)).toEqual([KEY]);
});

test("prune() of fileStore() is done also when another one removes the same remains before it does", async () => {
  const version = String(await fileStore({ directory }).save(KEY, writeOf("1", null)));
  await rename(join(directory, KEY, version), join(directory, version));
  const { isHeld, release } = holdFirstRemoval();
  const first = fileStore({ directory }).prune?.(0);
  await isHeld;
  expect(await fileStore({ directory }).prune?.(0)).toBe(0);
  release();
  expect(await first).toBe(0);
  expect(await readdir(directory)).toEqual([]);
});

test("fileStore() finds a session whose folder has somebody else's file before its own", async () => {
  const store = fileStore({ directory });
  const version = await store.save(KEY, writeOf("1", null));
  await writeFile(join(directory, KEY, "!"), "");
  faults.readdir = async (path) => (await real.readdir(path)).toSorted();
  expect((await store.load(KEY))?.version).toBe(version);
});
