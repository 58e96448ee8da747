/**
 * Sessions in Cloudflare Workers KV.
 *
 * @module
 */
import { StoreBusyError } from "../core/errors.ts";
import { assertKnown } from "../core/known_options.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import { assertRecordSize, byteLength } from "../core/record_size.ts";
import type { SessionStore, StoredRecord } from "../core/store.ts";

/** The part of a Workers KV binding (Cloudflare's `KVNamespace`) that the store needs. */
export interface CloudflareKvNamespace {
  /** Reads a value; null if there is no value. */
  get(key: string, options: { type: "text"; cacheTtl?: number }): Promise<string | null>;
  /** Writes a value, which is removed after `expirationTtl` seconds. */
  put(key: string, value: string, options: { expirationTtl: number }): Promise<void>;
  /** Removes a value. */
  delete(key: string): Promise<void>;
}

/** Options of {@linkcode cloudflareKvStore}. */
export interface CloudflareKvStoreOptions {
  /** The prefix of every key, at most 448 bytes. @default `"session:"` */
  readonly prefix?: string | undefined;
  /**
   * How long, in seconds, a place may answer from its cache; at least 30. A higher value makes reads faster and staler.
   *
   * @default 60, that of Workers KV (https://developers.cloudflare.com/kv/api/read-key-value-pairs/#cachettl-parameter)
   */
  readonly cacheTtl?: number | undefined;
}

/**
 * Keeps sessions in Cloudflare Workers KV: fast to read everywhere, and the last write wins.
 *
 * ## Setup
 * A namespace that is bound in the Worker's configuration:
 * `"kv_namespaces": [{ "binding": "SESSIONS", "id": "<of the namespace>" }]`.
 *
 * ## How expiry behaves
 * Workers KV removes an expired record, but at the earliest 60 seconds after its last write
 * (https://developers.cloudflare.com/kv/api/write-key-value-pairs/#expiring-keys). The session ends on time
 * nevertheless, because the core checks the times in the record.
 *
 * ## Key format
 * The prefix, then 64 hexadecimal digits: `session:9f86d0…`. The value is the name of the last write, a space, and the record as text.
 *
 * ## Consistency
 * Eventual, without compare-and-set. For 60 seconds or more after a write, other places may see the older state
 * (https://developers.cloudflare.com/kv/concepts/how-kv-works/#consistency): an ended session may still be there, and a
 * new one may be missing.
 * - `readYourWrites` makes each client see its own writes.
 * - If two requests change one session at once, the last write wins, with all its fields.
 * - The store reads before a change, and refuses the change if it finds no session or an ended one. A session that was
 *   ended in another place meanwhile may come back.
 * - The store does not read before a creation. Such a read would make this place believe for a minute that there is no
 *   session.
 * - An ended session leaves a record without fields, so that other places learn of its end.
 *
 * `durableObjectStore` has none of these limits.
 *
 * ## Limits
 * A record takes at most 25 MiB, and one key accepts one write a second
 * (https://developers.cloudflare.com/kv/platform/limits/). A write that comes earlier is tried again within
 * `storeTimeout`. A load is one read, a creation one write, and a change one read and one write.
 *
 * @param namespace The binding
 * @param options The key prefix, and how stale a read may be
 * @returns The store. It refuses a record over the limit with `ERR_RECORD_TOO_LARGE` before any I/O, and throws a `StoreBusyError` if a key is
 *   written too often
 * @throws {TypeError} If `namespace` is not a Workers KV binding, the prefix is not a string, or an option is unknown
 * @throws {RangeError} If the prefix is too long, or `cacheTtl` is less than 30
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { type CloudflareKvNamespace, cloudflareKvStore } from "with-session/stores/cloudflare-kv";
 *
 * export default {
 *   fetch: withSession(
 *     async (_request, session, _env: { SESSIONS: CloudflareKvNamespace }) =>
 *       new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *     { store: (env) => cloudflareKvStore(env.SESSIONS) },
 *   ),
 * };
 * ```
 */
export function cloudflareKvStore(
  namespace: CloudflareKvNamespace,
  options: CloudflareKvStoreOptions = {},
): SessionStore {
  assertKnown(options, ["prefix", "cacheTtl"], "cloudflareKvStore");
  const { prefix = "session:", cacheTtl } = options;
  if (typeof namespace?.get !== "function" || typeof namespace.put !== "function") {
    throw new TypeError(
      'cloudflareKvStore needs a Workers KV binding: add { "binding": "SESSIONS", "id": "…" } to "kv_namespaces" in the ' +
        "Worker's configuration, and pass env.SESSIONS",
    );
  }
  if (typeof prefix !== "string") throw new TypeError("cloudflareKvStore: prefix must be a string");
  if (byteLength(prefix) > MAX_KEY_BYTES - KEY_LENGTH) {
    throw new RangeError(`cloudflareKvStore: prefix must be at most ${MAX_KEY_BYTES - KEY_LENGTH} bytes`);
  }
  if (cacheTtl !== undefined && !(Number.isFinite(cacheTtl) && cacheTtl >= MIN_CACHE_TTL)) {
    throw new RangeError(
      `cloudflareKvStore: cacheTtl must be at least ${MIN_CACHE_TTL} seconds, not ${String(cacheTtl)}`,
    );
  }
  // A shorter time in the cache does not make writes arrive earlier.
  const staleness = Math.max(STALENESS, cacheTtl ?? 0);
  const getOptions = cacheTtl === undefined ? { type: "text" as const } : { type: "text" as const, cacheTtl };

  async function find(key: string): Promise<StoredRecord | null> {
    const value = await namespace.get(prefix + key, getOptions);
    if (value === null) return null;
    // A value without the name of a write holds no record.
    const [head = value, version = UNKNOWN] = VALUE.exec(value) ?? [];
    return { ...parseRecord(value.slice(head.length)), version };
  }

  return {
    traits: { consistency: "eventual", compareAndSet: false, maxBytes: MAX_BYTES, staleness },

    load: (key) => find(key),

    async save(key, { id, record, expected, expiresAt }) {
      const value = `${id} ${serializeRecord(record)}`;
      assertRecordSize("Workers KV", byteLength(value), MAX_BYTES);
      if (expected !== null) {
        const found = await find(key);
        if (found === null || found.fields.size === 0) return "conflict";
      }
      const expirationTtl = Math.max(MIN_TTL, Math.ceil((expiresAt - record.lastSeenAt) / 1000));
      await writing(namespace.put(prefix + key, value, { expirationTtl }));
      return id;
    },

    async delete(key) {
      await writing(namespace.delete(prefix + key));
    },
  };
}

/** In seconds: https://developers.cloudflare.com/kv/api/write-key-value-pairs/#expiring-keys. */
const MIN_TTL = 60;
/** In seconds: https://developers.cloudflare.com/kv/concepts/how-kv-works/#consistency. */
const STALENESS = 60;
/** In seconds: https://developers.cloudflare.com/kv/api/read-key-value-pairs/#cachettl-parameter. */
const MIN_CACHE_TTL = 30;
// https://developers.cloudflare.com/kv/platform/limits/
const MAX_BYTES = 25 * 1024 * 1024;
const MAX_KEY_BYTES = 512;
const KEY_LENGTH = 64;

/** The beginning of this store's values: the name of a write. */
const VALUE = /^([\w-]{16,}) /;
/** The version of a value that this store has not written. */
const UNKNOWN = "?";

async function writing(done: Promise<void>): Promise<void> {
  try {
    await done;
  } catch (error) {
    // The binding gives the status only in the message.
    throw /\b429\b/.test(String(error)) ? new StoreBusyError() : error;
  }
}
