import { beforeEach, expect, test } from "vitest";
import { memoryStore, SessionManager, type SessionOptions, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { crossOriginProtection } from "../../src/cross_origin.ts";
import { deviceBound, type DeviceBoundOptions } from "../../src/device_bound.ts";
import { dpop } from "../../src/dpop.ts";
import { encryption } from "../../src/encryption.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { cookieJar } from "../../src/testing/cookie_jar.ts";
import { faultyStore } from "../../src/testing/faulty_store.ts";
import { kvSimulator } from "../../src/testing/kv_simulator.ts";
import { type UserSessions, userSessions } from "../../src/user_sessions.ts";
import { HeaderClient } from "../dpop/client.ts";
import { counted } from "../setup/sessions.ts";
import { Browser, deviceKey, ORIGIN } from "./browser.ts";

const SECRETS = ["a secret of thirty-two bytes or more"];
let now = 0;
let users: UserSessions = userSessions();
const clock = (): number => now;

beforeEach(() => {
  now = 1_700_000_000_000;
  users = userSessions();
});

interface Data {
  user?: string;
  n?: number;
}

type Handler = (request: Request) => Promise<Response>;

function app(options: SessionOptions<Data> = {}, boundOptions: DeviceBoundOptions = {}): Handler {
  const { plugins = [] } = options;
  return withSession<Data>(
    async (request, session) => {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/nothing") return new Response("nothing");
      if (pathname === "/login") {
        await session.regenerate({ reauthenticated: true, grace: request.headers.has("X-Grace") ? 30 : 0 });
        session.set("user", "ada");
        if (plugins.includes(users)) await users.bind(session, "ada");
      }
      if (pathname === "/renew") await session.regenerate({ grace: Number(searchParams.get("grace")) });
      if (pathname === "/count") return Response.json(await session.update("n", (n = 0) => n + 1));
      if (pathname === "/leave") await users.revokeAll("ada");
      if (pathname === "/logout") await session.destroy();
      const { ended } = await session.info();
      return Response.json({ user: await session.get("user"), ended });
    },
    { now: clock, ...options, plugins: [deviceBound(boundOptions), ...plugins] },
  );
}

async function signedIn(handler: Handler): Promise<Browser> {
  const browser = new Browser(handler, await deviceKey(), clock);
  await browser.fetch("/login", { method: "POST" });
  return browser;
}

const ALIVE = { user: "ada", ended: null };
const REJECTED = { ended: "proof" };

const COMPANIONS: readonly (readonly [name: string, options: () => SessionOptions<Data>])[] = [
  ["nothing", () => ({})],
  ["signedIds()", () => ({ ids: signedIds({ secrets: SECRETS }) })],
  ["encryption()", () => ({ encryption: encryption({ secrets: SECRETS }) })],
  ["userSessions()", () => ({ plugins: [(users = userSessions())] })],
  ["rotateEvery", () => ({ rotateEvery: 60 })],
  ["rotateEvery that destroys", () => ({ rotateEvery: { seconds: 60, onReuse: "destroy" } })],
  ["a cookie of another name and path", () => ({ cookie: { name: "shop", path: "/" } })],
  [
    "a cookie that depends on the request",
    () => ({ cookie: (request) => ({ name: `__Host-${new URL(request.url).hostname}` }) }),
  ],
  ["a cookie for the site", () => ({ cookie: { name: "__Secure-shop", domain: "shop.example" } })],
  ['load: "eager"', () => ({ load: "eager" })],
  ['persist: "after-response"', () => ({ persist: "after-response", waitUntil: () => {} })],
  ["onStoreError", () => ({ onStoreError: "anonymous" })],
];

test.each(COMPANIONS)("deviceBound() protects a session together with %s", async (_name, options) => {
  for (const mode of ["offer", "require"] as const) {
    const handler = app(options(), { mode });
    const browser = await signedIn(handler);
    expect(browser.sessions.size).toBe(1);
    for (let round = 0; round < 5; round++) {
      now += 400_000;
      const Cookie = browser.jar.header(ORIGIN) ?? "";
      expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
      expect(await (await handler(new Request(ORIGIN, { headers: { Cookie } }))).json()).toEqual(REJECTED);
    }
    expect(browser.sessions.size).toBe(1);
  }
});

test("deviceBound() lets the browser refresh for the whole site where the cookie is for the site, and for the host otherwise", async () => {
  const scopeOf = async (cookie: SessionOptions<Data>["cookie"]): Promise<unknown> => {
    const browser = await signedIn(app(cookie === undefined ? {} : { cookie }));
    return [...browser.sessions.values()].map(({ config, attributes }) => [config["scope"], attributes]);
  };
  const none = { scope_specification: [] };
  const attributes = "Secure; HttpOnly; SameSite=Lax";
  expect(await scopeOf(undefined)).toEqual([[{ include_site: false, ...none }, `Path=/; ${attributes}`]]);
  expect(await scopeOf({ name: "shop", domain: "shop.example" })).toEqual([
    [{ include_site: true, ...none }, `Path=/; Domain=shop.example; ${attributes}`],
  ]);
});

test("deviceBound() expires a bound cookie that shows nothing any more, so that the browser asks for another one", async () => {
  const store = faultyStore(memoryStore());
  const handler = app({ store, onStoreError: "anonymous" });
  const browser = await signedIn(handler);
  const Cookie = browser.jar.header(ORIGIN) ?? "";
  const look = async (): Promise<string[]> =>
    (await handler(new Request(ORIGIN, { headers: { Cookie } }))).headers
      .getSetCookie()
      .map((line) => line.split(";")[0] ?? "");
  expect(await look()).toEqual([]);
  store.plan({ load: ["rejects"] });
  expect(await look()).toEqual([]);
  now += 600_000;
  expect(await look()).toEqual(["__Host-session-bound="]);
  now += 86_400_000;
  expect((await look()).toSorted()).toEqual(["__Host-session-bound=", "__Host-session="]);
});

test("deviceBound({ secrets }) needs the secrets as well, the current one first, also from a function", async () => {
  const store = memoryStore();
  const other = "another secret of thirty-two bytes or more";
  const browser = await signedIn(app({ store }, { secrets: SECRETS }));
  const look = async (options: DeviceBoundOptions): Promise<unknown> =>
    await (
      await app({ store }, options)(new Request(ORIGIN, { headers: { Cookie: browser.jar.header(ORIGIN) ?? "" } }))
    ).json();
  expect(await look({ secrets: SECRETS })).toEqual(ALIVE);
  expect(await look({ secrets: [other, ...SECRETS] })).toEqual(ALIVE);
  expect(await look({ secrets: async () => await Promise.resolve(SECRETS) })).toEqual(ALIVE);
  expect(await look({ secrets: [other] })).toEqual(REJECTED);
  expect(await look({})).toEqual(REJECTED);
});

test("deviceBound({ secrets }) stores nothing if they are wrong, because the response would not reach the client", async () => {
  const { store, calls } = counted(memoryStore());
  // @ts-expect-error The secret is undefined, as with an unset variable.
  const handler = app({ store }, { secrets: () => [undefined] });
  await expect(handler(new Request(`${ORIGIN}/login`))).rejects.toThrow(/secrets\[0\] is undefined/);
  expect(calls).toEqual([]);
});

test("deviceBound({ secrets }) needs none in a job that renews an id, because no response depends on them", async () => {
  const store = memoryStore();
  const browser = await signedIn(app({ store }, { secrets: SECRETS }));
  const secrets = (): never => {
    throw new Error("A job has no secrets");
  };
  const jobs = new SessionManager<Data>({ store, now: clock, plugins: [deviceBound({ secrets })] });
  const session = jobs.open(browser.cookie("__Host-session") ?? "");
  await session.regenerate();
  await session.save();
  expect(await session.get("user")).toBe("ada");
});

test("requests that are under way during a login with a grace stay in, and their answers do not undo it", async () => {
  for (const offerOn of [undefined, (request: Request) => request.url.endsWith("/login")]) {
    const handler = app({}, { mode: "require", ...(offerOn && { offerOn }) });
    const browser = new Browser(handler, await deviceKey(), clock);
    await browser.fetch("/count", { method: "POST" });
    const before = { Cookie: browser.jar.header(ORIGIN) ?? "" };
    now += 1000;
    await browser.fetch("/login", { method: "POST", headers: { "X-Grace": "1" } });
    // Sent before the login, by a page that had no proof because the server asked for none.
    const beacon = await handler(new Request(`${ORIGIN}/count`, { method: "POST", headers: before }));
    expect(await beacon.json()).toBe(2);
    browser.jar.store(ORIGIN, beacon);
    expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
  }
});

test("an old id without a proof stays out when the id is renewed with a grace and is no login", async () => {
  for (const mode of ["offer", "require"] as const) {
    const handler = app({}, { mode });
    const browser = new Browser(handler, await deviceKey(), clock);
    const login = await browser.send("/login", { method: "POST" });
    const before = { Cookie: `__Host-session=${browser.cookie("session")}` };
    now += 1000;
    await browser.send("/renew?grace=30", { method: "POST" });
    // "offer" needs a proof only from now on.
    if (mode === "offer") await browser.register(login.headers.get("Secure-Session-Registration") ?? "");
    expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
    expect(await (await handler(new Request(ORIGIN, { headers: before }))).json()).toEqual(REJECTED);
  }
});

test("an old id without a proof stays out at a login with a grace that asks for no key", async () => {
  const handler = app({}, { offerOn: (request) => !request.headers.has("X-Grace") });
  const browser = await signedIn(handler);
  const before = { Cookie: `__Host-session=${browser.cookie("session")}` };
  now += 1000;
  await browser.fetch("/login", { method: "POST", headers: { "X-Grace": "1" } });
  expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
  expect(await (await handler(new Request(ORIGIN, { headers: before }))).json()).toEqual(REJECTED);
});

test("an old id without a proof stays out when the browser has given a proof since the login", async () => {
  const handler = app();
  const browser = new Browser(handler, await deviceKey(), clock);
  await browser.fetch("/count", { method: "POST" });
  const headers = { Cookie: `__Host-session=${browser.cookie("session")}` };
  now += 1000;
  await browser.fetch("/login", { method: "POST", headers: { "X-Grace": "1" } });
  const look = async (): Promise<unknown> => await (await handler(new Request(ORIGIN, { headers }))).json();
  expect(await look()).toEqual(ALIVE);
  now += 1000;
  const [session] = browser.sessions.values();
  expect(await browser.refresh(session!)).toBeUndefined();
  expect(await look()).toEqual(REJECTED);
});

test("whoever planted a session cannot register a key for the user who signs in with it", async () => {
  const handler = app();
  const attacker = new Browser(handler, await deviceKey(), clock);
  const planted = await attacker.send("/count", { method: "POST" });
  const offer = planted.headers.get("Secure-Session-Registration") ?? "";
  expect((await attacker.register(offer)).status).toBe(200);
  const user = new Browser(handler, await deviceKey(), clock);
  user.isCapable = false;
  user.jar.store(ORIGIN, planted);
  now += 1000;
  const login = await user.fetch("/login", { method: "POST", headers: { "X-Grace": "1" } });
  const again = await attacker.register(offer);
  expect([again.status, await again.text()]).toEqual([403, "challenge"]);
  expect((await user.register(login.headers.get("Secure-Session-Registration") ?? "")).status).toBe(200);
});

test("requests that arrive between login and registration, and just after it, stay in", async () => {
  for (const mode of ["offer", "require"] as const) {
    const handler = app({}, { mode });
    const browser = new Browser(handler, await deviceKey(), clock);
    browser.isCapable = false;
    const login = await browser.fetch("/login", { method: "POST" });
    const meanwhile = { Cookie: browser.jar.header(ORIGIN) ?? "" };
    const look = async (): Promise<unknown> =>
      await (await handler(new Request(ORIGIN, { headers: meanwhile }))).json();
    expect(await look()).toEqual(ALIVE);
    await browser.register(login.headers.get("Secure-Session-Registration") ?? "");
    expect(await look()).toEqual(ALIVE);
  }
});

test("deviceBound() and dpop() each protect their own clients of one program", async () => {
  const handler = app({ header: "X-Session-Id", plugins: [dpop()] }, { mode: "require" });
  const browser = await signedIn(handler);
  const client = await HeaderClient.create(async (request) => await handler(request), clock);
  await client.send("/login", { method: "POST" });
  now += 250_000;
  await client.send("/");
  now += 150_000;
  expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
  expect(await (await client.send("/")).json()).toEqual(ALIVE);
  const swap = async (headers: Record<string, string>): Promise<unknown> =>
    await (await handler(new Request(ORIGIN, { headers }))).json();
  const id = browser.cookie("__Host-session") ?? "";
  expect(await swap({ "X-Session-Id": id })).toEqual(REJECTED);
  expect(await swap({ "X-Session-Id": id, "Cookie": `__Host-session-bound=${browser.cookie("-bound")}` })).toEqual(
    REJECTED,
  );
  expect(await swap({ Cookie: `__Host-session=${client.id}` })).toEqual(REJECTED);
});

test("a bound session is rejected in a header, where no cookie shows a proof", async () => {
  const handler = app({ header: "X-Session-Id" });
  const browser = await signedIn(handler);
  const headers = { "X-Session-Id": browser.cookie("__Host-session") ?? "" };
  expect(await (await handler(new Request(ORIGIN, { headers }))).json()).toEqual(REJECTED);
});

test("a session that is opened by its id, without a request, needs no proof", async () => {
  const store = memoryStore();
  const browser = await signedIn(app({ store }));
  const sessions = new SessionManager<Data>({ store, plugins: [deviceBound()], now: clock });
  expect(await sessions.open(browser.cookie("__Host-session") ?? "").get("user")).toBe("ada");
});

test("crossOriginProtection() lets the browser's own requests through", async () => {
  const handler = app();
  const browser = await signedIn(async (request) => {
    // As Chromium sends them.
    if (request.url.includes("/dbsc/")) {
      const headers = new Headers(request.headers);
      headers.set("Sec-Fetch-Site", "same-origin");
      headers.set("Origin", ORIGIN);
      return await crossOriginProtection(handler)(new Request(request, { headers }));
    }
    return await crossOriginProtection(handler)(request);
  });
  now += 400_000;
  expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
});

test("deviceBound() ends with the session when userSessions() revokes it", async () => {
  const handler = app({ plugins: [users] });
  const [here, there] = [await signedIn(handler), await signedIn(handler)];
  await here.fetch("/leave", { method: "POST" });
  now += 400_000;
  expect(await (await there.fetch("/")).json()).toMatchObject({ ended: expect.stringMatching(/revoked|unknown/) });
  await there.fetch("/");
  expect(there.sessions.size).toBe(0);
});

test("deviceBound() protects sessions in Workers KV with readYourWrites()", async () => {
  const kv = kvSimulator({ now: clock, delay: 60, writeInterval: 0 });
  const at = (place: string): Handler =>
    app({ store: cloudflareKvStore(kv.at(place)), plugins: [readYourWrites({ secrets: SECRETS })] });
  const paris = at("Paris");
  const browser = await signedIn(paris);
  expect(browser.sessions.size).toBe(1);
  const look = { Cookie: browser.jar.header(ORIGIN) ?? "" };
  for (let round = 0; round < 5; round++) {
    now += 600_000;
    expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
    for (const place of [paris, at("Tokyo")])
      expect(await (await place(new Request(ORIGIN, { headers: look }))).json()).toEqual(REJECTED);
  }
  await browser.fetch("/logout", { method: "POST" });
  await browser.fetch("/");
  expect(browser.sessions.size).toBe(0);
});

test.each(["/count", "/renew?grace=30", "/renew?grace=0", "/login"])(
  "deviceBound() keeps the key when %s writes a session that its place of Workers KV does not show yet",
  async (path) => {
    const kv = kvSimulator({ now: clock, delay: 60, writeInterval: 0 });
    let fails = false;
    const at = (place: string): Handler => {
      const store = cloudflareKvStore(kv.at(place));
      const save: typeof store.save = (key, write, signal) => {
        // The old id cannot be retired, so the old session stays.
        if (fails && write.changed.get("@")?.includes('"successor"') === true) throw new Error("down");
        return store.save(key, write, signal);
      };
      return app({ store: { ...store, save }, plugins: [readYourWrites({ secrets: SECRETS })] });
    };
    const paris = at("Paris");
    const browser = await signedIn(paris);
    const Cookie = browser.jar.header(ORIGIN) ?? "";
    now += 1000;
    fails = path === "/login";
    const writing = at("Tokyo")(new Request(ORIGIN + path, { method: "POST", headers: { Cookie } }));
    if (fails) await expect(writing).rejects.toMatchObject({ code: "ERR_STORE" });
    const { headers } = fails ? new Response() : await writing;
    expect(headers.has("Secure-Session-Registration")).toBe(false);
    for (const line of headers.getSetCookie())
      browser.jar.store(ORIGIN, new Response(null, { headers: [["Set-Cookie", line]] }));
    const stolen = { Cookie: browser.jar.header(ORIGIN) ?? "" };
    // The cookie of readYourWrites() holds the key for up to twelve minutes.
    now += 1_000_000;
    for (const place of [paris, at("Tokyo")])
      expect(await (await place(new Request(ORIGIN, { headers: stolen }))).json()).toEqual(REJECTED);
    expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
  },
);

test("deviceBound() asks no second time for a key when a place of Workers KV writes a session that it does not show yet", async () => {
  const kv = kvSimulator({ now: clock, delay: 60, writeInterval: 0 });
  const at = (place: string): Handler =>
    app({ store: cloudflareKvStore(kv.at(place)), plugins: [readYourWrites({ secrets: SECRETS })] });
  // A browser that does not support the protocol.
  const jar = cookieJar({ now: clock });
  const asks = async (place: string, path: string): Promise<boolean> => {
    const response = await jar.fetch(at(place), ORIGIN + path, { method: "POST" });
    expect(response.status).toBe(200);
    return response.headers.has("Secure-Session-Registration");
  };
  expect(await asks("Paris", "/login")).toBe(true);
  now += 1000;
  expect(await asks("Tokyo", "/count")).toBe(false);
});

test("deviceBound() ends nothing where Workers KV does not show a session yet", async () => {
  const kv = kvSimulator({ now: clock, delay: 60, writeInterval: 0 });
  const paris = app({ store: cloudflareKvStore(kv.at("Paris")) });
  const browser = await signedIn(paris);
  const [session] = browser.sessions.values();
  const headers = { "Cookie": browser.jar.header(ORIGIN) ?? "", "Sec-Secure-Session-Id": session?.id ?? "" };
  const tokyo = app({ store: cloudflareKvStore(kv.at("Tokyo")) });
  expect((await tokyo(new Request(`${ORIGIN}/dbsc/refresh`, { method: "POST", headers }))).status).toBe(503);
  now += 400_000;
  expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
});

test("deviceBound() ends nothing when a refresh overlaps a renewal, and the server's clock is ahead", async () => {
  const store = memoryStore();
  const browser = await signedIn(app({ store }));
  const [session] = browser.sessions.values();
  const headers = { "Cookie": browser.jar.header(ORIGIN) ?? "", "Sec-Secure-Session-Id": session?.id ?? "" };
  await browser.fetch("/renew?grace=0", { method: "POST" });
  const ahead = app({ store, now: () => now + 300_000 });
  expect((await ahead(new Request(`${ORIGIN}/dbsc/refresh`, { method: "POST", headers }))).status).toBe(503);
});

test("deviceBound() ends nothing on a server with wrong secrets", async () => {
  const store = memoryStore();
  for (const capability of [
    (secrets: string[]) => ({ ids: signedIds({ secrets }) }),
    (secrets: string[]) => ({ encryption: encryption({ secrets }) }),
  ]) {
    const browser = await signedIn(app({ store, ...capability(SECRETS) }));
    const [session] = browser.sessions.values();
    const headers = { "Cookie": browser.jar.header(ORIGIN) ?? "", "Sec-Secure-Session-Id": session?.id ?? "" };
    const wrong = app({ store, ...capability(["another secret of thirty-two bytes or more"]) });
    expect((await wrong(new Request(`${ORIGIN}/dbsc/refresh`, { method: "POST", headers }))).status).toBe(503);
  }
});

test("deviceBound() takes an outage of the store for no logout", async () => {
  for (const onStoreError of ["throw", "anonymous"] as const) {
    const store = faultyStore(memoryStore());
    const inner = app({ store, onStoreError });
    const handler: Handler = async (request) => await inner(request).catch(() => new Response(null, { status: 500 }));
    const browser = await signedIn(handler);
    now += 400_000;
    store.plan({ load: "rejects" });
    const [session] = browser.sessions.values();
    if (session === undefined) throw new Error("The browser has registered");
    expect(await browser.refresh(session)).toBe("server_error");
    expect(browser.sessions.size).toBe(1);
    store.plan({ save: "rejects" });
    expect(await browser.refresh(session)).toBe("server_error");
    store.plan({});
    expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
  }
});

test("deviceBound() holds on servers whose clocks are five minutes apart", async () => {
  const store = memoryStore();
  const servers = [0, 150_000, 300_000].map((skew) => app({ store, now: () => now + skew }));
  let turn = 0;
  const handler: Handler = async (request) => await (servers[turn++ % 3] ?? servers[0]!)(request);
  const browser = await signedIn(handler);
  expect(browser.sessions.size).toBe(1);
  for (let round = 0; round < 100; round++) {
    now += 60_000;
    expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
  }
  expect(browser.sessions.size).toBe(1);
});

test("deviceBound() costs no store call for a page, and one read and one write for a refresh", async () => {
  const store = faultyStore(memoryStore());
  const handler = app({ store });
  const browser = new Browser(handler, await deviceKey(), clock);
  browser.isCapable = false;
  const costOf = async (send: () => Promise<unknown>): Promise<object> => {
    store.plan({});
    await send();
    return { ...store.calls };
  };
  const login = await browser.fetch("/login", { method: "POST" });
  expect(store.calls).toEqual({ load: 0, save: 1, delete: 0 });
  const offer = login.headers.get("Secure-Session-Registration") ?? "";
  expect(await costOf(() => browser.register(offer))).toEqual({ load: 1, save: 1, delete: 0 });
  expect(await costOf(() => browser.send("/"))).toEqual({ load: 1, save: 0, delete: 0 });
  expect(await costOf(() => browser.send("/nothing"))).toEqual({ load: 0, save: 0, delete: 0 });
  const [session] = browser.sessions.values();
  if (session === undefined) throw new Error("The browser has registered");
  expect(await costOf(() => browser.refresh(session))).toEqual({ load: 1, save: 1, delete: 0 });
  now += 600_000;
  const linked = { "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "cross-site" };
  expect(await costOf(() => browser.send("/nothing", { headers: linked }))).toEqual({ load: 1, save: 0, delete: 0 });
});

test("deviceBound() loses no update of requests that run beside registration and refresh", async () => {
  const handler = app();
  const browser = await signedIn(handler);
  const [session] = browser.sessions.values();
  if (session === undefined) throw new Error("The browser has registered");
  const count = async (): Promise<number> => Number(await (await browser.send("/count", { method: "POST" })).text());
  const counts = await Promise.all([count(), browser.refresh(session).then(count), count(), count()]);
  expect(counts.toSorted()).toEqual([1, 2, 3, 4]);
  now += 400_000;
  expect(await (await browser.fetch("/")).json()).toEqual(ALIVE);
});

test("deviceBound() is refused where it would protect from nothing", () => {
  const make =
    (options: SessionOptions): (() => unknown) =>
    () =>
      new SessionManager({ plugins: [deviceBound()], ...options });
  expect(make({ store: cookieSessions({ secrets: SECRETS }) })).toThrow(/cookieSessions/);
  expect(make({ cookie: false, header: "X-Session-Id" })).toThrow(/needs the session cookie/);
  expect(make({})).not.toThrow();
});

test("deviceBound() says that browsers would refuse to bind a partitioned cookie", async () => {
  const handler = app({ cookie: { partitioned: true } });
  await expect(handler(new Request(`${ORIGIN}/login`))).rejects.toThrow(/partitioned/);
});

test("deviceBound() says that the browser would not send the session cookie to its path", async () => {
  const handler = app({ cookie: { name: "shop", path: "/app" } });
  await expect(handler(new Request(`${ORIGIN}/login`))).rejects.toThrow(/path \/dbsc.*under \/app/);
  const right = app({ cookie: { name: "shop", path: "/app" } }, { path: "/app/dbsc" });
  await expect(right(new Request(`${ORIGIN}/login`))).resolves.toMatchObject({ status: 200 });
});

test.each([
  [{ mod: "offer" }, /mode/],
  [{ mode: "always" }, /mode/],
  [{ path: "dbsc" }, /path/],
  [{ path: "/" }, /path/],
  [{ path: "/dbsc/" }, /path/],
  [{ path: '/db"sc' }, /path/],
  [{ path: "/db?sc" }, /path/],
  [{ lifetime: 1 }, /lifetime/],
  [{ lifetime: 86_401 }, /lifetime/],
  [{ lifetime: "600" }, /lifetime/],
  [{ lifetime: Number.NaN }, /lifetime/],
  [{ secrets: [] }, /secrets/],
  [{ secrets: ["short"] }, /32 bytes/],
  [{ secrets: [undefined] }, /environment variable/],
  [{ offerOn: true }, /offerOn/],
  [{ exclude: "/assets" }, /exclude/],
  [{ refreshInitiators: [""] }, /refreshInitiators/],
])("deviceBound() refuses the options %j", (options, message) => {
  expect(() => Reflect.apply(deviceBound, undefined, [options])).toThrow(message);
});
