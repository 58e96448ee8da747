import type { RecordFault, StoreFault } from "../../src/testing.ts";
import { type ClockPlan, MAX_CLOCK_ERROR, RIGHT } from "../setup/clocks.ts";
import type { Stores } from "./engines.ts";
import { type Call, type Kind, type Outcome, perform, type Plan, type PlannedFault, type Policy } from "./scene.ts";

export const STORE_FAULTS: readonly StoreFault[] = [
  "rejects",
  "is busy",
  "hangs",
  "does it but rejects",
  "does it twice",
  "answers late",
  "does it late",
  "wrong type",
];
export const RECORD_FAULTS: readonly RecordFault[] = ["truncated", "another key's", "newer schema", "future times"];
export const POLICIES: readonly Policy[] = ["throw", "anonymous"];

const AHEAD: ClockPlan = { ...RIGHT, ahead: MAX_CLOCK_ERROR };
const BEHIND: ClockPlan = { ...RIGHT, ahead: -MAX_CLOCK_ERROR };
/** The clocks of three servers: where the session begins, where the request arrives, and where the client tries again. */
export const CLOCKS = {
  "right": [RIGHT, RIGHT, RIGHT],
  "ahead, behind, ahead": [AHEAD, BEHIND, AHEAD],
  "behind, ahead, behind": [BEHIND, AHEAD, BEHIND],
} as const satisfies Readonly<Record<string, Plan["clocks"]>>;

/** One scene of the table. */
export interface Cell {
  readonly fault: PlannedFault & { readonly nth: number };
  readonly release: "before the retry" | "after the retry";
}

/** Every single fault that can happen to a kind of request. */
export async function cellsOf(
  kind: Kind,
  open: (now: () => number) => Stores,
  faults: readonly (StoreFault | RecordFault)[],
): Promise<Cell[]> {
  const { calls, broken } = await perform(kind, "throw", open, { faults: [], clocks: [RIGHT, RIGHT, RIGHT] });
  if (broken.length > 0) throw new Error(`Without any fault it breaks a promise: ${broken.join(", ")}`);
  return calls.flatMap((call, at) => {
    const nth = nthOf(calls, at);
    return faults
      .filter((fault) => call === "load" || !RECORD_FAULTS.some((each) => each === fault))
      .flatMap((fault): Cell[] => {
        const releases =
          fault === "does it late"
            ? (["before the retry", "after the retry"] as const)
            : (["before the retry"] as const);
        return releases.map((release) => ({ fault: { call, nth, fault }, release }));
      });
  });
}

/** How many calls of the same kind came before a call. */
export function nthOf(calls: readonly Call[], at: number): number {
  return calls.slice(0, at).filter((call) => call === calls[at]).length;
}

const AT_A_TIME = 32;

/** Runs a task for each item, several at a time, so that waiting for an engine costs little. */
export async function inTurns<Item, Result>(
  items: readonly Item[],
  task: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  for (let next = 0; next < items.length; next += AT_A_TIME)
    results.push(...(await Promise.all(items.slice(next, next + AT_A_TIME).map(task))));
  return results;
}

/** The scenes that broke a promise, with their outcomes. */
export function brokenOf<Scene extends object>(scenes: readonly (Scene & { readonly outcome: Outcome })[]): object[] {
  return scenes.filter(({ outcome }) => outcome.broken.length > 0);
}
