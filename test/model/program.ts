import fc from "fast-check";

/** One call of a handler. */
export type Call =
  | { readonly call: "get" | "has" | "pull" | "delete"; readonly key: string }
  | { readonly call: "all" | "keys" | "clear" | "count" | "count twice" | "append" | "mutate" | "keepFlash" }
  | { readonly call: "start" | "id" | "info" | "save" | "destroy" | "touch" }
  /** A value of its own, or one that several requests set. */
  | { readonly call: "set"; readonly key: string; readonly isOwn: boolean }
  | { readonly call: "flash"; readonly key: string }
  /** `grace` in seconds. */
  | { readonly call: "regenerate"; readonly grace: number; readonly reauthenticated: boolean }
  /** In seconds. */
  | { readonly call: "setTimeouts"; readonly idle?: number; readonly absolute?: number };

/** One request of one browser. */
export interface Visit {
  readonly browser: number;
  /** The browser's cookie, the first id that any response ever gave it, or an id that nobody issued. */
  readonly presents: "cookie" | "first id" | "made-up id";
  readonly calls: readonly Call[];
}

/** Requests that may overlap, after the clock has moved; it may move once more while they are under way. */
export interface Round {
  readonly later: number;
  readonly meanwhile: number;
  readonly visits: readonly Visit[];
}

export type Program = readonly Round[];

/** In seconds; the clock moves past each of them. */
export const IDLE = 100;
export const TOUCH = 10;
export const ABSOLUTE = 1000;

/** Values lie under `a` and `b`, flash values under `a` and `note`; the others are for updates. */
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
  { weight: 2, arbitrary: fc.record({ call: fc.constantFrom("start", "id", "info", "touch") }) },
  { weight: 3, arbitrary: fc.record({ call: fc.constant("save") }) },
  {
    weight: 1,
    arbitrary: fc.record(
      { call: fc.constant("setTimeouts"), idle: fc.constantFrom(40, 400), absolute: fc.constantFrom(300, 3000) },
      { requiredKeys: ["call"] },
    ),
  },
);

const endingCall: fc.Arbitrary<Call> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ call: fc.constant("destroy") }) },
  {
    weight: 2,
    arbitrary: fc.record({
      call: fc.constant("regenerate"),
      grace: fc.constantFrom(0, 30),
      reauthenticated: fc.boolean(),
    }),
  },
);

const anyCall = fc.oneof({ weight: 5, arbitrary: dataCall }, { weight: 1, arbitrary: endingCall });

const visitOf = (call: fc.Arbitrary<Call>): fc.Arbitrary<Visit> =>
  fc.record({
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
    later: fc.constantFrom(0, 0, 0, 1, 11, 29, 31, 95, 101, 250, 1001),
    meanwhile: fc.constantFrom(0, 0, 0, 0, 0, 11, 31, 101),
    visits,
  });

const alone = roundOf(fc.array(visitOf(anyCall), { minLength: 1, maxLength: 1 }));
const together = (call: fc.Arbitrary<Call>): fc.Arbitrary<Round> =>
  roundOf(fc.array(visitOf(call), { minLength: 1, maxLength: 3 }));
const BEGINNING: Round = {
  later: 0,
  meanwhile: 0,
  visits: [{ browser: 0, presents: "cookie", calls: [{ call: "count" }, { call: "flash", key: "note" }] }],
};

/** Mostly there is a session to begin with. */
const rounds = (round: fc.Arbitrary<Round>): fc.Arbitrary<Program> =>
  fc
    .tuple(fc.constantFrom([], [BEGINNING], [BEGINNING], [BEGINNING]), fc.array(round, { minLength: 1, maxLength: 4 }))
    .map(([beginning, others]) => [...beginning, ...others]);

/** Programs whose requests overlap as they like. */
export const programs: fc.Arbitrary<Program> = rounds(together(anyCall));

/** Programs in which no other request is under way while an id is retired or ended. */
export const programsWithPeacefulEnds: fc.Arbitrary<Program> = rounds(fc.oneof(together(dataCall), alone));
