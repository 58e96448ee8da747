import { calculateJwkThumbprint } from "jose";
import { beforeEach, expect, test } from "vitest";
import {
  memoryStore,
  SessionError,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  type StoredRecord,
  withSession,
} from "../../mod.ts";
import { cookieTransport } from "../../src/core/cookie_transport.ts";
import type { JsonValue } from "../../src/core/metadata.ts";
import { METADATA_FIELD } from "../../src/core/record_fields.ts";
import type { Contents, Found, Operation, Repository } from "../../src/core/repository.ts";
import { deviceBound, type DeviceBoundOptions } from "../../src/device_bound.ts";
import { faultyStore } from "../../src/testing/faulty_store.ts";
import { Browser, deviceKey, ORIGIN } from "./browser.ts";

let now = 0;
const clock = (): number => now;

beforeEach(() => {
  now = 1_700_000_000_000;
});

interface Data {
  user?: string;
  n?: number;
}

type Handler = (request: Request) => Promise<Response>;

function app(options: SessionOptions<Data> = {}, bound: DeviceBoundOptions = {}): Handler {
  return withSession<Data>(
    async (request, session) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/login") {
        await session.regenerate({ reauthenticated: true });
        session.set("user", "ada");
      }
      if (pathname === "/doubtful") {
        session.set("user", "ada");
        await session.save().catch(() => {});
      }
      if (pathname === "/count") await session.update("n", (n = 0) => n + 1);
      const { ended } = await session.info();
      return Response.json({ user: await session.get("user"), n: await session.get("n"), ended });
    },
    { now: clock, ...options, plugins: [deviceBound(bound)] },
  );
}

/** A record with changed text of the metadata. */
function withMetadata(record: StoredRecord, change: (text: string) => string): StoredRecord {
  const text = record.fields.get(METADATA_FIELD) ?? "";
  const changed = change(text);
  if (changed === text) throw new Error("The metadata have another form than this test knows");
  return { ...record, fields: new Map(record.fields).set(METADATA_FIELD, changed) };
}

/** A memory store that calls a function just before each write. */
function hookedStore(beforeSave: (write: number) => Promise<void>): SessionStore {
  const store = memoryStore();
  let writes = 0;
  return {
    ...store,
    async save(key, write) {
      await beforeSave(++writes);
      return await store.save(key, write);
    },
  };
}

test("a login keeps its new binding when another request writes the session while the id is renewed", async () => {
  let login = false;
  let beside: Promise<unknown> | undefined;
  const store = hookedStore(async () => {
    if (!login) return;
    login = false;
    // Another request changes the old session just before the successor is stored.
    beside = handler(new Request(`${ORIGIN}/count`, { method: "POST", headers: { Cookie: cookie } }));
    await beside;
  });
  const handler = app({ store });
  const browser = new Browser(handler, await deviceKey(), clock);
  await browser.fetch("/count", { method: "POST" });
  const cookie = browser.jar.header(ORIGIN) ?? "";
  now += 1000;
  login = true;
  browser.key = await deviceKey();
  await browser.fetch("/login", { method: "POST" });
  expect(beside).toBeDefined();
  expect(browser.requests.filter((each) => each === "POST /dbsc/start")).toHaveLength(2);
  now += 400_000;
  expect(await (await browser.fetch("/")).json()).toEqual({ user: "ada", n: 2, ended: null });
});

test.each([
  ["the clock counts", 0.25, 600],
  ["a proof lives for", 0, 1000 / 3],
])("a session is bound where %s parts of a millisecond", async (_what, part, lifetime) => {
  now += part;
  const handler = app({}, { lifetime });
  const browser = new Browser(handler, await deviceKey(), clock);
  await browser.fetch("/login", { method: "POST" });
  const stolen = `__Host-session=${browser.cookie("__Host-session")}`;
  now += 400_000;
  expect(await (await browser.fetch("/")).json()).toMatchObject({ user: "ada", ended: null });
  expect(await (await handler(new Request(ORIGIN, { headers: { Cookie: stolen } }))).json()).toEqual({
    ended: "proof",
  });
});

test("a session that is renewed by its age is not offered again, and keeps waiting for no key", async () => {
  const handler = app({ rotateEvery: 60 });
  const browser = new Browser(handler, await deviceKey(), clock);
  browser.isCapable = false;
  const login = await browser.fetch("/login", { method: "POST" });
  expect(login.headers.has("Secure-Session-Registration")).toBe(true);
  const before = browser.cookie("__Host-session");
  now += 100_000;
  const renewed = await browser.fetch("/");
  expect(browser.cookie("__Host-session")).not.toBe(before);
  expect(renewed.headers.has("Secure-Session-Registration")).toBe(false);
});

