import { assertKnown } from "../core/known_options.ts";
import { byteLength } from "../core/record_size.ts";

/** Options of {@linkcode kvSimulator}. */
export interface KvSimulatorOptions {
  /** The time in epoch milliseconds, such as that of a fake clock. @default `Date.now` */
  readonly now?: (() => number) | undefined;
  /**
   * How long, in seconds, a place answers from its cache, misses included, unless a read gives another time.
   *
   * @default 60
   */
  readonly cacheTtl?: number | undefined;
  /**
   * The number of seconds after which a write reaches the other places. Until then they read the state before it.
   *
   * @default 0
   */
  readonly delay?: number | undefined;
  /** The same for deletions. @default 10 */
  readonly deleteDelay?: number | undefined;
  /** The least number of seconds between two writes of one key. An earlier write fails with 429. @default 1 */
  readonly writeInterval?: number | undefined;
}

/** Options of a read. */
export interface KvGetOptions {
  /** The simulator keeps only text. */
  readonly type?: "text";
  /** How long, in seconds, this place may answer from its cache: at least 30. */
  readonly cacheTtl?: number | undefined;
}

/** Options of a write. */
export interface KvPutOptions {
  /** When the value is removed, in epoch seconds. */
  readonly expiration?: number;
  /** The number of seconds after which the value is removed: at least 60. */
  readonly expirationTtl?: number;
  /** Metadata beside the value: at most 1 024 bytes of JSON. */
  readonly metadata?: unknown;
}

/** Options of a listing. */
export interface KvListOptions {
  /** The prefix of the names. */
  readonly prefix?: string | null;
  /** How many names are returned at once: at most 1 000. */
  readonly limit?: number;
  /** Where the listing before this one ended. */
  readonly cursor?: string | null;
}

/** A part of a listing. */
export interface KvListing {
  /** Names in the order of their bytes, each with its expiration and metadata. */
  readonly keys: { name: string; expiration?: number; metadata?: unknown }[];
  /** Whether that was all. */
  readonly list_complete: boolean;
  /** Where the next part begins. */
  readonly cursor?: string;
}

/** The calls of a Workers KV binding, for text values. */
export interface SimulatedNamespace {
  /** Reads a value, as this place sees it. */
  get(key: string, options?: "text" | KvGetOptions): Promise<string | null>;
  /** Reads a value with its metadata. */
  getWithMetadata(key: string, type?: "text"): Promise<{ value: string | null; metadata: unknown }>;
  /** Writes a value. */
  put(key: string, value: string, options?: KvPutOptions): Promise<void>;
  /** Removes a value. If it is missing, that is a success. */
  delete(key: string): Promise<void>;
  /** Lists names, as this place sees them. */
  list(options?: KvListOptions): Promise<KvListing>;
}

/** A Workers KV namespace that several places read and write. */
export interface KvSimulator {
  /** The binding of one place, with its own cache. It is always the same for the same name. */
  at(place: string): SimulatedNamespace;
}

/**
 * Workers KV at its worst, on a clock that a test moves.
 *
 * - Each of several places has a cache of its reads, misses included.
 * - Writes and deletions reach the other places with a delay, and the last one wins.
 * - Each key accepts one write a second.
 * - It has the limits of Workers KV (https://developers.cloudflare.com/kv/platform/limits/). It fails like Workers KV,
 *   with an `Error` that names the status.
 *
 * @param options The clock and the delays
 * @returns The simulator
 *
 * @example
 * ```ts
 * import { fakeClock, kvSimulator } from "with-session/testing";
 *
 * const clock = fakeClock();
 * const kv = kvSimulator({ now: clock.now });
 * await kv.at("Paris").get("greeting"); // null, which Paris answers for a minute
 * await kv.at("Tokyo").put("greeting", "Hello");
 * await kv.at("Paris").get("greeting"); // null
 * clock.advance(60);
 * await kv.at("Paris").get("greeting"); // "Hello"
 * ```
 */
