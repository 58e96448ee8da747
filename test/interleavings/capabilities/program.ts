import fc from "fast-check";
import { type ClockPlan, clockPlans, MAX_CLOCK_ERROR, RIGHT } from "../../setup/clocks.ts";
import type { Sweeping } from "../../setup/recording_engine.ts";
import { type Decision, decisions } from "../history_program.ts";

/** The capabilities and the store of all servers. */
export interface Setting {
  /**
   * One that compares and sets, or Workers KV, where each server reads and writes in a place of its own. Or several comparing stores, between which
   * `migratingStore` moves the sessions.
   */
  readonly store: "comparing" | "eventual" | "moving";
  /** How the comparing store removes expired records. */
  readonly sweeping: Sweeping;
  readonly readYourWrites: boolean;
  readonly users: UsersSetting | null;
  /** Whether `deviceBound` offers keys. The browsers have no DBSC, so their sessions must be as without it. */
  readonly deviceBound: boolean;
  readonly signedIds: boolean;
  readonly encryption: boolean;
  readonly rotateEvery: { readonly seconds: number; readonly onReuse: "reject" | "destroy" } | null;
  /** Missing for the default of the options `persist` and `onStoreError`. */
  readonly persist?: "after-response";
  readonly onStoreError?: "anonymous";
  /** How many plugins of a user there are. */
  readonly ownPlugins: number;
  /** Which order of the plugins. */
  readonly order: number;
  /** The clock of each server. */
  readonly clocks: readonly ClockPlan[];
  /** How many seconds a write and a deletion take to reach other places, where the store is eventual. */
  readonly delay: number;
  readonly deleteDelay: number;
}

/** The options of `userSessions`. */
export interface UsersSetting {
  readonly limit: number | null;
  readonly onLimit: "revoke-oldest" | "refuse";
  readonly hasVersions: boolean;
  readonly hasIndex: boolean;
}

/** What the handler of one request does. */
export type Act =
  | { readonly does: "read" | "add" | "begin" | "log out" | "start over" | "leave the user" | "renew, save and fail" }
  | { readonly does: "change the password" | "end all" | "end the others" | "end by the index" | "end by the handle" }
  | { readonly does: "set"; readonly key: Key; readonly saves: boolean }
  /** `grace` in seconds. */
  | { readonly does: "renew"; readonly grace: number }
  | {
      readonly does: "log in";
      readonly user: User;
      readonly grace: number;
      /** Whether the user keeps the contents of an anonymous session. */
      readonly keeps: boolean;
      readonly saves: boolean;
    };

export type Key = "left" | "right";
export type User = "ada" | "eve";

/** One request. */
export interface Visit {
  readonly browser: number;
  readonly server: number;
  /**
   * The cookies of the browser. Or a session cookie that the browser has held, or holds, as a thief may have copied it, or as a page may present it that was
   * open before a login. Or such a copy with another last character.
   */
  readonly presents: "cookies" | "copy" | "forged copy";
  /** Which of the session cookies is copied. */
  readonly copy: number;
  readonly act: Act;
  /** Whether the handler answers with a redirect. */
  readonly redirects?: boolean;
}

/**
 * Requests that meet, `later` true seconds after the requests before. `meanwhile` seconds pass while they are served. Afterwards each browser reads its
 * session at the server `audit`, if there is one.
 */
export interface Round {
  readonly later: number;
  readonly meanwhile: number;
  readonly visits: readonly Visit[];
  readonly audit: number | null;
  /** Before the round, all servers are replaced by servers in this phase of a migration. */
  readonly phase?: Phase;
  /** Which engine rejects each call during the round. */
  readonly down?: number;
  /** Whether the engine that is down answers loads, such as a replica. */
  readonly isReadable?: boolean;
}

/**
 * The phases of a migration: the first engine alone; `migratingStore(first, second)`; back to the first one; on to the third one before the second move
 * has ended; and the engine alone to which the sessions moved.
 */
export type Phase = "first" | "moving" | "back" | "on" | "end";

/** A program: what browsers do on which servers, the order of events, and what fails. */
export interface Program {
  readonly setting: Setting;
  /** Replaces the random numbers of the library. */
  readonly seed: number;
  readonly rounds: readonly Round[];
  readonly decisions: readonly Decision[];
}