test("a session whose creation got no answer is found again in the same request, which can have no proof yet", async () => {
  const store = faultyStore(memoryStore());
  const handler = app({ store }, { mode: "require" });
  const browser = new Browser(handler, await deviceKey(), clock);
  store.plan({ save: ["does it but rejects"] });
  expect(await (await browser.fetch("/doubtful", { method: "POST" })).json()).toMatchObject({ user: "ada" });
  expect(browser.sessions.size).toBe(1);
  expect(await (await browser.fetch("/")).json()).toEqual({ user: "ada", ended: null });
});

test.each<[string, readonly string[]]>([
  ["begins a session", []],
  ["takes the place of a session with another key", ["/login"]],
  ["takes the place of a session without a key", ["/count"]],
])("a login that %s, and is stored only at the second attempt, asks for a new key", async (_, before) => {
  for (const mode of ["offer", "require"] as const) {
    const store = faultyStore(memoryStore());
    const plugin = deviceBound({ mode });
    const handler = withSession<Data>(
      async (request, session) => {
        if (request.url.endsWith("/count")) await session.update("n", (n = 0) => n + 1);
        if (!request.url.endsWith("/login")) return new Response(await plugin.thumbprint(session));
        await session.regenerate({ reauthenticated: true });
        session.set("user", "ada");
        await session.save().catch(() => session.save());
        return new Response();
      },
      { store, now: clock, plugins: [plugin] },
    );
    const browser = new Browser(handler, await deviceKey(), clock);
    for (const path of before) await browser.fetch(path, { method: "POST" });
    browser.key = await deviceKey();
    now += 1000;
    store.plan({ save: ["rejects"] });
    await browser.fetch("/login", { method: "POST" });
    expect(await (await browser.fetch("/")).text()).toBe(await calculateJwkThumbprint(browser.key.jwk));
  }
});

test("a session whose first id was in use is offered a key under the next one", async () => {
  let isInUse = true;
  const inner = memoryStore();
  const store: SessionStore = {
    ...inner,
    save(key, write) {
      if (!isInUse) return inner.save(key, write);
      isInUse = false;
      return "conflict";
    },
  };
  const browser = new Browser(app({ store }), await deviceKey(), clock);
  await browser.fetch("/login", { method: "POST" });
  expect(isInUse).toBe(false);
  expect(browser.sessions.size).toBe(1);
});

test("offer() asks for no key when the browser has registered one by the time of the response", async () => {
  const plugin = deviceBound();
  let meanwhile: (() => Promise<unknown>) | undefined;
  const handler = withSession<Data>(
    async (_request, session) => {
      session.set("n", ((await session.get("n")) ?? 0) + 1);
      await plugin.offer(session);
      await meanwhile?.();
      return new Response();
    },
    { now: clock, plugins: [plugin] },
  );
  const browser = new Browser(handler, await deviceKey(), clock);
  browser.isCapable = false;
  const offer = (await browser.fetch("/")).headers.get("Secure-Session-Registration") ?? "";
  meanwhile = () => browser.register(offer);
  expect((await browser.fetch("/")).headers.has("Secure-Session-Registration")).toBe(false);
  expect(browser.sessions.size).toBe(1);
});

test("the endpoints ask the browser to come again when the store fails, and send away who has no session", async () => {
  const store = faultyStore(memoryStore());
  const browser = new Browser(app({ store, onStoreError: "anonymous" }), await deviceKey(), clock);
  browser.isCapable = false;
  const login = await browser.fetch("/login", { method: "POST" });
  const offer = login.headers.get("Secure-Session-Registration") ?? "";
  store.plan({ load: ["rejects"] });
  expect((await browser.register(offer)).status).toBe(503);
  const stranger = new Browser(app({ store }), await deviceKey(), clock);
  const refused = await stranger.register(offer);
  expect([refused.status, await refused.text()]).toEqual([403, "no session"]);
  expect((await browser.register(offer)).status).toBe(200);
});

