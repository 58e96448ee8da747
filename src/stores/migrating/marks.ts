/**
 * The mark: a field of a record in the new store. It says that the session was moved a moment ago, or that it has ended.
 *
 * @module
 */
import { CAPABILITY, withChanges } from "../../core/record_fields.ts";
import type { SessionRecord, StoredRecord, Write } from "../../core/store.ts";

const MARK = `${CAPABILITY}with-session.migrating`;
const ENDED = "ended";
const MOVED: ReadonlyMap<string, string> = new Map([[MARK, "moved"]]);
const UNMARKED: ReadonlyMap<string, null> = new Map([[MARK, null]]);

/** Whether a record has a mark. */
export function isMarked({ fields }: SessionRecord): boolean {
  return fields.has(MARK);
}

/** Whether a record is the marker of an ended session. */
export function isMarker({ fields }: SessionRecord): boolean {
  return fields.get(MARK) === ENDED;
}

/** The record of a session that was moved a moment ago. */
export function movedRecord({ fields, lastSeenAt }: SessionRecord): SessionRecord {
  return { fields: withChanges(fields, MOVED), lastSeenAt };
}

/** A record without its mark. */
export function unmarkedRecord({ fields, lastSeenAt }: SessionRecord): SessionRecord {
  return { fields: withChanges(fields, UNMARKED), lastSeenAt };
}

/** A write that also removes the mark. */
export function unmarkingWrite(write: Write): Write {
  return { ...write, changed: new Map([...write.changed, ...UNMARKED]) };
}

/** The write of the marker of an ended session, in place of a record if there is one. */
export function markerWrite(before: StoredRecord | null, now: number): Write {
  const changed = new Map<string, string | null>();
  for (const name of before?.fields.keys() ?? []) changed.set(name, null);
  changed.set(MARK, ENDED);
  const lastSeenAt = Math.max(now, before?.lastSeenAt ?? 0);
  return {
    id: crypto.randomUUID(),
    record: { fields: new Map([[MARK, ENDED]]), lastSeenAt },
    changed,
    expected: before?.version ?? null,
    expiresAt: lastSeenAt + MARKER_LIFE,
  };
}

/** In milliseconds. It must be longer than a call of a store takes: a move reads `from` right before it writes. */
const MARKER_LIFE = 600_000;
