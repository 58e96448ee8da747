import { CLOCK_SKEW } from "../core/expiry.ts";
import type { SessionStore } from "../core/store.ts";

/**
 * How many times the vendor's number a write counts as recent. Workers KV says "60 seconds or more"
 * (https://developers.cloudflare.com/kv/concepts/how-kv-works/#consistency), so the number alone would be too little.
 */
const MARGIN = 2;
/** In seconds, for a store that does not say: that of Workers KV. */
const DEFAULT_STALENESS = 60;

/**
 * How long a write counts as recent, in milliseconds. Everything here that depends on time follows from the one window
 * of the store.
 */
export interface RecentWindow {
  /** How long another place may show an older state, and how long the client keeps its cookie. */
  readonly length: number;
  /**
   * How old the client's writes may seem to a server. Each instant comes from the clock of another server, so it is the
   * window and the skew. The client's own clock ends the cookie before.
   */
  readonly accepted: number;
  /**
   * How long a record keeps the marks of its changes. A mark must outlive each older write of its field that a client
   * may still present to another server, or an old cookie that is played again could undo the newer change.
   */
  readonly marked: number;
}

/** The window of a store. */
export function windowOf({ traits }: SessionStore): RecentWindow {
  const length = MARGIN * (traits.staleness ?? DEFAULT_STALENESS) * 1000;
  return { length, accepted: length + CLOCK_SKEW, marked: length + 2 * CLOCK_SKEW };
}