test.each([
  ["/dbsc/start", 403],
  ["/dbsc/refresh", 503],
] as const)("%s answers %i when the session ends while its proof is stored", async (path, status) => {
  const inner = memoryStore();
  let ends = false;
  const store: SessionStore = {
    ...inner,
    async save(key, write) {
      if (ends) await inner.delete(key);
      return await inner.save(key, write);
    },
  };
  const browser = new Browser(app({ store }), await deviceKey(), clock);
  browser.isCapable = path !== "/dbsc/start";
  const login = await browser.fetch("/login", { method: "POST" });
  ends = true;
  const [known] = browser.sessions.values();
  if (known === undefined) {
    const offer = login.headers.get("Secure-Session-Registration") ?? "";
    expect((await browser.register(offer)).status).toBe(status);
  } else {
    now += 400_000;
    expect(await browser.refresh(known)).toBe("server_error");
  }
  expect(browser.requests.at(-1)).toBe(`POST ${path}`);
});

test.each(["/dbsc/start", "/dbsc/refresh"])(
  "%s fails when the store does, and nothing of the key is stored with the response",
  async (path) => {
    const store = faultyStore(memoryStore());
    const browser = new Browser(app({ store }), await deviceKey(), clock);
    browser.isCapable = path !== "/dbsc/start";
    const login = await browser.fetch("/login", { method: "POST" });
    const offer = login.headers.get("Secure-Session-Registration") ?? "";
    const [known] = browser.sessions.values();
    now += 400_000;
    const prove = async (): Promise<unknown> =>
      known === undefined ? browser.register(offer) : browser.refresh(known);
    store.plan({ save: ["rejects"] });
    await expect(prove()).rejects.toMatchObject({ code: "ERR_STORE" });
    expect(store.calls.save).toBe(1);
    // If the first key had been stored nevertheless, this other key would be rejected.
    if (known === undefined) browser.key = await deviceKey();
    await prove();
    expect(browser.sessions.size).toBe(1);
    expect(await (await browser.fetch("/")).json()).toEqual({ user: "ada", ended: null });
  },
);

test.each(["/dbsc/start", "/dbsc/refresh"])(
  "%s asks the browser to come again when the store fails at the write, and stores nothing of the key with the response",
  async (path) => {
    const store = faultyStore(memoryStore());
    const browser = new Browser(app({ store, onStoreError: "anonymous" }), await deviceKey(), clock);
    browser.isCapable = path !== "/dbsc/start";
    const login = await browser.fetch("/login", { method: "POST" });
    const offer = login.headers.get("Secure-Session-Registration") ?? "";
    const [known] = browser.sessions.values();
    now += 400_000;
    store.plan({ save: ["rejects"] });
    if (known === undefined) expect((await browser.register(offer)).status).toBe(503);
    else expect(await browser.refresh(known)).toBe("server_error");
    expect(store.calls.save).toBe(1);
    // If the first key had been stored nevertheless, this other key would be rejected.
    if (known === undefined) browser.key = await deviceKey();
    if (known === undefined) expect((await browser.register(offer)).status).toBe(200);
    else await browser.refresh(known);
    expect(await (await browser.fetch("/")).json()).toEqual({ user: "ada", ended: null });
  },
);

test.each(["/dbsc/start", "/dbsc/refresh"])(
  "%s asks the browser to come again after conflicts without end if the store's failures are tolerated",
  async (path) => {
    for (const onStoreError of ["throw", "anonymous"] as const) {
      const inner = memoryStore();
      let isBusy = false;
      const store: SessionStore = { ...inner, save: (key, write) => (isBusy ? "conflict" : inner.save(key, write)) };
      const browser = new Browser(app({ store, onStoreError, storeTimeout: 0.05 }), await deviceKey(), clock);
      browser.isCapable = path !== "/dbsc/start";
      const login = await browser.fetch("/login", { method: "POST" });
      const offer = login.headers.get("Secure-Session-Registration") ?? "";
      const [known] = browser.sessions.values();
      now += 400_000;
      isBusy = true;
      const proving = known === undefined ? browser.register(offer) : browser.refresh(known);
      if (onStoreError === "throw") await expect(proving).rejects.toMatchObject({ code: "ERR_CONFLICT" });
      else if (known === undefined) expect(await proving).toMatchObject({ status: 503 });
      else expect(await proving).toBe("server_error");
      isBusy = false;
      // If the first key had been stored nevertheless, this other key would be rejected.
      if (known === undefined) browser.key = await deviceKey();
      if (known === undefined) expect((await browser.register(offer)).status).toBe(200);
      else await browser.refresh(known);
      expect(await (await browser.fetch("/")).json()).toEqual({ user: "ada", ended: null });
    }
  },
);

