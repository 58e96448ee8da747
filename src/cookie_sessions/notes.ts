/**
 * Notes: the records of the revocation store about sessions that are kept in cookies. The key of a note is a hash of
 * the session's id. A note never holds data. Most sessions have no note.
 *
 * @module
 */
import { CLOCK_SKEW } from "../core/expiry.ts";
import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import { type Metadata, readMetadata, type Successor, withMetadata } from "../core/metadata.ts";
import { NO_FIELDS } from "../core/record_fields.ts";
import { writeOf } from "../core/store_repository/record_write.ts";
import type { Operation } from "../core/repository.ts";
import type { RecordVersion } from "../core/store.ts";
import { sha256 } from "../core/hash.ts";

/** The parts of a session's metadata that decide how long its copies may live. */
export type Lifetime = Pick<Metadata, "createdAt" | "absoluteSince" | "timeouts">;

/** The note about a session. */
export interface Note {
  /**
   * - `"alive"`: nothing was revoked; the note holds more about a session in use.
   * - `"retired"`: the id was replaced, and `successor` took over.
   * - `"ended"`: the session was ended.
   */
  readonly state: "alive" | "retired" | "ended";
  /** For a retired session, this is the lifetime of its successor. */
  readonly lifetime: Lifetime;
  readonly successor?: Successor | undefined;
  /**
   * An instant in epoch milliseconds until which some copy may live although the other copies do not show it; 0 for
   * none.
   */
  readonly longest: number;
  /** When the client first used the session under this id, if the id was renewed by age; 0 otherwise. */
  readonly usedAt: number;
}

/** A note as the store returned it. */
export interface StoredNote extends Note {
  readonly version: RecordVersion;
}

/**
 * The name in the metadata of a note about a session in use. A note that has neither this nor a successor says that the
 * session has ended.
 */
const ALIVE = "+alive";

/** The store key of a session's note. No id has a space, so this is never the key of a session. */
export function noteKey(id: string): MaybePromise<string> {
  return sha256(`with-session revoked ${id}`);
}

/** Finds a note; null if there is none. A note that cannot be read says that the session has ended. */
export function loadNote(key: string, op: Operation): MaybePromise<StoredNote | null> {
  return chain(op.store.load(key), (record) => {
    if (record === null) return null;
    const { version } = record;
    const metadata = readMetadata(record, key);
    if (typeof metadata === "string") return { ...ENDED, version };
    const { successor, [ALIVE]: alive } = metadata;
    const [longest, usedAt] = Array.isArray(alive) ? alive : [0, 0];
    const kept = { lifetime: metadata, longest: Number(longest), usedAt: Number(usedAt), version };
    if (successor !== undefined) return { ...kept, state: "retired", successor };
    return { ...kept, state: Array.isArray(alive) ? "alive" : "ended" };
  });
}

/** The note that a session has ended; its lifetime is unknown. */
export const ENDED: Note = { state: "ended", lifetime: { createdAt: 0, absoluteSince: 0 }, longest: 0, usedAt: 0 };

/**
 * Stores a note in place of `before`, which is null if there was no note.
 *
 * @param until When the engine may remove it, in epoch milliseconds
 */
export function saveNote(
  key: string,
  note: Note,
  before: StoredNote | null,
  until: number,
  op: Operation,
): MaybePromise<StoredNote | "conflict"> {
  const { state, lifetime, successor, longest, usedAt } = note;
  // The lifetime may be a session's whole metadata. A note holds nothing else of it.
  const { createdAt, absoluteSince, timeouts } = lifetime;
  const alive =
    state === "alive" || (state === "retired" && longest + usedAt > 0) ? { [ALIVE]: [longest, usedAt] } : {};
  const fields = withMetadata(NO_FIELDS, { createdAt, absoluteSince, timeouts, successor, ...alive }, key);
  const write = writeOf({ fields, lastSeenAt: op.now }, NO_FIELDS, before?.version ?? null, until);
  return chain(op.store.save(key, write), (version) => (version === "conflict" ? version : { ...note, version }));
}

/** Whether a note says that its id opens no session any more. */
export function isRevoked(note: StoredNote | null): boolean {
  return note !== null && note.state !== "alive";
}

/** Whether a session continues under a new id because the old one was due for rotation. */
export function isRotatedByAge(note: StoredNote | null): boolean {
  return note?.successor?.grace?.untilUsed === true;
}

/**
 * The last instant at which some copy of a session may live, by the clock of any server. Another copy may have another
 * idle timeout, or may have been used a moment ago. So the absolute timeout counts, if there is one.
 */
export function lastEndOf(lifetime: Lifetime, op: Operation): number {
  return Math.max(ownEndOf(lifetime, op), commonEndOf(lifetime, op)) + CLOCK_SKEW;
}

/**
 * The instant until which this copy may live, if another copy would expect an earlier one because `setTimeouts` gave
 * this copy other timeouts; otherwise 0.
 */
export function unexpectedEndOf(lifetime: Lifetime, op: Operation): number {
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
