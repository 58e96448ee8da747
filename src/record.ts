import type { SessionRecord } from "./store.ts";

/**
 * What the core itself keeps in a record, beside the user's data: when the session began, its own
 * timeouts, and whether another id has taken its place.
 */
export interface Head {
  /** When the session began, in epoch milliseconds. */
  readonly createdAt: number;
  /** When the absolute timeout began: with the session, or at the last reauthentication. */
  readonly since: number;
  /** Names the write that stored this record, so that who got no answer can tell whether it was done. */
  readonly writtenBy?: string | undefined;
  /** The timeouts that `setTimeouts` gave this session, in seconds. */
  readonly timeouts?: OwnTimeouts | undefined;
  /** The session that took over when this one's id was regenerated. A record that has one is no session. */
  readonly successor?: Successor | undefined;
  /** Where the list of its subject names this session, if it is bound to one. */
  readonly bound?: Bound | undefined;
}

/** The entry of a session in the list of its subject. */
export interface Bound {
  /** The subject's name in store keys, which does not show it. */
  readonly subject: string;
  readonly page: number;
  /** The name of the entry, which stays when the id changes. */
  readonly token: string;
  /** Until when, in epoch milliseconds, the list is certain to be kept. */
  readonly until: number;
  /** The mark of the epoch in which the session was bound. */
  readonly epoch?: string | undefined;
}

/** Timeouts for one session alone, in seconds; what is absent follows the options. */
export interface OwnTimeouts {
  /** Without a request for so long, the session is over. */
  readonly idle?: number;
  /** So long after it began, the session is over; `false` for never. */
  readonly absolute?: number | false;
  /** The cookie's Max-Age; `null` for a cookie that goes with the browser. */
  readonly cookie?: number | null;
}

/** The pointer that a regenerated id leaves behind. */
export interface Successor {
  /** The new id, readable only with the old one, which the store never sees. */
  readonly sealedId: string;
  /** Until when, in epoch milliseconds, the old id still leads to the new session. */
  readonly graceUntil: number;
}

/** Why a record is no session: not readable, of another key, or written by a newer version of this library. */
export type Unreadable = "corrupt" | "misplaced" | "newer";

/** The field that holds the head. Data begin with `=` and flash values with `~`, so any key can be a name. */
export const HEAD_FIELD = "@";
/** The field that says which fields were changed of late, and when. Only records of eventually consistent stores have it. */
export const MARKS_FIELD = "#";
/** The field that holds the subject to which a session is bound. */
export const SUBJECT_FIELD = "^";
const FORMAT = 1;

/** The field of a session key. */
export function dataField(key: string): string {
  return `=${key}`;
}

/** The field of a flash value. */
export function flashField(key: string): string {
  return `~${key}`;
}

/** The session keys among the fields that begin with `sign`. */
export function* keysOf(fields: ReadonlyMap<string, string>, sign: "=" | "~"): Generator<string> {
  for (const name of fields.keys()) {
    if (name.startsWith(sign)) yield name.slice(1);
  }
}

/** The text of a head, bound to the key under which it will be stored. */
function headText(head: Head, key: string): string {
  return JSON.stringify({ ...head, format: FORMAT, key: binding(key) });
}

/** Fields to be stored, with their head among them. */
export function withHead(
  { fields, head }: { readonly fields: ReadonlyMap<string, string>; readonly head: Head },
  key: string,
): ReadonlyMap<string, string> {
  return new Map(fields).set(HEAD_FIELD, headText(head, key));
}

/** Reads the head of a record, or tells why it is none. Whatever a store returns, this does not throw. */
export function readHead(record: SessionRecord, key: string): Head | Unreadable {
  const head = parseHead(record);
  if (head === null) return "corrupt";
  if (typeof head.format === "number" && head.format > FORMAT) return "newer";
  if (head.format !== FORMAT || !isHead(head)) return "corrupt";
  return head.key === binding(key) ? head : "misplaced";
}

/** 64 bits of the key suffice to notice a mix-up; whoever can write to the store could forge any binding. */
function binding(key: string): string {
  return key.slice(0, 16);
}

function parseHead(record: SessionRecord): Record<string, unknown> | null {
  try {
    if (!Number.isFinite(record.lastSeenAt)) return null;
    const parsed: unknown = JSON.parse(record.fields.get(HEAD_FIELD) ?? "");
    return isObject(parsed) ? parsed : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isHead(head: Record<string, unknown>): head is Record<string, unknown> & Head {
  const { createdAt, since, timeouts, successor, bound } = head;
  return (
    Number.isFinite(createdAt) &&
    Number.isFinite(since) &&
    (timeouts === undefined || isOwnTimeouts(timeouts)) &&
    (successor === undefined || isSuccessor(successor)) &&
    (bound === undefined || isBound(bound))
  );
}

function isOwnTimeouts(value: unknown): value is OwnTimeouts {
  if (typeof value !== "object" || value === null) return false;
  const { idle, absolute, cookie }: OwnTimeouts = value;
  return (
    (idle === undefined || Number.isFinite(idle)) &&
    (absolute === undefined || absolute === false || Number.isFinite(absolute)) &&
    (cookie === undefined || cookie === null || Number.isFinite(cookie))
  );
}

function isSuccessor(value: unknown): value is Successor {
  if (typeof value !== "object" || value === null) return false;
  const { sealedId, graceUntil }: Partial<Successor> = value;
  return typeof sealedId === "string" && Number.isFinite(graceUntil);
}

function isBound(value: unknown): value is Bound {
  if (typeof value !== "object" || value === null) return false;
  const { subject, page, token, until, epoch }: Partial<Bound> = value;
  return (
    typeof subject === "string" &&
    Number.isSafeInteger(page) &&
    typeof token === "string" &&
    Number.isFinite(until) &&
    (epoch === undefined || typeof epoch === "string")
  );
}
