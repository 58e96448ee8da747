/**
 * The one interface that every store keeps. A store is an engine and nothing else: it moves records. When
 * a session ends, who may read it, how changes merge and what is retried is decided by the core, once.
 *
 * A store has no clock. `expiresAt` tells the engine's own expiry when it may sweep; an engine that wants
 * a time to live takes `expiresAt − lastSeenAt`. A record that the engine still has after `expiresAt` may be
 * returned: the core judges it.
 *
 * A failure is a rejection, never a miss: `load` answers `null` only when the engine said that there is
 * nothing. Errors may be whatever the client throws; the core wraps them, and lets neither their message
 * nor their cause out. Only a `SessionError` passes as it is: `ERR_RECORD_TOO_LARGE`, thrown before any I/O
 * when a record is larger than the engine takes, and a `BusyError` when the engine has turned a write away for the moment.
 *
 * @module
 */

/**
 * The state of a record that a write expects to find, as the store named it: anything printable that
 * differs after every write. It is never one of the words `"taken"`, `"conflict"` or `"gone"`.
 */
export type Version = string | number;

/** What is stored for one session: encoded values by field name, and when it was last used. */
export interface SessionRecord {
  /** Every field, encoded. Names and values are any text; neither means anything to a store. */
  readonly fields: ReadonlyMap<string, string>;
  /** When the session was last used, in epoch milliseconds. */
  readonly lastSeenAt: number;
}

/** A record as it was found. */
export interface Loaded extends SessionRecord {
  /** What a later `change`, `touch` or `delete` hands back, to be refused if another write came between. */
  readonly version: Version;
}

/** One change of a record, told twice, so that each engine can take what suits it. */
export interface RecordChange {
  /** The whole record as it will be: for engines that keep one value. */
  readonly record: SessionRecord;
  /** Only the fields that differ, `null` for those to remove: for engines that keep fields apart. */
  readonly changed: ReadonlyMap<string, string | null>;
}

/** What a store can promise. An option that needs more is refused when the handler is wrapped. */
export interface StoreTraits {
  /** Whether `change`, `touch` and `delete` compare the version and write in one step that no other write can enter. */
  readonly compareAndSet: boolean;
  /** Whether a read that starts after a write was acknowledged always sees it. */
  readonly consistency: "strong" | "eventual";
  /** Whether records outlive the process. */
  readonly persistent: boolean;
  /** Whether other processes see the same records. */
  readonly shared: boolean;
  /** The shortest life, in seconds, that the engine's own expiry can give a record; 0 if it has no limit. */
  readonly minTtl: number;
  /** The largest record, in bytes; `Infinity` if the engine sets no limit. */
  readonly maxBytes: number;
}

/**
 * Where sessions are kept, and the lists of whose they are, which are records like any other. Keys are 64 lowercase
 * hexadecimal digits, the SHA-256 of an id (or of what names a list) that the store never sees, so they are safe as file
 * names and in key spaces.
 *
 * @example A store in a `Map`, complete
 * ```ts
 * import type { Loaded, SessionRecord, SessionStore } from "with-session";
 *
 * function mapStore(): SessionStore {
 *   const records = new Map<string, Loaded>();
 *   let writes = 0;
 *   // Copies: what the store keeps, nobody else can change.
 *   const copy = <Kept extends SessionRecord>(record: Kept) => ({ ...record, fields: new Map(record.fields) });
 *   const put = (key: string, record: SessionRecord) => {
 *     records.set(key, { ...copy(record), version: ++writes });
 *     return writes;
 *   };
 *   return {
 *     traits: {
 *       compareAndSet: true, consistency: "strong", persistent: false, shared: false,
 *       minTtl: 0, maxBytes: Infinity,
 *     },
 *     load: async (key) => {
 *       const found = records.get(key);
 *       return found === undefined ? null : copy(found);
 *     },
 *     create: async (key, record) => (records.has(key) ? "taken" : put(key, record)),
 *     change: async (key, change, expected) => {
 *       const found = records.get(key);
 *       if (found === undefined) return "gone";
 *       return found.version === expected ? put(key, change.record) : "conflict";
 *     },
 *     touch: async (key, lastSeenAt, _expiresAt, loaded) => {
 *       const found = records.get(key);
 *       if (found === undefined) return false;
 *       if (loaded !== undefined && found.version !== loaded.version) return "conflict";
 *       put(key, { fields: found.fields, lastSeenAt });
 *       return true;
 *     },
 *     delete: async (key, expected) => {
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
   * Finds a record. `null` means that there is none. Something that is not of this store's making comes back
   * as a record without fields: the core takes that as corrupt, as no session, and never overwrites it.
   * Any other answer counts as a failure of the store.
   */
  load(key: string): Promise<Loaded | null>;

  /** Stores a new record, or answers `"taken"` and changes nothing if the key is in use. */
  create(key: string, record: SessionRecord, expiresAt: number): Promise<Version | "taken">;

  /**
   * Changes a record that exists. Answers `"gone"` if there is none — it never creates one — and, in a store
   * that can compare and set, `"conflict"` if its version is no longer `expected`; both change nothing.
   * Otherwise answers the new version. Without compare-and-set, `expected` is ignored and the last write wins.
   */
  change(
    key: string,
    change: RecordChange,
    expected: Version,
    expiresAt: number,
  ): Promise<Version | "conflict" | "gone">;

  /**
   * Notes that the session was used: `lastSeenAt` and the engine's expiry move, the fields stay as they are
   * now, whatever they are. Answers `false` if there is no record, and never creates one. It counts as a
   * write: the version changes. Given `loaded`, what the caller last saw, a store that can compare and set answers
   * `"conflict"` and changes nothing if the version is another one by now. One that does not look at it is safe all the
   * same, but a client may be told a retired id once more, and an engine sweep a session that was just given a longer life.
   */
  touch(key: string, lastSeenAt: number, expiresAt: number, loaded?: Loaded): Promise<boolean | "conflict">;

  /**
   * Removes a record wholly; of what is missing: fine. Given `expected`, a store that can compare and set
   * answers `"conflict"` and leaves the record if its version is another one.
   */
  delete(key: string, expected?: Version): Promise<void | "conflict">;

  /**
   * Whether a record that `load` does not find is known to have been deleted of late. Only for engines that are eventually
   * consistent, where a new record may be found late: a client that has just begun its session is believed if this says false.
   */
  wasDeleted?(key: string): Promise<boolean>;

  /**
   * Sweeps out what expired before `now`, and answers how many; only for engines that do not do it by
   * themselves.
   */
  prune?(now: number): Promise<number>;
}
