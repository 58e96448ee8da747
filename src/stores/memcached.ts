/**
 * Sessions in Memcached.
 *
 * @module
 */
import { SessionError } from "../core/errors.ts";
import { assertKnown } from "../core/known_options.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import { assertRecordSize, byteLength } from "../core/record_size.ts";
import type { SessionStore } from "../core/store.ts";

/** The callback of a call of Memcached. It gets an error, if there was one, and the answer. */
export type MemcachedCallback = (error: unknown, answer: unknown) => void;

/** A client of Memcached, as `memcached` from npm makes it. */
export interface MemcachedClient {
  /** Reads an item and its number. */
  gets(key: string, callback: MemcachedCallback): void;
  /** Stores an item if its key is not in use. */
  add(key: string, value: string, lifetime: number, callback: MemcachedCallback): void;
  /** Replaces an item that still has this number. */
  cas(key: string, value: string, cas: string, lifetime: number, callback: MemcachedCallback): void;
  /** Removes an item. */
  del(key: string, callback: MemcachedCallback): void;
}

/** Options of {@linkcode memcachedStore}. */
export interface MemcachedStoreOptions {
  /**
   * The prefix of every key: at most 186 visible ASCII characters. Give each application its own.
   *
   * @default `"session:"`
   */
  readonly prefix?: string | undefined;
}

/** An item, and the number that Memcached gave its state. */
interface StoredItem {
  readonly value: string;
  readonly cas: string;
}

/**
 * Keeps sessions in Memcached. It is fast, but it loses all sessions when the server restarts, and the least recently
 * used ones when its memory is full. The users are then signed out. Use another store if that matters.
 *
 * ## Setup
 * Memcached 1.4 or newer (tested on 1.6), and the package `memcached` 2. Give the server enough memory for all sessions
 * (`-m`), and watch `evictions` in its statistics. Give the client the options of the example: by default, it avoids a
 * failed server for 30 seconds, and after five failures for five hours. Then it also runs the program `ping`, and if
 * that is missing, the process ends.
 *
 * ## How expiry behaves
 * Memcached removes an item up to a second after it has expired, and earlier if it needs the memory. It cannot keep an
 * end after January 2038: it keeps such an item until it needs the memory.
 *
 * ## Key format
 * The prefix, then 64 hexadecimal digits: `session:9f86d0…`. The value is the name of the last write, a line break, and the record as text.
 *
 * ## Consistency
 * Strong, with compare-and-set, as long as each key stays on one server. If a server is added, or is removed by the client's option `remove`,
 * sessions move and are lost, or old ones come back: do not use `remove`, `failOverServers` or `redundancy`. A load is one request, and so is a
 * creation. A change and a `delete` that expects a version are two: the client does not return the number of the item that it has stored.
 *
 * ## Limits
 * A record has at most 1 000 000 bytes: Memcached takes items of 1 MiB, key and header included, unless it was started with another `-I`.
 * If a connection breaks, the client never answers the calls that were under way: they end with `ERR_STORE_TIMEOUT`.
 *
 * @param client A client of `memcached`. The store never ends it
 * @param options The key prefix
 * @returns The store. Its `save` throws `ERR_RECORD_TOO_LARGE` before any I/O. An answer that it does not understand is
 *   an `ERR_STORE`
 * @throws {TypeError} If the client is not one of `memcached`, the prefix has other characters, or an option is unknown
 *
 * @example
 * ```ts
 * import Memcached from "memcached";
 * import { withSession } from "with-session";
 * import { memcachedStore } from "with-session/stores/memcached";
 *
 * const client = new Memcached("127.0.0.1:11211", { timeout: 1000, retries: 1, retry: 1000, failures: 1e9 });
 * export const handler = withSession(
 *   async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *   { store: memcachedStore(client) },
 * );
 * ```
 */
