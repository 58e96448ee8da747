import { describe, expect, test } from "vitest";
import {
  memoryStore,
  SessionManager,
  type Session,
  type SessionEvent,
  type SessionOptions,
  withSession,
} from "../../../mod.ts";
import { cookieSessions } from "../../../src/cookie_sessions.ts";
import { structuredCodec } from "../../../src/core/codec.ts";
import { resolveOptions } from "../../../src/core/options/resolve_options.ts";
import type { Policy } from "../../../src/core/policy.ts";
import type { Repository } from "../../../src/core/repository.ts";
import type { RepositorySource } from "../../../src/core/repository/repository_source.ts";
import { wrapRepository } from "../../../src/core/repository/repository_wrapper.ts";
import { createId } from "../../../src/core/session_id.ts";
import { cookieJar, fakeClock } from "../../../src/testing.ts";
import { bare, codeOf, counted, openStore, visitor } from "../../setup/sessions.ts";

const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");

describe("misuse", () => {
  const wrong: [string, unknown, typeof TypeError | typeof RangeError | string][] = [
    ["__Host- with a domain", { cookie: { name: "__Host-a", domain: "shop.example" } }, TypeError],
    ["the default name with a domain", { cookie: { domain: "shop.example" } }, TypeError],
    ["__Host- with another path", { cookie: { path: "/app" } }, TypeError],
    ["__Host- with secure: false", { cookie: { secure: false } }, TypeError],
    ["__Secure- with secure: false", { cookie: { name: "__Secure-a", secure: false } }, TypeError],
    ["SameSite=None without secure", { cookie: { name: "a", sameSite: "None", secure: false } }, TypeError],
    ["partitioned without secure", { cookie: { name: "a", partitioned: true, secure: false } }, TypeError],
    ["a sameSite that is something else", { cookie: { sameSite: "lax" } }, TypeError],
    ["a cookie name with a space", { cookie: { name: "a b" } }, TypeError],
    ["an empty cookie name", { cookie: { name: "" } }, TypeError],
    ["a cookie name with =", { cookie: { name: "a=b" } }, TypeError],
    ["a path with a semicolon", { cookie: { name: "a", path: "/;Domain=x" } }, TypeError],
    ["a path without a slash", { cookie: { name: "a", path: "app" } }, TypeError],
    ["a path that is a list", { cookie: { name: "a", path: ["/app"] } }, TypeError],
    ["a path that is a symbol", { cookie: { name: "a", path: Symbol("/") } }, "its path does not begin with /"],
    ["a domain with a semicolon", { cookie: { name: "a", domain: "a;b" } }, TypeError],
    ["a maxAge of NaN", { cookie: { maxAge: NaN } }, RangeError],
    ["a negative maxAge", { cookie: { maxAge: -1 } }, RangeError],
    ["a refresh that is something else", { cookie: { refresh: "sometimes" } }, TypeError],
    ["a header name with a space", { header: "X Session" }, TypeError],
    ["an empty header name", { header: "" }, TypeError],
    ["a scheme that is something else", { header: { name: "Authorization", scheme: "Basic" } }, TypeError],
    ["neither cookie nor header", { cookie: false }, TypeError],
    ["no transports", { transports: [] }, TypeError],
    ["transports that are no list", { transports: {} }, TypeError],
    ["an idleTimeout of 0", { idleTimeout: 0 }, RangeError],
    ["a negative idleTimeout", { idleTimeout: -1 }, RangeError],
    ["an infinite idleTimeout", { idleTimeout: Infinity }, RangeError],
    ["an idleTimeout that is text", { idleTimeout: "60" }, RangeError],
    ["an absoluteTimeout of 0", { absoluteTimeout: 0 }, RangeError],
    ["a negative touchInterval", { touchInterval: -1 }, RangeError],
    ["a touchInterval as long as idleTimeout", { idleTimeout: 60, touchInterval: 60 }, RangeError],
    ["a storeTimeout of NaN", { storeTimeout: NaN }, RangeError],
    ["a store that is something else", { store: {} }, TypeError],
    ["a store that is null", { store: null }, TypeError],
    ["a store without traits", { store: { ...memoryStore(), traits: undefined } }, TypeError],
    [
      "a store whose traits are misspelt",
      { store: { ...memoryStore(), traits: { ...memoryStore().traits, consistency: "evenutal" } } },
      TypeError,
    ],
    ["a load that is something else", { load: "soon" }, TypeError],
    ["a persist that is something else", { persist: "never" }, TypeError],
    ["an onStoreError that is something else", { onStoreError: "ignore" }, TypeError],
    ["an onEvent that is something else", { onEvent: {} }, TypeError],
    ["a generateId that is something else", { generateId: "id" }, TypeError],
    ["a now that is something else", { now: 0 }, TypeError],
    ["a schema that is something else", { schema: {} }, TypeError],
    ["a codec that is something else", { codec: {} }, TypeError],
    ["a transport that is something else", { transports: [{}] }, TypeError],
    ["a touch that is no function", { touch: false }, TypeError],
    ["a waitUntil that is no function", { waitUntil: {} }, TypeError],
    ["ids without toToken", { ids: { toId: () => null } }, TypeError],
    ["encryption without open", { encryption: { seal: () => new Map() } }, TypeError],
    ["plugins that are no list", { plugins: {} }, TypeError],
    ["a plugin without a name", { plugins: [{}] }, TypeError],
    ["two plugins of one name", { plugins: [{ name: "a" }, { name: "a" }] }, TypeError],
    ["a rotateEvery of 0", { rotateEvery: 0 }, RangeError],
    ["a rotateEvery that is no duration", { rotateEvery: { seconds: "1" } }, RangeError],
    ["an onReuse that is unknown", { rotateEvery: { seconds: 1, onReuse: "ban" } }, TypeError],
    ["an idleTimeout above its limit", { idleTimeout: 61, timeoutLimits: { idle: 60 } }, RangeError],
    ["an absoluteTimeout above its limit", { absoluteTimeout: 61, timeoutLimits: { absolute: 60 } }, RangeError],
    ["no absoluteTimeout under a limit", { absoluteTimeout: false, timeoutLimits: { absolute: 60 } }, RangeError],
    ["a limit that is no duration", { timeoutLimits: { idle: 0 } }, RangeError],
    ["a cookie that ends before it is sent again", { cookie: { maxAge: 1800 } }, RangeError],
    ["a store that is a promise", { store: Promise.resolve(memoryStore()) }, TypeError],
    ["a header that is true", { header: true }, TypeError],
    ["a header that cookies use", { header: "Set-Cookie" }, TypeError],
    ["options that are a list", [], TypeError],
    ["options that are null", null, TypeError],
    ["options that are a store", memoryStore(), TypeError],
    ["options that are a request", new Request("https://shop.example/"), TypeError],
    ["limits that are a Map", { timeoutLimits: new Map([["idle", 60]]) }, TypeError],
    ["attributes of the cookie that are a URL", { cookie: new URL("https://shop.example/") }, TypeError],
  ];

  test.each(wrong)("%s throws when the handler is wrapped", (_, options, error) => {
    const fine = options as SessionOptions;
    expect(() => withSession(() => new Response(), fine)).toThrow(error);
    expect(() => new SessionManager(fine)).toThrow(error);
  });

  test.each<[string, unknown, string]>([
    ["a lifetime as others call it", { maxAge: 60 }, "did you mean idleTimeout?"],
    ["a cookie's name outside of cookie", { name: "sid" }, "did you mean cookie?"],
    ["a cookie's domain outside of cookie", { domain: "a.example" }, "did you mean cookie?"],
    ["a cookie's path outside of cookie", { path: "/a" }, "did you mean cookie?"],
    ["a cookie's sameSite outside of cookie", { sameSite: "Lax" }, "did you mean cookie?"],
    ["a cookie's secure outside of cookie", { secure: true }, "did you mean cookie?"],
    ["a store in place of the options", memoryStore(), "did you mean store?"],
  ])("%s: the message names the option that is meant", (_, options, message) => {
    expect(() => withSession(() => new Response(), options as SessionOptions)).toThrow(message);
  });

  test.each(["resave", "saveUninitialized", "unset", "proxy", "rolling"])(
    "%s, which express-session has, is to be left out, and no other word is named",
    (name) => {
      const message = `with-session has no option "${name}": leave it out`;
      expect(() => new SessionManager({ [name]: false } as object)).toThrow(new TypeError(message));
    },
  );

  test("all options that are to be left out are named at once", () => {
    const options = { saveUninitialized: true, resave: false } as object;
    const message = 'with-session has no option "resave" or "saveUninitialized": leave it out';
    expect(() => new SessionManager(options)).toThrow(new TypeError(message));
  });

  test.each([
    "user",
    "session",
    "sessions",
    "sliding",
    "inactivity",
    "csrf",
    "gracePeriod",
    "data",
    "hooks",
    "client",
    "customerIds",
  ])("%s is near to no option", (name) => {
    const message = `with-session has no option "${name}". It has`;
    expect(() => new SessionManager({ [name]: 1 } as object)).toThrow(message);
  });

  test.each([
    ["adapter", "store"],
    ["storage", "store"],
    ["serializer", "codec"],
    ["partitioned", "cookie"],
    ["duration", "idleTimeout"],
    ["timeout", "idleTimeout"],
    ["cookieOptions", "cookie"],
    ["genid", "generateId"],
    ["log", "onEvent"],
    ["rotate", "rotateEvery"],
    ["rotation", "rotateEvery"],
    ["eager", "load"],
    ["idelTimout", "idleTimeout"],
  ])("%s is taken for %s", (name, meant) => {
    expect(() => new SessionManager({ [name]: 1 } as object)).toThrow(`did you mean ${meant}?`);
  });

  test.each([
    [{ store: new Map() }, "store must be an object with load, save, delete, such as memoryStore(); it is an"],
    [{ ids: "secret" }, "ids must be an object with toToken, toId, such as signedIds({ secrets }); it is a string"],
    [{ encryption: true }, "encryption must be an object with seal, open, such as encryption(); it is a boolean"],
    [
      { schema: {} },
      'schema["~standard"] must be an object with validate, such as each schema of zod has; it is undef',
    ],
  ])("%j: the message says what the option takes", (options, message) => {
    expect(() => new SessionManager(options as object)).toThrow(message);
  });

  test("a handler that is none throws when it is wrapped", () => {
    expect(() => withSession(undefined as unknown as () => Response)).toThrow(TypeError);
  });

  test("options are not changed, and may be frozen", async () => {
    const options = Object.freeze({ cookie: Object.freeze({ name: "s" }), plugins: Object.freeze([]) });
    const visit = visitor(options);
    await visit(set);
    expect((await visit(get)).result).toBe(1);
  });
});

