/**
 * Recent writes: the changes of a session that a client has recently seen. Several cookies of them are merged.
 *
 * @module
 */

/** The last change of a field. */
export interface FieldChange {
  /** The instant of the change, in epoch milliseconds. It is later than all changes that its writer had seen. */
  readonly at: number;
  /** The text of the field; null if it was removed; undefined if the text had no room in the cookie. */
  readonly text: string | null | undefined;
}

/** The changes of a session that a client has recently seen. */
export interface RecentWrites {
  readonly changes: ReadonlyMap<string, FieldChange>;
  readonly lastSeenAt: number;
  /** Whether the changes hold the whole session: it began recently, and each of its fields is among them. */
  readonly isComplete: boolean;
  /**
   * The versions of the record that the client has seen, the last one first. A record with one of them is an older
   * state that the store still shows: no other writer has overwritten the client's changes.
   */
  readonly versions: readonly string[];
}

/** The note that an id is no longer valid for a client. */
export interface Tombstone {
  /** When the session was ended, or its id retired, in epoch milliseconds. */
  readonly at: number;
  /** Whether the id was retired, so that the session goes on under another one. */
  readonly isRetired: boolean;
  /** With a grace: the token of the successor, and the instant until which the old token stands for it. */
  readonly successor?: { readonly token: string; readonly until: number };
}

/** Names a session. The id is unknown if the session was ended without being loaded. */
export interface Subject {
  readonly token: string;
  readonly id?: string | undefined;
}

/** The recent writes that a client presented for one session, in one cookie or several. */
export interface PresentedWrites extends RecentWrites {
  readonly id?: string | undefined;
  /** The number of cookies: more than one if several responses were under way at once. */
  readonly cookies: number;
  readonly tombstone?: Tombstone | undefined;
}

/** The recent writes of a client that presents none. */
export const NO_WRITES: PresentedWrites = {
  changes: new Map(),
  lastSeenAt: 0,
  isComplete: false,
  versions: [],
  cookies: 0,
};

/**
 * About as many versions as one client sees within the window. A dropped version costs a write that was not needed.
 */
const MAX_VERSIONS = 12;

/**
 * Whether a change is later than another one. If both have the same instant, it does not matter which one wins, as long
 * as all places agree.
 */
export function isLater(one: FieldChange, two: FieldChange): boolean {
  return one.at === two.at ? rank(one.text) > rank(two.text) : one.at > two.at;
}

/** The order of changes with the same instant: unknown texts, then removed ones, then texts in their order. */
function rank(text: string | null | undefined): string {
  return text === undefined ? "" : text === null ? "0" : `1${text}`;
}

/** Merges the recent writes of several cookies about one session. The later change of each field wins. */
export function mergeWrites(all: readonly RecentWrites[]): RecentWrites {
  const changes = new Map<string, FieldChange>();
  let lastSeenAt = 0;
  let isComplete = false;
  for (const writes of all) {
    for (const [name, change] of writes.changes) {
      const known = changes.get(name);
      if (known === undefined || isLater(change, known)) changes.set(name, change);
    }
    lastSeenAt = Math.max(lastSeenAt, writes.lastSeenAt);
    isComplete ||= writes.isComplete;
  }
  isComplete &&= [...changes.values()].every(({ text }) => text !== undefined);
  const versions = [...new Set(all.flatMap((writes) => writes.versions))].slice(0, MAX_VERSIONS);
  return { changes, lastSeenAt, isComplete, versions };
}
