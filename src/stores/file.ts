/**
 * Sessions in a folder, for Node, Deno and Bun: they outlive the process, and any number of processes on one
 * machine may share them. There are no locks, so nothing can stay locked after a crash.
 *
 * A session is a small folder named by its key. In it is one folder, the *head*, whose name is the version, and in
 * that one file, the data. **rename(2) of the head is the compare-and-set**: of all who rename one version away,
 * exactly one succeeds, and as names hold a random part and never return, nobody late can succeed either.
 *
 * ```text
 * <directory>/<key>/<data>_<touches>_<lastSeenAt>_<expiresAt>/<data>
 * ```
 *
 * - `create` builds the folder under another name and renames it to `<key>`, which fails where one is.
 * - `change` writes a new data file beside the old one, then renames the head so that it names the new one.
 * - `touch` renames the head; the data stay as they are.
 * - `delete` renames the head out of the folder, and then removes it: whoever still holds its version is late.
 *
 * Each step leaves a whole record, the older or the newer one, wherever it is interrupted. What a crash may leave
 * beside it is swept by the next `change` or by `prune`.
 *
 * @module
 */

import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { recordFromText, recordToText } from "../record_text.ts";
import type { SessionRecord, SessionStore } from "../store.ts";

/** Options of {@linkcode fileStore}. */
export interface FileStoreOptions {
  /** The folder for the sessions, and for nothing else; created when it is missing. */
  readonly directory: string;
}

/** What the name of a head tells. */
interface Head {
  readonly name: string;
  readonly data: string;
  readonly touches: number;
  readonly lastSeenAt: number;
  readonly expiresAt: number;
}

/**
 * Keeps sessions in a folder.
 *
 * ## Setup
 * None: the folder is created at the first write, with modes that let nobody but this user in (0700, files 0600).
 *
 * ## How expiry behaves
 * Files do not expire by themselves: call `prune()` of the manager now and then. It reads names, not data.
 *
 * ## Key format
 * One folder a session, named by its key, 64 lowercase hexadecimal digits.
 *
 * ## Consistency
 * Strong, with compare-and-set, among all processes of one machine. What was acknowledged is on the disk.
 *
 * ## Limits
 * A local POSIX file system: on a network, where renames may be seen late or run twice, nothing is promised. A small
 * session takes about 12 KiB on disk.
 *
 * @throws {TypeError} When `directory` is not a path.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { fileStore } from "with-session/stores/file";
 *
 * export default {
 *   fetch: withSession(
 *     async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => n + 1)}`),
 *     { store: fileStore({ directory: "./sessions" }) },
 *   ),
 * };
 * ```
 */
