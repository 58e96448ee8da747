/**
 * The form in which recent writes are sealed in a cookie.
 *
 * @module
 */
import { byteLength } from "../core/record_size.ts";
import { BESIDE_TEXT } from "../crypto/aes_gcm.ts";
import type { FieldChange, RecentWrites, Subject, Tombstone } from "./recent_writes.ts";

/** The content of one cookie about one session. */
export interface CookieContent extends Subject {
  readonly writes?: RecentWrites;
  readonly tombstone?: Tombstone;
}

/**
 * In characters. Browsers keep 4 096 octets of a cookie (RFC 6265bis, 5.7). The client sends this cookie with each
 * request beside the session cookie, so it is smaller.
 */
const MAX_SEALED_LENGTH = 3072;
/** In bytes. */
const MAX_TEXT_LENGTH = Math.floor(((MAX_SEALED_LENGTH - BESIDE_TEXT) / 4) * 3);

/** Instants are written as the difference to `now`, the instant at which the cookie was made. */
interface CookieText {
  readonly token: string;
  /** Absent if it is the token. */
  readonly id?: string | undefined;
  readonly now: number;
  readonly tombstone?: Tombstone | undefined;
  readonly seen?: number;
  readonly complete?: boolean;
  readonly versions?: readonly string[];
  readonly fields?: readonly FieldRow[];
}

type FieldRow = readonly [name: string, at: number, text?: string | null];

/** The text of a cookie. */
export function cookieText({ token, id, writes, tombstone }: CookieContent, now: number): string {
  const subject = { token, id: id === token ? undefined : id, now };
  if (writes === undefined) return JSON.stringify({ ...subject, tombstone });
  const head = { ...subject, seen: writes.lastSeenAt - now, versions: writes.versions };
  const fields = fieldRows(writes, now, MAX_TEXT_LENGTH - sizeOf({ ...head, complete: false, fields: [] }));
  // If a name had no room, no text had room either.
  const complete = writes.isComplete && fields.every(({ length }) => length === 3);
  return JSON.stringify({ ...head, complete, fields } satisfies CookieText);
}

/**
 * Changes as rows that fit into the cookie. The largest texts are left out first. If no texts are left, the oldest
 * changes are left out: a place that lacks an old change lacks later ones as well, and the later ones show that its
 * state is too old.
 */
function fieldRows({ changes }: RecentWrites, now: number, space: number): FieldRow[] {
  let room = space;
  const newestFirst = [...changes].sort(([, one], [, two]) => two.at - one.at);
  const named = newestFirst.flatMap(([name, { at, text }]) => {
    const row: [string, number] = [name, at - now];
    const bare = sizeOf(row);
    // A text that is certainly too long need not be measured.
    const isLong = text === undefined || (text !== null && text.length > MAX_TEXT_LENGTH);
    room -= bare;
    return room < 0 ? [] : [{ row, text, more: isLong ? Infinity : sizeOf([...row, text]) - bare }];
  });
  const smallestFirst = named.sort((one, two) => one.more - two.more);
  return smallestFirst.map(({ row, text, more }): FieldRow => {
    if (text === undefined || more > room) return row;
    room -= more;
    return [...row, text];
  });
}

/** The size of the JSON text, with the comma that follows. */
function sizeOf(value: unknown): number {
  return byteLength(JSON.stringify(value)) + 1;
}

/**
 * The content of a cookie; null if it is too old. The shape is not checked, because this library has sealed the text.
 *
 * @param accepted The age up to which it is accepted, in milliseconds
 */
export function parseCookieText(text: string, now: number, accepted: number): CookieContent | null {
  const parsed: CookieText = JSON.parse(text);
  if (now - parsed.now >= accepted) return null;
  const { token, id = token, tombstone, seen = 0, fields = [], versions = [] } = parsed;
  if (tombstone !== undefined) return { token, id, tombstone };
  const changes = new Map<string, FieldChange>();
  for (const [name, at, value] of fields)
    if (now - parsed.now - at < accepted) changes.set(name, { at: parsed.now + at, text: value });
  const isComplete = parsed.complete === true && changes.size === fields.length;
  return { token, id, writes: { changes, lastSeenAt: parsed.now + seen, isComplete, versions } };
}
