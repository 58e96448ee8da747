import { CLOCK_SKEW } from "../core/expiry.ts";
import type { SessionStore } from "../core/store.ts";

/**
 * A write counts as recent for this many times the vendor's number. Workers KV says "60 seconds or more"
 * (https://developers.cloudflare.com/kv/concepts/how-kv-works/#consistency), so the number alone would be too little.
 */
const MARGIN = 2;
/** In seconds, for a store that does not declare its staleness: the number of Workers KV. */
const DEFAULT_STALENESS = 60;

/**
 * How long a write counts as recent, in milliseconds. All durations here follow from the one window of the store.
 */
export interface RecentWindow {
  /** How long another place may show an older state, and how long the client keeps its cookie. */
  readonly length: number;
  /**
   * The age up to which a server accepts the client's writes. Each instant comes from the clock of another server, so
   * this is the window and the skew. The client itself drops the cookie earlier, after the window.
   */
  readonly accepted: number;
  /**
   * How long a record keeps the marks of its changes. A mark must be kept until no server accepts an older write of its
   * field. Otherwise an old cookie that is replayed could undo the newer change.
   */
  readonly marked: number;
}

/** The window of a store. */
export function windowOf({ traits }: SessionStore): RecentWindow {
  const length = MARGIN * (traits.staleness ?? DEFAULT_STALENESS) * 1000;
  return { length, accepted: length + CLOCK_SKEW, marked: length + 2 * CLOCK_SKEW };
}
