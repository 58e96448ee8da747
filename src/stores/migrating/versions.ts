/**
 * Versions. The version of a session also says which store it comes from, and whether the version of that store is a number.
 *
 * @module
 */
import type { RecordVersion } from "../../core/store.ts";

/** Where a session is: not moved yet, moved a moment ago, or in the new store alone. */
export type Place = "from" | "moved" | "to";

const LETTERS = { from: "f", moved: "m", to: "t" } as const;

/** The version of a session in a place. */
export function tag(place: Place, version: RecordVersion): RecordVersion {
  return `${LETTERS[place]}${typeof version === "number" ? "n" : "s"}${version}`;
}

/** As `tag`, for the answer of a store. */
export function tagged(place: Place, answer: RecordVersion | "conflict"): RecordVersion | "conflict" {
  return answer === "conflict" ? answer : tag(place, answer);
}

/** The place of a version, and the version as the store there knows it. */
export function untagged(tagged: RecordVersion): { readonly place: Place; readonly version: RecordVersion } {
  const text = String(tagged);
  const version = text.slice(2);
  const place = text[0] === "f" ? "from" : text[0] === "m" ? "moved" : "to";
  return { place, version: text[1] === "n" ? Number(version) : version };
}
