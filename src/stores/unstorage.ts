import { recordFromText, recordToText } from "../record_text.ts";
import type { Loaded, SessionRecord, SessionStore, StoreTraits, Version } from "../store.ts";

/** What is needed of a `Storage` of `unstorage`. */
export interface UnstorageStorage {
  /** Reads an item, `null` if there is none. */
  getItem(key: string): Promise<unknown>;
  /** Writes an item; many drivers remove it after `ttl` seconds. */
  setItem(key: string, value: string, options: { readonly ttl: number }): Promise<void>;
  /** Removes an item. */
  removeItem(key: string): Promise<void>;
  /** Lists the keys that begin with a base. */
  getKeys(base: string): Promise<string[]>;
}

/** Options of {@linkcode unstorageStore}. What the driver can do, only you know: unless told, the store promises little. */
export interface UnstorageStoreOptions {
  /** What every key begins with, without the colon that follows. Default `"session"`. */
  readonly prefix?: string;
  /** Whether a read always sees the write before it, as with most drivers. Default `"eventual"`. */
  readonly consistency?: StoreTraits["consistency"];
  /** Whether records outlive the process. Default false. */
  readonly persistent?: boolean;
  /** Whether other processes see the same records. Default false. */
  readonly shared?: boolean;
}

/**
 * Sessions in any storage that `unstorage` has a driver for, such as SQL databases through `db0`, MongoDB or S3. Where
 * there is a store of this library for an engine, that one promises more.
 *
 * ## Setup
 * A storage of `unstorage` 1 with a driver that can write.
 *
 * ## How expiry behaves
 * The time that a record has left is given to the driver as `ttl`, in seconds. For drivers that ignore it, as those for
 * files and memory do, call `prune()` now and then: it reads every record.
 *
 * ## Key format
 * The prefix, a colon, and 64 hexadecimal digits: `session:9f86d0…`. The value is text: `!`, the name of the last write
 * and the instant when the record expires, then the record as JSON. The `!` keeps storages and drivers from parsing it.
 *
 * ## Consistency
 * That of the driver, and no compare-and-set: a change reads, compares and writes. In one process, and through one
 * store, nothing comes between; another process may. Then the last write wins, an update may be lost, and what was
 * deleted may come back. With `secrets`, a client with cookies sees its own changes all the same (see `readYourWrites`), but
 * not a session that has just begun and that the driver does not show. A creation does not look whether its key is in use, for some engines would remember for a
 * while that it was not. Of two first logins of one user at once, one may so be missing from the list of that user's sessions.
 *
 * ## Limits
 * Those of the driver, which are not known here: a record that is too large is rejected by the driver, if it does.
 * The driver for files writes in place, so a crash may cut off a record. A load and a creation are one call of the
 * driver, a change and a touch two, a deletion up to three.
 *
 * @param storage The storage.
 * @param options The key prefix, and what the driver can promise.
 * @returns The store.
 * @throws {TypeError} `storage` is no storage, or `prefix` is empty or holds a question mark, which cuts off the key.
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
  const { prefix = "session", consistency = "eventual", persistent = false, shared = false } = options;
  if (typeof storage?.getItem !== "function" || typeof storage.setItem !== "function") {
    throw new TypeError("unstorageStore needs a storage: createStorage({ driver })");
  }
  if (typeof prefix !== "string" || !/^[^?]+$/.test(prefix)) {
    throw new TypeError("unstorageStore: prefix must be a text without a question mark");
  }
  const keyOf = (key: string): string => `${prefix}:${key}`;
  const inTurn = turns();

  async function find(itemKey: string): Promise<Found | null> {
    const item = await storage.getItem(itemKey);
    if (item === null || item === undefined) return null;
    // So the drivers for files answer when a file cannot be read.
    if (item instanceof Error) throw item;
    const [, version = "", expiresAt, text] = ITEM.exec(String(item)) ?? [];
    return { ...recordFromText(text), version, expiresAt: Number(expiresAt ?? Infinity) };
  }

  async function put(key: string, record: SessionRecord, expiresAt: number): Promise<Version> {
    const version = crypto.randomUUID().slice(-12);
    const ttl = Math.max(1, Math.ceil((expiresAt - record.lastSeenAt) / 1000));
    await storage.setItem(keyOf(key), `!${version} ${expiresAt} ${recordToText(record)}`, { ttl });
    return version;
  }

  return {
    traits: { compareAndSet: false, consistency, persistent, shared, minTtl: 1, maxBytes: Infinity },

    load: (key) => inTurn(key, () => find(keyOf(key))),

    create: (key, record, expiresAt) => inTurn(key, () => put(key, record, expiresAt)),

    change: (key, { record }, expected, expiresAt) =>
      inTurn(key, async () => {
        const found = await find(keyOf(key));
        if (found === null) return "gone";
        return found.version === expected ? await put(key, record, expiresAt) : "conflict";
      }),

    touch: (key, lastSeenAt, expiresAt) =>
      inTurn(key, async () => {
        const found = await find(keyOf(key));
        if (found !== null) await put(key, { fields: found.fields, lastSeenAt }, expiresAt);
        return found !== null;
      }),

    delete: (key, expected) =>
      inTurn(key, async () => {
        const found = expected === undefined ? null : await find(keyOf(key));
        if (found !== null && found.version !== expected) return "conflict";
        await storage.removeItem(keyOf(key));
        // The drivers for files keep quiet about a failure. An eventually consistent one may still show what is gone.
        if (consistency === "strong" && (await find(keyOf(key))) !== null) throw new Error("The record is still there");
      }),

    async prune(now) {
      let pruned = 0;
      for (const itemKey of await storage.getKeys(prefix)) {
        const key = itemKey.slice(-KEY_LENGTH);
        await inTurn(key, async () => {
          const found = await find(itemKey);
          if (found === null || found.expiresAt >= now) return;
          await storage.removeItem(itemKey);
          pruned++;
        });
      }
      return pruned;
    },
  };
}

const KEY_LENGTH = 64;
const ITEM = /^!([0-9a-f]{12}) (\S+) (.*)$/s;

interface Found extends Loaded {
  /** Infinity for what is not of this store's making. */
  readonly expiresAt: number;
}

/**
 * Lets one step at a time run for each key, so that within this process nothing comes between a read and its write,
 * and no read finds a file half written.
 */
function turns(): <T>(key: string, step: () => Promise<T>) => Promise<T> {
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