export function memcachedStore(client: MemcachedClient, options: MemcachedStoreOptions = {}): SessionStore {
  assertKnown(options, ["prefix"], "memcachedStore");
  const { prefix = "session:" } = options;
  // The client hashes a longer key, and a key with a space would be read as another command.
  if (typeof prefix !== "string" || !/^[!-~]{0,186}$/.test(prefix)) {
    throw new TypeError("memcachedStore: prefix must be at most 186 visible ASCII characters");
  }
  if (typeof client?.gets !== "function" || typeof client.cas !== "function") {
    throw new TypeError(
      "memcachedStore: the client must be one of the package memcached, with gets and cas; is it undefined?",
    );
  }

  async function find(key: string): Promise<StoredItem | null> {
    const answer = await call((done) => client.gets(prefix + key, done));
    if (answer === undefined) return null;
    const { cas, ...items }: Record<string, unknown> = Object(answer);
    // The item is under its key, which a client with a namespace has prefixed.
    const [value] = Object.values(items);
    if (typeof cas !== "string" || value === undefined) throw invalidAnswer();
    // A number or a buffer comes from another program.
    return { value: typeof value === "string" ? value : "", cas };
  }

  /**
   * Replaces the item if it has a version. The version is the name of a write and not the number of the item, because a
   * restarted server counts from 1 again.
   */
  async function replace(
    key: string,
    version: string,
    value: string,
    lifetime: number,
  ): Promise<"replaced" | "conflict" | "missing"> {
    const found = await find(key);
    if (found === null) return "missing";
    if (versionOf(found) !== version) return "conflict";
    if (await call((done) => client.cas(prefix + key, value, found.cas, lifetime, done))) return "replaced";
    // The client returns the same for a conflict, a missing item and an error of the server.
    const now = await find(key);
    if (now?.cas === found.cas) throw invalidAnswer();
    return now === null ? "missing" : "conflict";
  }

  return {
    traits: { consistency: "strong", compareAndSet: true, maxBytes: MAX_BYTES },

    async load(key) {
      const found = await find(key);
      if (found === null) return null;
      const { fields, lastSeenAt } = parseRecord(NAMED.test(found.value) ? found.value.slice(NAME_LENGTH + 1) : "");
      return { fields, lastSeenAt, version: versionOf(found) };
    },

    async save(key, { record, expected, expiresAt }) {
      const text = serializeRecord(record);
      // The client writes a backslash before each line break.
      assertRecordSize("Memcached", byteLength(text) + text.split(/[\r\n]/).length - 1, MAX_BYTES);
      // A version is never used twice, not even after the record was deleted and created anew.
      const version = crypto.randomUUID();
      const value = `${version}\n${text}`;
      const lifetime = lifetimeOf(expiresAt, record.lastSeenAt);
      if (expected !== null) {
        return (await replace(key, `${expected}`, value, lifetime)) === "replaced" ? version : "conflict";
      }
      const isStored = await call((done) => client.add(prefix + key, value, lifetime, done)).catch((error: unknown) => {
        if (Object(error).notStored === true) return "conflict";
        throw error;
      });
      if (isStored === "conflict") return "conflict";
      if (isStored === true) return version;
      throw invalidAnswer();
    },

    async delete(key, expected) {
      if (expected !== undefined) {
        // With a negative lifetime, the item is gone at once: the client has no other deletion with a condition.
        return (await replace(key, `${expected}`, "", -1)) === "conflict" ? "conflict" : undefined;
      }
      const isDeleted = await call((done) => client.del(prefix + key, done));
      // The client returns the same for a missing item and an error of the server.
      if (isDeleted !== true && (await find(key)) !== null) throw invalidAnswer();
      return undefined;
    },
  };
}

/** An item has at most 1 MiB, with its key, its header and the name of its write. */
const MAX_BYTES = 1_000_000;
/** Memcached reads a longer lifetime as an instant: https://docs.memcached.org/protocols/basic/#expiration-times. */
const MAX_RELATIVE_LIFETIME = 30 * 86_400;

const NAME_LENGTH = 36;
const NAMED = /^[0-9a-f-]{36}\n/;

/** In seconds: the last instant that Memcached can keep, in January 2038. It acknowledges an item with a later one and removes it at once. */
const LAST_INSTANT = 2 ** 31 - 1;

/** In seconds. A lifetime of N seconds ends after N − 1 to N seconds; a lifetime of 0 never does. */
function lifetimeOf(expiresAt: number, now: number): number {
  const seconds = Math.max(1, Math.ceil((expiresAt - now) / 1000)) + 1;
  if (seconds <= MAX_RELATIVE_LIFETIME) return seconds;
  const instant = Math.ceil(expiresAt / 1000);
  return instant > LAST_INSTANT ? 0 : instant;
}

/**
 * The name of the last write. For an item that this store has not written, it is the number that Memcached gave the
 * item.
 */
function versionOf({ value, cas }: StoredItem): string {
  return NAMED.test(value) ? value.slice(0, NAME_LENGTH) : cas;
}

function call(start: (done: MemcachedCallback) => void): Promise<unknown> {
  return new Promise((resolve, reject) => {
    start((error, answer) => {
      if (error === undefined || error === null) resolve(answer);
      else reject(error);
    });
  });
}

function invalidAnswer(): SessionError {
  return new SessionError(
    "ERR_STORE",
    "Cannot use the store: Memcached answered neither that it has done it nor that it has not",
  );
}
