import { sha256 } from "../hash.ts";
import type { MaybePromise } from "../maybe_promise.ts";

/** The store key of an id: its SHA-256 in hexadecimal, so that a reader of the store learns no id. */
export function keyOfId(id: string): MaybePromise<string> {
  return sha256(id);
}
