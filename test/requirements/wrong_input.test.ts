/**
 * Wrong arguments from a program in JavaScript. The error must come early, be a `TypeError`, `RangeError` or `SessionError`, and have a message of
 * this package, not one of the engine.
 */
import { describe, expect, test } from "vitest";
import { isFresh, memoryStore, type Session, SessionManager, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { crossOriginProtection } from "../../src/cross_origin.ts";
import { csrfToken, verifyCsrfToken } from "../../src/csrf.ts";
import { deviceBound } from "../../src/device_bound.ts";
import { dpop } from "../../src/dpop.ts";
import { dpopClient } from "../../src/dpop_client.ts";
import { encryption } from "../../src/encryption.ts";
import { exclusive } from "../../src/exclusive.ts";
import { session as middleware } from "../../src/hono.ts";
import { nodeSession } from "../../src/node.ts";
import { openTelemetry } from "../../src/opentelemetry.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { d1Store } from "../../src/stores/d1.ts";
import { denoKvStore } from "../../src/stores/deno_kv.ts";
import { durableObjectStore } from "../../src/stores/durable_object.ts";
import { dynamoDbStore } from "../../src/stores/dynamodb.ts";
import { fileStore } from "../../src/stores/file.ts";
import { libsqlStore, sqlSchema } from "../../src/stores/libsql.ts";
import { memcachedStore } from "../../src/stores/memcached.ts";
import { migratingStore } from "../../src/stores/migrating.ts";
import { mysqlStore } from "../../src/stores/mysql.ts";
import { netlifyBlobsStore } from "../../src/stores/netlify_blobs.ts";
import { postgresStore } from "../../src/stores/postgres.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { sqliteStore } from "../../src/stores/sqlite.ts";
import { unstorageStore } from "../../src/stores/unstorage.ts";
import { upstashRedisStore } from "../../src/stores/upstash_redis.ts";
import { cookieJar, faultyStore, fakeClock, kvSimulator, seedSession, storeCases } from "../../src/testing.ts";
import { userSessions } from "../../src/user_sessions.ts";

const SHOP = "https://shop.example/";
const SECRETS = ["a secret of at least thirty-two bytes"];
const THUMBPRINT = "a".repeat(43);

const INPUTS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ["undefined", undefined],
  ["null", null],
  ["zero", 0],
  ["minus one", -1],
  ["NaN", Number.NaN],
  ["Infinity", Infinity],
  ["an empty text", ""],
  ["a text", "x"],
  ["an empty list", []],
  ["an empty object", {}],
  ["true", true],
  ["a promise", Promise.resolve({})],
  ["a function", () => {}],
  ["a symbol", Symbol("x")],
  ["a bigint", 1n],
  ["an unknown name", { bogus: 1 }],
]);
const OPTIONS = ["undefined", "an empty object"];
const TEXTS = ["an empty text", "a text"];
/** The kinds of values that a session can keep. */
const VALUES = [...INPUTS.keys()].filter((kind) => !["a promise", "a function", "a symbol"].includes(kind));

/** Messages of engines about a value that the library has not checked. */
const OF_ENGINE =
  /Cannot (?:read|destructure|convert|mix|use 'in')|is not (?:a function|iterable|defined)|serialize a BigInt|parse URL/;

async function outcomeOf(call: () => unknown): Promise<unknown> {
  try {
    return { answered: await call() };
  } catch (error) {
    return error;
  }
}

const store = memoryStore();
const users = userSessions<unknown>({ indexes: { sid: () => undefined } });
const sessions = new SessionManager({ store, plugins: [users] });
const proofs = dpop();
const bound = deviceBound();
const withProofs = new SessionManager({ header: "X-Session-Id", plugins: [proofs, bound] });
const kv = { get: async () => null, put: async () => {}, delete: async () => {} };
const stored = sessions.start(new Request(SHOP));
await stored.create();
await stored.save();

