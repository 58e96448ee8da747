import { type Codec, structuredCodec } from "./codec.ts";
import { type CompanionSealer, companionSealer } from "./companion.ts";
import { OPEN, type RecordLock, sealedRecords } from "./encryption.ts";
import type { Timeouts } from "./expiry.ts";
import type { SessionEvent } from "./observe.ts";
import type { Head } from "./record.ts";
import { isId, mintId } from "./session_id.ts";
import { PLAIN, signedForm, type WireForm } from "./signing.ts";
import type { Epoch, SubjectLimit } from "./roster.ts";
import type { Schema } from "./schema.ts";
import type { UntypedData } from "./session.ts";
import type { SessionStore, StoreTraits } from "./store.ts";
import { memoryStore } from "./stores/memory.ts";
import { assertFits, type CookieOptions, cookieTransport, DEFAULT_NAME, withoutPrefix } from "./transports/cookie.ts";
import { type HeaderOptions, headerTransport } from "./transports/header.ts";
import type { Transport } from "./transports/transport.ts";
import { SealedSessions } from "./vault.ts";

/** What can be chosen for the sessions of one wrapper, manager or middleware. All durations are in seconds. */
export interface SessionOptions<
  Data extends object = UntypedData,
  // oxlint-disable-next-line no-explicit-any -- what a runtime passes beside the request is the handler's to say
  Rest extends unknown[] = any[],
> {
  /**
   * Where sessions are kept, or a function of what the handler gets beside the request, such as a Worker's `env`. It
   * is called when a request first uses its session. `cookieStore()` keeps them with the client.
   *
   * @default {memoryStore()}
   */
  readonly store?: Place | ((...rest: Rest) => Place | Promise<Place>);
  /** The cookie's attributes, or `false` for no cookie. */
  readonly cookie?: CookieOptions | false;
  /** A header for clients without cookies. @default {false} */
  readonly header?: string | HeaderOptions | false;
  /** Where the id travels, in place of cookie and header; the first that presents one is believed. */
  readonly transports?: readonly Transport[];
  /** Without a request for so long, the session is over. @default {86_400} */
  readonly idleTimeout?: number;
  /** So long after it began, the session is over; `false` for never. @default {2_592_000} */
  readonly absoluteTimeout?: number | false;
  /**
   * The timeouts of an authentication assurance level of NIST SP 800-63B-4, 2: `"aal1"` is 30 days; `"aal2"` is 24 hours, and
   * an hour without a request; `"aal3"` is 12 hours, and 15 minutes. They are the longest that any session gets: the other options
   * and `setTimeouts` can only shorten them.
   */
  readonly nist?: "aal1" | "aal2" | "aal3";
  /** How old "last seen" may grow before a request writes it anew. @default A tenth of the idle timeout */
  readonly touchInterval?: number;
  /**
   * Secrets of at least 32 bytes each, the current one first: ids are signed with it, and those that none of them
   * signed are turned away before the store is asked. To change secrets, put the new one in front, and take the old
   * one out when its sessions are over.
   */
  readonly secrets?: readonly string[];
  /**
   * Whether a client that has cookies sees its own writes, and never an older state than it saw, although the store may
   * show an older one: what changed in the last two minutes comes and goes, sealed with `secrets`, in a companion cookie. `true`
   * is also for stores that promise strong reads and are read from replicas.
   *
   * @default Where the store is eventually consistent, and `secrets` are given
   */
  readonly readYourWrites?: boolean;
  /**
   * Whether records are encrypted (AES-256-GCM) under a key that only the id yields, and the current secret if there
   * is one: whoever has the store alone learns when sessions began and were used, but none of their data or keys.
   * Records that were stored before it was turned on, or off, are no sessions.
   *
   * @default {false}
   */
  readonly encrypt?: boolean;
  /**
   * `"same-origin"` answers 403, in place of the handler, to a request that could change something, that a page of another
   * origin caused, and whose session comes by cookie, or by a transport of one's own that does not say in `varyOn` where it looks.
   *
   * @default {false}
   */
  readonly guard?: "same-origin" | false;
  /** Whether the session is loaded when it is first used, or before the handler runs. @default {"lazy"} */
  readonly load?: "lazy" | "eager";
  /** A Standard Schema, checked on load and before data are stored. It must accept what it gives out. */
  readonly schema?: Schema<Data>;
  /** How one value becomes a text, and back. @default Structured values */
  readonly codec?: Codec;
  /**
   * Whether a response waits until its session is stored, or the storing of an existing session is left to the
   * runtime's `waitUntil`. Where there is none, it waits.
   *
   * @default {"before-response"}
   */
  readonly persist?: "before-response" | "after-response";
  /** Whether a failing store is an error, or the request goes on without a session. @default {"throw"} */
  readonly onStoreError?: "throw" | "anonymous";
  /** How long a store may take for one load or one commit, retries included. @default {5} */
  readonly storeTimeout?: number;
  /** How many sessions may be bound to one user at a time; no limit unless given. */
  readonly perSubject?: SubjectLimit;
  /**
   * The epoch of a user's credentials, which changes when they do: a counter that goes up with each new password, say. A
   * session that was bound in another epoch is none. It is asked whenever a bound session is loaded, so it should know
   * the answer without a database, or together with the user; it gets what the handler gets beside the request.
   */
  readonly epochOf?: (subject: string, ...rest: Rest) => Epoch | null | undefined | Promise<Epoch | null | undefined>;
  /** Hears what happens to sessions. What it throws is dropped. */
  readonly observe?: (event: SessionEvent) => void;
  /**
   * Makes an id: at least 22 characters of `A-Z a-z 0-9 - _`, and unguessable. It is told the request, where there
   * is one.
   *
   * @default 192 bits from the cryptographic generator
   */
  readonly generateId?: (request?: Request) => string | Promise<string>;
  /** The clock, in epoch milliseconds. @default {Date.now} */
  readonly now?: () => number;
}

