import fc from "fast-check";
import { type Decision, decisions } from "../history_program.ts";

/** The capabilities of all servers, and the clocks. */
export interface Setting {
  /** The mode of `deviceBound`, and that of `dpop`. */
  readonly browsers: "offer" | "require";
  readonly clients: "offer" | "require";
  readonly hasSecrets: boolean;
  readonly signedIds: boolean;
  readonly encryption: boolean;
  /** In seconds. */
  readonly rotateEvery: number | null;
  /** Whether a browser registers the same key again at each login. Chromium makes another one. */
  readonly reusesKeys: boolean;
  /** How many seconds the clock of each server is ahead. */
  readonly ahead: readonly number[];
  /** How many seconds the clock of the header client is ahead. */
  readonly clientAhead: number;
}

/** What the handler of one request does. `form` makes a CSRF token, and `post` verifies one. */
export type Act =
  | { readonly does: "read" | "add" | "log out" | "form" }
  /** With the last token of the owner, with the one before it, or with that of another owner. */
  | { readonly does: "post"; readonly of: "own" | "older" | "other" }
  /** `grace` in seconds. */
  | { readonly does: "log in" | "renew"; readonly grace: number };

/** What somebody without the owner's key does with what they have copied. */
export type Deed =
  /** Copies the cookies of a browser, or the id of the header client. */
  | { readonly does: "copy"; readonly owner: number }
  /** Puts a session that the thief has begun into a browser, as a sister host of an older browser can. */
  | { readonly does: "plant"; readonly owner: number }
  /** Sends what was copied: all cookies, the session cookie alone, or the id in the place of the other transport. */
  | {
      readonly does: "present";
      readonly copy: number;
      readonly part: "all" | "id" | "id elsewhere";
      readonly act: "read" | "add" | "renew";
      /** Whether a proof of the thief's own key goes with it. */
      readonly proves: boolean;
    }
  /** Sends a request of an owner again, which the network may have lost: unchanged, to another path, with another method, or with other cookies. */
  | {
      readonly does: "repeat";
      readonly message: number;
      readonly change: "nothing" | "path" | "method" | "cookies" | "key";
      readonly copy: number;
    };

/** A request of an owner, or a deed of the thief, at one of the servers. */
export type Visit = { readonly server: number } &
  /** What the network loses of the first request that the act leads to. The thief sees the request all the same. */
  (
    | {
        readonly by: "owner";
        readonly owner: number;
        readonly act: Act;
        readonly loses: "nothing" | "request" | "response";
      }
    | { readonly by: "thief"; readonly deed: Deed }
  );

/** Visits that meet, `later` true seconds after those before. Afterwards each owner reads at the server `audit`, if there is one. */
export interface Round {
  readonly later: number;
  readonly visits: readonly Visit[];
  readonly audit: number | null;
}

/** A program: what owners and a thief do on which servers, the order of events, and what fails. */
export interface Program {
  readonly setting: Setting;
  /** Replaces the random numbers of the library. */
  readonly seed: number;
  readonly rounds: readonly Round[];
  readonly decisions: readonly Decision[];
}

/** In seconds. */
export const IDLE = 6000;
export const LIFETIME = 600;
export const NONCE_LIFETIME = 300;
/** docs/device-bound.md: the second cookie ends so early "that servers whose clocks are five minutes apart agree". */
const MAX_APART = 300;

export const SERVERS = 3;
/** The owners 0 and 1 are browsers with DBSC. The owner 2 is a client that sends its id in a header, with DPoP. */
export const BROWSERS = 2;
export const OWNERS = 3;

const server = fc.nat(SERVERS - 1);
const owner = fc.nat(OWNERS - 1);
const grace = fc.constantFrom(0, 0, 0, 10);

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ does: fc.constantFrom<"read" | "add">("read", "add") }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant<"log in">("log in"), grace }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant<"renew">("renew"), grace }) },
  { weight: 1, arbitrary: fc.constant({ does: "log out" }) },
  { weight: 2, arbitrary: fc.constant({ does: "form" }) },
  {
    weight: 2,
    arbitrary: fc.record({ does: fc.constant<"post">("post"), of: fc.constantFrom("own", "own", "older", "other") }),
  },
);

