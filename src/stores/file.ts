/**
 * Sessions in a folder, for Node, Deno and Bun. They outlive the process, and any number of processes on one machine can share them.
 * There are no locks, so nothing can stay locked after a crash.
 *
 * A session is a small folder named by its key. It holds one folder, the *head*, whose name is the version. The head
 * holds one file, the data. **rename(2) of the head is the compare-and-set**: if several writers rename one version,
 * exactly one of them succeeds. Names have a random part and are never used twice, so a late writer cannot succeed
 * either.
 *
 * ```text
 * <directory>/<key>/<data>_<touches>_<lastSeenAt>_<expiresAt>/<data>
 * ```
 *
 * - A creation builds the folder under another name and renames it to `<key>`, which fails if that folder exists.
 * - A change writes a new data file beside the old one, then renames the head so that it names the new file.
 * - A touch renames the head. The data stay as they are.
 * - A deletion renames the head out of the folder, and then removes it. From then on, a write with its version fails.
 *
 * If a step is interrupted at any point, it leaves a whole record, either the older or the newer one. The next change
 * or `prune` removes all other remains of a crash. A rename is acknowledged when its folder is on the disk; until then
 * the older data stay.
 *
 * @module
 */
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { assertKnown } from "../core/known_options.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import type { RecordVersion, SessionStore, StoredRecord, Write } from "../core/store.ts";
import {
  failedWith,
  isInUse,
  makeFolder,
  parentsOf,
  removeIfEmpty,
  renamed,
  syncFolder,
  unlessInUse,
  unlessMissing,
} from "./file/folders.ts";
import { findHead, type Head, headName, parseHead } from "./file/head.ts";

/** Options of {@linkcode fileStore}. */
export interface FileStoreOptions {
  /**
   * The folder for the sessions, and for nothing else. It is created if it is missing. A relative path begins at the
   * working directory at the time of the call.
   */
  readonly directory: string;
  /**
   * The failures that an acknowledged write survives.
   *
   * - `"power-loss"`, the default: a crash of the process or of the machine. Each write waits for the disk twice, a touch and a deletion once.
   *   On Windows, a crash of the machine can undo the last writes.
   * - `"process"`: a crash of the process. Nothing waits for the disk. After a power failure, the sessions of the last seconds may be in an
   *   older state, ended sessions may be back, and damaged ones count as ended.
   */
  readonly durability?: "power-loss" | "process" | undefined;
}

/**
 * Keeps sessions in a folder.
 *
 * ## Setup
 * None. The folder is created at the first write, with modes that give access to this user only (0700, files 0600).
 * Windows ignores these modes: there the folder inherits its access list.
 *
 * ## How expiry behaves
 * Files do not expire by themselves: call `prune()` of the manager now and then. It reads names, not data.
 *
 * ## Key format
 * One folder a session, named by its key, 64 lowercase hexadecimal digits.
 *
 * ## Consistency
 * Strong, with compare-and-set, among all processes of one machine. An acknowledged write survives a power failure,
 * unless `durability` says otherwise.
 *
 * ## Limits
 * A local POSIX file system. Nothing is promised on a network file system, where renames may be seen late or run twice.
 * Windows cannot flush folders: there a power failure can undo the last writes. A small session takes about 12 KiB on
 * disk.
 *
 * @param options The folder, and the failures that a write survives
 * @returns The store
 * @throws {TypeError} If `directory` is not a path, `durability` is not one of the two, or an option is unknown
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { fileStore } from "with-session/stores/file";
 *
 * export default {
 *   fetch: withSession(
 *     async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *     { store: fileStore({ directory: "./sessions" }) },
 *   ),
 * };
 * ```
 */