/** What keeps sessions. */
export type Place = SessionStore | SealedSessions;

/** Every option with its value. */
export interface Settings {
  readonly store: Place | ((...rest: unknown[]) => Place | Promise<Place>);
  readonly secrets: readonly string[] | undefined;
  /** The name under which the client keeps the session. */
  readonly name: string;
  /** The cookie's name without its prefix; undefined if there is no cookie, or transports of one's own. */
  readonly cookieName: string | undefined;
  /** Throws `ERR_COOKIE_TOO_LARGE` if the client cannot keep such a text. */
  readonly assertFits: (text: string) => void;
  /** What seals companions, and for which stores there are any; undefined for none. */
  readonly companions: Companions | undefined;
  readonly isGuarded: boolean;
  readonly transports: readonly Transport[];
  readonly maxAge: number | null | undefined;
  readonly refreshes: boolean;
  readonly timeouts: Timeouts;
  /** The longest that the timeouts of one session may be, in seconds. */
  readonly limits: Limits;
  readonly isEager: boolean;
  readonly schema: Schema<unknown> | undefined;
  readonly codec: Codec;
  readonly persistsAfterResponse: boolean;
  readonly toleratesFailure: boolean;
  readonly storeTimeout: number;
  readonly perSubject: SubjectLimit | undefined;
  readonly epochOf:
    | ((subject: string, ...rest: unknown[]) => Epoch | null | undefined | Promise<Epoch | null | undefined>)
    | undefined;
  readonly observe: ((event: SessionEvent) => void) | undefined;
  /** The secrets that are to seal what no id yields a key for; undefined if that is not sealed. */
  readonly sealing: readonly string[] | undefined;
  readonly ids: WireForm;
  readonly lock: RecordLock;
  readonly mint: (request?: Request) => string | Promise<string>;
  readonly now: () => number;
}

/** Companions of the clients' cookies. */
interface Companions {
  readonly sealer: CompanionSealer;
  readonly areFor: (traits: StoreTraits) => boolean;
}

/**
 * Fills in the defaults, and refuses what cannot be meant.
 *
 * @throws {TypeError} If an option is of the wrong kind, or contradicts another one
 * @throws {RangeError} If a duration is not one
 */
