/**
 * Sessions in this process: the fastest store, gone after a restart, and the model for every other store.
 *
 * @module
 */

import type { Loaded, SessionRecord, SessionStore } from "../store.ts";

/** Options of {@linkcode memoryStore}. */
export interface MemoryStoreOptions {
  /**
   * The most records to keep, the least recently used making room; no limit unless given. The list of a user's sessions is a record,
   * too: one that went, `revokeAll` does not reach what was on it.
   */
  readonly maxSessions?: number;
}

/** A record with copies of its fields: nobody can hold a live part of it. */
interface Entry extends Loaded {
  readonly expiresAt: number;
}

/**
 * Keeps sessions in this process.
 *
 * ## Setup
 * None.
 *
 * ## How expiry behaves
 * Every creation looks at two records and drops those that have expired, so that under steady traffic they never
 * outnumber the live ones; there is no timer. `prune()` of the manager drops them all.
 *
 * ## Key format
 * The key as it is, in a `Map`.
 *
 * ## Consistency
 * Strong, with compare-and-set; only this process sees the records.
 *
 * ## Limits
 * Memory: a session takes its encoded data, about 100 bytes for each key, and 300 more.
 *
 * @throws {RangeError} When `maxSessions` is not a number of at least 1.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { memoryStore } from "with-session/stores/memory";
 *
 * export default {
 *   fetch: withSession(
 *     async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => n + 1)}`),
 *     { store: memoryStore({ maxSessions: 10_000 }) },
 *   ),
 * };
 * ```
 */
export function memoryStore(options: MemoryStoreOptions = {}): SessionStore {
  const { maxSessions = Infinity } = options;
  if (!(maxSessions >= 1)) {
    throw new RangeError(`memoryStore: maxSessions must be at least 1, not ${String(maxSessions)}`);
  }
  // In the order of their last use, so that the first is the one to make room.
  const entries = new Map<string, Entry>();
  let cursor = entries.entries();
  let latest = 0;
  let writes = 0;

  function put(key: string, fields: SessionRecord["fields"], lastSeenAt: number, expiresAt: number): number {
    const entry = { fields, lastSeenAt, version: ++writes, expiresAt };
    entries.set(key, entry);
    use(key, entry);
    return writes;
  }

  function use(key: string, entry: Entry): void {
    if (maxSessions === Infinity) return;
    entries.delete(key);
    entries.set(key, entry);
    // Moves the cursor at least as fast as entries move, or it would never see the end and begin anew.
    dropTwoExpired();
  }

  function dropTwoExpired(): void {
    for (let i = 0; i < 2; i++) {
      const next = cursor.next();
      if (next.done) cursor = entries.entries();
      else if (next.value[1].expiresAt < latest) entries.delete(next.value[0]);
    }
  }

  return {
    traits: {
      compareAndSet: true,
      consistency: "strong",
      persistent: false,
      shared: false,
      minTtl: 0,
      maxBytes: Infinity,
    },

    async load(key) {
      const entry = entries.get(key);
      if (entry === undefined) return null;
      use(key, entry);
      return { fields: new Map(entry.fields), lastSeenAt: entry.lastSeenAt, version: entry.version };
    },

    async create(key, record, expiresAt) {
      if (entries.has(key)) return "taken";
      // The last, not the greatest: a clock that was ahead for a moment must not make every session look expired.
      latest = record.lastSeenAt;
      dropTwoExpired();
      const version = put(key, new Map(record.fields), record.lastSeenAt, expiresAt);
      for (const oldest of entries.keys()) {
        if (entries.size <= maxSessions) break;
        entries.delete(oldest);
      }
      return version;
    },

    async change(key, { record }, expected, expiresAt) {
      const entry = entries.get(key);
      if (entry === undefined) return "gone";
      if (entry.version !== expected) return "conflict";
      return put(key, new Map(record.fields), record.lastSeenAt, expiresAt);
    },

    async touch(key, lastSeenAt, expiresAt, loaded) {
      const entry = entries.get(key);
      if (entry === undefined) return false;
      if (loaded !== undefined && entry.version !== loaded.version) return "conflict";
      put(key, entry.fields, lastSeenAt, expiresAt);
      return true;
    },

    async delete(key, expected) {
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
