/**
 * The field that marks a record of the new store: the session was moved a moment ago, or it has ended.
 *
 * @module
 */
import { CAPABILITY } from "../../core/record_fields.ts";
import type { StoredRecord, Write } from "../../core/store.ts";
import type { Place } from "./versions.ts";

/** The field that this store adds to records. */
export const MARK = `${CAPABILITY}with-session.migrating`;
export const ENDED = "ended";
export const MOVED: ReadonlyMap<string, string> = new Map([[MARK, "moved"]]);
export const UNMARKED: ReadonlyMap<string, null> = new Map([[MARK, null]]);

/** A record, and where its session is. */
export interface LocatedRecord {
  readonly place: Place | "ended";
  readonly record: StoredRecord;
}

/** Finds out from its mark what a record of the new store says. */
export function locate(record: StoredRecord): LocatedRecord {
  const mark = record.fields.get(MARK);
  return { place: mark === undefined ? "to" : mark === ENDED ? "ended" : "moved", record };
}

/** In milliseconds. No browser keeps a cookie for longer (RFC 6265bis, 5.5). */
const HIDDEN_LIFE = 400 * 86_400_000;

/** A write of a record that must stay as long as an older state may be in `from`. The session still ends by the timeouts in the record. */
export function hidingWrite(write: Write): Write {
  return { ...write, expiresAt: Math.max(write.expiresAt, write.record.lastSeenAt + HIDDEN_LIFE) };
}
