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

/** A write of a record. */
export function writeOf(
  record: SessionRecord,
  before: Fields,
  expected: RecordVersion | null,
  expiresAt: number,
): Write {
  return { id: createWriteId(), record, changed: difference(before, record.fields), expected, expiresAt };
}

/** Whether a record marks its session as ended: it has an instant and no fields. */
export function isTombstone({ fields, lastSeenAt }: SessionRecord): boolean {
  // The check for a number comes first: a store may return anything, such as an object that cannot be compared.
  return Number.isFinite(lastSeenAt) && lastSeenAt > 0 && fields.get(METADATA_FIELD) === undefined && fields.size === 0;
}

/** The difference between two states of fields. */
export function difference(before: Fields, after: Fields): Difference {
  if (before === after) return NO_CHANGES;
  if (before === NO_FIELDS) return after;
  const known = RecordFields.is(after) ? after.changesSince(before) : undefined;
  if (known !== undefined) return known;
  const changed = new Map<string, string | null>();
  for (const [name, text] of after) if (before.get(name) !== text) changed.set(name, text);
  for (const name of before.keys()) if (!after.has(name)) changed.set(name, null);
  return changed;
}
