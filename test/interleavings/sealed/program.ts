import fc from "fast-check";
import { type ClockPlan, clockPlans, MAX_CLOCK_ERROR, RIGHT } from "../../setup/clocks.ts";
import type { Sweeping } from "../../setup/recording_engine.ts";
import { type Decision, decisions } from "../history_program.ts";

/** The options of all servers. */
export interface Setting {
  /** How the revocation store removes expired notes; null if there is none. */
  readonly revocation: Sweeping | null;
  readonly rotateEvery: { readonly seconds: number; readonly onReuse: "reject" | "destroy" } | null;
  readonly chunks: number;
  readonly onStoreError: "throw" | "anonymous";
  readonly persist: "before-response" | "after-response";
  /** Whether the servers change the secret, and the name of the cookie, in the steps of docs/deploying.md. */
  readonly changesSecret: boolean;
  readonly renames: boolean;
  /** The clock of each server. */
  readonly clocks: readonly ClockPlan[];
}

/** What the handler of one request does. */
export type Act =
  | { readonly does: "read" | "add" | "begin" | "log out" | "start over" | "touch" | "flash" | "pull" | "redirect" }
  | { readonly does: "fail" | "renew, save and fail" }
  | { readonly does: "set"; readonly saves: boolean }
  /** Sets a text of so many characters. */
  | { readonly does: "fill"; readonly length: number }
  /** `grace` in seconds. */
  | { readonly does: "renew"; readonly grace: number; readonly saves: boolean }
  | { readonly does: "log in"; readonly grace: number }
  /** Timeouts in seconds. */
  | { readonly does: "set timeouts"; readonly idle: number; readonly absolute: number };

/** One request. */
export interface Visit {
  readonly browser: number;
  readonly server: number;
  /** Which of the cookies that the browser has received is presented, as somebody may who has copied it; null for the cookies that it has now. */
  readonly copy: number | null;
  readonly act: Act;
}

/**
 * Requests that meet, `later` true seconds after the requests before. `meanwhile` seconds pass while they are served. Before that, the server `deploys` is
 * replaced by the next version of the program, if there is one. Afterwards each browser reads its session at the server `audit`, if there is one.
 */
export interface Round {
  readonly later: number;
  readonly meanwhile: number;
  readonly deploys: number | null;
  readonly visits: readonly Visit[];
  readonly audit: number | null;
}

/** A program: what browsers do on which servers, the order of events, and what fails. */
export interface Program {
  readonly setting: Setting;
  /** Replaces the random numbers of the library. */
  readonly seed: number;
  readonly rounds: readonly Round[];
  readonly decisions: readonly Decision[];
}

/** In seconds. The clocks of two servers may be 600 s apart. */
export const IDLE = 3000;
export const TOUCH = 300;
export const ABSOLUTE = 9000;
/** What "set timeouts" can set. */
const LONG_IDLE = 6000;
export const LONGEST = 15_000;
const MAX_SKEW = 2 * MAX_CLOCK_ERROR;

export const SERVERS = 3;
export const BROWSERS = 2;

const simply = (does: Exclude<Act["does"], "set" | "fill" | "renew" | "log in" | "set timeouts">): fc.Arbitrary<Act> =>
  fc.constant({ does });
const grace = fc.constantFrom(0, 0, 10);

/** What handlers do, beside reading and adding. Each program chooses some of it, so that these meet more often. */
const ACTS: readonly fc.Arbitrary<Act>[] = [
  fc.record({ does: fc.constant("set"), saves: fc.boolean() }),
  fc.record({ does: fc.constant("fill"), length: fc.constantFrom(10, 2500, 5000, 20_000) }),
  fc.record({ does: fc.constant("renew"), grace, saves: fc.boolean() }),
  fc.record({ does: fc.constant("log in"), grace }),
  fc.record({
    does: fc.constant("set timeouts"),
    idle: fc.constantFrom(IDLE / 2, IDLE, LONG_IDLE),
    absolute: fc.constantFrom(ABSOLUTE / 2, ABSOLUTE, LONGEST),
  }),
  simply("begin"),
  simply("log out"),
  simply("log out"),
  simply("start over"),
  simply("touch"),
  simply("flash"),
  simply("pull"),
  simply("redirect"),
  simply("fail"),
  simply("renew, save and fail"),
];

/** In seconds. */
const PAUSES = [
  0,
  1,
  11,
  61,
  130,
  310,
  700,
  IDLE - TOUCH - MAX_SKEW - 100,
  IDLE + 1,
  IDLE + MAX_SKEW + 1,
  LONG_IDLE - MAX_SKEW,
  ABSOLUTE + 1,
  LONGEST + MAX_SKEW + 1,
];

