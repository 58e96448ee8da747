import fc from "fast-check";
import { type ClockPlan, clockPlans } from "../setup/clocks.ts";

/** One call of a handler. */
export type Call =
  | { readonly call: "get" | "has" | "pull" | "delete"; readonly key: string }
  | { readonly call: "all" | "keys" | "clear" | "count" | "count twice" | "append" | "mutate" | "keepFlash" }
  | { readonly call: "create" | "id" | "info" | "save" | "destroy" | "touch" }
  /** The handler throws. */
  | { readonly call: "fail" }
  /** Sets a value that only this call sets, or one that several requests set. */
  | { readonly call: "set"; readonly key: string; readonly isOwn: boolean }
  | { readonly call: "flash"; readonly key: string }
  /** `grace` in seconds. */
  | { readonly call: "regenerate"; readonly grace: number; readonly reauthenticated: boolean }
  /** In seconds. */
  | { readonly call: "setTimeouts"; readonly idle?: number; readonly absolute?: number };

/** One request of one browser. */
export interface Visit {
  readonly server: number;
  readonly browser: number;
  /** The browser's cookie, the first id that the browser ever received, or an id that was never issued. */
  readonly presents: "cookie" | "first id" | "made-up id";
  readonly calls: readonly Call[];
}

/** Requests that may overlap. `later` seconds pass before them, and `meanwhile` seconds while they are being served, in true time. */
export interface Round {
  readonly later: number;
  readonly meanwhile: number;
  readonly visits: readonly Visit[];
}

/** Rounds of requests on servers with these clocks. `turns` decides which of several waiting calls goes on. */
export interface Program {
  readonly clocks: readonly ClockPlan[];
  readonly rounds: readonly Round[];
  readonly turns: readonly number[];
}

/** In seconds. The pauses of a program can exceed each of them, even on clocks that are ten minutes apart. */
export const IDLE = 3000;
export const TOUCH = 300;
export const ABSOLUTE = 10_000;

const SERVERS = 3;

/** `set` uses `a` and `b`, `flash` uses `a` and `note`, and updates use the others. */
const key = fc.constantFrom("a", "b", "n", "list", "note");

const dataCall: fc.Arbitrary<Call> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ call: fc.constantFrom("count", "append", "count twice", "mutate") }) },
  {
    weight: 3,
    arbitrary: fc.record({ call: fc.constant("set"), key: fc.constantFrom("a", "b"), isOwn: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ call: fc.constantFrom("get", "get", "has", "pull", "delete"), key }) },
  { weight: 2, arbitrary: fc.record({ call: fc.constant("flash"), key: fc.constantFrom("a", "note") }) },
  { weight: 2, arbitrary: fc.record({ call: fc.constantFrom("all", "keys", "keepFlash", "clear") }) },
  { weight: 2, arbitrary: fc.record({ call: fc.constantFrom("create", "id", "info", "touch") }) },
  { weight: 3, arbitrary: fc.record({ call: fc.constant("save") }) },
  {
    weight: 1,
    arbitrary: fc.record(
      {
        call: fc.constant("setTimeouts"),
        idle: fc.constantFrom(1500, 12_000),
        absolute: fc.constantFrom(4000, 30_000),
      },
      { requiredKeys: ["call"] },
    ),
  },
);

const endingCall: fc.Arbitrary<Call> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ call: fc.constant("destroy") }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant("fail") }) },
  {
    weight: 4,
    arbitrary: fc.record({
      call: fc.constant("regenerate"),
      grace: fc.constantFrom(0, 0, 30, 900),
      reauthenticated: fc.boolean(),
    }),
  },
);

const anyCall = fc.oneof({ weight: 5, arbitrary: dataCall }, { weight: 1, arbitrary: endingCall });

const visitOf = (call: fc.Arbitrary<Call>): fc.Arbitrary<Visit> =>
  fc.record({
    server: fc.nat(SERVERS - 1),
    browser: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(1) }),
    presents: fc.oneof(
      { weight: 8, arbitrary: fc.constant("cookie") },
      { weight: 1, arbitrary: fc.constant("first id") },
      { weight: 1, arbitrary: fc.constant("made-up id") },
    ),
    calls: fc.array(call, { minLength: 1, maxLength: 5 }),
  });

const roundOf = (visits: fc.Arbitrary<Visit[]>): fc.Arbitrary<Round> =>
  fc.record({
    later: fc.constantFrom(0, 0, 0, 1, 310, 29, 61, 901, 1600, 2950, 3700, 10_001),
    meanwhile: fc.constantFrom(0, 0, 0, 0, 0, 31, 310, 700, 3700),
    visits,
  });

const alone = roundOf(fc.array(visitOf(anyCall), { minLength: 1, maxLength: 1 }));
const together = (call: fc.Arbitrary<Call>): fc.Arbitrary<Round> =>
  roundOf(fc.array(visitOf(call), { minLength: 1, maxLength: 3 }));
const BEGINNING: Round = {
  later: 0,
  meanwhile: 0,
  visits: [{ server: 0, browser: 0, presents: "cookie", calls: [{ call: "count" }, { call: "flash", key: "note" }] }],
};

/** Most programs begin with a session. */
const programsOf = (round: fc.Arbitrary<Round>): fc.Arbitrary<Program> =>
  fc.record({
    clocks: fc.array(clockPlans, { minLength: SERVERS, maxLength: SERVERS }),
    rounds: fc
      .tuple(
        fc.constantFrom([], [BEGINNING], [BEGINNING], [BEGINNING]),
        fc.array(round, { minLength: 1, maxLength: 4 }),
      )
      .map(([beginning, others]) => [...beginning, ...others]),
    turns: fc.array(fc.nat(11), { minLength: 10, maxLength: 80, size: "max" }),
  });

/** Programs whose requests may overlap in any way. */
export const programs: fc.Arbitrary<Program> = programsOf(together(anyCall));

/** Programs in which a request that retires or ends an id is the only one at that time. */
export const programsWithPeacefulEnds: fc.Arbitrary<Program> = programsOf(fc.oneof(together(dataCall), alone));
