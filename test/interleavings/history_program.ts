import fc from "fast-check";
import { type ClockPlan, clockPlans } from "../setup/clocks.ts";
import type { Sweeping } from "../setup/recording_engine.ts";
import type { Fate } from "./stage.ts";

/** One call of a handler. */
export type Act =
  | "read"
  /** An update that appends the name of the call to a list. */
  | "append"
  /** A value under a key of its own. */
  | "set"
  /** One of two values under a key that all share. */
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
  /** The client's cookie, or the first id that it ever had, which somebody may have planted. */
  readonly presents: "cookie" | "first id";
  readonly acts: readonly Act[];
}

/** Requests that meet, some true seconds after the ones before. */
export interface HistoryRound {
  readonly later: number;
  readonly requests: readonly HistoryRequest[];
}

/** What is decided when somebody is to go on: who, and what becomes of the call. */
export interface Decision {
  readonly who: number;
  readonly fate: Fate;
}

/** One history: who does what, on which clocks, and in which order it happens. */
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

/** The longest pause after which every session lives, and the shortest after which none does, on whatever clock, in seconds. */
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

/** What many do at once in one session, most of them in one process. */
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

/** Random histories. */
export const historyPrograms: fc.Arbitrary<HistoryProgram> = fc.record({
  clocks: fc.array(clockPlans, { minLength: SERVERS, maxLength: SERVERS }),
  engineClock: clockPlans,
  sweeping: fc.constantFrom("instant", "time to live", "never"),
  seed: fc.nat(2 ** 31 - 1),
  isBound: fc.boolean(),
  rounds: fc.array(round, { minLength: 1, maxLength: 3 }),
  decisions: fc.oneof(
    { weight: 1, arbitrary: decisionsWith(noFaults) },
    { weight: 2, arbitrary: decisionsWith(late) },
    { weight: 2, arbitrary: decisionsWith(fewFaults) },
    { weight: 1, arbitrary: decisionsWith(crashes) },
    { weight: 1, arbitrary: decisionsWith(everything) },
  ),
});