/** A session that is not in the store. */
function fresh(): Session {
  return sessions.start(new Request(SHOP));
}

type Call = (input: unknown) => unknown;
/** In JavaScript, arguments have no types. */
function unchecked(fn: object, ...before: unknown[]): Call {
  return (input) => Reflect.apply(fn as () => unknown, undefined, [...before, input]);
}
function option(fn: object, name: string, ...before: unknown[]): Call {
  return (input) => Reflect.apply(fn as () => unknown, undefined, [...before, { [name]: input }]);
}
const rename = (names: string): string[] => (names === "" ? [] : names.split(", "));

/** The options of the core, and the kinds of values that each accepts besides undefined. */
const CORE_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  store: ["a function"],
  cookie: [...OPTIONS, "a function"],
  header: ["a text"],
  transports: [],
  idleTimeout: [],
  absoluteTimeout: [],
  timeoutLimits: OPTIONS,
  touchInterval: ["zero"],
  touch: ["a function"],
  rotateEvery: [],
  ids: [],
  encryption: [],
  plugins: ["an empty list"],
  schema: [],
  codec: [],
  load: [],
  persist: [],
  waitUntil: ["a function"],
  onStoreError: [],
  storeTimeout: [],
  onEvent: ["a function"],
  generateId: ["a function"],
  now: ["a function"],
};

