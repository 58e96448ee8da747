/** A clock that moves only when told. */
export interface FakeClock {
  /** The time in epoch milliseconds; give it as the option `now`. */
  readonly now: () => number;
  /** Moves the time forward, or back. */
  readonly advance: (seconds: number) => void;
}

/**
 * A clock for tests: nothing needs to wait for a session to expire.
 *
 * @param start Its first time, in epoch milliseconds; the current time if absent.
 *
 * @example
 * ```ts
 * import { fakeClock } from "with-session/testing";
 *
 * const clock = fakeClock(0);
 * clock.advance(86_400);
 * clock.now(); // 86 400 000: a day later; withSession(handler, { now: clock.now }) sees it too
 * ```
 */
export function fakeClock(start: number = Date.now()): FakeClock {
  let time = start;
  return {
    now: () => time,
    advance: (seconds) => {
      time += seconds * 1000;
    },
  };
}
