import type { MaybePromise } from "./maybe_promise.ts";
import { type Fields, METADATA_FIELD, SEALED_FIELD } from "./record_fields.ts";
import type { Operation } from "./repository.ts";

/**
 * The seam between fields and their stored form. `encryption()` is one. Only a codec is given both the id and the store key.
 */
export interface RecordCodec {
  /** The fields as they are stored under `key`. The metadata field stays as it is. */
  seal(fields: Fields, id: string, key: string, op: Operation): MaybePromise<Fields>;
  /** The original fields, or null if `seal` did not make these for this id and key. */
  open(fields: Fields, id: string, key: string, op: Operation): MaybePromise<Fields | null>;
}

/** Stores fields as they are. An encrypted record is rejected: its data cannot be read, so the session would look empty. */
export const PLAIN: RecordCodec = {
  seal: (fields) => fields,
  open: (fields) => (fields.has(SEALED_FIELD) && fields.has(METADATA_FIELD) ? null : fields),
};