/** Each call, and the kinds of values that it accepts. */
const CALLS: readonly (readonly [name: string, call: Call, accepted: readonly string[]])[] = [
  ["session.get(…)", unchecked(stored.get.bind(stored)), TEXTS],
  ["session.get(…) without a session", (key) => fresh().get(key as never), TEXTS],
  ["session.has(…)", unchecked(stored.has.bind(stored)), TEXTS],
  ["session.set(…)", unchecked(stored.set.bind(stored)), ["an empty object", "an unknown name"]],
  ["session.set(key, …)", unchecked(stored.set.bind(stored), "key"), VALUES],
  ["session.set(key, value, …)", unchecked(stored.set.bind(stored), "key", 1), OPTIONS],
  ["session.set(key, value, { ttl })", option(stored.set.bind(stored), "ttl", "key", 1), ["undefined"]],
  ["session.delete(…)", unchecked(stored.delete.bind(stored)), TEXTS],
  ["session.update(…)", (key) => stored.update(key as never, () => 1 as never), TEXTS],
  ["session.update(key, …)", unchecked(stored.update.bind(stored), "key"), ["a function"]],
  ["session.pull(…)", unchecked(stored.pull.bind(stored)), TEXTS],
  ["session.flash(…)", (key) => stored.flash(key as never, 1 as never), TEXTS],
  ["session.flash(key, …)", unchecked(stored.flash.bind(stored), "key"), VALUES],
  ["session.keepFlash(…)", unchecked(stored.keepFlash.bind(stored)), TEXTS],
  ["session.regenerate(…)", unchecked(stored.regenerate.bind(stored)), OPTIONS],
  ["session.regenerate({ grace })", option(stored.regenerate.bind(stored), "grace"), ["undefined", "zero"]],
  ["session.destroy(…)", (options) => fresh().destroy(options as never), OPTIONS],
  ["session.setTimeouts(…)", unchecked(stored.setTimeouts.bind(stored)), ["an empty object"]],
  ["session.setTimeouts({ idle })", option(stored.setTimeouts.bind(stored), "idle"), ["undefined"]],
  ["sessions.open(…)", unchecked(sessions.open.bind(sessions)), TEXTS],
  ["sessions.start(…)", unchecked(sessions.start.bind(sessions)), []],
  ["sessions.commit(…)", unchecked(sessions.commit.bind(sessions)), []],
  ["sessions.respond(…)", (session) => unchecked(sessions.respond.bind(sessions), session)(new Response()), []],
  ["sessions.discard(…)", unchecked(sessions.discard.bind(sessions)), []],
  ["isFresh(…)", (session) => unchecked(isFresh, session)(1), []],
  ["isFresh(session, …)", unchecked(isFresh, stored), []],
  ["withSession(…)", unchecked(withSession), ["a function"]],
  ["new SessionManager(…)", (options) => new SessionManager(options as never), OPTIONS],
  ...Object.entries(CORE_OPTIONS).map(([name, accepted]): [string, Call, readonly string[]] => [
    `new SessionManager({ ${name} })`,
    (input) => new SessionManager({ [name]: input }),
    ["undefined", ...accepted],
  ]),
  [
    "the option now, when it is called",
    (instant) => new SessionManager({ now: () => instant as number }).open("").create(),
    ["zero", "minus one"],
  ],
  [
    "the function of the option store",
    (found) => new SessionManager({ store: () => found as never }).open("").create(),
    [],
  ],
  ["signedIds(…)", unchecked(signedIds), []],
  ["signedIds({ secrets })", option(signedIds, "secrets"), ["a function"]],
  [
    "signedIds({ acceptUnsigned })",
    (acceptUnsigned) => Reflect.apply(signedIds as () => unknown, undefined, [{ secrets: SECRETS, acceptUnsigned }]),
    ["undefined", "true"],
  ],
  ["encryption(…)", unchecked(encryption), OPTIONS],
  ["encryption({ secrets })", option(encryption, "secrets"), ["a function"]],
  ["encryption({ acceptPlain })", option(encryption, "acceptPlain"), ["undefined", "true"]],
  ["cookieSessions(…)", unchecked(cookieSessions), []],
  ["cookieSessions({ secrets })", option(cookieSessions, "secrets"), ["a function"]],
  ["readYourWrites(…)", unchecked(readYourWrites), []],
  ["userSessions(…)", unchecked(userSessions), OPTIONS],
  ["userSessions({ limit })", option(userSessions, "limit"), ["undefined", "Infinity", "a function"]],
  ["userSessions({ onLimit })", option(userSessions, "onLimit"), ["undefined"]],
  ["userSessions({ credentialVersion })", option(userSessions, "credentialVersion"), ["undefined", "a function"]],
  ["userSessions({ indexes })", option(userSessions, "indexes"), OPTIONS],
  ["users.bind(…)", (session) => unchecked(users.bind, session)("ada"), []],
  ["users.bind(session, …)", (userId) => unchecked(users.bind, sessions.open(""))(userId), ["a text"]],
  ["users.unbind(…)", unchecked(users.unbind), []],
  ["users.handle(…)", unchecked(users.handle), []],
  ["users.list(…)", unchecked(users.list), ["a text"]],
  ["users.revokeAll(…)", unchecked(users.revokeAll), ["a text"]],
  ["users.revokeAll(user, …)", unchecked(users.revokeAll, "ada"), OPTIONS],
  ["users.revokeAll(user, { except })", option(users.revokeAll, "except", "ada"), ["undefined"]],
  ["users.revokeBy(…)", (name) => unchecked(users.revokeBy, name)("x"), []],
  ["users.revokeBy(index, …)", unchecked(users.revokeBy, "sid"), rename("zero, minus one, a text")],
  ["csrfToken(…)", unchecked(csrfToken), []],
  ["verifyCsrfToken(…)", (session) => unchecked(verifyCsrfToken, session)("x"), []],
  // A client may send any text as a token. Only a promise is a mistake of the program.
  [
    "verifyCsrfToken(session, …)",
    unchecked(verifyCsrfToken, stored),
    [...INPUTS.keys()].filter((each) => each !== "a promise"),
  ],
  ["crossOriginProtection(…)", unchecked(crossOriginProtection), ["a function"]],
  ["crossOriginProtection(handler, …)", unchecked(crossOriginProtection, () => {}), OPTIONS],
  [
    "crossOriginProtection(handler, { trustedOrigins })",
    option(crossOriginProtection, "trustedOrigins", () => {}),
    ["undefined", "an empty list"],
  ],
  ["exclusive(…)", (session) => Reflect.apply(exclusive as () => unknown, undefined, [session, "key", () => 1]), []],
  [
    "exclusive(session, …)",
    (key) => Reflect.apply(exclusive as () => unknown, undefined, [stored, key, () => 1]),
    ["an empty text", "a text"],
  ],
  ["exclusive(session, key, …)", unchecked(exclusive, stored, "key"), ["a function"]],
  ["exclusive(session, key, fn, …)", unchecked(exclusive, stored, "key", () => 1), OPTIONS],
  ["exclusive(session, key, fn, { lease })", option(exclusive, "lease", stored, "key", () => 1), ["undefined"]],
  ["dpop(…)", unchecked(dpop), OPTIONS],
  ["dpop({ mode })", option(dpop, "mode"), ["undefined"]],
  ["dpop({ origin })", option(dpop, "origin"), ["undefined"]],
  ["dpop({ nonceLifetime })", option(dpop, "nonceLifetime"), ["undefined"]],
  ["dpop({ algorithms })", option(dpop, "algorithms"), ["undefined"]],
  ["dpop.bind(…)", (session) => unchecked(proofs.bind, session)(THUMBPRINT), []],
  ["dpop.bind(session, …)", unchecked(proofs.bind, withProofs.open("")), []],
  ["dpop.thumbprint(…)", unchecked(proofs.thumbprint), []],
  ["dpop.fault(…)", unchecked(proofs.fault), []],
  ["dpopClient(…)", unchecked(dpopClient), []],
  ["dpopClient(origin, …)", unchecked(dpopClient, "https://shop.example"), OPTIONS],
  ["dpopClient(origin, { header })", option(dpopClient, "header", "https://shop.example"), ["undefined", "a text"]],
  ["dpopClient(origin, { storage })", option(dpopClient, "storage", "https://shop.example"), ["undefined"]],
  ["dpopClient(origin, { fetch })", option(dpopClient, "fetch", "https://shop.example"), ["undefined", "a function"]],
  ["dpopClient(origin, { now })", option(dpopClient, "now", "https://shop.example"), ["undefined", "a function"]],
  ["deviceBound(…)", unchecked(deviceBound), OPTIONS],
  ["deviceBound({ mode })", option(deviceBound, "mode"), ["undefined"]],
  ["deviceBound({ path })", option(deviceBound, "path"), ["undefined"]],
  ["deviceBound({ lifetime })", option(deviceBound, "lifetime"), ["undefined"]],
  ["deviceBound({ secrets })", option(deviceBound, "secrets"), ["a function"]],
  ["deviceBound({ offerOn })", option(deviceBound, "offerOn"), ["undefined", "a function"]],
  ["deviceBound({ refreshInitiators })", option(deviceBound, "refreshInitiators"), ["undefined", "an empty list"]],
  ["deviceBound({ exclude })", option(deviceBound, "exclude"), ["undefined", "an empty list"]],
  ["deviceBound.offer(…)", unchecked(bound.offer), []],
  ["deviceBound.thumbprint(…)", unchecked(bound.thumbprint), []],
  ["openTelemetry(…)", unchecked(openTelemetry), []],
  ["openTelemetry({ tracer })", option(openTelemetry, "tracer"), []],
  ["openTelemetry({ meter })", option(openTelemetry, "meter"), []],
  ["session(…) of Hono", unchecked(middleware), OPTIONS],
  ["session({ as }) of Hono", option(middleware, "as"), ["undefined", "a text"]],
  ["nodeSession(…)", unchecked(nodeSession), OPTIONS],
  ["nodeSession()(…)", (input) => unchecked(nodeSession(), input)(input), []],
  ["fakeClock(…)", unchecked(fakeClock), ["undefined", "zero", "minus one"]],
  ["fakeClock().advance(…)", unchecked(fakeClock().advance), ["zero", "minus one"]],
  ["faultyStore(…)", unchecked(faultyStore), []],
  ["faultyStore(store, …)", unchecked(faultyStore, store), OPTIONS],
  ["seedSession(…)", (options) => unchecked(seedSession, options)({}), []],
  ["seedSession(options, data, …)", unchecked(seedSession, { store }, {}), OPTIONS],
  ["seedSession(options, data, { url })", option(seedSession, "url", { store }, {}), ["undefined"]],
  ["cookieJar(…)", unchecked(cookieJar), OPTIONS],
  ["kvSimulator(…)", unchecked(kvSimulator), OPTIONS],
  ["a store case(…)", unchecked(storeCases()[0]?.run ?? (() => {})), []],
  ["a store case(() => …)", (input) => storeCases()[0]?.run((() => input) as never), []],
  ["denoKvStore(…)", unchecked(denoKvStore), []],
  [
    "denoKvStore(kv, { prefix })",
    option(denoKvStore, "prefix", { get() {}, atomic() {} }),
    ["undefined", "an empty text", "a text", "an empty list"],
  ],
  ["cloudflareKvStore(…)", unchecked(cloudflareKvStore), []],
  ["cloudflareKvStore(kv, …)", unchecked(cloudflareKvStore, kv), OPTIONS],
  [
    "cloudflareKvStore(kv, { prefix })",
    option(cloudflareKvStore, "prefix", kv),
    ["undefined", "an empty text", "a text"],
  ],
  ["cloudflareKvStore(kv, { cacheTtl })", option(cloudflareKvStore, "cacheTtl", kv), ["undefined"]],
  ["redisStore(…)", unchecked(redisStore), ["a function"]],
  ["upstashRedisStore(…)", unchecked(upstashRedisStore), []],
  ["postgresStore(…)", unchecked(postgresStore), []],
  ["mysqlStore(…)", unchecked(mysqlStore), []],
  ["sqliteStore(…)", unchecked(sqliteStore), []],
  ["d1Store(…)", unchecked(d1Store), []],
  ["libsqlStore(…)", unchecked(libsqlStore), []],
  ["sqlSchema(…)", unchecked(sqlSchema), []],
  ["sqlSchema(dialect, …)", unchecked(sqlSchema, "mysql"), OPTIONS],
  ["sqlSchema(dialect, { table })", option(sqlSchema, "table", "mysql"), ["undefined", "a text"]],
  ["dynamoDbStore(…)", (client) => unchecked(dynamoDbStore, client)({ table: "sessions" }), []],
  ["dynamoDbStore(client, …)", unchecked(dynamoDbStore, { send() {} }), []],
  ["netlifyBlobsStore(…)", unchecked(netlifyBlobsStore), []],
  ["memcachedStore(…)", unchecked(memcachedStore), []],
  ["unstorageStore(…)", unchecked(unstorageStore), []],
  [
    "unstorageStore(storage, { prefix })",
    option(unstorageStore, "prefix", { getItem() {}, setItem() {} }),
    ["undefined", "a text"],
  ],
  [
    "unstorageStore(storage, { consistency })",
    option(unstorageStore, "consistency", { getItem() {}, setItem() {} }),
    ["undefined"],
  ],
  ["durableObjectStore(…)", unchecked(durableObjectStore), []],
  [
    "durableObjectStore(namespace, { prefix })",
    option(durableObjectStore, "prefix", { idFromName() {}, get() {} }),
    ["undefined", "an empty text", "a text"],
  ],
  ["redisStore(client, { prefix })", option(redisStore, "prefix", () => {}), ["undefined", "an empty text", "a text"]],
  ["redisStore(client, { layout })", option(redisStore, "layout", () => {}), ["undefined"]],
  [
    "memcachedStore(client, { prefix })",
    option(memcachedStore, "prefix", { gets() {}, cas() {} }),
    ["undefined", "an empty text", "a text"],
  ],
  ["dynamoDbStore(client, { table })", option(dynamoDbStore, "table", { send() {} }), ["a text"]],
  ["fileStore(…)", unchecked(fileStore), []],
  ["fileStore({ directory })", option(fileStore, "directory"), ["a text"]],
  ["memoryStore(…)", unchecked(memoryStore), OPTIONS],
  ["memoryStore({ maxSessions })", option(memoryStore, "maxSessions"), ["undefined", "Infinity"]],
  ["migratingStore(…)", (from) => unchecked(migratingStore, from)(store), []],
  ["migratingStore(from, …)", unchecked(migratingStore, store), []],
  [
    "migratingStore(from, to, { now })",
    option(migratingStore, "now", store, memoryStore()),
    ["undefined", "a function"],
  ],
];