const SECRETS = ["a secret of at least thirty-two bytes"];
const IDS = { toToken: (id: string) => `signed.${id}`, toId: (token: string) => token.slice(7) };
/** A cipher that puts a mark before the text of each field. The metadata stay as they are. */
const CIPHER = {
  seal: (fields: ReadonlyMap<string, string>) =>
    new Map([...fields].map(([name, text]) => [name, name === "@" ? text : `sealed ${text}`])),
  open: (fields: ReadonlyMap<string, string>) =>
    new Map([...fields].map(([name, text]) => [name, text.replace(/^sealed /, "")])),
};
const ID = "a".repeat(22);

function policyOf(options: SessionOptions = {}): Policy {
  return resolveOptions(options);
}

/** An object that replaces a store, and the settings that it received. */
function sourceOf(repository: object): { readonly source: RepositorySource; readonly asked: unknown[] } {
  const asked: unknown[] = [];
  const source: RepositorySource = {
    repositorySource: true,
    revocation: memoryStore(),
    createRepository: (settings) => (asked.push(settings), repository as Repository),
  };
  return { source, asked };
}

describe("resolveOptions()", () => {
  test("fills in the defaults", () => {
    const policy = policyOf();
    expect(policy).toMatchObject({
      plugins: [],
      hasOwnTransports: false,
      name: "__Host-session",
      claims: [{ kind: "cookie", name: "__Host-session", id: "cookie session" }],
      timeouts: { idle: 86_400, absolute: 2_592_000, touchInterval: 8640 },
      limits: {},
      codec: structuredCodec,
      isEager: false,
      persistsAfterResponse: false,
      toleratesFailure: false,
      storeTimeout: 5,
      generateId: createId,
      now: expect.any(Function),
      combinesWrites: true,
    });
    const { rotateEvery, validateLoaded, validateChanges, waitUntil, onEvent } = policy;
    expect([rotateEvery, validateLoaded, validateChanges, waitUntil, onEvent]).toEqual(Array(5).fill(undefined));
    expect([policy.transports.length, policy.transports[0]?.requestHeader]).toEqual([1, "Cookie"]);
    expect(policy.resolveStore([])).toBe(policy.storeOption);
  });

  test("takes each option under its name", () => {
    const functions = { touch: () => false, waitUntil: () => {}, onEvent: () => {} };
    const options = {
      store: memoryStore(),
      cookie: { name: "__Secure-shop" },
      header: "X-Session-Id",
      idleTimeout: 600,
      absoluteTimeout: 6000,
      timeoutLimits: { idle: 700 },
      touchInterval: 20,
      rotateEvery: 300,
      ids: IDS,
      encryption: CIPHER,
      plugins: [{ name: "own", admit: () => undefined }],
      schema: { "~standard": { validate: () => ({ value: {} }) } },
      codec: { encode: String, decode: (text: string) => text },
      load: "eager",
      persist: "after-response",
      onStoreError: "anonymous",
      storeTimeout: 0.5,
      generateId: () => ID,
      now: () => 7,
      ...functions,
    } as const;
    const policy = policyOf(options);
    expect(policy).toMatchObject({
      plugins: options.plugins,
      name: "__Secure-shop",
      claims: [
        { kind: "cookie", name: "__Secure-shop", id: "cookie shop" },
        { kind: "header", name: "X-Session-Id", id: "header x-session-id" },
      ],
      storeOption: options.store,
      timeouts: { idle: 600, absolute: 6000, touchInterval: 20 },
      limits: { idle: 700 },
      rotateEvery: 300,
      countsAsUse: expect.any(Function),
      isEager: true,
      persistsAfterResponse: true,
      waitUntil: functions.waitUntil,
      toleratesFailure: true,
      storeTimeout: 0.5,
      onEvent: functions.onEvent,
    });
    expect(policy.transports.map(({ requestHeader }) => requestHeader)).toEqual(["Cookie", "X-Session-Id"]);
    const request = new Request("https://shop.example/");
    expect([policy.now(), policy.generateId(undefined), policy.countsAsUse(request)]).toEqual([7, ID, false]);
  });

  test("takes the other word of each choice, no absolute timeout, and no touch interval", () => {
    const policy = policyOf({
      load: "lazy",
      persist: "before-response",
      onStoreError: "throw",
      absoluteTimeout: false,
      touchInterval: 0,
      timeoutLimits: {},
    });
    expect(policy).toMatchObject({ isEager: false, persistsAfterResponse: false, toleratesFailure: false });
    expect(policy.timeouts).toEqual({ idle: 86_400, absolute: false, touchInterval: 0 });
  });

  test.each<[object, string]>([
    [{ load: "soon" }, 'load must be one of "lazy", "eager"'],
    [{ persist: "never" }, 'persist must be one of "before-response", "after-response"'],
    [{ onStoreError: "ignore" }, 'onStoreError must be one of "throw", "anonymous"'],
    [{ rotateEvery: { seconds: 60, onReuse: "ban" } }, 'rotateEvery.onReuse must be one of "reject", "destroy"'],
    [{ schema: { validate: () => {} } }, 'schema["~standard"] must be an object with validate'],
    [{ ids: { toToken: IDS.toToken } }, "ids must be an object with toToken, toId"],
    [{ ids: { toId: IDS.toId } }, "ids must be an object with toToken, toId"],
    [{ encryption: { seal: CIPHER.seal } }, "encryption must be an object with seal, open"],
    [{ encryption: { open: CIPHER.open } }, "encryption must be an object with seal, open"],
    [{ codec: { encode: String } }, "codec must be an object with encode, decode"],
    [{ codec: { decode: String } }, "codec must be an object with encode, decode"],
    [{ store: { ...memoryStore(), load: undefined } }, "store must be an object with load, save, delete"],
    [{ store: { ...memoryStore(), save: undefined } }, "store must be an object with load, save, delete"],
    [{ store: { ...memoryStore(), delete: undefined } }, "store must be an object with load, save, delete"],
  ])("refuses %o, and says what it must be", (options, message) => {
    expect(() => policyOf(options)).toThrow(message);
  });

  test("takes a function that opens the store, and asks it when the store is needed", () => {
    const store = memoryStore();
    const asked: unknown[] = [];
    const policy = policyOf({ store: (env: unknown) => (asked.push(env), store) });
    expect(asked).toEqual([]);
    expect([policy.resolveStore(["env"]), asked]).toEqual([store, ["env"]]);
  });

  test("takes cookieSessions() in place of a store, but no ids and no encryption beside it", () => {
    const store = cookieSessions({ secrets: SECRETS });
    expect(policyOf({ store })).toMatchObject({ storeOption: store, combinesWrites: false });
    for (const more of [{ ids: IDS }, { encryption: CIPHER }, { ids: IDS, encryption: CIPHER }])
      expect(() => policyOf({ store, ...more })).toThrow(/^cookieSessions\(\) signs and encrypts/);
  });

  test("asks a source for its repository, and tells it the clock and the options that it has to serve", () => {
    const repository = { tokenHoldsSession: true };
    const { source, asked } = sourceOf(repository);
    expect(policyOf({ store: source }).repository).toBe(repository);
    policyOf({ store: source, rotateEvery: { seconds: 60, onReuse: "reject" } });
    const { now } = policyOf({
      store: source,
      rotateEvery: { seconds: 60, onReuse: "destroy" },
      ids: IDS,
      encryption: CIPHER,
    });
    const none = { ids: undefined, encryption: undefined, now: expect.any(Function) };
    expect(asked).toEqual([
      { ...none, rotates: false, endsOnReuse: false },
      { ...none, rotates: true, endsOnReuse: false },
      { ids: IDS, encryption: CIPHER, now, rotates: true, endsOnReuse: true },
    ]);
  });

  test("opens the store that a source has for revocation", () => {
    const { source } = sourceOf({});
    const revocation = memoryStore();
    expect(policyOf({ store: { ...source, revocation } }).resolveStore([])).toBe(revocation);
    expect(policyOf({ store: { ...source, revocation: () => revocation } }).resolveStore([])).toBe(revocation);
  });

  test("splits the cookie of a source as the source says", async () => {
    const visit = visitor({ store: cookieSessions({ secrets: SECRETS, chunks: 3 }) });
    const { cookies } = await visit((session) => session.set("long", "x".repeat(5000)));
    expect(cookies.length).toBeGreaterThan(1);
  });

  test("lets plugins wrap the repository, the first one nearest to the store", () => {
    const { source } = sourceOf({ layers: [] });
    const wrapping = (name: string) => ({
      name,
      wrap: (next: Repository) =>
        wrapRepository(next, { layers: [...(next as unknown as { layers: string[] }).layers, name] } as object),
    });
    const plugins = [wrapping("first"), { name: "between", admit: () => undefined }, wrapping("last")];
    expect(policyOf({ store: source, plugins }).repository).toMatchObject({ layers: ["first", "last"] });
  });

  test("claims a cookie and a header whose names are known, and no others", () => {
    const transport = { read: () => null, write() {}, clear() {} };
    const own = policyOf({ transports: [transport] });
    expect(own).toMatchObject({ hasOwnTransports: true, claims: [], transports: [transport] });
    const claimsOf = (options: SessionOptions) => policyOf(options).claims.map(({ id }) => id);
    expect(claimsOf({ cookie: { name: "__Host-s" } })).toEqual(["cookie s"]);
    expect(claimsOf({ cookie: () => ({ name: "s" }) })).toEqual([]);
    expect(claimsOf({ cookie: false, header: "X-Session-Id" })).toEqual(["header x-session-id"]);
    const both = claimsOf({ cookie: { name: "s" }, header: { name: "Authorization", scheme: "Bearer" } });
    expect(both).toEqual(["cookie s", "header authorization"]);
  });

  test("refuses a cookie or a header beside transports of the program, which would be ignored silently", () => {
    const transports = [{ read: () => null, write() {}, clear() {} }];
    for (const beside of [{ cookie: { name: "s" } }, { cookie: {} }, { cookie: () => ({}) }, { header: "X-Id" }])
      expect(() => policyOf({ transports, ...beside }), JSON.stringify(beside)).toThrow("transports take the place of");
    for (const beside of [{ cookie: false as const }, { header: false as const }, {}])
      expect(() => policyOf({ transports, ...beside })).not.toThrow();
  });

  test("knows the name of the header that stands beside the cookie", () => {
    const names = [{ header: "X-Id" }, {}, { header: "X-Id", cookie: false as const }].map(
      (each) => policyOf(each).headerName,
    );
    expect(names).toEqual(["X-Id", undefined, undefined]);
  });

  test("puts writes of several requests together unless a plugin answers each client with its own", () => {
    const quiet = { name: "quiet", admit: () => undefined };
    const respond = { name: "respond", respond() {} };
    expect(policyOf({ plugins: [quiet] }).combinesWrites).toBe(true);
    expect(policyOf({ plugins: [respond, quiet] }).combinesWrites).toBe(false);
  });

  test("counts each request as use but a prefetch, unless the program decides", () => {
    const [visit, prefetch] = [{}, { "Sec-Purpose": "prefetch" }].map(
      (headers) => new Request("https://shop.example/", { headers: headers as Record<string, string> }),
    ) as [Request, Request];
    const { countsAsUse } = policyOf();
    expect([countsAsUse(visit), countsAsUse(prefetch)]).toEqual([true, false]);
    const touch = ({ headers }: Request): boolean => headers.has("Sec-Purpose");
    const decided = policyOf({ touch });
    expect([decided.countsAsUse(visit), decided.countsAsUse(prefetch)]).toEqual([false, true]);
  });

  test("refuses a promise from the program's touch, which would count each request as use", () => {
    const touch = (() => Promise.resolve(false)) as unknown as (request: Request) => boolean;
    const refused = new TypeError("touch must return true or false at once; it returns a promise");
    expect(() => policyOf({ touch }).countsAsUse(new Request("https://shop.example/"))).toThrow(refused);
    // It is called only when a session was not used for a tenth of its idle timeout, which no program tries at once.
    const isAsync = (async () => false) as unknown as (request: Request) => boolean;
    expect(() => policyOf({ touch: isAsync })).toThrow(refused);
  });

  test("checks what the program's own generator and clock give, and tells the generator of the request", async () => {
    const request = new Request("https://shop.example/");
    const asked: unknown[] = [];
    const { generateId } = policyOf({ generateId: (given) => (asked.push(given), ID) });
    expect([generateId(request), generateId(undefined), asked]).toEqual([ID, ID, [request, undefined]]);
    for (const id of ["short", "a".repeat(4097)])
      expect(() => policyOf({ generateId: () => id }).generateId(request)).toThrow(/must give 22 to 4096 characters/);
    expect(() => policyOf({ now: () => NaN }).now()).toThrow(TypeError);
  });

  test("checks data against the schema, with the codec that is chosen", async () => {
    const seen: unknown[] = [];
    const schema = {
      "~standard": { validate: (value: unknown) => (seen.push({ ...Object(value) }), { issues: [{ message: "no" }] }) },
    };
    const codec = { encode: (value: unknown) => `own ${value}`, decode: (text: string) => text.slice(4) };
    const policy = policyOf({ schema, codec });
    const fields = new Map([["=n", policy.codec.encode(7)]]);
    expect(() => policy.validateChanges?.(fields)).toThrow(/its data fails the schema: no$/);
    expect(policy.validateLoaded?.({ fields } as never)).toBe("schema");
    expect(seen).toEqual([{ n: "7" }, { n: "7" }]);
  });

  test("keeps the text of the program's own codec on one line", () => {
    const codec = { encode: (value: unknown) => `=\n${value}\ud800`, decode: (text: string) => text };
    const own = policyOf({ codec }).codec;
    const text = own.encode("value");
    expect([text.includes("\n"), text.isWellFormed(), own.decode(text)]).toEqual([false, true, "=\nvalue\ud800"]);
    for (const given of [undefined, 7, {}]) {
      const wrong = { encode: () => given as unknown as string, decode: (each: string) => each };
      expect(() => policyOf({ codec: wrong }).codec.encode(1)).toThrow("codec.encode must return a text at once");
    }
  });
});

