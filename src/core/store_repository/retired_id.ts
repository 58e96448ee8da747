import type { RejectReason } from "../events.ts";
import { pad } from "../hash.ts";
import { chain, type MaybePromise } from "../maybe_promise.ts";
import type { Successor } from "../metadata.ts";
import type { Found } from "../repository.ts";

/** How long, in milliseconds, a request with a retired id counts as one that was under way when the id was retired. */
const UNDER_WAY = 60_000;
/** The most successors that are followed from one token. No client regenerates more often within one grace period. */
export const MAX_HOPS = 8;

/** Whether a request with a retired id may have been under way when the id was retired. */
export function isUnderWay(retiredAt: number, now: number): boolean {
  return now < retiredAt + UNDER_WAY;
}

/** The reason for rejecting a retired id that opens no successor. */
export function reasonOfRetired(retiredAt: number, now: number): RejectReason {
  return isUnderWay(retiredAt, now) ? "replaced" : "retired";
}

/**
 * Names the successor in the record of a retired session.
 *
 * @param key The store key of the successor
 * @param graceUntil The instant until which the old id opens the successor, in epoch milliseconds; null for never
 */
export function pointerTo(
  successor: Found,
  key: string,
  retired: Found,
  graceUntil: number | null,
  now: number,
): MaybePromise<Successor> {
  const pointer = { key, retiredAt: now };
  if (graceUntil === null) return pointer;
  const untilUsed = successor.metadata.unconfirmed === true ? { untilUsed: true as const } : {};
  return chain(pad(successor.id, retired.id), (id) => ({ ...pointer, grace: { id, until: graceUntil, ...untilUsed } }));
}
