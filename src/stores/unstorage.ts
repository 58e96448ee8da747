/**
 * Sessions in any driver of `unstorage`.
 *
 * @module
 */
import { assertKnown } from "../core/known_options.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import type { SessionStore, StoredRecord, StoreTraits, Write } from "../core/store.ts";

/** The part of a `Storage` of `unstorage` that the store needs. */
export interface UnstorageStorage {
  /** Reads an item; null if there is no item. */
  getItem(key: string): Promise<unknown>;
  /** Writes an item. Many drivers remove it after `ttl` seconds. */
  setItem(key: string, value: string, options: { readonly ttl: number }): Promise<void>;
  /** Removes an item. */
  removeItem(key: string): Promise<void>;
  /** Lists the keys that begin with a base. */
  getKeys(base: string): Promise<string[]>;
}

/** Options of {@linkcode unstorageStore}. */
export interface UnstorageStoreOptions {
  /** The prefix of every key, without the colon that follows. @default `"session"` */
  readonly prefix?: string | undefined;
  /**
   * Whether a read always sees the write before it, as with most drivers. The store cannot find that out.
   *
   * @default `"eventual"`
   */
  readonly consistency?: StoreTraits["consistency"] | undefined;
}

/**
 * Keeps sessions in any storage that `unstorage` has a driver for, such as MongoDB or S3. If this library has a store
 * for an engine, use that store: it promises more.
 *
 * ## Setup
 * A storage of `unstorage` 1 with a driver that can write.
 *
 * ## How expiry behaves
 * The driver gets the remaining lifetime of a record as `ttl`, in seconds. Drivers for files and memory ignore it: call
 * `prune()` of the manager now and then. It reads every record.
 *
 * ## Key format
 * The prefix, a colon, and 64 hexadecimal digits: `session:9f86d0…`. The value is text: `!`, the version, a space, the instant at which the
 * record expires, a space, and the record. The `!` keeps storages and drivers from parsing it.
 *
 * ## Consistency
 * That of the driver, without compare-and-set: a change reads, compares and writes.
 * - Within one process, and through one store, no other call comes in between.
 * - A write of another process may come in between. Then the last write wins, an update may be lost, and an ended
 *   session may come back.
 * - With `consistency: "strong"`, a creation checks whether its key is in use. With `"eventual"` it does not, because
 *   some engines would report for a while that there is no record.
 *
 * ## Limits
 * Those of the driver, which the store does not know. The driver for files writes in place, so a crash may cut off a
 * record. A load is one call of the driver, and a change two. A creation and a deletion are one or two, a deletion at a
 * version up to three. Other calls for the same session wait while the driver does not answer one, so set a time limit
 * of some seconds in the driver.
 *
 * @param storage The storage
 * @param options The key prefix, and the consistency of the driver
 * @returns The store
 * @throws {TypeError} If `storage` is not a storage, or `prefix` is empty or holds a question mark, which cuts off the key, or `consistency`
 *   is another word, or an option is unknown
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { unstorageStore } from "with-session/stores/unstorage";
 * import { createStorage } from "unstorage";
 *
 * const storage = createStorage();
 * export default {
 *   fetch: withSession(
 *     async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *     { store: unstorageStore(storage, { consistency: "strong" }) },
 *   ),
 * };
 * ```
 */
export function unstorageStore(storage: UnstorageStorage, options: UnstorageStoreOptions = {}): SessionStore {
  assertKnown(options, ["prefix", "consistency"], "unstorageStore");
  const { prefix = "session", consistency = "eventual" } = options;
  if (typeof storage?.getItem !== "function" || typeof storage.setItem !== "function") {
    throw new TypeError("unstorageStore needs a storage: createStorage({ driver })");
  }
  if (typeof prefix !== "string" || !/^[^?]+$/.test(prefix)) {
    throw new TypeError("unstorageStore: prefix must be a text without a question mark");
  }
  if (consistency !== "strong" && consistency !== "eventual") {
    throw new TypeError('unstorageStore: consistency must be "strong" or "eventual"');
  }
  const isStrong = consistency === "strong";
  const itemOf = (key: string): string => `${prefix}:${key}`;
  const inTurn = turns();

  async function find(item: string): Promise<StoredItem | null> {
    const value = await storage.getItem(item);
    if (value === null || value === undefined) return null;
    // The drivers for files return an error when a file cannot be read.
    if (isError(value)) throw value;
    const [, version = UNKNOWN, expiresAt = "Infinity", text = ""] = VALUE.exec(String(value)) ?? [];
    return { ...parseRecord(text), version, expiresAt: Number(expiresAt) };
  }

  /** Whether the record is as a write expects it, as far as this store checks that. */
  async function isExpected(item: string, expected: Write["expected"]): Promise<boolean> {
    if (expected === null) return !isStrong || (await find(item)) === null;
    const found = await find(item);
    return found !== null && found.fields.size > 0 && found.version === expected;
  }

  return {
    traits: { consistency, compareAndSet: false, maxBytes: Infinity },

    load: (key) =>
      inTurn(key, async () => {
        const found = await find(itemOf(key));
        return found && { fields: found.fields, lastSeenAt: found.lastSeenAt, version: found.version };
      }),

    save: (key, { record, expected, expiresAt }) =>
      inTurn(key, async () => {
        const item = itemOf(key);
        if (!(await isExpected(item, expected))) return "conflict";
        const version = crypto.randomUUID();
        const ttl = Math.max(1, Math.ceil((expiresAt - record.lastSeenAt) / 1000));
        await storage.setItem(item, `!${version} ${expiresAt} ${serializeRecord(record)}`, { ttl });
        return version;
      }),

    delete: (key, expected) =>
      inTurn(key, async () => {
        const item = itemOf(key);
        const found = expected === undefined ? null : await find(item);
        if (found !== null && found.version !== expected) return "conflict";
        await storage.removeItem(item);
        // The drivers for files do not report a failure. An eventually consistent one may still show the record.
        if (isStrong && (await find(item)) !== null) throw new Error("The record is still there");
      }),

    async prune(now) {
      let pruned = 0;
      for (const item of await storage.getKeys(prefix)) {
        await inTurn(item.slice(-KEY_LENGTH), async () => {
          const found = await find(item);
          if (found === null || found.expiresAt >= now) return;
          await storage.removeItem(item);
          pruned++;
        });
      }
      return pruned;
    },
  };
}

const KEY_LENGTH = 64;
const VALUE = /^!([0-9a-f-]{36}) (\S+) (.*)$/s;
/** The version of a value that this store has not written. */
const UNKNOWN = "?";

interface StoredItem extends StoredRecord {
  /** Infinity for a value that this store has not written. */
  readonly expiresAt: number;
}

/** Whether a value is an error, also one of another realm. The store never writes one. */
function isError(value: unknown): boolean {
  return typeof value === "object" && value !== null && "stack" in value && "message" in value;
}

/**
 * Runs one step at a time for each key. So within this process, no other step comes between a read and its write, and
 * no read finds a half-written file.
 */
function turns(): <Result>(key: string, step: () => Promise<Result>) => Promise<Result> {
  const last = new Map<string, Promise<unknown>>();
  return async (key, step) => {
    const turn = (last.get(key) ?? Promise.resolve()).then(step, step);
    last.set(key, turn);
    try {
      return await turn;
    } finally {
      if (last.get(key) === turn) last.delete(key);
    }
  };
}