test("a registration throws what is no failure of the store, also if those are tolerated", async () => {
  const inner = memoryStore();
  let isFull = false;
  const store: SessionStore = {
    ...inner,
    save(key, write) {
      if (isFull) throw new SessionError("ERR_RECORD_TOO_LARGE", "Cannot store the session: it is too large");
      return inner.save(key, write);
    },
  };
  const browser = new Browser(app({ store, onStoreError: "anonymous" }), await deviceKey(), clock);
  browser.isCapable = false;
  const login = await browser.fetch("/login", { method: "POST" });
  isFull = true;
  const registering = browser.register(login.headers.get("Secure-Session-Registration") ?? "");
  await expect(registering).rejects.toMatchObject({ code: "ERR_RECORD_TOO_LARGE" });
});

test("a registration whose answer was lost binds the session, which ends with the proof of the login", async () => {
  const handler = app();
  const browser = new Browser(handler, await deviceKey(), clock);
  browser.isCapable = false;
  const login = await browser.fetch("/login", { method: "POST" });
  const Cookie = browser.jar.header(ORIGIN) ?? "";
  expect((await browser.register(login.headers.get("Secure-Session-Registration") ?? "")).status).toBe(200);
  const page = async (): Promise<unknown> => (await handler(new Request(`${ORIGIN}/`, { headers: { Cookie } }))).json();
  now += 599_000;
  expect(await page()).toEqual({ user: "ada", ended: null });
  now += 1000;
  expect(await page()).toEqual({ ended: "proof" });
});

test.each([
  ["was let in keeps its changes when its proof has ended", "GET"],
  ["has begun the session, and has no proof, keeps its changes", "POST"],
])("a request that %s before they are stored again after a conflict", async (_what, method) => {
  let meanwhile: (() => Promise<unknown>) | undefined;
  const store = hookedStore(async () => {
    const next = meanwhile;
    meanwhile = undefined;
    await next?.();
  });
  const options = { store, now: clock, storeTimeout: 3600, plugins: [deviceBound({ mode: "require" })] };
  const handler = withSession<Data>(async (request, session) => {
    if (request.method === "POST") session.set("user", "ada");
    await session.save();
    if (request.method === method) {
      const id = (await session.id()) ?? "";
      now += 3_600_000;
      meanwhile = () => sessions.open(id).update("n", () => 7);
      await session.update("n", (n = 0) => n + 1);
    }
    return new Response(String(await session.get("n")));
  }, options);
  const sessions = new SessionManager<Data>({ ...options, plugins: [deviceBound({ mode: "require" })] });
  const browser = new Browser(handler, await deviceKey(), clock);
  const first = await browser.fetch("/", { method: "POST" });
  expect(await (method === "POST" ? first : await browser.fetch("/")).text()).toBe("8");
});

test("a refresh that finds no session keeps the cookies of others in its response", async () => {
  const handler = withSession<Data>(
    async (request, session) => {
      if (new URL(request.url).pathname === "/login") session.set("user", "ada");
      return new Response();
    },
    {
      now: clock,
      plugins: [
        { name: "other", respond: (headers) => headers.append("Set-Cookie", "other=1; Path=/") },
        deviceBound(),
      ],
      idleTimeout: 1000,
    },
  );
  const browser = new Browser(handler, await deviceKey(), clock);
  await browser.fetch("/login", { method: "POST" });
  const Cookie = browser.jar.header(ORIGIN) ?? "";
  now += 1_000_000;
  const headers = { Cookie, "Sec-Secure-Session-Id": "any" };
  const response = await handler(new Request(`${ORIGIN}/dbsc/refresh`, { method: "POST", headers }));
  expect(response.headers.getSetCookie()).toEqual(["other=1; Path=/"]);
});

test.each(["", "x", ".x", `${"1".repeat(21)}.x`])("a bound cookie of %j proves nothing", async (value) => {
  const handler = app();
  const browser = new Browser(handler, await deviceKey(), clock);
  await browser.fetch("/login", { method: "POST" });
  const Cookie = `__Host-session=${browser.cookie("-session")}; __Host-session-bound=${value}`;
  now += 120_000;
  expect(await (await handler(new Request(ORIGIN, { headers: { Cookie } }))).json()).toEqual({ ended: "proof" });
});

