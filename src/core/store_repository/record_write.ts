import { createWriteId } from "../session_id.ts";
import { type Difference, type Fields, METADATA_FIELD, NO_CHANGES, NO_FIELDS, RecordFields } from "../record_fields.ts";
import type { Found } from "../repository.ts";
import type { RecordVersion, SessionRecord, Write } from "../store.ts";

/** The facts that the store repository keeps about a session that it found. */
export interface Stored {
  readonly key: string;
  /** The fields as the store has them, which may be encrypted. */
  readonly fields: Fields;
}

/** The facts that the store repository kept in `Found.stored`. */
export function storedOf(found: Found): Stored {
  return found.stored as Stored;
}

/**
 * In milliseconds: 50 years. A program may give a timeout such as `Number.MAX_SAFE_INTEGER`, and engines refuse a record
 * that they would have to keep for too long: Workers KV for 68 years, Durable Objects beyond the year 2189.
 */
const LONGEST_LIFE = 50 * 365 * 86_400_000;

/** A write of a record. */
export function writeOf(
  record: SessionRecord,
  before: Fields,
  expected: RecordVersion | null,
  expiresAt: number,
): Write {
  const changed = difference(before, record.fields);
  const latest = record.lastSeenAt + LONGEST_LIFE;
  return { id: createWriteId(), record, changed, expected, expiresAt: Math.min(expiresAt, latest) };
}

/** Whether a record marks its session as ended: it has an instant and no fields. */
export function isTombstone({ fields, lastSeenAt }: SessionRecord): boolean {
  // The check for a number comes first: a store may return anything, such as an object that cannot be compared.
  return Number.isFinite(lastSeenAt) && lastSeenAt > 0 && fields.get(METADATA_FIELD) === undefined && fields.size === 0;
}

/** The difference between two states of fields. */
export function difference(before: Fields, after: Fields): Difference {
  if (before === after) return NO_CHANGES;
  const known = RecordFields.is(after) ? after.changesSince(before) : undefined;
  // Changes since no fields may remove a field that another change had added. A new record has nothing to remove.
  if (known !== undefined && (before !== NO_FIELDS || !removes(known))) return known;
  if (before === NO_FIELDS) return after;
  const changed = new Map<string, string | null>();
  for (const [name, text] of after) if (before.get(name) !== text) changed.set(name, text);
  for (const name of before.keys()) if (!after.has(name)) changed.set(name, null);
  return changed;
}

function removes(changed: Difference): boolean {
  for (const text of changed.values()) if (text === null) return true;
  return false;
}
