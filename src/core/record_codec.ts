import type { MaybePromise } from "./maybe_promise.ts";
import { type Fields, METADATA_FIELD, SEALED_FIELD } from "./record_fields.ts";
import type { Operation } from "./repository.ts";

/** The seam between fields and what the store sees of them. `encryption()` is one. Only here is the id known beside the store key. */
export interface RecordCodec {
  /** The fields as they are stored under `key`. The metadata field stays as it is. */
  seal(fields: Fields, id: string, key: string, op: Operation): MaybePromise<Fields>;
  /** The fields as they were, or null if these are not what `seal` gave for this id and key. */
  open(fields: Fields, id: string, key: string, op: Operation): MaybePromise<Fields | null>;
}

/** Leaves records as they are. An encrypted record is refused: without its data it would look empty. */
export const PLAIN: RecordCodec = {
  seal: (fields) => fields,
  open: (fields) => (fields.has(SEALED_FIELD) && fields.has(METADATA_FIELD) ? null : fields),
};
