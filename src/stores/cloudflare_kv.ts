import { BusyError } from "../errors.ts";
import { byteLength, recordFromText, recordToText, refuseTooLarge } from "../record_text.ts";
import type { SessionRecord, SessionStore } from "../store.ts";

/** What is needed of a Workers KV binding: a part of Cloudflare's `KVNamespace`. */
export interface CloudflareKvNamespace {
  /** Reads a value; null if there is none. */
  get(key: string, type: "text"): Promise<string | null>;
  /** Writes a value, to be removed after so many seconds. */
  put(key: string, value: string, options: { expirationTtl: number }): Promise<void>;
}

/** Options of {@linkcode cloudflareKvStore}. */
export interface CloudflareKvStoreOptions {
  /** What every key begins with, at most 448 bytes. Default `"session:"`. */
  readonly prefix?: string;
}

/**
 * Sessions in Cloudflare Workers KV: read fast everywhere, written by the last one who wrote.
 *
 * ## Setup
 * A namespace, bound in the Worker's configuration:
 * `"kv_namespaces": [{ "binding": "SESSIONS", "id": "<of the namespace>" }]`.
 *
 * ## How expiry behaves
 * Workers KV removes a record when its time is up, but never within 60 seconds of its last write
 * (https://developers.cloudflare.com/kv/api/write-key-value-pairs/#expiring-keys). A session ends on time all the
 * same, for that is judged from the record.
 *
 * ## Key format
 * The prefix, then 64 hexadecimal digits: `session:9f86d0…`. The value is the version, a UUID, and then the
 * record as JSON. What was deleted is the word `deleted`, for two minutes.
 *
 * ## Consistency
 * Eventual, without compare-and-set. Another place than the one that wrote may see the older state for 60 seconds
 * or more, a session that was ended included, and one that was just begun may be missing there
 * (https://developers.cloudflare.com/kv/concepts/how-kv-works/#consistency). With `secrets`, a client with cookies sees its
 * own writes all the same: see `readYourWrites`. Of two requests that change one session at once, the last one wins, with
 * all its fields. A change or a touch looks for the record right before it writes, so it does not bring back a session that
 * was ended while the handler ran; it may do so if the two writes cross, or if they come from two places. Creating never
 * looks: that would make "not found" what this place believes for the next minute. Where any of this matters,
 * `durableObjectStore` has none of it.
 * Of two logins of one user within a minute, one may be missing from the list of that user's sessions, out of reach of
 * `revokeAll`.
 *
 * ## Limits
 * A record takes at most 25 MiB, and one key one write a second (https://developers.cloudflare.com/kv/platform/limits/): what is
 * sooner is tried again within `storeTimeout`, and dropped if it only notes that the session was used. Loading is one read, creating and deleting
 * one write; changing and touching are one read, mostly answered by the cache that the load has
 * just filled, and one write.
 *
 * @param namespace The binding.
 * @param options The key prefix.
 * @returns The store. Its writes reject with `ERR_RECORD_TOO_LARGE`, before any I/O, if a record exceeds the limit, and with
 * a `BusyError` if a key is written too often.
 * @throws {TypeError} `namespace` is no Workers KV binding.
 * @throws {RangeError} The prefix is too long.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { type CloudflareKvNamespace, cloudflareKvStore } from "with-session/stores/cloudflare-kv";
 *
 * export default {
 *   fetch: withSession(
 *     async (_request, session, _env: { SESSIONS: CloudflareKvNamespace }) =>
 *       new Response(`Visit ${await session.update("visits", (n = 0) => n + 1)}`),
 *     { store: (env) => cloudflareKvStore(env.SESSIONS) },
 *   ),
 * };
 * ```
 */
export function cloudflareKvStore(
  namespace: CloudflareKvNamespace,
  options: CloudflareKvStoreOptions = {},
): SessionStore {
  const { prefix = "session:" } = options;
  if (typeof namespace?.get !== "function" || typeof namespace.put !== "function") {
    throw new TypeError("cloudflareKvStore needs a Workers KV binding: is it named in the Worker's configuration?");
  }
  if (byteLength(prefix) > MAX_KEY_BYTES - KEY_LENGTH) {
    throw new RangeError(`cloudflareKvStore: prefix must be at most ${MAX_KEY_BYTES - KEY_LENGTH} bytes`);
  }

  const readAny = (key: string): Promise<string | null> => namespace.get(prefix + key, "text");

  async function read(key: string): Promise<string | null> {
    const text = await readAny(key);
    return text === DELETED ? null : text;
  }

  async function write(key: string, text: string, lifetime: number): Promise<void> {
    const expirationTtl = Math.max(MIN_TTL, Math.ceil(lifetime / 1000));
    try {
      await namespace.put(prefix + key, text, { expirationTtl });
    } catch (error) {
      // The binding has no other way to tell what the status was.
      throw /\b429\b/.test(String(error)) ? new BusyError() : error;
    }
  }

  return {
    traits: {
      compareAndSet: false,
      consistency: "eventual",
      persistent: true,
      shared: true,
      minTtl: MIN_TTL,
      maxBytes: MAX_BYTES,
    },

    async load(key) {
      const text = await read(key);
      if (text === null) return null;
      return { ...recordFromText(text.slice(VERSION_LENGTH)), version: text.slice(0, VERSION_LENGTH) };
    },

    async create(key, record, expiresAt) {
      const { version, text } = encode(record);
      await write(key, text, expiresAt - record.lastSeenAt);
      return version;
    },

    async change(key, { record }, _expected, expiresAt) {
      const { version, text } = encode(record);
      if ((await read(key)) === null) return "gone";
      await write(key, text, expiresAt - record.lastSeenAt);
      return version;
    },

    async touch(key, lastSeenAt, expiresAt) {
      const text = await read(key);
      if (text === null) return false;
      // What is there now, not what the caller loaded: a change made in between stays.
      const { fields } = recordFromText(text.slice(VERSION_LENGTH));
      await write(key, encode({ fields, lastSeenAt }).text, expiresAt - lastSeenAt);
      return true;
    },

    async delete(key) {
      await write(key, DELETED, STALENESS);
    },

    wasDeleted: async (key) => (await readAny(key)) === DELETED,
  };
}

/** In seconds: https://developers.cloudflare.com/kv/api/write-key-value-pairs/#expiring-keys. */
const MIN_TTL = 60;
/** In place of a record that was deleted: a missing one may also be one that is late. */
const DELETED = "deleted";
/**
 * In milliseconds, twice the 60 seconds, "or more", for which an older state may be seen
 * (https://developers.cloudflare.com/kv/concepts/how-kv-works/#consistency).
 */
const STALENESS = 120_000;
// https://developers.cloudflare.com/kv/platform/limits/
const MAX_BYTES = 25 * 1024 * 1024;
const MAX_KEY_BYTES = 512;
const KEY_LENGTH = 64;

/** That of a UUID. */
const VERSION_LENGTH = 36;

/** A record as the value to put, under a version of its own. */
function encode(record: SessionRecord): { version: string; text: string } {
  const version = crypto.randomUUID();
  const text = version + recordToText(record);
  refuseTooLarge("Workers KV", byteLength(text), MAX_BYTES);
  return { version, text };
}
