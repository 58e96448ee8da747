/**
 * The clocks of servers. Each may be up to five minutes wrong, run too fast or too slow, and be set back once.
 *
 * @module
 */
import fc from "fast-check";

/** How far a clock may be wrong, in seconds: the limit in SECURITY.md. */
export const MAX_CLOCK_ERROR = 300;

/** How the clock of one server is wrong. */
export interface ClockPlan {
  /** How many seconds it is ahead at the beginning; negative if it is behind. */
  readonly ahead: number;
  /** How many seconds it gains in each true second. */
  readonly drift: number;
  /** When it is set back, in true seconds after the beginning, and by how many seconds; null for never. */
  readonly back: { readonly after: number; readonly by: number } | null;
}

/** A clock that shows the true time. */
export const RIGHT: ClockPlan = { ahead: 0, drift: 0, back: null };

/** Clocks that are right, or wrong in any way. */
export const clockPlans: fc.Arbitrary<ClockPlan> = fc.record({
  ahead: fc.constantFrom(0, 0, 1, -1, 45, -61, MAX_CLOCK_ERROR, -MAX_CLOCK_ERROR, MAX_CLOCK_ERROR, -MAX_CLOCK_ERROR),
  drift: fc.constantFrom(0, 0, 0, 0.01, -0.01, 0.2, -0.2),
  back: fc.option(fc.record({ after: fc.constantFrom(1, 30, 61, 300, 1200), by: fc.constantFrom(1, 30, 600) }), {
    freq: 3,
  }),
});

/** The clock of a server, in epoch milliseconds, computed from the true time. It is never wrong by more than five minutes. */
export function serverClock(trueNow: () => number, { ahead, drift, back }: ClockPlan): () => number {
  const beginning = trueNow();
  return () => {
    const now = trueNow();
    const elapsed = (now - beginning) / 1000;
    const putBack = back !== null && elapsed >= back.after ? back.by : 0;
    const wrong = Math.min(MAX_CLOCK_ERROR, Math.max(-MAX_CLOCK_ERROR, ahead + drift * elapsed - putBack));
    return now + Math.round(wrong * 1000);
  };
}