export function resolveOptions<Data extends object, Rest extends unknown[]>(
  options: SessionOptions<Data, Rest>,
): Settings {
  const { cookie = {}, header = false } = options;
  const limits = limitsOf(options.nist);
  const { idleTimeout = limits.idle ?? 86_400, absoluteTimeout = limits.absolute ?? 2_592_000 } = options;
  const { touchInterval = idleTimeout / 10, storeTimeout = 5, generateId = mintId } = options;
  assertDuration("idleTimeout", idleTimeout);
  if (absoluteTimeout !== false) assertDuration("absoluteTimeout", absoluteTimeout);
  assertDuration("storeTimeout", storeTimeout);
  if (touchInterval !== 0) assertDuration("touchInterval", touchInterval);
  if (exceeds(idleTimeout, limits.idle) || exceeds(absoluteTimeout, limits.absolute)) {
    throw new TypeError(`idleTimeout and absoluteTimeout cannot be longer than nist: "${options.nist}" allows`);
  }
  if (touchInterval >= idleTimeout) {
    throw new RangeError("touchInterval must be shorter than idleTimeout, or sessions in use would end");
  }
  const maxAge = cookie === false ? undefined : cookie.maxAge;
  if (maxAge !== undefined && maxAge !== null) assertDuration("cookie.maxAge", maxAge);
  const { store = memoryStore() } = options;
  if (typeof store !== "function" && !isPlace(store)) {
    throw new TypeError("store must be a session store, or a function that returns one");
  }
  const secrets = options.secrets === undefined ? undefined : checkedSecrets(options.secrets);
  if (typeof store !== "function") assertSealable(store, secrets);
  assertHas("schema", options.schema?.["~standard"], ["validate"], options.schema === undefined);
  assertHas("codec", options.codec, ["encode", "decode"], options.codec === undefined);
  for (const transport of options.transports ?? []) assertHas("transports", transport, ["read", "write", "clear"]);
  if (options.encrypt !== undefined && typeof options.encrypt !== "boolean")
    throw new TypeError("encrypt must be true or false");
  assertFunction("observe", options.observe);
  assertFunction("epochOf", options.epochOf);
  assertFunction("generateId", options.generateId);
  assertFunction("now", options.now);
  const name = nameOf(cookie, header);
  const transports = transportsOf(options.transports, cookie, header);
  const refresh = oneOf("cookie.refresh", cookie === false ? undefined : cookie.refresh, ["changed", "always"]);
  return {
    // What the handler's type says of the rest, the caller of the wrapped handler keeps.
    store: store as Settings["store"],
    secrets,
    name,
    cookieName: cookie === false || options.transports !== undefined ? undefined : withoutPrefix(name),
    assertFits: cookie === false || options.transports !== undefined ? () => {} : (text) => assertFits(name, text),
    isGuarded: isGuarded(options.guard),
    companions: companionsOf(options.readYourWrites, secrets, name, transports),
    transports,
    maxAge,
    refreshes: refresh === "always",
    timeouts: { idle: idleTimeout, absolute: absoluteTimeout, touchInterval },
    limits,
    isEager: oneOf("load", options.load, ["lazy", "eager"]) === "eager",
    schema: options.schema,
    codec: options.codec ?? structuredCodec,
    persistsAfterResponse:
      oneOf("persist", options.persist, ["before-response", "after-response"]) === "after-response",
    toleratesFailure: oneOf("onStoreError", options.onStoreError, ["throw", "anonymous"]) === "anonymous",
    storeTimeout,
    perSubject: checkedLimit(options.perSubject),
    epochOf: options.epochOf as Settings["epochOf"],
    observe: options.observe,
    sealing: options.encrypt === true ? (secrets ?? [""]) : undefined,
    ids: secrets === undefined ? PLAIN : signedForm(secrets),
    lock: options.encrypt === true ? sealedRecords(secrets) : OPEN,
    mint: (request) => checked(generateId(request)),
    now: options.now ?? Date.now,
  };
}

/** The timeouts in force for one session: its own where it has some, within the limits. */
export function timeoutsFor({ timeouts, limits }: Pick<Settings, "timeouts" | "limits">, head: Head): Timeouts {
  const own = head.timeouts;
  if (own === undefined) return timeouts;
  const { idle: ownIdle = timeouts.idle, absolute: ownAbsolute = timeouts.absolute } = own;
  const idle = exceeds(ownIdle, limits.idle) ? limits.idle : ownIdle;
  const absolute = exceeds(ownAbsolute, limits.absolute) ? limits.absolute : ownAbsolute;
  return { idle, absolute, touchInterval: own.idle === undefined ? timeouts.touchInterval : idle / 10 };
}

/** @throws {TypeError} If sessions are to be sealed, and there is nothing to seal them with */
export function assertSealable(
  place: Place,
  secrets: readonly string[] | undefined,
): asserts secrets is readonly string[] {
  if (place instanceof SealedSessions && secrets === undefined)
    throw new TypeError("cookieStore() needs secrets, to seal the sessions with");
}

/** The longest timeouts of a preset, in seconds. */
interface Limits {
  readonly idle?: number;
  readonly absolute?: number;
}

/**
 * NIST SP 800-63B-4, 2.1.3, 2.2.3 and 2.3.3: the overall and the inactivity timeouts. Level 1 asks for no inactivity timeout, so
 * it is as long as the other.
 */
const LIMITS = {
  aal1: { absolute: 30 * 86_400, idle: 30 * 86_400 },
  aal2: { absolute: 24 * 3600, idle: 3600 },
  aal3: { absolute: 12 * 3600, idle: 15 * 60 },
};

function limitsOf(level: SessionOptions["nist"]): Limits {
  oneOf("nist", level, ["aal1", "aal2", "aal3"]);
  return level === undefined ? {} : LIMITS[level];
}

function exceeds(timeout: number | false, limit: number | undefined): limit is number {
  return limit !== undefined && (timeout === false || timeout > limit);
}

function isPlace(store: Place): boolean {
  return store instanceof SealedSessions || typeof store?.load === "function";
}

