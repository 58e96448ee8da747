import fc from "fast-check";
import { type ClockPlan, clockPlans } from "../setup/clocks.ts";
import type { Sweeping } from "../setup/recording_engine.ts";
import type { Fate } from "./stage.ts";

/** One call of a handler. */
export type Act =
  | "read"
  /** Appends the name of the call to a list, with `update`. */
  | "append"
  /** Sets a value under a key that only this call uses. */
  | "set"
  /** Sets one of two values under a key that all calls share. */
  | "on"
  | "off"
  | "touch"
  | "save"
  | "regenerate"
  | "regenerate with a grace"
  | "destroy"
  | "bind"
  | "unbind"
  | "revokeAll"
  | "revokeAll but this"
  /** The handler throws. */
  | "fail"
  /** An update after the response. */
  | "append late";

/** One request. */
export interface HistoryRequest {
  readonly server: number;
  readonly client: number;
  /** The client's cookie, or the first id that it ever had. Somebody else may have planted that one. */
  readonly presents: "cookie" | "first id";
  readonly acts: readonly Act[];
}

/** Requests that meet, `later` true seconds after the requests before. */
export interface HistoryRound {
  readonly later: number;
  readonly requests: readonly HistoryRequest[];
}

/** One decision: which of the waiting calls goes on, and what becomes of it. */
export interface Decision {
  readonly who: number;
  readonly fate: Fate;
}

/** One history: the requests, the clocks, and the order of events. */
export interface HistoryProgram {
  readonly clocks: readonly ClockPlan[];
  readonly engineClock: ClockPlan;
  readonly sweeping: Sweeping;
  readonly seed: number;
  readonly isBound: boolean;
  readonly rounds: readonly HistoryRound[];
  readonly decisions: readonly Decision[];
}

/** In seconds. The clocks of two servers may be 600 s apart. */
export const IDLE = 3000;
export const TOUCH = 300;
export const GRACE = 60;

const SERVERS = 3;
const CLIENTS = 2;

/**
 * In seconds: the longest pause after which every session still lives, and the shortest pause after which every session has
 * expired, by any clock.
 */
export const SURE_TO_LIVE = IDLE - TOUCH - 600;
export const SURE_TO_END = IDLE + 600;

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom<Act>("read", "append", "append", "set", "on", "off") },
  { weight: 3, arbitrary: fc.constantFrom<Act>("touch", "save", "save") },
  { weight: 3, arbitrary: fc.constantFrom<Act>("regenerate", "regenerate with a grace", "destroy") },
  { weight: 2, arbitrary: fc.constantFrom<Act>("bind", "bind", "unbind", "revokeAll", "revokeAll but this") },
  { weight: 1, arbitrary: fc.constantFrom<Act>("fail", "append late") },
);

const request: fc.Arbitrary<HistoryRequest> = fc.record({
  server: fc.nat(SERVERS - 1),
  client: fc.constantFrom(0, 0, 0, CLIENTS - 1),
  presents: fc.constantFrom("cookie", "cookie", "cookie", "cookie", "first id"),
  acts: fc.array(act, { minLength: 1, maxLength: 5 }),
});

/** Calls that many requests make at the same time on one session, most of them in one process. */
const contendedAct = fc.constantFrom<Act>("append", "append", "on", "on", "off", "off", "set", "save", "touch", "read");
const contended: fc.Arbitrary<HistoryRequest> = fc.record({
  server: fc.constantFrom(0, 0, 0, 1),
  client: fc.constant(0),
  presents: fc.constant("cookie"),
  acts: fc.array(contendedAct, { minLength: 1, maxLength: 3 }),
});

const round: fc.Arbitrary<HistoryRound> = fc.record({
  later: fc.constantFrom(0, 0, 0, 1, 59, 61, 310, 650, 1500, SURE_TO_END + 1),
  requests: fc.oneof(
    { weight: 3, arbitrary: fc.array(request, { minLength: 1, maxLength: 5 }) },
    { weight: 1, arbitrary: fc.array(contended, { minLength: 3, maxLength: 8 }) },
  ),
});

const noFaults = fc.constant<Fate>("done");
const late = fc.constantFrom<Fate>("done", "done", "done", "done, answered later");
const fewFaults = fc.oneof(
  { weight: 30, arbitrary: late },
  { weight: 1, arbitrary: fc.constantFrom<Fate>("rejects", "done, rejects", "done twice", "times out") },
);
const crashes = fc.oneof(
  { weight: 30, arbitrary: late },
  { weight: 1, arbitrary: fc.constantFrom<Fate>("crashes", "done, crashes") },
);
const everything = fc.oneof(
  { weight: 20, arbitrary: late },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Fate>("rejects", "done, rejects", "done twice", "times out", "crashes", "done, crashes"),
  },
);

const decisionsWith = (fate: fc.Arbitrary<Fate>): fc.Arbitrary<Decision[]> =>
  fc.array(fc.record({ who: fc.nat(20), fate }), { minLength: 20, maxLength: 120, size: "max" });

/** Decisions for a whole program: many programs without faults, some with few faults, and some with many. */
export const decisions: fc.Arbitrary<Decision[]> = fc.oneof(
  { weight: 1, arbitrary: decisionsWith(noFaults) },
  { weight: 2, arbitrary: decisionsWith(late) },
  { weight: 2, arbitrary: decisionsWith(fewFaults) },
  { weight: 1, arbitrary: decisionsWith(crashes) },
  { weight: 1, arbitrary: decisionsWith(everything) },
);

/** Random histories. */
export const historyPrograms: fc.Arbitrary<HistoryProgram> = fc.record({
  clocks: fc.array(clockPlans, { minLength: SERVERS, maxLength: SERVERS }),
  engineClock: clockPlans,
  sweeping: fc.constantFrom("instant", "time to live", "never"),
  seed: fc.nat(2 ** 31 - 1),
  isBound: fc.boolean(),
  rounds: fc.array(round, { minLength: 1, maxLength: 3 }),
  decisions,
});