/** In seconds. The clocks of two servers may be 600 s apart. */
export const ABSOLUTE = 20_000;
export const IDLE = 3000;
export const TOUCH = 300;
const MAX_SKEW = 2 * MAX_CLOCK_ERROR;

export const SERVERS = 3;
export const BROWSERS = 3;

const simply = (does: Exclude<Act["does"], "set" | "renew" | "log in">): fc.Arbitrary<Act> => fc.constant({ does });
const grace = fc.constantFrom(0, 0, 10);

/** What handlers do, beside reading and adding. Each program chooses some of it, so that these meet more often. */
const ACTS: readonly fc.Arbitrary<Act>[] = [
  fc.record({ does: fc.constant("set"), key: fc.constantFrom<Key>("left", "right"), saves: fc.boolean() }),
  fc.record({
    does: fc.constant("log in"),
    user: fc.constantFrom<User>("ada", "ada", "eve"),
    grace,
    keeps: fc.boolean(),
    saves: fc.boolean(),
  }),
  fc.record({ does: fc.constant("renew"), grace }),
  simply("begin"),
  simply("log out"),
  simply("start over"),
  simply("leave the user"),
  simply("renew, save and fail"),
  // Twice, because it matters only while the user has two sessions.
  simply("change the password"),
  simply("change the password"),
  simply("end all"),
  simply("end the others"),
  simply("end by the index"),
  simply("end by the handle"),
];

/** In seconds. */
const PAUSES = [0, 1, 11, 61, 130, 310, 700, 1_100, IDLE - TOUCH - MAX_SKEW - 100, IDLE + 1, IDLE + MAX_SKEW + 1];

const server = fc.nat(SERVERS - 1);

/** What happens in a program, the pauses between its rounds, and how many of ten requests present a copy of a cookie. */
interface Theme {
  readonly acts: readonly fc.Arbitrary<Act>[];
  readonly pauses: readonly number[];
  readonly copies: number;
}

const anyTheme: fc.Arbitrary<Theme> = fc.record({
  acts: fc.subarray([...ACTS], { minLength: 2, maxLength: 6 }),
  pauses: fc.subarray(PAUSES, { minLength: 2, maxLength: 4 }),
  copies: fc.constantFrom(0, 1, 3, 5),
});
/** Ids that are renewed by age, and copies of them that are used later. */
const useOfCopies: fc.Arbitrary<Theme> = fc.record({
  acts: fc.subarray([...ACTS], { maxLength: 1 }),
  pauses: fc.subarray([61, 130, 310, 700], { minLength: 1 }),
  copies: fc.constantFrom(2, 4),
});

/** Rounds in which the same few things happen again and again. */
const rounds: fc.Arbitrary<Round[]> = fc
  .oneof({ weight: 2, arbitrary: anyTheme }, { weight: 1, arbitrary: useOfCopies })
  .chain(({ acts, pauses, copies }) => {
    const read = { weight: 2, arbitrary: fc.record({ does: fc.constantFrom<"read" | "add">("read", "add", "add") }) };
    const act = fc.oneof(read, ...acts.map((arbitrary) => ({ weight: 2, arbitrary })));
    const round = fc.record({
      later: fc.constantFrom(0, ...pauses),
      meanwhile: fc.constantFrom(0, 0, 0, 0, 5, 61),
      visits: fc.array(visitOf(act, copies), { minLength: 1, maxLength: 5 }),
      audit: fc.option(server, { freq: 1 }),
    });
    return fc.array(round, { minLength: 2, maxLength: 8, size: "max" });
  });

function visitOf(act: fc.Arbitrary<Act>, copies: number): fc.Arbitrary<Visit> {
  const browser = fc.constantFrom(0, 0, 1, BROWSERS - 1);
  const own = { browser, server, presents: fc.constant<Visit["presents"]>("cookies"), copy: fc.constant(0), act };
  const copied = {
    browser,
    server,
    presents: fc.constantFrom<Visit["presents"]>("copy", "copy", "copy", "copy", "forged copy"),
    copy: fc.nat(5),
    act: fc.record({ does: fc.constantFrom<"read" | "add" | "log out">("read", "read", "read", "add", "log out") }),
  };
  return fc.oneof({ weight: 10 - copies, arbitrary: fc.record(own) }, { weight: copies, arbitrary: fc.record(copied) });
}