export function fileStore(options: FileStoreOptions): SessionStore {
  const directory: unknown = options?.directory;
  if (typeof directory !== "string" || directory === "") {
    throw new TypeError("fileStore: directory must be the path of a folder");
  }

  const folderOf = (key: string): string => {
    if (!KEY.test(key)) throw new TypeError("fileStore: a key is 64 lowercase hexadecimal digits");
    return `${directory}/${key}`;
  };

  /** Takes a head out of its folder and removes it; false when another write renamed it first. */
  async function remove(folder: string, head: string): Promise<boolean> {
    const removed = `${directory}/${head}`;
    if (!(await renamed(`${folder}/${head}`, removed))) return false;
    await rm(removed, { recursive: true, force: true, maxRetries: 3 });
    await removeIfEmpty(folder);
    return true;
  }

  return {
    traits: {
      compareAndSet: true,
      consistency: "strong",
      persistent: true,
      shared: true,
      minTtl: 0,
      maxBytes: Infinity,
    },

    async load(key) {
      const folder = folderOf(key);
      let missing = "";
      for (;;) {
        const head = await findHead(folder);
        if (head === null) return null;
        const { name: version, data, lastSeenAt } = head;
        const text = await unlessMissing(readFile(`${folder}/${version}/${data}`, "utf8"));
        // Data that are missing because the head moved on are under the next head; else they are lost.
        if (text === null && version !== missing) missing = version;
        else return { ...recordFromText(text), lastSeenAt, version };
      }
    },

    async create(key, record, expiresAt) {
      const folder = folderOf(key);
      const data = randomName();
      const version = headName(data, 0, record.lastSeenAt, expiresAt);
      const fresh = `${directory}/${data}.new`;
      await mkdir(`${fresh}/${version}`, { recursive: true, mode: 0o700 });
      try {
        await writeData(`${fresh}/${version}/${data}`, record);
        await rename(fresh, folder);
        return version;
      } catch (error) {
        await rm(fresh, { recursive: true, force: true });
        if (failedWith(error, "ENOTEMPTY", "EEXIST")) return "taken";
        throw error;
      }
    },

    async change(key, { record }, expected, expiresAt) {
      const folder = folderOf(key);
      const before = parseHead(String(expected));
      const data = randomName();
      const version = headName(data, 0, record.lastSeenAt, expiresAt);
      if (before !== null) {
        const head = `${folder}/${before.name}`;
        // The old data, and what is left of writers who lost or crashed: once we win, none of them still can.
        const past = await unlessMissing(readdir(head));
        if (
          past !== null &&
          (await unlessMissing(writeData(`${head}/${data}`, record))) !== null &&
          (await renamed(head, `${folder}/${version}`))
        ) {
          for (const name of past) await rm(`${folder}/${version}/${name}`, { recursive: true, force: true });
          return version;
        }
      }
      return (await findHead(folder)) === null ? "gone" : "conflict";
    },

    async touch(key, lastSeenAt, expiresAt, loaded) {
      const folder = folderOf(key);
      const head = loaded === undefined ? await findHead(folder) : parseHead(String(loaded.version));
      if (head !== null) {
        const touched = headName(head.data, head.touches + 1, lastSeenAt, expiresAt);
        if (await renamed(`${folder}/${head.name}`, `${folder}/${touched}`)) return true;
      }
      return (await findHead(folder)) === null ? false : "conflict";
    },

    async delete(key, expected) {
      const folder = folderOf(key);
      for (;;) {
        const head = await findHead(folder);
        if (head === null) return await removeIfEmpty(folder);
        if (expected !== undefined && head.name !== expected) return "conflict";
        if (await remove(folder, head.name)) return;
      }
    },

    async prune(now) {
      let pruned = 0;
      for (const name of (await unlessMissing(readdir(directory))) ?? []) {
        const entry = `${directory}/${name}`;
        if (KEY.test(name) || FRESH.test(name)) {
          const head = await findHead(entry);
          // Empty: a crash between the two steps of a deletion, or before the first of a creation.
          if (head === null) await removeIfEmpty(entry);
          else if (head.expiresAt < now && (await remove(entry, head.name)) && KEY.test(name)) pruned++;
        } else if (parseHead(name) !== null) {
          // Deleted already, but a crash came before its removal.
          await rm(entry, { recursive: true, force: true });
        }
      }
      return pruned;
    },
  };
}

const KEY = /^[0-9a-f]{64}$/;
const FRESH = /^[0-9a-f]{16}\.new$/;
const HEAD = /^([0-9a-f]{16})_(\d+)_([^_]+)_([^_]+)$/;

function headName(data: string, touches: number, lastSeenAt: number, expiresAt: number): string {
  return `${data}_${touches}_${lastSeenAt}_${expiresAt}`;
}

function parseHead(name: string): Head | null {
  const [, data, touches, lastSeenAt, expiresAt] = HEAD.exec(name) ?? [];
  if (data === undefined) return null;
  return {
    name,
    data,
    touches: Number(touches),
    lastSeenAt: Number(lastSeenAt),
    expiresAt: Number(expiresAt),
  };
}

async function findHead(folder: string): Promise<Head | null> {
  for (const name of (await unlessMissing(readdir(folder))) ?? []) {
    const head = parseHead(name);
    if (head !== null) return head;
  }
  return null;
}

/** Flushed, so that no power failure leaves a head that names data which never reached the disk. */
async function writeData(path: string, record: SessionRecord): Promise<void> {
  try {
    await writeFile(path, recordToText(record), { mode: 0o600, flush: true });
  } catch (error) {
    // On a full disk, a part of the data may be there.
    await rm(path, { force: true });
    throw error;
  }
}

async function renamed(from: string, to: string): Promise<boolean> {
  return (await unlessMissing(rename(from, to))) !== null;
}

async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    if (!failedWith(error, "ENOENT", "ENOTEMPTY", "EEXIST")) throw error;
  }
}

async function unlessMissing<Result>(outcome: Promise<Result>): Promise<Result | null> {
  try {
    return await outcome;
  } catch (error) {
    if (failedWith(error, "ENOENT")) return null;
    throw error;
  }
}

function failedWith(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
