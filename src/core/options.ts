import { memoryStore } from "../stores/memory.ts";
import { type Codec, structuredCodec } from "./codec.ts";
import { mistake } from "./errors.ts";
import { kindOf } from "./kind_of.ts";
import type { SessionEvent } from "./events.ts";
import type { CookieOptions } from "./cookie_transport.ts";
import { DEFAULT_NAME, withoutPrefix } from "./options/cookie_options.ts";
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
} from "./options/option_checks.ts";
import type { Plugin } from "./plugin.ts";
import type { Policy } from "./policy.ts";
import { isPrefetch } from "./prefetch.ts";
import type { RecordCodec } from "./record_codec.ts";
import type { Repository } from "./repository.ts";
import { isRepositorySource, type RepositorySource } from "./repository/repository_source.ts";
import { type Schema, validateChanges, validateLoaded } from "./schema.ts";
import type { DefaultData } from "./session.ts";
import { createId } from "./session_id.ts";
import type { SessionStore } from "./store.ts";
import { StoreRepository } from "./store_repository.ts";
import { storeResolver } from "./options/store_resolver.ts";
import type { TokenFormat } from "./token_format.ts";
import type { Transport } from "./transport.ts";
import { assertCookieAge, headerNameOf, nameOf, transportsOf } from "./options/transport_options.ts";

/** The options for the sessions of one wrapper, manager or middleware. All durations are in seconds. */
export interface SessionOptions<
  Data extends object = DefaultData,
  // oxlint-disable-next-line no-explicit-any -- the handler declares what a runtime passes beside the request
  Rest extends unknown[] = any[],
> {
  /**
   * Where sessions are kept: a store, or a function that returns one. The function gets the arguments that the runtime
   * passes beside the request, such as a Worker's `env`. It is called once if it takes no argument, otherwise once for
   * each distinct first argument. `cookieSessions()` keeps sessions in the cookie.
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
  /**
   * How the token travels, in place of cookie and header. The first transport that finds a token is used.
   *
   * @default The cookie, then the header
   */
  readonly transports?: readonly Transport[];
  /** The session ends after this many seconds without a request: by default after a day. @default {86_400} */
  readonly idleTimeout?: number;
  /**
   * The session ends this many seconds after it began, or after the last `regenerate({ reauthenticated: true })`: by
   * default after 30 days; `false` for never.
   *
   * @default {2_592_000}
   */
  readonly absoluteTimeout?: number | false;
  /** The longest that `setTimeouts` can make the timeouts of one session. @default No limits */
  readonly timeoutLimits?: TimeoutLimits;
  /** How old, in seconds, "last seen" may grow before a request writes it anew. @default A tenth of the idle timeout */
  readonly touchInterval?: number;
  /** Whether a request counts as use of the session. @default Each request but a prefetch */
  readonly touch?: (request: Request) => boolean;
  /**
   * Seconds after which a request that uses the session renews its id. The old id opens the session until a
   * minute after the client first used the new one. Afterwards the old id is rejected with the reason `"reuse"`, a sign of theft. With
   * `onReuse: "destroy"`, the session ends then.
   *
   * @default Never
   */
  readonly rotateEvery?: number | { readonly seconds: number; readonly onReuse?: "reject" | "destroy" };
  /** How an id becomes the token that the client holds: `signedIds()`. @default The token is the id */
  readonly ids?: TokenFormat;
  /** How a record is encoded for the store: `encryption()`. @default The store gets the record as it is */
  readonly encryption?: RecordCodec;
  /** Capabilities such as `userSessions()` and `readYourWrites()`. The first one is nearest to the store. @default None */
  readonly plugins?: readonly Plugin[];
  /**
   * A Standard Schema. It checks data when it is loaded, and before it is stored; it must accept its own output.
   *
   * @default No check
   */
  readonly schema?: Schema<Data>;
  /** How one value becomes a text, and back. @default Structured values */
  readonly codec?: Codec;
  /** Whether the session is loaded when it is first read, or before the handler runs. @default {"lazy"} */
  readonly load?: "lazy" | "eager";
  /**
   * Whether a response waits until its session is stored. With `"after-response"` it does not wait if there
   * is a `waitUntil`. It waits nevertheless if the session is new, has a new id, has other timeouts or has
   * ended, and if the response is a redirect.
   *
   * @default {"before-response"}
   */
  readonly persist?: "before-response" | "after-response";
  /** Keeps the process alive until a promise settles. @default The `waitUntil` of the first argument beside the request that has one */
  readonly waitUntil?: (promise: Promise<unknown>, ...rest: Rest) => void;
  /**
   * Whether a failure of the store is an error, or the request goes on without
   * a session and does not change the cookie.
   *
   * @default {"throw"}
   */
  readonly onStoreError?: "throw" | "anonymous";
  /** How many seconds a store may take for one load or one commit, retries and repairs included. @default {5} */
  readonly storeTimeout?: number;
  /** Called with each event. An error that it throws or rejects with is dropped. @default No function is called */
  readonly onEvent?: (event: SessionEvent) => unknown;
  /**
   * Makes an unguessable id of at least 22 characters of `A-Z a-z 0-9 - _`. It gets the request, if there is one.
   *
   * @default 192 random bits
   */
  readonly generateId?: (request?: Request) => MaybePromise<string>;
  /** The clock, in epoch milliseconds. @default {Date.now} */
  readonly now?: () => number;
}

/** Options of express-session that are not needed here. To suggest the nearest name would mislead. */
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
 * Fills in the defaults, and refuses options that are wrong or contradict each other.
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
  // Then a response may have to carry more than a renewed token.
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
    headerName: options.transports === undefined ? headerNameOf(cookie, header) : undefined,
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
    // `Date.now` is looked up at each call: a test may replace it after the manager was made.
    now: now === undefined ? () => Date.now() : checkedClock(now),
    // A response may have to report the client's own write. It cannot if the writes of several requests are stored as one.
    writeQueues: tellsMore ? undefined : new Map(),
  };
}

/** Takes the place of the store if only the client keeps the session. */
const NO_STORE: SessionStore = {
  traits: { consistency: "strong", compareAndSet: true, maxBytes: 0 },
  load: () => null,
  save: noStore,
  delete: noStore,
};

function noStore(): never {
  throw new TypeError("cookieSessions() without revocation has no store");
}

/** A program's codec may return any text. Written as JSON, the text has no line ends and no lone surrogates. */
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
