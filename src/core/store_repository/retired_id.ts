import type { RejectReason } from "../events.ts";

/**
 * How long, in milliseconds, the record of a retired id is kept. Within this time, a logout by a request that loaded
 * the old session also ends the new one.
 */
export const RETIRED_LIFE = 600_000;
/** How long, in milliseconds, a request with a retired id counts as one that was under way when the id was retired. */
const UNDER_WAY = 60_000;
/** The most successors that are followed from one token. No client regenerates more often within one grace period. */
export const LONGEST_CHAIN = 8;

/** Whether a request with a retired id may have been under way when the id was retired. */
export function isUnderWay(retiredAt: number, now: number): boolean {
  return now < retiredAt + UNDER_WAY;
}

/** The reason for rejecting a retired id that opens no successor. */
export function reasonOfRetired(retiredAt: number, now: number): RejectReason {
  return isUnderWay(retiredAt, now) ? "replaced" : "retired";
}
