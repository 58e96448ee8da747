import { assertKnown } from "../core/known_options.ts";
import { oneOf } from "../core/options/simple_checks.ts";
import type { Operation } from "../core/repository.ts";
import { optionalSecrets, type Secrets } from "../crypto/secrets.ts";
import { type ProofLifetime, proofLifetime } from "./bound_cookie.ts";
import type { SessionScope } from "./messages.ts";
import { type SignaturesOf, signaturesUnder } from "./signatures.ts";

/** How sessions are bound to the browser's device. All are optional. */
export interface DeviceBoundOptions<Rest extends unknown[] = never[]> {
  /**
   * With `"offer"`, browsers that cannot bind a session keep it as before. With `"require"`, they lose it when the
   * first proof, which each browser gets at login, is no longer valid.
   *
   * @default {"offer"}
   */
  readonly mode?: "offer" | "require" | undefined;
  /**
   * The path under which the browser registers and refreshes, as the browser sees it: `/dbsc/start` and
   * `/dbsc/refresh`.
   *
   * @default {"/dbsc"}
   */
  readonly path?: string | undefined;
  /**
   * How long a proof is valid, in seconds: a copied cookie is rejected afterwards. The bound cookie's `Max-Age` is 300
   * seconds less because servers' clocks may differ, or half the lifetime if that is more. Below 420, a page in
   * constant use needs more than the six signatures in nine minutes that Chromium allows a site.
   *
   * @default {600}
   */
  readonly lifetime?: number | undefined;
  /**
   * Secrets that sign challenges and bound cookies, in addition to the secret that each record keeps: at least 32 bytes
   * each, the current one first. With them, a reader of the store who has also stolen a session cookie cannot make a
   * bound cookie.
   *
   * @default None
   */
  readonly secrets?: Secrets;
  /**
   * Whether a request that begins a session or gives it a new id may lead to an offer:
   * `(request) => new URL(request.url).pathname === "/login"`. Sessions of other requests need no proof in either mode.
   *
   * @default All
   */
  readonly offerOn?: ((request: Request, ...rest: Rest) => boolean) | undefined;
  /**
   * Hosts whose pages may make the browser refresh, beside the session's own, such as `app.example.com` for an API on
   * another host of the site, or `*.example.com` for all.
   *
   * @default None
   */
  readonly refreshInitiators?: readonly string[] | undefined;
  /** Paths whose requests the browser sends without waiting for a proof, such as `/assets`; each begins with `/`. @default None */
  readonly exclude?: readonly string[] | undefined;
}

/** Options with their defaults, and the values that are computed from them. */
export interface DeviceBoundSettings {
  readonly isRequired: boolean;
  readonly scope: SessionScope;
  readonly lifetime: ProofLifetime;
  readonly signaturesOf: SignaturesOf;
  /** Whether the request of an operation may lead to an offer. */
  readonly mayOffer: (op: Operation) => boolean;
}

const OPTIONS = ["mode", "path", "lifetime", "secrets", "offerOn", "refreshInitiators", "exclude"];
/** A day, in seconds: a longer lifetime would protect from nothing. */
const MAX_LIFETIME = 86_400;

/** The settings that options give. @throws {TypeError | RangeError} If an option is unknown or of the wrong kind */
export function settingsOf<Rest extends unknown[]>(options: DeviceBoundOptions<Rest>): DeviceBoundSettings {
  assertKnown(options, OPTIONS, "deviceBound");
  const { path = "/dbsc", lifetime = 600, offerOn, refreshInitiators = [], exclude = [] } = options;
  const isRequired = oneOf("deviceBound: mode", options.mode, ["offer", "require"]) === "require";
  const assert = (isRight: boolean, rule: string): void => {
    if (!isRight) throw new TypeError(`deviceBound: ${rule}`);
  };
  assert(
    /^(?:\/(?!\.{1,2}(?:\/|$))[\w.~-]+)+$/.test(String(path)),
    "path must begin with /, must not end with it, and has no . or .. between two of them",
  );
  assert(offerOn === undefined || typeof offerOn === "function", "offerOn must be a function");
  // A browser that does not understand one of these binds no session, and says nothing to the server.
  assert(isListOf(HOST, refreshInitiators), "refreshInitiators must be a list of hosts, such as app.example.com");
  assert(isListOf(PATH, exclude), "exclude must be a list of paths that begin with /");
  if (typeof lifetime !== "number" || !(lifetime >= 2 && lifetime <= MAX_LIFETIME))
    throw new RangeError(`deviceBound: lifetime must be a number of seconds from 2 to ${MAX_LIFETIME}`);
  return {
    isRequired,
    scope: { path, refreshInitiators, exclude },
    lifetime: proofLifetime(lifetime),
    signaturesOf: signaturesUnder(optionalSecrets(options)),
    mayOffer: ({ request, runtimeArguments }) =>
      offerOn === undefined || Reflect.apply(offerOn, undefined, [request, ...runtimeArguments]) === true,
  };
}

/** A host without a port, or an asterisk for all of them or all that end so. */
const HOST = /^(?:\*|(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*)$/i;
/** Visible characters of ASCII, without `#` and `?`. */
const PATH = /^\/[!"$->@-~]*$/;

function isListOf(shape: RegExp, value: unknown): boolean {
  return Array.isArray(value) && value.every((each) => typeof each === "string" && shape.test(each));
}
