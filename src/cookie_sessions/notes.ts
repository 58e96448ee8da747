/**
 * What the revocation store holds of sessions that lie in cookies. A note lies under a hash of the session's id and
 * never holds data. Most sessions have none.
 *
 * @module
 */
import { CLOCK_SKEW } from "../core/expiry.ts";
import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import { type Metadata, readMetadata, type Successor, withMetadata } from "../core/metadata.ts";
import { NO_FIELDS } from "../core/record_fields.ts";
import { writeOf } from "../core/record_write.ts";
import type { Operation } from "../core/repository.ts";
import type { RecordVersion } from "../core/store.ts";
import { sha256 } from "../crypto/hash.ts";

/** The parts of a session's metadata that decide how long its copies may live. */
export type Lifetime = Pick<Metadata, "createdAt" | "absoluteSince" | "timeouts">;

/** What is noted of a session. */
export interface Note {
  /**
   * - `"alive"`: nothing was revoked; the note holds more about a session in use.
   * - `"retired"`: the id was renewed, and `successor` took over.
   * - `"ended"`: the session was ended.
   */
  readonly state: "alive" | "retired" | "ended";
  /** Of a retired session: that of its successor. */
  readonly lifetime: Lifetime;
  readonly successor?: Successor | undefined;
  /** An instant that some copy may live to, in epoch milliseconds, although the others do not know of it. */
  readonly longest: number;
  /** Whether the client has used the session under this id. */
  readonly isUsed: boolean;
}

/** A note as it was found. */
export interface StoredNote extends Note {
  readonly version: RecordVersion;
}

/**
 * What a note of a session in use holds beside its lifetime. A note without it, and without a successor, is one of an
 * end.
 */
const ALIVE = "+alive";

/** The store key of a session's note. No id has a space, so it is never the key of a session. */
export function noteKey(id: string): MaybePromise<string> {
  return sha256(`with-session revoked ${id}`);
}

/** Finds a note; null if nothing was noted. A note that cannot be read is one of an end. */
export function loadNote(key: string, op: Operation): MaybePromise<StoredNote | null> {
  return chain(op.store.load(key), (record) => {
    if (record === null) return null;
    const { version } = record;
    const metadata = readMetadata(record, key);
    if (typeof metadata === "string") return { ...ENDED, version };
    const { createdAt, absoluteSince, timeouts, successor } = metadata;
    const lifetime = { createdAt, absoluteSince, timeouts };
    const alive = metadata[ALIVE];
    const [longest, isUsed] = Array.isArray(alive) ? alive : [0];
    const kept = { ...ENDED, lifetime, longest: Number(longest), version };
    if (successor !== undefined) return { ...kept, state: "retired", successor };
    return !Array.isArray(alive) ? kept : { ...kept, state: "alive", isUsed: isUsed === 1 };
  });
}

const ENDED: Note = { state: "ended", lifetime: { createdAt: 0, absoluteSince: 0 }, longest: 0, isUsed: false };

/**
 * Stores a note in place of another one, null for none.
 *
 * @param until When the engine may sweep it, in epoch milliseconds
 */
export function saveNote(
  key: string,
  note: Note,
  before: StoredNote | null,
  until: number,
  op: Operation,
): MaybePromise<StoredNote | "conflict"> {
  const { state, lifetime, successor, longest, isUsed } = note;
  const alive = state === "alive" || (state === "retired" && longest > 0) ? { [ALIVE]: [longest, isUsed ? 1 : 0] } : {};
  const fields = withMetadata(NO_FIELDS, { ...lifetime, successor, ...alive }, key);
  const write = writeOf({ fields, lastSeenAt: op.now }, NO_FIELDS, before?.version ?? null, until);
  return chain(op.store.save(key, write), (version) => (version === "conflict" ? version : { ...note, version }));
}

/** The note of an end. */
export function endedNote(lifetime: Lifetime): Note {
  return { ...ENDED, lifetime };
}

/**
 * The last instant at which some copy of a session may live, by the clock of any server. Another copy may have another idle
 * timeout, and it may have been used a moment ago. So the absolute timeout counts, if there is one.
 */
export function lastEndOf(lifetime: Lifetime, op: Operation): number {
  return Math.max(ownEndOf(lifetime, op), commonEndOf(lifetime, op)) + CLOCK_SKEW;
}

/**
 * An instant that a copy may live to, and that another copy would not expect, because `setTimeouts` gave
 * this one other timeouts; 0 if there is no such instant.
 */
export function unexpectedEndOf(lifetime: Lifetime, op: Operation): number {
  if (lifetime.timeouts === undefined) return 0;
  const own = ownEndOf(lifetime, op);
  return own > commonEndOf(lifetime, op) ? own + CLOCK_SKEW : 0;
}

function commonEndOf({ createdAt, absoluteSince }: Lifetime, op: Operation): number {
  return ownEndOf({ createdAt, absoluteSince }, op);
}

function ownEndOf(metadata: Lifetime, op: Operation): number {
  const absolute = op.endsAt({ metadata, lastSeenAt: Infinity });
  return absolute < Infinity ? absolute : op.endsAt({ metadata, lastSeenAt: op.now + CLOCK_SKEW });
}
