/**
 * Proves that acknowledged changes are on the disk. On a machine that allows the test to mount a file system, the device is copied right after each
 * answer, in the state in which a power failure would leave it, and the copy is read. On every machine, the test checks the order of the calls that
 * guarantees this. `file_power_loss.test.ts` simulates a power failure at every moment, on a disk in memory.
 */
import { execFile } from "node:child_process";
import { copyFile, mkdir, open as openFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { SessionManager, type SessionStore } from "../../mod.ts";
import { fileStore } from "../../src/stores/file.ts";
import { temporaryDirectory } from "../setup/sessions.ts";

const run = promisify(execFile);
const BYTES = 32 * 1024 * 1024;

/** Makes a file system in a file. During the test the kernel flushes nothing by itself. */
async function makeDevice(image: string): Promise<void> {
  const file = await openFile(image, "w");
  await file.truncate(BYTES);
  await file.close();
  await run("mkfs.ext4", ["-q", "-F", image]);
}

async function mount(image: string, folder: string): Promise<void> {
  await mkdir(folder);
  await run("mount", ["-o", "loop,commit=300", image, folder]);
}

async function unmount(folder: string): Promise<void> {
  await run("umount", [folder]);
}

/** Whether this machine allows the test to mount a file system: that needs root and loop devices. */
async function mayMount(): Promise<boolean> {
  const directory = await temporaryDirectory();
  const [image, folder] = [join(directory, "image"), join(directory, "mounted")];
  try {
    await makeDevice(image);
    await mount(image, folder);
    await unmount(folder);
    return true;
  } catch {
    return false;
  }
}

interface Data {
  n: number;
}

const SHOP = "https://shop.example/";

/** The steps of a program. Each one is acknowledged when it resolves. */
function steps(store: SessionStore): (() => Promise<void>)[] {
  const sessions = new SessionManager<Data>({ store });
  const visit = async (id: string, use: (session: ReturnType<typeof sessions.open>) => unknown): Promise<string> => {
    const session = id === "" ? sessions.start(new Request(SHOP)) : sessions.open(id);
    await use(session);
    await session.save();
    return String(await session.id());
  };
  let id = "";
  return [
    async () => void (id = await visit("", (session) => session.set("n", 1))),
    async () => void (await visit(id, (session) => session.update("n", (n = 0) => n + 1))),
    async () => void (await visit(id, (session) => session.touch())),
    async () => void (id = await visit(id, (session) => session.regenerate())),
    async () => void (await visit(id, (session) => session.set("n", 10))),
    async () => void (await visit(id, (session) => session.destroy())),
  ];
}

/** Every record of a store whose keys are the names of folders, with its fields and its time. */
async function contentsOf(store: SessionStore, keys: readonly string[]): Promise<unknown[]> {
  return await Promise.all(
    keys.map(async (key) => {
      const record = await store.load(key);
      return record === null ? null : [[...record.fields], record.lastSeenAt];
    }),
  );
}

/** The same store, with a list of the keys that were used. */
function noted(store: SessionStore): { readonly store: SessionStore; readonly keys: string[] } {
  const keys: string[] = [];
  const note = (key: string): void => void (keys.includes(key) || keys.push(key));
  return {
    keys,
    store: {
      ...store,
      save: (key, write) => {
        note(key);
        return store.save(key, write);
      },
    },
  };
}

describe("fileStore()", () => {
  test("has on the device whatever it has acknowledged, or calls in an order that makes it so", async () => {
    if (!(await mayMount())) return await inOrder();
    const directory = await temporaryDirectory();
    const [image, folder] = [join(directory, "image"), join(directory, "mounted")];
    await makeDevice(image);
    await mount(image, folder);
    // The folder of the test is removed afterwards, and must not be a mounted one then.
    onTestFinished(() => unmount(folder));
    const { store, keys } = noted(fileStore({ directory: join(folder, "sessions") }));
    for (const [at, step] of steps(store).entries()) {
      await step();
      const [copy, copied] = [join(directory, `copy ${at}`), join(directory, `copied ${at}`)];
      await copyFile(image, copy);
      const acknowledged = await contentsOf(store, keys);
      await mount(copy, copied);
      try {
        expect(await contentsOf(fileStore({ directory: join(copied, "sessions") }), keys), `step ${at}`).toEqual(
          acknowledged,
        );
      } finally {
        await unmount(copied);
      }
    }
    expect(keys).toHaveLength(2);
  });

  test("writes data to the disk before it renames, and the names before it answers", inOrder);
});

/**
 * Checks the calls of each step. Before a rename, its files and the folders in it must be synced; after it, the folder of the new name.
 */
async function inOrder(): Promise<void> {
  const calls: string[] = [];
  vi.resetModules();
  vi.doMock("node:fs/promises", async (load) => {
    const fs = await load<typeof import("node:fs/promises")>();
    return {
      ...fs,
      open: async (...args: Parameters<typeof fs.open>) => {
        const file = await fs.open(...args);
        const [path, flags] = args;
        if (flags === "wx") calls.push(`write file ${String(path)}`);
        const sync = file.sync.bind(file);
        file.sync = async () => {
          await sync();
          calls.push(`${flags === "r" ? "sync folder" : "sync file"} ${String(path)}`);
        };
        return file;
      },
      rename: async (from: string, to: string) => {
        await fs.rename(from, to);
        calls.push(`rename ${from} ${to}`);
      },
    };
  });
  try {
    const { fileStore: watched } = await import("../../src/stores/file.ts");
    const directory = await temporaryDirectory();
    let renames = 0;
    let writes = 0;
    for (const step of steps(watched({ directory }))) {
      calls.length = 0;
      await step();
      for (const [at, call] of calls.entries()) {
        const [, from = "", to = ""] = /^rename (\S+) (\S+)$/.exec(call) ?? [];
        if (from === "") continue;
        renames++;
        // Files under the old name and their folder entries are on the disk before the rename.
        const before = calls.slice(0, at);
        for (const written of before.filter((each) => each.startsWith(`write file ${from}`))) {
          expect(before).toContain(written.replace("write", "sync"));
          expect(before).toContain(`sync folder ${parentOf(written.replace("write file ", ""))}`);
          writes++;
        }
        // After the rename, the folder with the new name is synced before the answer. For a removal, it is the folder
        // with the old name.
        const isTakenOut = parentOf(to) === directory && parentOf(from) !== directory;
        expect(calls.slice(at)).toContain(`sync folder ${parentOf(isTakenOut ? from : to)}`);
      }
    }
    // Two creations, one update, a touch, a retirement, a change and a deletion.
    expect(renames).toBeGreaterThanOrEqual(7);
    // All except the touch and the deletion.
    expect(writes).toBeGreaterThanOrEqual(5);
  } finally {
    vi.doUnmock("node:fs/promises");
    vi.resetModules();
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
