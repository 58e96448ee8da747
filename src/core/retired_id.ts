/**
 * How long, in milliseconds, a retired id is noted: the longest that a request which loaded the old session may take to log out, and by that
 * end the new one as well.
 */
export const RETIRED_LIFE = 600_000;
/** How long, in milliseconds, a request with a retired id counts as one that was under way when the id was retired. */
export const UNDER_WAY = 60_000;
/** More regenerations than this within one grace period are not made by a client. */
export const LONGEST_CHAIN = 8;