const server = fc.nat(SERVERS - 1);

const rounds: fc.Arbitrary<Round[]> = fc
  .record({
    acts: fc.subarray([...ACTS], { minLength: 2, maxLength: 6 }),
    pauses: fc.subarray(PAUSES, { minLength: 2, maxLength: 4 }),
    /** How many of ten requests present a copy. */
    copies: fc.constantFrom(0, 1, 3, 5),
  })
  .chain(({ acts, pauses, copies }) => {
    const read = fc.record({ does: fc.constantFrom<"read" | "add">("read", "add", "add") });
    const visit = fc.record({
      browser: fc.constantFrom(0, 0, 1),
      server,
      copy: fc.oneof({ weight: 10 - copies, arbitrary: fc.constant(null) }, { weight: copies, arbitrary: fc.nat(7) }),
      act: fc.oneof({ weight: 2, arbitrary: read }, ...acts.map((arbitrary) => ({ weight: 2, arbitrary }))),
    });
    const round = fc.record({
      later: fc.constantFrom(0, ...pauses),
      meanwhile: fc.constantFrom(0, 0, 0, 0, 5, 61),
      deploys: fc.option(server, { freq: 2 }),
      visits: fc.array(visit, { minLength: 1, maxLength: 5 }),
      audit: fc.option(server, { freq: 1 }),
    });
    return fc.array(round, { minLength: 2, maxLength: 9, size: "max" });
  });

const setting: fc.Arbitrary<Setting> = fc
  .record({
    revocation: fc.constantFrom(null, "instant", "time to live", "never"),
    rotateEvery: fc.option(
      fc.record({ seconds: fc.constantFrom(120, 400), onReuse: fc.constantFrom("reject", "destroy") }),
      { freq: 2 },
    ),
    chunks: fc.constantFrom(1, 3),
    onStoreError: fc.constantFrom("throw", "throw", "anonymous"),
    persist: fc.constantFrom("before-response", "after-response"),
    changesSecret: fc.boolean(),
    renames: fc.boolean(),
    clocks: fc.oneof(
      { weight: 1, arbitrary: fc.constant([RIGHT, RIGHT, RIGHT]) },
      { weight: 1, arbitrary: fc.array(clockPlans, { minLength: SERVERS, maxLength: SERVERS }) },
    ),
  })
  // docs/cookie-sessions.md: without `revocation`, "`rotateEvery` with `onReuse: "destroy"` is refused".
  .map((each) =>
    each.revocation === null && each.rotateEvery !== null
      ? { ...each, rotateEvery: { ...each.rotateEvery, onReuse: "reject" } }
      : each,
  );

/** Each browser begins a session. */
const BEGINNING: Round = {
  later: 0,
  meanwhile: 0,
  deploys: null,
  audit: null,
  visits: Array.from({ length: BROWSERS }, (_, browser) => ({
    browser,
    server: 0,
    copy: null,
    act: { does: "begin" },
  })),
};

/** Random programs. */
export const programs: fc.Arbitrary<Program> = fc.record({
  setting,
  seed: fc.nat(2 ** 31 - 1),
  rounds: rounds.map((others) => [BEGINNING, ...others]),
  decisions,
});

/** What a visit does, in words. */
export function visitInWords({ browser, server: at, copy, act }: Visit): string {
  const { does, ...how } = act;
  const details = Object.entries(how).map(([name, value]) => (value === true ? name : `${name} ${value}`));
  const what = [does, ...details.filter((each) => !each.endsWith("false"))].join(", ");
  return `browser ${browser}${copy === null ? "" : `'s copy ${copy}`} at server ${at}: ${what}`;
}

/** A program as a list of steps. */
export function programInWords({ setting: { clocks, ...options }, rounds: all }: Program): string {
  const lines = [`setting: ${JSON.stringify(options)}`, `clocks: ${JSON.stringify(clocks)}`];
  for (const { later, meanwhile, deploys, visits, audit } of all) {
    if (deploys !== null) lines.push(`server ${deploys} is replaced`);
    lines.push(`${later} s later${meanwhile > 0 ? `, while ${meanwhile} s pass` : ""}:`);
    lines.push(...visits.map((each) => `  ${visitInWords(each)}`));
    if (audit !== null) lines.push(`  each browser reads at server ${audit}`);
  }
  return lines.join("\n");
}
