/**
 * The seam to the engine that keeps sessions. A store moves records and decides nothing: when a session ends, how changes merge, what is
 * retried and how long it may take is decided in the core.
 *
 * @module
 */
import type { MaybePromise } from "./maybe_promise.ts";

/** The state of a record, as the store names it: printable, and different after every write. It is never `"conflict"`. */
export type RecordVersion = string | number;

/** What is stored for one session. */
export interface SessionRecord {
  /** The encoded fields by name. Names and values may be any text and mean nothing to a store. A record without fields is a session that ended. */
  readonly fields: ReadonlyMap<string, string>;
  /** When the session was last used, in epoch milliseconds. */
  readonly lastSeenAt: number;
}

/** A record as a store found it. */
export interface StoredRecord extends SessionRecord {
  /** What a later `save` or `delete` passes back as `expected`. */
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
   * When the engine may sweep the record, in epoch milliseconds. It is later than the end of the session by a margin for skewed clocks
   * and requests under way. An engine that wants a time to live takes `expiresAt - record.lastSeenAt`.
   */
  readonly expiresAt: number;
}

/** What a store can promise. An option that needs more is refused. */
export interface StoreTraits {
  /** `"strong"` if a read that begins after a write was acknowledged always sees that write, `"eventual"` if it may not. */
  readonly consistency: "strong" | "eventual";
  /** Whether `save` and `delete` compare the version and write in one step that no other write can enter. */
  readonly compareAndSet: boolean;
  /** Whether each write is done once and its answer never lost, as within one process. Records then keep the name of the last write alone. */
  readonly exact?: boolean;
  /** The largest record, in bytes; `Infinity` if the engine has no limit. A larger one is refused with `ERR_RECORD_TOO_LARGE`. */
  readonly maxBytes: number;
  /**
   * How long, in seconds, another place may still show an older state. Only for engines whose reads are eventually consistent.
   *
   * @default {60}
   */
  readonly staleness?: number;
}

/**
 * Where sessions are kept. Keys are 64 lowercase hexadecimal digits, the SHA-256 of an id that the store never sees, so they are safe
 * as file names and in key spaces.
 *
 * - Each verb answers with or without a promise.
 * - A failure throws or rejects, with whatever error the client gives. The core hides its message and cause, which may hold data.
 * - A write that the engine refuses for the moment throws a `StoreBusyError`. A record that is too large throws `ERR_RECORD_TOO_LARGE` before any I/O.
 * - The `signal` is aborted when nobody waits for the answer any more. A store may ignore it.
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
 *       // A copy: what the store keeps, nobody else can change.
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
  /** What this store can promise. */
  readonly traits: StoreTraits;

  /**
   * Finds a record. Null means that the engine said that there is none; a failure is never a null. A value that this store did not
   * write comes back as a record whose `lastSeenAt` is 0 and that has no fields: the core treats it as corrupt and never overwrites it.
   */
  load(key: string, signal?: AbortSignal): MaybePromise<StoredRecord | null>;

  /**
   * Stores a record if the present one is as `expected`, and answers its new version. Otherwise it changes nothing and answers
   * `"conflict"`, whatever is there now. A store that cannot compare and set in one step compares as well as it can: with
   * `expected` given it answers `"conflict"` at least when it sees no record, or one without fields.
   */
  save(key: string, write: Write, signal?: AbortSignal): MaybePromise<RecordVersion | "conflict">;

  /**
   * Removes a record. A missing record is a success. With `expected`, a store that can compare and set leaves a record of another version
   * and answers `"conflict"`.
   */
  delete(key: string, expected?: RecordVersion, signal?: AbortSignal): MaybePromise<void | "conflict">;

  /** Sweeps the records whose `expiresAt` is before `now`, and answers how many. Only for engines that do not sweep by themselves. */
  prune?(now: number): Promise<number>;
}
