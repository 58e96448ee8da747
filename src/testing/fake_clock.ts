/** A clock that moves only when a test moves it. */
export interface FakeClock {
  /** The time in epoch milliseconds. Pass it as the option `now`. */
  readonly now: () => number;
  /** Moves the time forward by a number of seconds, or back if it is negative. */
  readonly advance: (seconds: number) => void;
}

/**
 * A clock for tests. With it, a test need not wait for a session to expire.
 *
 * @param start The first time, in epoch milliseconds. Default: the current time
 * @returns The clock
 * @throws {RangeError} If `start` is not a number
 *
 * @example
 * ```ts
 * import { fakeClock } from "with-session/testing";
 *
 * const clock = fakeClock(0);
 * clock.advance(86_400);
 * clock.now(); // 86 400 000: a day later, also for withSession(handler, { now: clock.now })
 * ```
 */
export function fakeClock(start: number = Date.now()): FakeClock {
  if (!Number.isFinite(start)) throw new RangeError("fakeClock: start must be a number of milliseconds");
  let time = start;
  return {
    now: () => time,
    advance: (seconds) => {
      if (!Number.isFinite(seconds)) throw new RangeError("clock.advance: seconds must be a number");
      time += seconds * 1000;
    },
  };
}
