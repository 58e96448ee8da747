import { chain, type MaybePromise } from "./maybe_promise.ts";
import { type Difference, type Fields, METADATA_FIELD, SEALED_FIELD, withChanges } from "./record_fields.ts";
import type { Operation } from "./repository.ts";

/**
 * The seam between fields and their stored form. `encryption()` is one. Only a codec is given both the id and the store key.
 * It does not get the field of the metadata, which the core needs to read a record: the text of that field is the last
 * argument, for a codec that binds what it makes to it.
 */
export interface RecordCodec {
  /** The fields as they are stored under `key`. */
  seal(fields: Fields, id: string, key: string, op: Operation, metadata: string): MaybePromise<Fields>;
  /** The original fields, or null if `seal` did not make these for this id, key and metadata. */
  open(fields: Fields, id: string, key: string, op: Operation, metadata: string): MaybePromise<Fields | null>;
}

const NO_METADATA: Difference = new Map([[METADATA_FIELD, null]]);

/** Seals all fields but the metadata. Without a codec, they are stored as they are. */
export function sealFields(
  codec: RecordCodec | undefined,
  fields: Fields,
  id: string,
  key: string,
  op: Operation,
): MaybePromise<Fields> {
  if (codec === undefined) return fields;
  const metadata = fields.get(METADATA_FIELD) ?? "";
  const data = withChanges(fields, NO_METADATA);
  return chain(codec.seal(data, id, key, op, metadata), (sealed) =>
    // The metadata stand first in the text, so that a lookup of them does not search the sealed fields.
    new Map([[METADATA_FIELD, metadata], ...sealed]).set(METADATA_FIELD, metadata),
  );
}

/**
 * Opens the fields of a record that has metadata. Without a codec, an encrypted record is rejected: its data cannot be
 * read, so the session would look empty.
 */
export function openFields(
  codec: RecordCodec | undefined,
  fields: Fields,
  id: string,
  key: string,
  op: Operation,
): MaybePromise<Fields | null> {
  if (codec === undefined) return fields.has(SEALED_FIELD) ? null : fields;
  return codec.open(withChanges(fields, NO_METADATA), id, key, op, fields.get(METADATA_FIELD) ?? "");
}