export function fileStore(options: FileStoreOptions): SessionStore {
  assertKnown(options, ["directory", "durability"], "fileStore");
  const { directory: path, durability = "power-loss" } = options;
  if (typeof path !== "string" || path === "") {
    throw new TypeError("fileStore: directory must be the path of a folder");
  }
  if (durability !== "power-loss" && durability !== "process") {
    throw new TypeError('fileStore: durability must be "power-loss" or "process"');
  }
  // A program may change its working directory later.
  const directory = resolve(path);
  const isDurable = durability === "power-loss";

  const folderOf = (key: string): string => {
    if (!KEY.test(key)) throw new TypeError("fileStore: a key is 64 lowercase hexadecimal digits");
    return `${directory}/${key}`;
  };

  async function sync(...folders: string[]): Promise<void> {
    if (isDurable) await Promise.all(folders.map((folder) => unlessMissing(syncFolder(folder))));
  }

  /**
   * Writes a file, and waits until it and its folders are on the disk: a head must not name data that a power failure
   * can remove.
   */
  async function writeData(path: string, text: string, folders: readonly string[]): Promise<void> {
    const file = await open(path, "wx", 0o600);
    try {
      await file.writeFile(text);
      if (isDurable) await Promise.all([file.sync(), ...folders.map(syncFolder)]);
    } catch (error) {
      // On a full disk, a part of the data may have been written.
      await rm(path, { force: true });
      throw error;
    } finally {
      await file.close();
    }
  }

  async function makeFirstFolder(path: string): Promise<void> {
    if ((await unlessMissing(makeFolder(path))) !== null) return;
    const first = await mkdir(directory, { recursive: true, mode: 0o700 });
    await sync(...parentsOf(directory, first));
    await makeFolder(path);
  }

  async function load(folder: string): Promise<StoredRecord | null> {
    let missing = "";
    for (;;) {
      const head = await findHead(folder);
      if (head === null) return null;
      const { name: version, data, lastSeenAt } = head;
      const text = await unlessMissing(readFile(`${folder}/${version}/${data}`, "utf8"));
      if (text === null && version !== missing) {
        // If the head was renamed, its data are under the new name. If it was not renamed, the data are lost.
        missing = version;
        continue;
      }
      const record = parseRecord(text ?? "");
      const isWhole = record.lastSeenAt > 0 || record.fields.size > 0;
      return { fields: record.fields, lastSeenAt: isWhole ? lastSeenAt : 0, version };
    }
  }

  async function create(folder: string, { record, expiresAt }: Write): Promise<RecordVersion | "conflict"> {
    const data = randomName();
    const version = headName(data, 0, record.lastSeenAt, expiresAt);
    const fresh = `${directory}/${data}.new`;
    const head = `${fresh}/${version}`;
    await makeFirstFolder(fresh);
    try {
      // `prune` may take the empty folder for the remains of a crash.
      while ((await unlessMissing(makeFolder(head))) === null) await makeFirstFolder(fresh);
      await writeData(`${head}/${data}`, serializeRecord(record), [head, fresh]);
      await rename(fresh, folder);
    } catch (error) {
      await rm(fresh, { recursive: true, force: true });
      if (failedWith(error, "ENOTEMPTY", "EEXIST")) return "conflict";
      // Windows renames no folder to a name that exists, even if that folder is empty, and its error does not say so.
      if (isInUse(error)) {
        await removeIfEmpty(folder);
        if ((await findHead(folder)) !== null) return "conflict";
      }
      throw error;
    }
    await sync(directory);
    return version;
  }

  async function change(
    folder: string,
    before: Head,
    { record, expiresAt }: Write,
  ): Promise<RecordVersion | "conflict"> {
    const head = `${folder}/${before.name}`;
    const data = randomName();
    const version = headName(data, 0, record.lastSeenAt, expiresAt);
    // The old data, and files of writers that lost or crashed. Once this writer has won, none of the others can win, so
    // the files can be removed.
    const past = await unlessMissing(readdir(head));
    if (past === null) return "conflict";
    const writing = writeData(`${head}/${data}`, serializeRecord(record), [head]);
    if ((await unlessMissing(writing)) === null) return "conflict";
    if (!(await renamed(head, `${folder}/${version}`))) return "conflict";
    await sync(folder);
    // The write is stored. What cannot be removed now, such as a file that a reader has open on Windows, goes with the next change.
    for (const name of past) await rm(`${folder}/${version}/${name}`, { recursive: true, force: true }).catch(() => {});
    return version;
  }

  async function touch(
    folder: string,
    before: Head,
    { record, expiresAt }: Write,
  ): Promise<RecordVersion | "conflict"> {
    const version = headName(before.data, before.touches + 1, record.lastSeenAt, expiresAt);
    if (!(await renamed(`${folder}/${before.name}`, `${folder}/${version}`))) return "conflict";
    await sync(folder);
    return version;
  }

  /** Takes a head out of its folder; false if another write renamed it first. */
  const takeOut = (folder: string, head: string): Promise<boolean> =>
    renamed(`${folder}/${head}`, `${directory}/${head}`);

  async function removeTaken(folder: string, head: string): Promise<void> {
    await rm(`${directory}/${head}`, { recursive: true, force: true, maxRetries: 3 });
    await removeIfEmpty(folder);
  }

  async function remove(folder: string, expected: RecordVersion | undefined): Promise<void | "conflict"> {
    for (;;) {
      const head = await findHead(folder);
      if (head !== null && expected !== undefined && head.name !== expected) return "conflict";
      const isGone = head === null || (await takeOut(folder, head.name));
      if (!isGone) continue;
      // This is needed also if another process took the head out: its rename may not be on the disk yet.
      await sync(folder);
      return await (head === null ? removeIfEmpty(folder) : removeTaken(folder, head.name));
    }
  }

  return {
    traits: { consistency: "strong", compareAndSet: true, maxBytes: Infinity },

    load: (key) => unlessInUse(load(folderOf(key))),

    save(key, write) {
      const folder = folderOf(key);
      if (write.expected === null) return unlessInUse(create(folder, write));
      const before = parseHead(String(write.expected));
      if (before === null) return "conflict";
      return unlessInUse((write.changed.size === 0 ? touch : change)(folder, before, write));
    },

    delete: (key, expected) => unlessInUse(remove(folderOf(key), expected)),

    async prune(now) {
      let pruned = 0;
      for (const name of (await unlessMissing(readdir(directory))) ?? []) {
        const entry = `${directory}/${name}`;
        if (KEY.test(name) || FRESH.test(name)) {
          const head = await findHead(entry);
          // An empty folder: a process crashed between the two steps of a deletion, or before the first step of a
          // creation.
          if (head === null) await removeIfEmpty(entry);
          else if (head.expiresAt < now && (await takeOut(entry, head.name))) {
            await removeTaken(entry, head.name);
            if (KEY.test(name)) pruned++;
          }
        } else if (parseHead(name) !== null) {
          // The session was deleted, but a process crashed before it removed the head.
          await rm(entry, { recursive: true, force: true });
        }
      }
      return pruned;
    },
  };
}

const KEY = /^[0-9a-f]{64}$/;
const FRESH = /^[0-9a-f]{16}\.new$/;

function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
