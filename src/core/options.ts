import { memoryStore } from "../stores/memory.ts";
import { type Codec, structuredCodec } from "./codec.ts";
import { mistake } from "./errors.ts";
import { kindOf } from "./kind_of.ts";
import type { SessionEvent } from "./events.ts";
import type { CookieOptions } from "./cookie_transport.ts";
import { DEFAULT_NAME, withoutPrefix } from "./cookie_options.ts";
import type { TimeoutLimits } from "./expiry.ts";
import type { HeaderOptions } from "./header_transport.ts";
import { assertKnown } from "./known_options.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import {
  assertDuration,
  assertLimits,
  assertMethods,
  assertPlugins,
  assertStore,
  checkedClock,
  checkedId,
  oneOf,
  rotationOf,
} from "./option_checks.ts";
import type { Plugin } from "./plugin.ts";
import type { Policy } from "./policy.ts";
import { isPrefetch } from "./prefetch.ts";
import type { RecordCodec } from "./record_codec.ts";
import type { Repository } from "./repository.ts";
import { isRepositorySource, type RepositorySource } from "./repository_source.ts";
import { type Schema, validateChanges, validateLoaded } from "./schema.ts";
import type { DefaultData } from "./session.ts";
import { createId } from "./session_id.ts";
import type { SessionStore } from "./store.ts";
import { StoreRepository } from "./store_repository.ts";
import { storeResolver } from "./store_resolver.ts";
import type { TokenFormat } from "./token_format.ts";
import type { Transport } from "./transport.ts";
import { assertCookieAge, nameOf, transportsOf } from "./transport_options.ts";

/** What can be chosen for the sessions of one wrapper, manager or middleware. All durations are in seconds. */
export interface SessionOptions<
  Data extends object = DefaultData,
  // oxlint-disable-next-line no-explicit-any -- what a runtime passes beside the request is the handler's to say
  Rest extends unknown[] = any[],
> {
  /**
   * Where sessions are kept: a store, or a function of what the runtime passes beside the request, such as a Worker's `env`. A function that takes no
   * argument is called once. Another one is called once for each distinct first argument. `cookieSessions()` keeps sessions in the cookie.
   *
   * @default {memoryStore()}
   */
  readonly store?: SessionStore | RepositorySource | ((...rest: Rest) => MaybePromise<SessionStore>);
  /**
   * The cookie's attributes, `false` for no cookie, or a function that gives the attributes for a request.
   *
   * @default A cookie with the defaults of `CookieOptions`
   */
  readonly cookie?: CookieOptions | false | ((request: Request, ...rest: Rest) => CookieOptions);
  /** A header for clients without cookies. @default {false} */
  readonly header?: string | HeaderOptions | false;
  /** How the token travels, in place of cookie and header. The first transport that has a token is believed. @default The cookie, then the header */
  readonly transports?: readonly Transport[];
  /** The session ends after so many seconds without a request: a day. @default {86_400} */
  readonly idleTimeout?: number;
  /** The session ends so many seconds after it began, 30 days; `false` for never. @default {2_592_000} */
  readonly absoluteTimeout?: number | false;
  /** The longest that `setTimeouts` can make the timeouts of one session. @default No limits */
  readonly timeoutLimits?: TimeoutLimits;
  /** How old, in seconds, "last seen" may grow before a request writes it anew. @default A tenth of the idle timeout */
  readonly touchInterval?: number;
  /** Whether a request counts as use of the session. @default Each request but a prefetch */
  readonly touch?: (request: Request) => boolean;
  /**
   * Seconds after which a request that uses the session renews its id. The old id leads to the session until the client has used the new one. Afterwards it
   * is rejected with the reason `"reuse"`, a sign of theft; with `onReuse: "destroy"` the session ends then.
   *
   * @default Never
   */
  readonly rotateEvery?: number | { readonly seconds: number; readonly onReuse?: "reject" | "destroy" };
  /** How ids travel: `signedIds()`. @default As they are */
  readonly ids?: TokenFormat;
  /** What the store sees of a record: `encryption()`. @default The record itself */
  readonly encryption?: RecordCodec;
  /** Capabilities such as `userSessions()` and `readYourWrites()`. The first one is nearest to the store. @default None */
  readonly plugins?: readonly Plugin[];
  /** A Standard Schema. It checks data when it is loaded, and before it is stored; it must accept what it gives. @default No check */
  readonly schema?: Schema<Data>;
  /** How one value becomes a text, and back. @default Structured values */
  readonly codec?: Codec;
  /** Whether the session is loaded when it is first read, or before the handler runs. @default {"lazy"} */
  readonly load?: "lazy" | "eager";
  /**
   * Whether a response waits until its session is stored. With `"after-response"` it does not, where there is a `waitUntil` and the response need not
   * carry a token: what is new, renewed or ended, has other timeouts, or is answered by a redirect is awaited nevertheless.
   *
   * @default {"before-response"}
   */
  readonly persist?: "before-response" | "after-response";
  /** Keeps the process alive until a promise settles. @default The `waitUntil` of the first argument beside the request that has one */
  readonly waitUntil?: (promise: Promise<unknown>, ...rest: Rest) => void;
  /** Whether a failing store is an error, or the request goes on without a session and leaves the cookie alone. @default {"throw"} */
  readonly onStoreError?: "throw" | "anonymous";
  /** How many seconds a store may take for one load or one commit, retries and repairs included. @default {5} */
  readonly storeTimeout?: number;
  /** Called with each event. What it throws or rejects with is dropped. @default No function is called */
  readonly onEvent?: (event: SessionEvent) => unknown;
  /**
   * Makes an id: at least 22 characters of `A-Z a-z 0-9 - _`, unguessable. It is given the request, if there is one.
   *
   * @default 192 random bits
   */
  readonly generateId?: (request?: Request) => MaybePromise<string>;
  /** The clock, in epoch milliseconds. @default {Date.now} */
  readonly now?: () => number;
}

