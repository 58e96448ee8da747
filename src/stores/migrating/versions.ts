/**
 * The version of a session also says which store it comes from.
 *
 * @module
 */
import type { RecordVersion } from "../../core/store.ts";

/** Where a session is: not moved yet, moved a moment ago, or in the new store alone. */
export type Place = "from" | "moved" | "to";

/** The version of a session in a place. An answer that is a conflict stays as it is. */
export function tagged(place: Place, answer: RecordVersion | "conflict"): RecordVersion | "conflict" {
  return answer === "conflict" ? answer : JSON.stringify([place, answer]);
}

/** The place of a version, and the version as the store there knows it. */
export function untagged(version: RecordVersion): readonly [place: Place, version: RecordVersion] {
  return JSON.parse(String(version));
}
