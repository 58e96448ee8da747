/**
 * Sessions in this process: the fastest store, and gone after a restart.
 *
 * @module
 */
import { assertKnown } from "../core/known_options.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import type { SessionStore } from "../core/store.ts";

/** Options of {@linkcode memoryStore}. */
export interface MemoryStoreOptions {
  /**
   * The most records to keep. When there are more, the least recently used one is removed. The list of a user's
   * sessions is a record as well, and `revokeAll` does not reach the sessions of a list that was removed.
   *
   * @default No limit
   */
  readonly maxSessions?: number | undefined;
}

/** A record as it is kept. Nothing in it can be changed, so no caller can change a stored record. */
interface Entry {
  readonly text: string;
  readonly version: number;
  readonly expiresAt: number;
}

/**
 * Keeps sessions in the memory of this process, and answers each call at once, without a promise.
 *
 * ## Setup
 * None.
 *
 * ## How expiry behaves
 * Each creation checks two records and removes those that have expired. Under steady traffic, expired records therefore
 * never outnumber live ones. There is no timer. `prune()` of the manager removes all expired records.
 *
 * ## Key format
 * The key as it is, in a `Map`.
 *
 * ## Consistency
 * Strong, with compare-and-set. Only this process sees the records.
 *
 * ## Limits
 * Memory: each session takes the size of its encoded data and at most 460 bytes more.
 *
 * @param options `maxSessions`, the most records to keep
 * @returns The store
 * @throws {RangeError} If `maxSessions` is not a number of at least 1
 * @throws {TypeError} If an option is unknown
 *
 * @example
 * ```ts
 * import { memoryStore, withSession } from "with-session";
 *
 * export default {
 *   fetch: withSession(
 *     async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *     { store: memoryStore({ maxSessions: 10_000 }) },
 *   ),
 * };
 * ```
 */
export function memoryStore(options: MemoryStoreOptions = {}): SessionStore {
  assertKnown(options, ["maxSessions"], "memoryStore");
  const { maxSessions = Infinity } = options;
  if (typeof maxSessions !== "number" || !(maxSessions >= 1))
    throw new RangeError(`memoryStore: maxSessions must be at least 1, not ${String(maxSessions)}`);

  // With a limit, in the order of the last use: the first entry is the one to remove.
  const entries = new Map<string, Entry>();
  let cursor = entries.entries();
  let writes = 0;
  // The instants of the last two creations. Expiry is checked by the earlier one, so a clock that was ahead for a
  // moment removes nothing.
  let latest = -Infinity;
  let previous = -Infinity;

  function moveToEnd(key: string, entry: Entry): void {
    if (maxSessions === Infinity) return;
    entries.delete(key);
    entries.set(key, entry);
    // The cursor must move at least as fast as entries move to the end. Otherwise it never reaches the end and never starts again.
    removeTwoExpired();
  }

  function removeTwoExpired(): void {
    const now = Math.min(latest, previous);
    for (let i = 0; i < 2; i++) {
      const next = cursor.next();
      if (next.done) cursor = entries.entries();
      else if (next.value[1].expiresAt < now) entries.delete(next.value[0]);
    }
  }

  return {
    traits: { consistency: "strong", compareAndSet: true, exact: true, maxBytes: Infinity },

    load(key) {
      const entry = entries.get(key);
      if (entry === undefined) return null;
      moveToEnd(key, entry);
      const { fields, lastSeenAt } = parseRecord(entry.text);
      return { fields, lastSeenAt, version: entry.version };
    },

    save(key, { record, expected, expiresAt }) {
      if ((entries.get(key)?.version ?? null) !== expected) return "conflict";
      const entry = { text: flat(serializeRecord(record)), version: ++writes, expiresAt };
      if (expected === null) {
        previous = latest;
        latest = record.lastSeenAt;
        removeTwoExpired();
      }
      entries.set(key, entry);
      moveToEnd(key, entry);
      if (entries.size > maxSessions) {
        const [oldest = key] = entries.keys();
        entries.delete(oldest);
      }
      return entry.version;
    },

    delete(key, expected) {
      const entry = entries.get(key);
      if (entry !== undefined && expected !== undefined && entry.version !== expected) return "conflict";
      entries.delete(key);
    },

    async prune(now) {
      const before = entries.size;
      for (const [key, { expiresAt }] of entries) {
        if (expiresAt < now) entries.delete(key);
      }
      return before - entries.size;
    },
  };
}

/**
 * Returns the same text in one piece. JavaScript engines keep a concatenated text as a tree of its parts, and each part
 * may keep a larger text in memory. Reading a character turns the tree into one piece, if the result is used.
 */
function flat(text: string): string {
  return text.charCodeAt(0) > 0 ? text : "";
}