/** A session as a store may return it, and the operation that loads it. */
function found(facts: JsonValue): { readonly session: Found; readonly op: Operation } {
  const metadata = { "createdAt": now, "absoluteSince": now, "+device-bound": facts };
  const session = { fields: new Map(), metadata, lastSeenAt: now, id: "id", token: "token", version: 1 };
  const op = {
    now,
    request: new Request(ORIGIN),
    runtimeArguments: [],
    transport: cookieTransport(),
    session: undefined,
  };
  return { session, op: op as Partial<Operation> as Operation };
}

test.each([[undefined], [{ exempt: true }], [{ id: "a", secret: "b" }]])(
  'a session with the facts %j is let in by "offer"',
  async (facts) => {
    const { session, op } = found(facts as JsonValue);
    expect(await deviceBound().admit?.(session, op)).toBeUndefined();
  },
);

test.each([
  [7],
  [null],
  [[]],
  [{}],
  [{ exempt: "yes" }],
  [{ id: "a" }],
  [{ id: "a", secret: 7 }],
  [{ id: "", secret: "", jwk: { kty: "EC" }, alg: "ES256", jkt: "", proofs: 0, at: 0 }],
  [{ id: "", secret: "", jwk: { kty: "RSA", n: "AQAB", e: "AQAB" }, alg: 7, jkt: "", proofs: 0, at: 0 }],
  [{ id: "", secret: "", jwk: { kty: "RSA", n: "AQAB", e: "AQAB" }, alg: "RS256", jkt: "", proofs: "0", at: 0 }],
])("a session with facts that make no sense is let in by nothing: %j", async (facts) => {
  const { session, op } = found(facts);
  expect(await deviceBound().admit?.(session, op)).toBe("proof");
});

test("a second attempt to renew an id, with the key that another request has registered meanwhile, keeps that key", async () => {
  const { session, op } = found({ exempt: true });
  const stored: (JsonValue | undefined)[] = [];
  const store = ({ metadata }: Contents): Found => {
    stored.push(metadata["+device-bound"]);
    return { ...session, metadata, id: "new" };
  };
  const next: Partial<Repository> = {
    create: (_id, contents) => store(contents),
    update: (_current, contents) => store(contents),
  };
  const repository = deviceBound().wrap?.(next as Repository);
  await repository?.create("new", session, op, session);
  const { jwk } = await deviceKey();
  const bound = found({ id: "b", secret: "s", jwk: { ...jwk }, alg: "ES256", jkt: "t", proofs: 0, at: now }).session;
  await repository?.create("new", bound, op, bound);
  await repository?.update({ ...bound, id: "new" }, bound, op);
  const facts = bound.metadata["+device-bound"];
  expect(stored).toEqual([{ id: expect.any(String), secret: expect.any(String) }, facts, facts]);
});

test("a session that a newer program has written is not given up by the browser", async () => {
  const inner = memoryStore();
  let isNewer = false;
  const store: SessionStore = {
    ...inner,
    async load(key) {
      const record = await inner.load(key);
      if (record === null || !isNewer) return record;
      return withMetadata(record, (text) => text.replace(/^\d+/, "99"));
    },
  };
  const browser = new Browser(app({ store }), await deviceKey(), clock);
  await browser.fetch("/login", { method: "POST" });
  now += 400_000;
  isNewer = true;
  await browser.fetch("/");
  expect(browser.sessions.size).toBe(1);
  isNewer = false;
  expect(await (await browser.fetch("/")).json()).toMatchObject({ user: "ada" });
});

test("deviceBound() asks for no key on plain http, where browsers bind nothing", async () => {
  const handler = app();
  const response = await handler(new Request("http://localhost:3000/login"));
  expect(response.headers.getSetCookie().map((line) => line.split("=")[0])).toEqual(["session", "session-bound"]);
  expect(response.headers.has("Secure-Session-Registration")).toBe(false);
});

test("a request that does not use its session opens no store, and its response stays as it is", async () => {
  let opened = 0;
  const handler = withSession(async () => new Response("home"), {
    store: () => (opened++, memoryStore()),
    plugins: [deviceBound()],
  });
  for (const Cookie of ["a=b", `__Host-session=${"a".repeat(32)}; __Host-session-bound=x`]) {
    const response = await handler(new Request(ORIGIN, { headers: { Cookie, "Sec-Fetch-Site": "same-origin" } }));
    expect([response.headers.get("Cache-Control"), response.headers.get("Vary"), opened]).toEqual([null, null, 0]);
  }
});