/** Options of express-session that need no counterpart: the nearest word would mislead. */
const UNNEEDED: readonly string[] = ["resave", "saveUninitialized", "unset", "proxy"];

const NAMES: readonly (keyof SessionOptions)[] = [
  "store",
  "cookie",
  "header",
  "transports",
  "idleTimeout",
  "absoluteTimeout",
  "timeoutLimits",
  "touchInterval",
  "touch",
  "rotateEvery",
  "ids",
  "encryption",
  "plugins",
  "schema",
  "codec",
  "load",
  "persist",
  "waitUntil",
  "onStoreError",
  "storeTimeout",
  "onEvent",
  "generateId",
  "now",
];

/**
 * Fills in the defaults, and refuses what is wrong or contradicts itself.
 *
 * @throws {TypeError} If an option is unknown, of the wrong kind, or contradicts another one
 * @throws {RangeError} If a duration is not a positive number of seconds
 */
export function resolveOptions<Data extends object, Rest extends unknown[]>(
  options: SessionOptions<Data, Rest>,
  owner: string,
): Policy {
  const unneeded = UNNEEDED.find((name) => Reflect.has(Object(options), name));
  if (unneeded !== undefined) throw new TypeError(`${owner} has no option "${unneeded}": leave it out`);
  assertKnown(options, NAMES, owner);
  const { cookie = {}, header = false, store = memoryStore(), plugins = [], generateId, now } = options;
  const { idleTimeout = 86_400, absoluteTimeout = 2_592_000, storeTimeout = 5, timeoutLimits: limits = {} } = options;
  assertDuration("idleTimeout", idleTimeout);
  const { touchInterval = idleTimeout / 10, touch, waitUntil, onEvent, schema, ids, encryption } = options;
  if (absoluteTimeout !== false) assertDuration("absoluteTimeout", absoluteTimeout);
  assertDuration("storeTimeout", storeTimeout);
  if (touchInterval !== 0) assertDuration("touchInterval", touchInterval);
  if (touchInterval >= idleTimeout)
    throw new RangeError("touchInterval must be shorter than idleTimeout, or sessions in use would end");
  assertLimits(limits, idleTimeout, absoluteTimeout);
  assertCookieAge(cookie, touchInterval);
  const functions = { touch, waitUntil, onEvent, generateId, now };
  for (const [name, value] of Object.entries(functions))
    if (value !== undefined && typeof value !== "function") throw new TypeError(`${name} must be a function`);
  if (schema !== undefined) assertMethods("schema", Object(schema)["~standard"], ["validate"]);
  if (ids !== undefined) assertMethods("ids", ids, ["toToken", "toId"]);
  if (encryption !== undefined) assertMethods("encryption", encryption, ["seal", "open"]);
  if (options.codec !== undefined) assertMethods("codec", options.codec, ["encode", "decode"]);
  const codec = options.codec === undefined ? structuredCodec : safeCodec(options.codec);
  assertPlugins(plugins);
  const isSource = isRepositorySource(store);
  if (!isSource && typeof store !== "function") assertStore("store", store);
  if (isSource && (ids !== undefined || encryption !== undefined)) {
    throw new TypeError("cookieSessions() signs and encrypts what it keeps: leave out ids and encryption");
  }
  const { seconds: rotateEvery, onReuse } = rotationOf(options.rotateEvery);
  const transports = transportsOf(options.transports, cookie, header, isSource ? store.chunks : 1);
  // A response then has more to tell the client than that its token is renewed.
  const tellsMore = isSource || plugins.some((plugin) => plugin.respond !== undefined);
  const own = isSource
    ? store.createRepository({ rotates: rotateEvery !== undefined, endsOnReuse: onReuse === "destroy" })
    : new StoreRepository({
        ids,
        encryption,
        hasDefaultIds: generateId === undefined,
        endsOnReuse: onReuse === "destroy",
      });
  return {
    repository: plugins.reduce<Repository>((next, plugin) => plugin.wrap?.(next) ?? next, own),
    plugins,
    transports,
    hasOwnTransports: options.transports !== undefined,
    name: nameOf(cookie, header),
    claimedCookie:
      options.transports === undefined && typeof cookie === "object"
        ? withoutPrefix(cookie.name ?? DEFAULT_NAME)
        : undefined,
    storeOption: store,
    resolveStore: storeResolver(
      (isSource ? (store.revocation ?? NO_STORE) : store) as
        | SessionStore
        | ((...rest: never[]) => MaybePromise<SessionStore>),
    ),
    timeouts: { idle: idleTimeout, absolute: absoluteTimeout, touchInterval },
    limits,
    rotateEvery,
    countsAsUse: touch ?? ((request) => !isPrefetch(request)),
    codec,
    validateLoaded: schema && ((found) => validateLoaded(schema, codec, found)),
    validateChanges: schema && ((fields) => validateChanges(schema, codec, fields)),
    isEager: oneOf("load", options.load, ["lazy", "eager"]) === "eager",
    persistsAfterResponse:
      oneOf("persist", options.persist, ["before-response", "after-response"]) === "after-response" && !tellsMore,
    waitUntil: waitUntil as Policy["waitUntil"],
    toleratesFailure: oneOf("onStoreError", options.onStoreError, ["throw", "anonymous"]) === "anonymous",
    storeTimeout,
    onEvent,
    generateId: generateId === undefined ? createId : (request) => checkedId(generateId(request)),
    // Looked up at each call: a test may replace it after the manager was made.
    now: now === undefined ? () => Date.now() : checkedClock(now),
    // A response may tell each client of the client's write. It cannot if the writes of several clients are stored as one.
    writeQueues: tellsMore ? undefined : new Map(),
  };
}

/** In place of a store where the client alone keeps the session. */
const NO_STORE: SessionStore = {
  traits: { consistency: "strong", compareAndSet: true, maxBytes: 0 },
  load: () => null,
  save: noStore,
  delete: noStore,
};

function noStore(): never {
  throw new TypeError("cookieSessions() without revocation has no store");
}

/** A codec of the program may give any text. As JSON, the text has no line ends and no half of a surrogate pair. */
function safeCodec(codec: Codec): Codec {
  return {
    encode(value) {
      const text: unknown = codec.encode(value);
      if (typeof text === "string") return JSON.stringify(text);
      throw mistake(`codec.encode must return a text at once; it returned ${kindOf(text)}`);
    },
    decode: (text) => codec.decode(JSON.parse(text)),
  };
}
