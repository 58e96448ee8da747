import type { Deadline } from "./deadline.ts";
import type { Head, Unreadable } from "./record.ts";
import type { SessionRecord, Version } from "./store.ts";

/** A session as it was found or has just been stored. */
export interface Found extends SessionRecord {
  /** What the client holds and presents: the id, in the form in which it travels. */
  readonly wire: string;
  readonly head: Head;
  /** Differs after every write. */
  readonly version: Version;
}

/** Why what a client presented is no session. */
export type Refusal = Unreadable | "malformed" | "forged" | "unknown" | "expired" | "retired" | "schema";

/** Fields to be stored, and the head that goes with them. */
export interface Contents {
  readonly fields: ReadonlyMap<string, string>;
  readonly head: Head;
  readonly lastSeenAt: number;
}

/**
 * The one place that turns what a client presented into a record, and back. In one vault the client holds an id
 * and a store the record; in another the client holds the record itself, sealed. Neither the stores nor the
 * session know which.
 */
export interface Vault<Held extends Found = Found> {
  /** Finds the session that a client presented, or tells why there is none. Unknown ids are never adopted. */
  open(presented: string, now: number, deadline: Deadline): Promise<Held | Refusal>;

  /** Finds the newest state of a session; null if it is over. */
  reopen(held: Held, now: number, deadline: Deadline): Promise<Held | null>;

  /** Stores a new session under `id`, or answers `"taken"`. */
  create(id: string, contents: Contents, deadline: Deadline): Promise<Held | "taken">;

  /** Stores changed contents, if nothing else was stored since `held` was found. */
  change(held: Held, contents: Contents, deadline: Deadline): Promise<Held | "conflict" | "gone">;

  /** Notes that the session was used; null if it is gone. */
  touch(held: Held, now: number, deadline: Deadline): Promise<Held | null>;

  /** Lets `heir` take the place of `held`, whose id still leads there until `graceUntil`. */
  retire(
    held: Held,
    heir: Held,
    graceUntil: number,
    now: number,
    deadline: Deadline,
  ): Promise<"retired" | "conflict" | "gone">;

  /** Ends a session, and whatever session has taken its place. */
  end(held: Held | string, deadline: Deadline): Promise<void>;
}
