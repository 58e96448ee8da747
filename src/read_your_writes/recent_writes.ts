/**
 * What a client has recently seen of a session, and how several cookies are merged.
 *
 * @module
 */

/** The last change of a field. */
export interface FieldChange {
  /** The instant of the change, in epoch milliseconds. It is later than every change that its writer had seen. */
  readonly at: number;
  /** The text of the field; null if it was removed; undefined if the text had no room in the cookie. */
  readonly text: string | null | undefined;
}

/** What a client has recently seen of a session. */
export interface RecentWrites {
  readonly changes: ReadonlyMap<string, FieldChange>;
  readonly lastSeenAt: number;
  /** Whether nothing of the session is older: it began recently, and each of its fields is among the changes. */
  readonly isComplete: boolean;
  /**
   * The versions of the record that the client has seen, the last one first. A record of such a version is only late.
   */
  readonly versions: readonly string[];
}

/** What a client knows of an id that is over. */
export interface Tombstone {
  /** When the session was ended, or its id retired, in epoch milliseconds. */
  readonly at: number;
  /** Whether the id was retired, so that the session goes on under another one. */
  readonly isRetired: boolean;
  /** With a grace: the token that took over, and the last instant at which the old one leads there. */
  readonly successor?: { readonly token: string; readonly until: number };
}

/** The session that something is about. The id is unknown if the session was ended without being loaded. */
export interface Subject {
  readonly token: string;
  readonly id?: string | undefined;
}

/** What a client presented of one session, in one recent-writes cookie or several. */
export interface PresentedWrites extends RecentWrites {
  readonly id?: string | undefined;
  /** The number of cookies: more than one if several responses were under way at once. */
  readonly cookies: number;
  readonly tombstone?: Tombstone | undefined;
}

/** What a client presents that has seen nothing recently. */
export const NO_WRITES: PresentedWrites = {
  changes: new Map(),
  lastSeenAt: 0,
  isComplete: false,
  versions: [],
  cookies: 0,
};

/**
 * As many versions as one client sees within the window. A version that is dropped costs a write that was not needed.
 */
const MOST_VERSIONS = 12;

/** Whether a change comes after another one. Of two at one instant, any may win if all places agree. */
export function isLater(one: FieldChange, two: FieldChange): boolean {
  return one.at === two.at ? rank(one.text) > rank(two.text) : one.at > two.at;
}

/** Unknown, then removed, then the texts in their order. */
function rank(text: string | null | undefined): string {
  return text === undefined ? "" : text === null ? "0" : `1${text}`;
}

/** Merges what several cookies hold of one session. The later change of each field counts. */
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
  const versions = [...new Set(all.flatMap((writes) => writes.versions))].slice(0, MOST_VERSIONS);
  return { changes, lastSeenAt, isComplete, versions };
}