const deed: fc.Arbitrary<Deed> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ does: fc.constant<"copy">("copy"), owner }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant<"plant">("plant"), owner: fc.nat(BROWSERS - 1) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constant<"present">("present"),
      copy: fc.nat(7),
      part: fc.constantFrom("all", "all", "all", "id", "id elsewhere"),
      act: fc.constantFrom("read", "read", "read", "add", "renew"),
      proves: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constant<"repeat">("repeat"),
      message: fc.nat(6),
      change: fc.constantFrom("nothing", "nothing", "path", "path", "method", "cookies", "cookies", "key"),
      copy: fc.nat(3),
    }),
  },
);

const loses = fc.constantFrom<("nothing" | "request" | "response")[]>(
  ...Array<"nothing">(8).fill("nothing"),
  "request",
  "response",
);

const visit: fc.Arbitrary<Visit> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ by: fc.constant<"owner">("owner"), server, owner, act, loses }) },
  { weight: 2, arbitrary: fc.record({ by: fc.constant<"thief">("thief"), server, deed }) },
);

/** In seconds: around the tolerance of a repeated proof, and around the lives of a second cookie, of a nonce and of a proof. */
const PAUSES = [0, 0, 0, 1, 11, 59, 61, 130, 290, 310, 590, 610, 1250];

const rounds: fc.Arbitrary<Round[]> = fc.array(
  fc.record({
    later: fc.constantFrom(...PAUSES),
    visits: fc.array(visit, { minLength: 1, maxLength: 4 }),
    audit: fc.option(server, { freq: 2 }),
  }),
  { minLength: 3, maxLength: 9, size: "max" },
);

const setting: fc.Arbitrary<Setting> = fc.record({
  browsers: fc.constantFrom("offer", "offer", "require"),
  clients: fc.constantFrom("require", "require", "offer"),
  hasSecrets: fc.boolean(),
  signedIds: fc.boolean(),
  encryption: fc.boolean(),
  rotateEvery: fc.constantFrom(null, null, null, 120, 400),
  reusesKeys: fc.boolean(),
  ahead: fc.oneof(
    { weight: 1, arbitrary: fc.constant([0, 0, 0]) },
    { weight: 2, arbitrary: clocks(0, 0, 1, -1, 61, -61, 140, -140) },
    { weight: 1, arbitrary: clocks(0, 298, -298, 1000, -1000) },
  ),
  clientAhead: fc.constantFrom(0, 0, 0, 90, -1000, 1000),
});

function clocks(...seconds: number[]): fc.Arbitrary<number[]> {
  return fc.array(fc.constantFrom(...seconds), { minLength: SERVERS, maxLength: SERVERS });
}

/** All owners sign in. Most programs begin so. */
const beginning: Round = {
  later: 0,
  visits: Array.from({ length: OWNERS }, (_, owner) => ({
    by: "owner",
    server: 0,
    owner,
    act: { does: "log in", grace: 0 },
    loses: "nothing",
  })),
  audit: 0,
};

/** Random programs. */
export const programs: fc.Arbitrary<Program> = fc.record({
  setting,
  seed: fc.nat(2 ** 31 - 1),
  rounds: fc
    .tuple(fc.constantFrom([], [beginning], [beginning], [beginning]), rounds)
    .map(([first, others]) => [...first, ...others]),
  decisions,
});

/** Whether the clocks of the servers agree as well as the documentation asks for. */
export function areClocksRight({ ahead }: Setting): boolean {
  return Math.max(...ahead) - Math.min(...ahead) <= MAX_APART;
}

/** A visit in words. */
export function visitInWords(visit: Visit): string {
  const what = visit.by === "owner" ? { ...visit.act, loses: visit.loses } : visit.deed;
  const details = Object.entries(what).map(([name, value]) => (name === "does" ? String(value) : `${name} ${value}`));
  return `${visit.by === "owner" ? `owner ${visit.owner}` : "the thief"} at server ${visit.server}: ${details.join(", ")}`;
}

/** A program as a list of steps. */
export function programInWords({ setting, rounds }: Program): string {
  const lines = [`setting: ${JSON.stringify(setting)}`];
  for (const { later, visits, audit } of rounds) {
    lines.push(`${later} s later:`, ...visits.map((each) => `  ${visitInWords(each)}`));
    if (audit !== null) lines.push(`  each owner reads at server ${audit}`);
  }
  return lines.join("\n");
}
