import { afterAll } from "vitest";
import { SEED } from "../setup/random.ts";

/** What a player reports of a program. */
interface Played {
  readonly sent: readonly unknown[];
  /** What happened, line by line. */
  readonly trace: readonly string[];
  /** The calls of the store, and how many of them failed. */
  readonly calls: number;
  readonly faults: number;
  readonly crashes: number;
}

/** How programs of one kind are played, judged and described. */
interface Kind<Program, Breaking, History extends Played> {
  readonly play: (program: Program, breaking?: Breaking) => Promise<History>;
  readonly judge: (history: History) => readonly string[];
  readonly inWords: (program: Program) => string;
  /** What is counted beside programs, requests, calls and crashes. */
  readonly count?: (history: History) => Readonly<Record<string, number>>;
}

/** For `fc`. Otherwise many programs would be short, and most would choose the first of several possibilities. */
export const UNBIASED = { unbiased: true };

/** A function that plays a program, and throws if it broke a promise. After the tests of a file, it prints how much was played. */
export function judged<Program, Breaking, History extends Played>({
  play,
  judge,
  inWords,
  count,
}: Kind<Program, Breaking, History>): (program: Program, breaking?: Breaking) => Promise<void> {
  const totals = new Map<string, number>();
  afterAll(() => console.log(`Seed ${SEED}: ${[...totals].map(([what, sum]) => `${sum} ${what}`).join(", ")}`));
  return async (program, breaking) => {
    const history = await play(program, breaking);
    const counts = {
      "programs": 1,
      "requests": history.sent.length,
      ...count?.(history),
      "calls of the store": history.calls,
      "calls that failed": history.faults,
      "processes that crashed": history.crashes,
    };
    for (const [what, number] of Object.entries(counts)) totals.set(what, (totals.get(what) ?? 0) + number);
    const violations = judge(history);
    if (violations.length > 0) throw new Error([...violations, "", inWords(program), "", ...history.trace].join("\n"));
  };
}
