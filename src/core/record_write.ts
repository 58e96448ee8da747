import { createWriteId } from "./session_id.ts";
import { type Metadata, METADATA_FIELD, metadataText } from "./metadata.ts";
import { isRecordFields, type RecordFields, withChanges } from "./record_text.ts";
import type { Found } from "./repository.ts";
import type { RecordVersion, SessionRecord, Write } from "./store.ts";

type Fields = ReadonlyMap<string, string>;

/** The fields of a record without any. */
export const NO_FIELDS: Fields = new Map();

/** What the store repository keeps of a session that it found. */
export interface Stored {
  readonly key: string;
  /** The fields as the store has them, which may be encrypted. */
  readonly fields: Fields;
}

/** What the store repository kept in `Found.stored`. */
export function storedOf(found: Found): Stored {
  return found.stored as Stored;
}

/** A write of a record. What has changed is worked out only for a store that asks: one that keeps a whole record does not. */
export function writeOf(
  record: SessionRecord,
  before: Fields,
  expected: RecordVersion | null,
  expiresAt: number,
): Write {
  let changed: ReadonlyMap<string, string | null> | undefined;
  return {
    id: createWriteId(),
    record,
    get changed() {
      return (changed ??= difference(before, record.fields));
    },
    expected,
    expiresAt,
  };
}

/** Whether a record says that its session was ended: it has an instant, and no fields. */
export function isTombstone({ fields, lastSeenAt }: SessionRecord): boolean {
  // What a store answers may be anything: an object, say, that cannot be compared.
  return Number.isFinite(lastSeenAt) && lastSeenAt > 0 && fields.get(METADATA_FIELD) === undefined && fields.size === 0;
}

/** Fields with metadata among them, bound to the key under which they are stored. */
export function withMetadata(fields: Fields, metadata: Metadata, key: string): RecordFields {
  return withChanges(fields, new Map([[METADATA_FIELD, metadataText(metadata, key)]]));
}

/** What differs between two states: the new text of each changed field, and null for a removed one. */
export function difference(before: Fields, after: Fields): ReadonlyMap<string, string | null> {
  if (before === after) return NO_FIELDS;
  const known = isRecordFields(after) ? after.changesSince(before) : undefined;
  if (known !== undefined) return known;
  const changed = new Map<string, string | null>();
  for (const [name, text] of after) if (before.get(name) !== text) changed.set(name, text);
  for (const name of before.keys()) if (!after.has(name)) changed.set(name, null);
  return changed;
}
