/**
 * The seam to the engine that keeps sessions. A store moves records and decides nothing. The core decides when a
 * session ends, how changes merge, what is retried and how long it may take.
 *
 * @module
 */
import type { MaybePromise } from "./maybe_promise.ts";

/** The state of a record, as the store names it: printable, and different after every write. It is never `"conflict"`. */
export type RecordVersion = string | number;

/** The record of one session. */
export interface SessionRecord {
  /**
   * The encoded fields by name. Names and values may be any text and mean nothing to a store. A record without fields
   * belongs to a session that was ended.
   */
  readonly fields: ReadonlyMap<string, string>;
  /** When the session was last used, in epoch milliseconds. */
  readonly lastSeenAt: number;
}

/** A record as a store found it. */
export interface StoredRecord extends SessionRecord {
  /** The version of the record. A later `save` or `delete` passes it back as `expected`. */
  readonly version: RecordVersion;
}

/** One write of one record. */
export interface Write {
  /** Names this write: 16 or more characters of `A-Z a-z 0-9 - _`, different for each write. A store whose engine keeps no versions can use it as the version. */
  readonly id: string;
  /** The whole record as it must be afterwards: for engines that keep one value. */
  readonly record: SessionRecord;
  /** Only the fields that differ, with null for those to remove: for engines that keep fields apart. Empty if only `lastSeenAt` moves. */
  readonly changed: ReadonlyMap<string, string | null>;
  /** The version that must be there now; null if there must be no record. */
  readonly expected: RecordVersion | null;
  /**
   * When the engine may remove the record, in epoch milliseconds. It is later than the end of the session by a margin for
   * clock skew and for requests under way, and at most 50 years after `record.lastSeenAt`. If the engine wants a time to live, it is `expiresAt - record.lastSeenAt`.
   */
  readonly expiresAt: number;
}

/** The guarantees of a store. An option that needs more is refused. */
export interface StoreTraits {
  /** `"strong"` if a read that begins after a write was acknowledged always sees that write, `"eventual"` if it may not. */
  readonly consistency: "strong" | "eventual";
  /** Whether `save` and `delete` compare the version and write in one atomic step. */
  readonly compareAndSet: boolean;
  /**
   * Whether each write is done exactly once and its answer is never lost, as within one process. Records then keep only
   * the name of the last write.
   */
  readonly exact?: boolean;
  /**
   * The largest record, in bytes, as the store writes it; `Infinity` if the engine has no limit. `save` must refuse a larger one with
   * `ERR_RECORD_TOO_LARGE` before any I/O: see `assertRecordSize`.
   */
  readonly maxBytes: number;
  /**
   * How long, in seconds, a read in another place may still return an older state. Only for engines whose reads are
   * eventually consistent.
   *
   * @default {60}
   */
  readonly staleness?: number;
}

/**
 * Where sessions are kept. Keys are 64 lowercase hexadecimal digits, the SHA-256 of an id that the store never sees, so they are safe
 * as file names and in key spaces.
 *
 * - Each verb, `load`, `save` or `delete`, returns its result with or without a promise.
 * - On a failure, the verb throws or rejects with the client's own error. The core hides the error's message and cause,
 *   which may hold data.
 * - A call that the engine refuses for the moment throws a `StoreBusyError`. A record that is too large throws
 *   `ERR_RECORD_TOO_LARGE` before any I/O.
 * - The `signal` is aborted when the core no longer waits for the answer. A store may ignore it.
 *
 * @example A store in a `Map`, complete
 * ```ts
 * import type { SessionStore, StoredRecord } from "with-session";
 *
 * function mapStore(): SessionStore {
 *   const records = new Map<string, StoredRecord>();
 *   let writes = 0;
 *   return {
 *     traits: { consistency: "strong", compareAndSet: true, maxBytes: Infinity },
 *     load(key) {
 *       const found = records.get(key);
 *       // A copy, so that the caller cannot change the stored record.
 *       return found === undefined ? null : { ...found, fields: new Map(found.fields) };
 *     },
 *     save(key, { record, expected }) {
 *       if ((records.get(key)?.version ?? null) !== expected) return "conflict";
 *       records.set(key, { fields: new Map(record.fields), lastSeenAt: record.lastSeenAt, version: ++writes });
 *       return writes;
 *     },
 *     delete(key, expected) {
 *       const found = records.get(key);
 *       if (found && expected !== undefined && found.version !== expected) return "conflict";
 *       records.delete(key);
 *     },
 *   };
 * }
 * ```
 */
export interface SessionStore {
  /** The guarantees of this store. */
  readonly traits: StoreTraits;

  /**
   * Finds a record. Null means that the engine has no record under the key; a failure is never null. A value that this
   * store did not write is returned as a record without fields whose `lastSeenAt` is 0: the core treats it as corrupt
   * and never overwrites it.
   */
  load(key: string, signal?: AbortSignal): MaybePromise<StoredRecord | null>;

  /**
   * Stores a record if the version of the present one is `expected`, and returns the new version. Otherwise it changes
   * nothing and returns `"conflict"`, whichever record is there now. A store that cannot compare and set in one step
   * compares as well as it can: if `expected` is not null, it returns `"conflict"` at least when it finds no record, or
   * a record without fields.
   */
  save(key: string, write: Write, signal?: AbortSignal): MaybePromise<RecordVersion | "conflict">;

  /**
   * Removes a record. A missing record is a success. If `expected` is given and the record has another version, a store
   * that can compare and set keeps the record and returns `"conflict"`.
   */
  delete(key: string, expected?: RecordVersion, signal?: AbortSignal): MaybePromise<void | "conflict">;

  /**
   * Removes the records whose `expiresAt` is before `now`, and returns how many. Only for engines that do not sweep by themselves.
   */
  prune?(now: number): Promise<number>;

  /**
   * Whether the client of the engine has closed for good, so that each call fails. If a function of the option `store` has
   * returned this store, the next request calls it again. Only for clients that do not connect again by themselves.
   */
  isClosed?(): boolean;
}