describe("input of the wrong kind", () => {
  test.each(CALLS)("%s refuses it with a message of this package", async (_name, call, accepted) => {
    const wrong: string[] = [];
    for (const [kind, input] of INPUTS) {
      const outcome = await outcomeOf(() => call(input));
      if (!(outcome instanceof Error)) {
        if (!accepted.includes(kind)) wrong.push(`${kind} is accepted`);
      } else if (accepted.includes(kind)) wrong.push(`${kind} is refused: ${outcome.message}`);
      else if (!/^(?:Type|Range|Session)Error$/.test(outcome.name) || OF_ENGINE.test(outcome.message))
        wrong.push(`${kind}: ${outcome.name}: ${outcome.message}`);
    }
    expect(wrong).toEqual([]);
  });

  test("a session of a manager without the plugin is refused, since nothing would check what is bound", async () => {
    const [header, plain] = [new SessionManager({ header: "X-Id" }), new SessionManager()];
    await expect(proofs.bind(header.open(""), THUMBPRINT)).rejects.toThrow(/dpop is not among the plugins/);
    await expect(bound.offer(plain.open(""))).rejects.toThrow(/deviceBound is not among the plugins/);
    expect(() => users.bind(plain.open(""), "ada")).toThrow(/userSessions is not among the plugins/);
  });

  test.each([
    ["the function that makes a plugin", dpop, /such as userSessions\(\) returns/],
    ["a plugin that does nothing", { name: "x" }, /"x" needs one of the functions wrap, admit/],
    ["a plugin whose wrap is no function", { name: "x", wrap: true }, /"x" needs one of the functions wrap, admit/],
    ["a plugin whose wrap returns nothing", { name: "x", wrap() {} }, /wrap of the plugin "x" returns must be/],
    ["a plugin whose wrap returns a promise", { name: "x", wrap: async () => {} }, /"x" returns must .* open.*promise/],
  ])("%s is refused, since it would protect nothing", (_kind, plugin, message) => {
    expect(() => new SessionManager({ plugins: [plugin as never] })).toThrow(message);
  });

  test.each([[true], [1], [{}], [[]]])("a plugin whose admit returns %j is told what to return", async (answer) => {
    for (const admit of [() => answer, async () => answer]) {
      const session = new SessionManager({ store }).open("");
      const id = await session.create();
      await session.save();
      const sessions = new SessionManager({ store, plugins: [{ name: "x", admit: admit as never }] });
      await expect(sessions.open(String(id)).get("a")).rejects.toThrow(
        /^admit of the plugin "x" must return a reason or undefined/,
      );
    }
  });

  test("a function that returns cookieSessions() in place of a store is told how to take secrets from the environment", async () => {
    const wrapped = new SessionManager({ store: () => cookieSessions({ secrets: SECRETS }) as never });
    await expect(wrapped.open("").create()).rejects.toThrow(
      /store must be cookieSessions\(\) itself.*secrets: \(env\) => \[env\.SECRET\]/,
    );
  });

  test("a handler that is wrapped with wrong options throws at once", () => {
    const wrap = withSession as (...input: unknown[]) => unknown;
    for (const options of [null, [], "x", 1, Promise.resolve({}), { bogus: 1 }])
      expect(() => wrap(() => new Response(), options)).toThrow(TypeError);
  });
});
