import { memoryStore } from "../../stores/memory.ts";
import { structuredCodec } from "../codec.ts";
import { assertKnown } from "../known_options.ts";
import type { MaybePromise } from "../maybe_promise.ts";
import type { SessionOptions } from "../options.ts";
import type { Policy } from "../policy.ts";
import { isPrefetch } from "../prefetch.ts";
import { isRepositorySource } from "../repository/repository_source.ts";
import { validateChanges, validateLoaded } from "../schema.ts";
import { createId } from "../session_id.ts";
import type { SessionStore } from "../store.ts";
import { StoreRepository } from "../store_repository.ts";
import {
  assertDuration,
  assertLimits,
  assertMethods,
  assertPlugins,
  assertStore,
  checkedClock,
  checkedCodec,
  checkedId,
  checkedRepository,
  checkedTouch,
  oneOf,
  rotationOf,
} from "./option_checks.ts";
import { storeResolver } from "./store_resolver.ts";
import { assertCookieAge, assertOneWay, transportPolicy } from "./transport_options.ts";

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
): Policy {
  const unneeded = UNNEEDED.find((name) => Reflect.has(Object(options), name));
  if (unneeded !== undefined) throw new TypeError(`with-session has no option "${unneeded}": leave it out`);
  assertKnown(options, NAMES, "with-session");
  const { cookie = {}, header = false, store = memoryStore(), plugins = [], generateId, now } = options;
  const { idleTimeout = 86_400, absoluteTimeout = 2_592_000, storeTimeout = 5, timeoutLimits: limits = {} } = options;
  assertDuration("idleTimeout", idleTimeout);
  const { touchInterval = idleTimeout / 10, touch, waitUntil, onEvent, schema, ids, encryption } = options;
  assertDuration("absoluteTimeout", absoluteTimeout, false);
  assertDuration("storeTimeout", storeTimeout);
  assertDuration("touchInterval", touchInterval, 0);
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
  const codec = options.codec === undefined ? structuredCodec : checkedCodec(options.codec);
  assertPlugins(plugins);
  const isSource = isRepositorySource(store);
  if (!isSource && typeof store !== "function") assertStore("store", store);
  const { rotateEvery, endsOnReuse } = rotationOf(options.rotateEvery);
  assertOneWay({ transports: options.transports, cookie: options.cookie, header });
  const transports = transportPolicy(options.transports, cookie, header, isSource ? store.splitting : undefined);
  // Then a response may have to carry more than a renewed token.
  const tellsMore = isSource || plugins.some((plugin) => plugin.respond !== undefined);
  // `Date.now` is looked up at each call: a test may replace it after the manager was made.
  const clock = now === undefined ? () => Date.now() : checkedClock(now);
  const own = isSource
    ? store.createRepository({ ids, encryption, now: clock, rotates: rotateEvery !== undefined, endsOnReuse })
    : new StoreRepository({ ids, encryption, hasDefaultIds: generateId === undefined, endsOnReuse });
  return {
    repository: plugins.reduce(
      (next, plugin) => (plugin.wrap ? checkedRepository(plugin, plugin.wrap(next)) : next),
      own,
    ),
    plugins,
    ...transports,
    storeOption: store,
    resolveStore: storeResolver(
      (isSource ? store.revocation : store) as SessionStore | ((...rest: never[]) => MaybePromise<SessionStore>),
    ),
    timeouts: { idle: idleTimeout, absolute: absoluteTimeout, touchInterval },
    limits,
    rotateEvery,
    countsAsUse: touch === undefined ? (request) => !isPrefetch(request) : checkedTouch(touch),
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
    now: clock,
    // A response may have to report the client's own write. It cannot if the writes of several requests are stored as one.
    combinesWrites: !tellsMore,
  };
}
