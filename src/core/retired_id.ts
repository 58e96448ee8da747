import type { RejectReason } from "./events.ts";

/**
 * How long, in milliseconds, a retired id is noted: the longest that a request which loaded the old session may take to log out, and by that
 * end the new one as well.
 */
export const RETIRED_LIFE = 600_000;
/** How long, in milliseconds, a request with a retired id counts as one that was under way when the id was retired. */
const UNDER_WAY = 60_000;
/** More regenerations than this within one grace period are not made by a client. */
export const LONGEST_CHAIN = 8;

/** Whether a request with a retired id may have been under way when the id was retired. */
export function isUnderWay(retiredAt: number, now: number): boolean {
  return now < retiredAt + UNDER_WAY;
}

/** Why a retired id is rejected, unless it leads to a successor. */
export function reasonOfRetired(retiredAt: number, now: number): RejectReason {
  return isUnderWay(retiredAt, now) ? "replaced" : "retired";
}