describe("what becomes of the options in a repository on a store", () => {
  test("ids travel in their format, and the store sees what the encryption gives it", async () => {
    const { store, records } = openStore();
    const visit = visitor({ store, ids: IDS, encryption: CIPHER });
    const { cookies } = await visit(set);
    expect(cookies[0]).toMatch(/^__Host-session=signed\.[\w-]{32};/);
    expect([...records.values()].map(({ fields }) => fields.get("=a"))).toEqual(["sealed 1"]);
    expect((await visit(get)).result).toBe(1);
  });

  test("a text that no generator gives costs no call of the store; with a generator of the program, a shorter one does", async () => {
    const headers = { Cookie: `__Host-session=${ID}` };
    for (const [options, reason, asked] of [
      [{}, "malformed", []],
      [{ generateId: () => ID }, "unknown", ["load"]],
    ] as const) {
      const { store, calls } = counted(memoryStore());
      const events: SessionEvent[] = [];
      await visitor({ ...options, store, onEvent: (event) => events.push(event) })(get, { headers });
      expect([bare(events), calls]).toEqual([[{ type: "rejected", reason }], asked]);
    }
  });

  test.each([
    ["reject", 1],
    ["destroy", undefined],
  ] as const)(
    "an old id that is used again leads to nothing, and with onReuse %j the session is left with %j",
    async (onReuse, left) => {
      const clock = fakeClock();
      const events: SessionEvent[] = [];
      const options: SessionOptions = {
        store: memoryStore(),
        now: clock.now,
        rotateEvery: { seconds: 60, onReuse },
        onEvent: (event) => events.push(event),
      };
      const visit = visitor(options);
      const old = (await visit(set)).cookies[0]?.split(";")[0] ?? "";
      clock.advance(61);
      expect((await visit(get)).cookies).toHaveLength(1);
      await visit(get);
      clock.advance(90);
      events.length = 0;
      const thief = visitor(options, { jar: cookieJar() });
      expect((await thief(get, { headers: { Cookie: old } })).result).toBeUndefined();
      expect(bare(events)).toContainEqual({ type: "rejected", reason: "reuse" });
      expect((await visit(get)).result).toBe(left);
    },
  );

  test("a request that is still under way when the new id was used takes nobody for a thief", async () => {
    const clock = fakeClock();
    const visit = visitor({ store: memoryStore(), now: clock.now, rotateEvery: { seconds: 60, onReuse: "destroy" } });
    await visit(set);
    const { result } = await visit(async (session) => {
      await session.get("a");
      return { session };
    });
    clock.advance(61);
    await visit(get);
    await visit(get);
    clock.advance(90);
    result.session.set("b", 2);
    expect(await codeOf(() => result.session.save())).toBe("ERR_SESSION_GONE");
    expect((await visit(get)).result).toBe(1);
  });
});