const setting: fc.Arbitrary<Setting> = fc.record({
  store: fc.constantFrom("comparing", "eventual"),
  sweeping: fc.constantFrom("instant", "time to live", "never"),
  readYourWrites: fc.constantFrom(true, true, true, false),
  users: fc.option(
    fc.record({
      limit: fc.constantFrom(null, 1, 2),
      onLimit: fc.constantFrom("revoke-oldest", "refuse"),
      hasVersions: fc.constantFrom(true, true, false),
      hasIndex: fc.boolean(),
    }),
    { freq: 5 },
  ),
  deviceBound: fc.constantFrom(true, false, false),
  signedIds: fc.boolean(),
  encryption: fc.boolean(),
  rotateEvery: fc.option(
    fc.record({ seconds: fc.constantFrom(120, 400), onReuse: fc.constantFrom("reject", "destroy") }),
    { freq: 3 },
  ),
  ownPlugins: fc.constantFrom(0, 1, 1, 2),
  order: fc.nat(23),
  clocks: fc.oneof(
    { weight: 1, arbitrary: fc.constant([RIGHT, RIGHT, RIGHT]) },
    { weight: 1, arbitrary: fc.array(clockPlans, { minLength: SERVERS, maxLength: SERVERS }) },
  ),
  delay: fc.constantFrom(0, 20, 60),
  deleteDelay: fc.constantFrom(10, 60),
});

/** Logins at the same time, of browsers and users. */
const beginning: fc.Arbitrary<Round[]> = fc
  .constantFrom<readonly User[]>(
    [],
    ["ada"],
    ["ada", "ada"],
    ["ada", "ada", "ada"],
    ["ada", "ada", "ada"],
    ["ada", "eve", "ada"],
  )
  .map((users) => {
    const visits = users.map((user, browser): Visit => {
      const act: Act = { does: "log in", user, grace: 0, keeps: false, saves: false };
      return { browser, server: 0, presents: "cookies", copy: 0, act };
    });
    return visits.length === 0 ? [] : [{ later: 0, meanwhile: 0, visits, audit: 0 }];
  });

/** Random programs. Most of them begin with logins. */
export const programs: fc.Arbitrary<Program> = fc.record({
  setting,
  seed: fc.nat(2 ** 31 - 1),
  rounds: fc.tuple(beginning, rounds).map(([first, others]) => [...first, ...others]),
  decisions,
});

/** How far the clocks of a setting can be apart, in seconds. */
export function skewOf({ clocks }: Setting): number {
  if (clocks.some(({ drift, back }) => drift !== 0 || back !== null)) return MAX_SKEW;
  const ahead = clocks.map((clock) => clock.ahead);
  return Math.max(...ahead, 0) - Math.min(...ahead, 0);
}

/** What a visit does, in words. */
export function visitInWords({ browser, server, presents, copy, act }: Visit): string {
  const { does, ...how } = act;
  const details = Object.entries(how).map(([name, value]) => (value === true ? name : `${name} ${value}`));
  const what = [does, ...details.filter((each) => !each.endsWith("false"))].join(", ");
  return `browser ${browser}${presents === "cookies" ? "" : `'s ${presents} ${copy}`} at server ${server}: ${what}`;
}

/** A program as a list of steps. */
export function programInWords({ setting, rounds }: Program): string {
  const { clocks, ...capabilities } = setting;
  const lines = [`setting: ${JSON.stringify(capabilities)}`, `clocks: ${JSON.stringify(clocks)}`];
  for (const { later, meanwhile, visits, audit, phase, down, isReadable } of rounds) {
    if (phase !== undefined) lines.push(`all servers are replaced: ${phase}`);
    if (down !== undefined) lines.push(`the engine ${down} is down${isReadable === true ? " for writes" : ""}:`);
    lines.push(`${later} s later${meanwhile > 0 ? `, while ${meanwhile} s pass` : ""}:`);
    lines.push(...visits.map((each) => `  ${visitInWords(each)}`));
    if (audit !== null) lines.push(`  each browser reads at server ${audit}`);
  }
  return lines.join("\n");
}