export function kvSimulator(options: KvSimulatorOptions = {}): KvSimulator {
  assertKnown(options, ["now", "cacheTtl", "delay", "deleteDelay", "writeInterval"], "kvSimulator");
  const { now = () => Date.now(), cacheTtl = 60, delay = 0, deleteDelay = 10, writeInterval = 1 } = options;
  /** For each key, the writes that some place may not see yet, the oldest first. */
  const history = new Map<string, Write[]>();
  const places = new Map<string, SimulatedNamespace>();

  function write(key: string, place: string, kept: Kept | null, seconds: number): void {
    const writes = history.get(key) ?? [];
    const last = writes.at(-1);
    if (last !== undefined && now() - last.at < writeInterval * 1000) throw failure("PUT", 429, "Too Many Requests");
    const arrives = now() + seconds * 1000;
    // A write does not arrive before an earlier one.
    writes.push({ kept, place, at: now(), arrives: Math.max(arrives, last?.arrives ?? 0) });
    const lastArrived = writes.findLastIndex((each) => each.arrives <= now());
    history.set(key, writes.slice(Math.max(0, lastArrived)));
  }

  function visible(key: string, place: string): Kept | null {
    const seen = (history.get(key) ?? []).findLast((each) => each.place === place || each.arrives <= now());
    return seen?.kept ?? null;
  }

  function open(place: string): SimulatedNamespace {
    const cache = new Map<string, Cached>();

    function fresh(key: string, seconds: number): Cached | undefined {
      const cached = cache.get(key);
      return cached !== undefined && now() - cached.readAt < seconds * 1000 ? cached : undefined;
    }

    /** A place sees its own writes at once. They do not delay the writes of other places. */
    function noteWritten(key: string, kept: Kept | null): void {
      cache.set(key, { kept, readAt: fresh(key, cacheTtl)?.readAt ?? now() });
    }

    // A read with a shorter time looks for newer data, also if an earlier read has cached a value for longer:
    // https://developers.cloudflare.com/kv/api/read-key-value-pairs/#cachettl-parameter
    function read(key: string, seconds: number = cacheTtl): Kept | null {
      assertKey(key);
      const cached = fresh(key, seconds);
      const kept = cached === undefined ? visible(key, place) : cached.kept;
      if (cached === undefined) cache.set(key, { kept, readAt: now() });
      return kept !== null && kept.expiresAt > now() ? kept : null;
    }

    return {
      async get(key, getOptions = "text") {
        const seconds = getOptions === "text" ? undefined : getOptions.cacheTtl;
        if (seconds !== undefined && !(seconds >= MIN_CACHE_TTL)) {
          throw failure("GET", 400, `Invalid cache_ttl of ${seconds}`);
        }
        return read(key, seconds)?.value ?? null;
      },

      async getWithMetadata(key) {
        const kept = read(key);
        return { value: kept?.value ?? null, metadata: kept?.metadata ?? null };
      },

      async put(key, value, putOptions = {}) {
        assertKey(key);
        const kept = keptOf(value, putOptions, now());
        write(key, place, kept, delay);
        noteWritten(key, kept);
      },

      async delete(key) {
        assertKey(key);
        write(key, place, null, deleteDelay);
        noteWritten(key, null);
      },

      async list({ prefix, limit = 1000, cursor } = {}) {
        if (limit < 0 || limit > 1000) throw failure("GET", 400, `Invalid key_count_limit of ${limit}`);
        const all = [...history.keys()].filter((name) => name.startsWith(prefix ?? "") && name > (cursor ?? ""));
        const found = all.sort().flatMap((name) => {
          const kept = visible(name, place);
          return kept !== null && kept.expiresAt > now() ? [{ name, kept }] : [];
        });
        const most = limit || 1000;
        const keys = found.slice(0, most).map(({ name, kept: { expiresAt, metadata } }) => ({
          name,
          ...(expiresAt === Infinity ? {} : { expiration: Math.floor(expiresAt / 1000) }),
          ...(metadata === undefined ? {} : { metadata }),
        }));
        const isComplete = found.length <= most;
        return { keys, list_complete: isComplete, ...(isComplete ? {} : { cursor: keys.at(-1)?.name ?? "" }) };
      },
    };
  }

  return {
    at(place) {
      const known = places.get(place) ?? open(place);
      places.set(place, known);
      return known;
    },
  };
}

interface Kept {
  readonly value: string;
  /** In epoch milliseconds; Infinity for never. */
  readonly expiresAt: number;
  readonly metadata: unknown;
}

interface Cached {
  readonly kept: Kept | null;
  readonly readAt: number;
}

interface Write {
  readonly kept: Kept | null;
  readonly place: string;
  readonly at: number;
  readonly arrives: number;
}

// https://developers.cloudflare.com/kv/platform/limits/
const MAX_KEY_BYTES = 512;
const MAX_VALUE_BYTES = 25 * 1024 * 1024;
const MAX_METADATA_BYTES = 1024;
// https://developers.cloudflare.com/kv/api/write-key-value-pairs/#expiring-keys
const MIN_TTL = 60;
// https://developers.cloudflare.com/kv/api/read-key-value-pairs/#cachettl-parameter
const MIN_CACHE_TTL = 30;

function keptOf(value: string, { expiration, expirationTtl, metadata }: KvPutOptions, now: number): Kept {
  const seconds = Math.floor(now / 1000);
  if (expirationTtl !== undefined && !(Math.trunc(expirationTtl) >= MIN_TTL)) {
    throw failure("PUT", 400, `Invalid expiration_ttl of ${expirationTtl}`);
  }
  if (expiration !== undefined && !(Math.trunc(expiration) >= seconds + MIN_TTL)) {
    throw failure("PUT", 400, `Invalid expiration of ${expiration}`);
  }
  if (byteLength(value) > MAX_VALUE_BYTES)
    throw failure("PUT", 413, `Value length exceeds limit of ${MAX_VALUE_BYTES}`);
  if (metadata !== undefined && byteLength(JSON.stringify(metadata)) > MAX_METADATA_BYTES) {
    throw failure("PUT", 413, `Metadata length exceeds limit of ${MAX_METADATA_BYTES}`);
  }
  const end = expiration ?? (expirationTtl === undefined ? Infinity : seconds + expirationTtl);
  return { value, expiresAt: Math.trunc(end) * 1000, metadata: metadata ?? undefined };
}

function assertKey(key: string): void {
  if (key === "" || key === "." || key === "..") throw new TypeError(`Key name cannot be ${JSON.stringify(key)}`);
  if (byteLength(key) > MAX_KEY_BYTES)
    throw failure("GET", 414, `UTF-8 encoded length exceeds limit of ${MAX_KEY_BYTES}`);
}

function failure(verb: "GET" | "PUT", status: number, reason: string): Error {
  return new Error(`KV ${verb} failed: ${status} ${reason}`);
}