function isGuarded(guard: SessionOptions["guard"]): boolean {
  if (guard === undefined || guard === false) return false;
  return oneOf("guard", guard, ["same-origin"]) !== undefined;
}

function checkedLimit(limit: SubjectLimit | undefined): SubjectLimit | undefined {
  if (limit === undefined) return undefined;
  oneOf("perSubject.onLimit", limit.onLimit, ["end-oldest", "refuse"]);
  if (Number.isSafeInteger(limit.sessions) && limit.sessions >= 1) return limit;
  throw new RangeError("perSubject.sessions must be a whole number of at least 1");
}

function companionsOf(
  readYourWrites: boolean | undefined,
  secrets: readonly string[] | undefined,
  name: string,
  transports: readonly Transport[],
): Companions | undefined {
  if (readYourWrites !== undefined && typeof readYourWrites !== "boolean")
    throw new TypeError("readYourWrites must be true or false");
  const isCarried = transports.some(({ beside }) => beside !== undefined);
  if (readYourWrites === true && secrets === undefined)
    throw new TypeError("readYourWrites needs secrets, to seal what the client carries");
  if (readYourWrites === true && !isCarried)
    throw new TypeError("readYourWrites needs the cookie: nothing else carries what was written");
  if (readYourWrites === false || secrets === undefined || !isCarried) return undefined;
  const areFor = ({ consistency }: StoreTraits): boolean => readYourWrites === true || consistency === "eventual";
  return { sealer: companionSealer(secrets, name), areFor };
}

/** What is sealed for one cookie is worth nothing in another. */
function nameOf(cookie: CookieOptions | false, header: string | HeaderOptions | false): string {
  if (cookie !== false) return cookie.name ?? DEFAULT_NAME;
  return typeof header === "object" ? header.name : String(header);
}

function transportsOf(
  transports: readonly Transport[] | undefined,
  cookie: CookieOptions | false,
  header: string | HeaderOptions | false,
): readonly Transport[] {
  if (transports !== undefined && !Array.isArray(transports)) throw new TypeError("transports must be a list");
  const chosen: readonly Transport[] = transports ?? [
    ...(cookie === false ? [] : [cookieTransport(cookie)]),
    ...(header === false ? [] : [headerTransport(typeof header === "string" ? { name: header } : header)]),
  ];
  if (chosen.length === 0)
    throw new TypeError("Without a cookie, a header or a transport no client could have a session");
  return chosen;
}

/** 32 bytes are the 256 bits that HMAC-SHA-256 can use at most (RFC 2104, 3). */
const LEAST_SECRET = 32;

function checkedSecrets(given: readonly string[]): readonly string[] {
  if (!Array.isArray(given) || given.length === 0) {
    throw new TypeError("secrets must be a list of at least one secret, the current one first");
  }
  // A copy: one that is emptied later would leave keys that are made of nothing.
  const secrets: readonly string[] = [...given];
  for (const secret of secrets) {
    if (typeof secret !== "string") throw new TypeError("secrets must be texts");
    // UTF-8 has no half of a pair: secrets that differ only there would be one and the same.
    if (!secret.isWellFormed()) throw new TypeError("secrets must be well-formed Unicode");
    if (new TextEncoder().encode(secret).length < LEAST_SECRET) {
      throw new RangeError(`secrets must have at least ${LEAST_SECRET} bytes each`);
    }
  }
  return secrets;
}

function assertDuration(name: string, value: unknown): void {
  if (!(typeof value === "number" && Number.isFinite(value) && value > 0)) {
    throw new RangeError(`${name} must be a positive number of seconds`);
  }
}

/** What is given from JavaScript is of no type: the first request would be the wrong place to find out. */
function assertHas(name: string, value: unknown, methods: readonly string[], isAbsent = false): void {
  const isMade = (typeof value === "object" && value !== null) || typeof value === "function";
  if (isAbsent || (isMade && methods.every((method) => typeof Reflect.get(value, method) === "function"))) return;
  throw new TypeError(`${name} must have ${methods.join(", ")}`);
}

function assertFunction(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "function") throw new TypeError(`${name} must be a function`);
}

/** The chosen word, or the first one, which is the default. */
function oneOf<const Word extends string>(
  name: string,
  value: Word | undefined,
  words: readonly Word[],
): Word | undefined {
  if (value !== undefined && !words.includes(value)) {
    throw new TypeError(`${name} must be one of ${words.map((word) => `"${word}"`).join(", ")}`);
  }
  return value ?? words[0];
}

function checked(id: string | Promise<string>): string | Promise<string> {
  if (id instanceof Promise) return id.then(checked);
  if (typeof id === "string" && isId(id)) return id;
  throw new TypeError("generateId must give 22 or more characters of A-Z, a-z, 0-9, - and _");
}
