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
  assertFunction,
  assertLimits,
  assertMethods,
  assertPlugins,
  assertStore,
  checkedClock,
  checkedCodec,
  checkedId,
  checkedIds,
  checkedRepository,
  checkedTouch,
  rotationOf,
} from "./option_checks.ts";
import { assertDuration, oneOf } from "./simple_checks.ts";
import { storeResolver } from "./store_resolver.ts";
import { assertCookieAge, transportPolicy } from "./transport_options.ts";

/** Options of express-session that are not needed here. To suggest the nearest name would mislead. */
const UNNEEDED: readonly string[] = ["resave", "saveUninitialized", "unset", "proxy", "rolling"];

/** The options, and how the value of each one is checked by itself. */
const CHECKS: Readonly<Record<keyof SessionOptions, ((name: string, value: never) => unknown) | undefined>> = {
  store: (name, value) => isRepositorySource(value) || typeof value === "function" || assertStore(name, value),
  cookie: undefined,
  header: undefined,
  transports: undefined,
  idleTimeout: assertDuration,
  absoluteTimeout: (name, value) => assertDuration(name, value, false),
  timeoutLimits: undefined,
  touchInterval: (name, value) => assertDuration(name, value, 0),
  touch: assertFunction,
  rotateEvery: undefined,
  ids: (name, value) => assertMethods(name, value, ["toToken", "toId"], "signedIds({ secrets })"),
  encryption: (name, value) => assertMethods(name, value, ["seal", "open"], "encryption()"),
  plugins: (_name, value) => assertPlugins(value),
  schema: (name, value) =>
    assertMethods(`${name}["~standard"]`, Object(value)["~standard"], ["validate"], "each schema of zod has"),
  codec: undefined,
  load: (name, value) => oneOf(name, value, ["lazy", "eager"]),
  persist: (name, value) => oneOf(name, value, ["before-response", "after-response"]),
  waitUntil: assertFunction,
  onStoreError: (name, value) => oneOf(name, value, ["throw", "anonymous"]),
  storeTimeout: assertDuration,
  onEvent: assertFunction,
  generateId: assertFunction,
  now: assertFunction,
};

/**
 * Fills in the defaults, and refuses options that are wrong or contradict each other.
 *
 * @throws {TypeError} If an option is unknown, of the wrong kind, or contradicts another one
 * @throws {RangeError} If a duration is not a positive number of seconds
 */
export function resolveOptions<Data extends object, Rest extends unknown[]>(
  options: SessionOptions<Data, Rest>,
): Policy {
  const unneeded = UNNEEDED.filter((name) => Reflect.has(Object(options), name));
  if (unneeded.length > 0)
    throw new TypeError(`with-session has no option ${unneeded.map((name) => `"${name}"`).join(" or ")}: leave it out`);
  assertKnown(options, Object.keys(CHECKS), "with-session");
  for (const [name, check] of Object.entries(CHECKS)) {
    const value: unknown = Reflect.get(options, name);
    if (value !== undefined) check?.(name, value as never);
  }
  const { store = memoryStore(), plugins = [], generateId, now } = options;
  const { idleTimeout = 86_400, absoluteTimeout = 2_592_000, storeTimeout = 5, timeoutLimits: limits = {} } = options;
  const { touchInterval = idleTimeout / 10, touch, waitUntil, onEvent, schema, ids, encryption } = options;
  if (touchInterval >= idleTimeout)
    throw new RangeError("touchInterval must be shorter than idleTimeout, or sessions in use would end");
  assertLimits(limits, idleTimeout, absoluteTimeout);
  assertCookieAge(options.cookie, touchInterval);
  const codec = options.codec === undefined ? structuredCodec : checkedCodec(options.codec);
  const isSource = isRepositorySource(store);
  const { rotateEvery, endsOnReuse } = rotationOf(options.rotateEvery);
  const transports = transportPolicy(options, isSource ? store.splitting : undefined);
  // Then a response may have to carry more than a renewed token.
  const tellsMore = isSource || plugins.some((plugin) => plugin.respond !== undefined);
  // `Date.now` is looked up at each call: a test may replace it after the manager was made.
  const clock = now === undefined ? () => Date.now() : checkedClock(now);
  const own = isSource
    ? store.createRepository({ ids, encryption, now: clock, rotates: rotateEvery !== undefined, endsOnReuse })
    : new StoreRepository({
        ids: ids && checkedIds(ids),
        encryption,
        hasDefaultIds: generateId === undefined,
        endsOnReuse,
      });
  return {
    repository: plugins.reduce(
      (next, plugin) => (plugin.wrap ? checkedRepository(plugin, plugin.wrap(next), next) : next),
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
    isEager: options.load === "eager",
    persistsAfterResponse: options.persist === "after-response" && !tellsMore,
    waitUntil: waitUntil as Policy["waitUntil"],
    toleratesFailure: options.onStoreError === "anonymous",
    storeTimeout,
    onEvent,
    generateId: generateId === undefined ? createId : (request) => checkedId(generateId(request)),
    now: clock,
    // A response may have to report the client's own write. It cannot if the writes of several requests are stored as one.
    combinesWrites: !tellsMore,
  };
}
