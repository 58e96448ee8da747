import { beforeEach, expect, test } from "vitest";
import { memoryStore, type SessionEvent, type SessionOptions, withSession } from "../../mod.ts";
import { type DeviceBound, deviceBound, type DeviceBoundOptions } from "../../src/device_bound.ts";
import { Browser, deviceKey, ORIGIN, sign } from "./browser.ts";

const START = 1_700_000_000_000;
let now = START;
const clock = (): number => now;

beforeEach(() => {
  now = START;
});

interface App {
  readonly handler: (request: Request) => Promise<Response>;
  readonly plugin: DeviceBound;
  readonly events: SessionEvent[];
}

interface Data {
  user?: string;
}

/** A program that answers with the data of the session, and why it has ended. */
function app(options: DeviceBoundOptions = {}, more: SessionOptions<Data> = {}): App {
  const plugin = deviceBound(options);
  const events: SessionEvent[] = [];
  const handler = withSession<Data>(
    async (request, session) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/nothing") return new Response("nothing");
      if (pathname === "/visit") session.set("user", "nobody");
      if (pathname === "/renew") await session.regenerate();
      if (pathname === "/offer") await plugin.offer(session);
      if (pathname === "/logout") await session.destroy();
      if (pathname === "/login") {
        await session.regenerate({ reauthenticated: true });
        session.set("user", "ada");
        return new Response(null, { status: 303, headers: { Location: "/" } });
      }
      const { ended } = await session.info();
      return Response.json({
        user: await session.get("user"),
        ended,
        key: (await plugin.thumbprint(session)) !== null,
      });
    },
    { plugins: [plugin], now: clock, onEvent: (event) => void events.push(event), ...more },
  );
  return { handler, plugin, events };
}

/** A program, and a browser that has signed in and registered a key. */
async function signedIn(
  options?: DeviceBoundOptions,
  more?: SessionOptions<Data>,
): Promise<App & { readonly browser: Browser }> {
  const made = app(options, more);
  const browser = new Browser(made.handler, await deviceKey(), clock);
  await browser.fetch("/login", { method: "POST" });
  return { ...made, browser };
}

const BOUND = { user: "ada", ended: null, key: true };
const REJECTED = { ended: "proof", key: false };

/** What a thief sees who has copied the cookies. */
async function steal(browser: Browser, handler: App["handler"], path = "/"): Promise<() => Promise<unknown>> {
  const Cookie = browser.jar.header(ORIGIN) ?? "";
  return async () => await (await handler(new Request(ORIGIN + path, { headers: { Cookie } }))).json();
}

test("deviceBound() asks for a key with the response of a login, a redirect, and binds the session to it", async () => {
  const { browser, events } = await signedIn();
  expect(browser.requests).toEqual(["POST /login", "POST /dbsc/start"]);
  expect([...browser.sessions.values()]).toEqual([
    {
      id: expect.stringMatching(/^[\w-]{32}$/),
      refreshUrl: "/dbsc/refresh",
      cookie: "__Host-session-bound",
      attributes: "Path=/; Secure; HttpOnly; SameSite=Lax",
      config: expect.objectContaining({ scope: { include_site: false, scope_specification: [] } }),
    },
  ]);
  expect(await (await browser.fetch("/")).json()).toEqual(BOUND);
  expect(events.map(({ type }) => type)).not.toContain("rejected");
});

test.each(["ES256", "RS256"])("deviceBound() binds a session to a key for %s", async (algorithm) => {
  const { handler } = app();
  const browser = new Browser(handler, await deviceKey(algorithm), clock);
  await browser.fetch("/login", { method: "POST" });
  for (let round = 0; round < 3; round++) {
    expect(await (await browser.fetch("/")).json()).toEqual(BOUND);
    now += 400_000;
  }
});

test("deviceBound() makes copied cookies useless within the life of a proof, and for ever after logout", async () => {
  const { browser, handler, events } = await signedIn();
  const look = await steal(browser, handler);
  expect(await look()).toEqual(BOUND);
  now += 599_000;
  expect(await look()).toEqual(BOUND);
  now += 1000;
  expect(await look()).toEqual(REJECTED);
  expect(events.at(-1)).toMatchObject({ type: "rejected", reason: "proof" });
  expect(await (await browser.fetch("/")).json()).toEqual(BOUND);
  expect(await look()).toEqual(REJECTED);
  const fresh = await steal(browser, handler);
  expect(await fresh()).toEqual(BOUND);
  await browser.fetch("/logout", { method: "POST" });
  expect(await fresh()).toEqual({ ended: "unknown", key: false });
});

test("deviceBound() lets no thief refresh, neither with another key nor with a proof that he has seen", async () => {
  const { browser, handler } = await signedIn();
  const [session] = browser.sessions.values();
  if (session === undefined) throw new Error("The browser has registered");
  const Cookie = browser.jar.header(ORIGIN) ?? "";
  const post = async (headers: Record<string, string>): Promise<Response> =>
    await handler(
      new Request(`${ORIGIN}/dbsc/refresh`, {
        method: "POST",
        headers: { Cookie, "Sec-Secure-Session-Id": session.id, ...headers },
      }),
    );
  const asked = await post({});
  expect(asked.status).toBe(403);
  const challenge = /^"([^"]+)";id="/.exec(asked.headers.get("Secure-Session-Challenge") ?? "")?.[1] ?? "";
  const thief = await deviceKey();
  const refused = await post({ "Secure-Session-Response": await sign(thief, { jti: challenge }) });
  expect(refused.status).toBe(403);
  expect(refused.headers.has("Secure-Session-Challenge")).toBe(false);
  expect(refused.headers.getSetCookie()).toEqual([]);
  const carried = await sign(thief, { jti: challenge }, { carriesKey: true });
  expect((await post({ "Secure-Session-Response": carried })).status).toBe(403);

  const seen = await sign(browser.key, { jti: challenge });
  expect((await post({ "Secure-Session-Response": seen })).status).toBe(200);
  // For a minute the same proof is answered again, because the first answer may have been lost.
  now += 59_000;
  expect((await post({ "Secure-Session-Response": seen })).headers.getSetCookie()).toHaveLength(1);
  now += 1000;
  const replayed = await post({ "Secure-Session-Response": seen });
  expect(replayed.status).toBe(403);
  expect(replayed.headers.getSetCookie()).toEqual([]);
});

test("deviceBound() takes each challenge for one proof, so that nothing can be signed in advance", async () => {
  const { browser, handler } = await signedIn();
  const [session] = browser.sessions.values();
  if (session === undefined) throw new Error("The browser has registered");
  const headers = { "Cookie": browser.jar.header(ORIGIN) ?? "", "Sec-Secure-Session-Id": session.id };
  const seen = new Set<string>();
  for (let round = 0; round < 5; round++) {
    now += 1000;
    const answer = await handler(new Request(`${ORIGIN}/dbsc/refresh`, { method: "POST", headers }));
    seen.add(answer.headers.get("Secure-Session-Challenge") ?? "");
  }
  expect(seen.size).toBe(1);
  const before = browser.challenges.get(session.id) ?? "";
  await browser.refresh(session);
  expect(browser.challenges.get(session.id)).not.toBe(before);
});

const NEVER = "0";

test.each([
  ["no proof", () => null],
  ["a text", () => "proof"],
  ["alg none", (c: string) => `${part({ alg: "none", typ: "dbsc+jwt" })}.${part({ jti: c })}.AA`],
  [
    "a megabyte",
    async (c: string, b: Browser) => await sign(b.key, { jti: c, padding: "v".repeat(2 ** 20) }, { carriesKey: true }),
  ],
  [
    "another type",
    async (c: string, b: Browser) => await sign(b.key, { jti: c }, { carriesKey: true, header: { typ: "dpop+jwt" } }),
  ],
  ["no key", async (c: string, b: Browser) => await sign(b.key, { jti: c })],
  [
    "a private key",
    async (c: string, b: Browser) => await sign(b.key, { jti: c }, { header: { jwk: { ...b.key.jwk, d: "AAAA" } } }),
  ],
  [
    "another key's signature",
    async (c: string, b: Browser) => await sign(await deviceKey(), { jti: c }, { header: { jwk: b.key.jwk } }),
  ],
  [
    "an algorithm that was not offered",
    async (c: string) => await sign(await deviceKey("ES384"), { jti: c }, { carriesKey: true }),
  ],
  ["no challenge", async (_: string, b: Browser) => await sign(b.key, {}, { carriesKey: true })],
  [
    "another challenge",
    async (_: string, b: Browser) => await sign(b.key, { jti: `${NEVER}.AAAA` }, { carriesKey: true }),
  ],
  ["a challenge that is no text", async (_: string, b: Browser) => await sign(b.key, { jti: 7 }, { carriesKey: true })],
] as const)(
  "deviceBound() refuses a registration with %s, and the session lives on without a key",
  async (_name, make) => {
    const { handler } = app();
    const browser = new Browser(handler, await deviceKey(), clock);
    browser.isCapable = false;
    const login = await browser.fetch("/login", { method: "POST" });
    const challenge = /challenge="([^"]*)"/.exec(login.headers.get("Secure-Session-Registration") ?? "")?.[1] ?? "";
    const proof: string | null = await make(challenge, browser);
    const headers: Record<string, string> = proof === null ? {} : { "Secure-Session-Response": proof };
    const answer = await browser.send("/dbsc/start", { method: "POST", headers });
    expect(answer.status).toBe(403);
    expect(await (await browser.fetch("/")).json()).toEqual({ ...BOUND, key: false });
    const right = await sign(browser.key, { jti: challenge }, { carriesKey: true });
    expect(
      (await browser.send("/dbsc/start", { method: "POST", headers: { "Secure-Session-Response": right } })).status,
    ).toBe(200);
  },
);

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

test("deviceBound() refuses a registration of another session's offer, of an old one, and a second key", async () => {
  const { handler } = app();
  const [ada, bob] = [new Browser(handler, await deviceKey(), clock), new Browser(handler, await deviceKey(), clock)];
  for (const each of [ada, bob]) each.isCapable = false;
  const offerOf = async (each: Browser): Promise<string> =>
    (await each.fetch("/login", { method: "POST" })).headers.get("Secure-Session-Registration") ?? "";
  const [offer, other] = [await offerOf(ada), await offerOf(bob)];
  expect((await ada.register(other)).status).toBe(403);
  now += 599_000;
  expect((await ada.register(offer)).status).toBe(200);
  // The same key again, as after a lost answer.
  expect((await ada.register(offer)).status).toBe(200);
  ada.key = await deviceKey();
  expect((await ada.register(offer)).status).toBe(403);
  now += 1000;
  expect((await bob.register(other)).status).toBe(403);
});

test('deviceBound({ mode: "offer" }) serves browsers that bind no sessions as before', async () => {
  const { handler } = app();
  const browser = new Browser(handler, await deviceKey(), clock);
  browser.isCapable = false;
  await browser.fetch("/login", { method: "POST" });
  for (let round = 0; round < 5; round++) {
    expect(await (await browser.fetch("/")).json()).toEqual({ ...BOUND, key: false });
    now += 3_600_000;
  }
});

test('deviceBound({ mode: "require" }) ends sessions without a key when the login no longer counts as a proof', async () => {
  const { handler } = app({ mode: "require" });
  const browser = new Browser(handler, await deviceKey(), clock);
  browser.isCapable = false;
  await browser.fetch("/login", { method: "POST" });
  const look = await steal(browser, handler);
  expect(await (await browser.fetch("/")).json()).toEqual({ ...BOUND, key: false });
  now += 599_000;
  expect(await look()).toEqual({ ...BOUND, key: false });
  now += 1000;
  expect(await look()).toEqual(REJECTED);
  expect(await (await browser.fetch("/")).json()).toEqual(REJECTED);
  const capable = new Browser(handler, await deviceKey(), clock);
  await capable.fetch("/login", { method: "POST" });
  now += 3_600_000;
  expect(await (await capable.fetch("/")).json()).toEqual(BOUND);
});

test('deviceBound({ mode: "require" }) rejects sessions that began without it', async () => {
  const store = memoryStore();
  const plain = withSession<Data>((_request, session) => (session.set("user", "ada"), new Response("hello")), {
    store,
    now: clock,
  });
  const browser = new Browser(plain, await deviceKey(), clock);
  await browser.fetch("/");
  expect(await (await steal(browser, app({}, { store }).handler))()).toEqual({ ...BOUND, key: false });
  expect(await (await steal(browser, app({ mode: "require" }, { store }).handler))()).toEqual(REJECTED);
});

test("deviceBound({ offerOn }) asks on the requests that it names, and lets sessions of others be", async () => {
  for (const mode of ["offer", "require"] as const) {
    const { handler } = app({ mode, offerOn: (request) => new URL(request.url).pathname === "/login" });
    const browser = new Browser(handler, await deviceKey(), clock);
    await browser.fetch("/visit");
    expect(browser.requests).toEqual(["GET /visit"]);
    now += 3_600_000;
    expect(await (await browser.fetch("/")).json()).toEqual({ user: "nobody", ended: null, key: false });
    await browser.fetch("/login", { method: "POST" });
    now += 3_600_000;
    expect(await (await browser.fetch("/")).json()).toEqual(BOUND);
  }
});

test("offer() asks for a key where neither a session begins nor an id is renewed, and not again once there is one", async () => {
  const { handler } = app({ offerOn: () => false });
  const browser = new Browser(handler, await deviceKey(), clock);
  await browser.fetch("/visit");
  const response = await browser.fetch("/offer", { method: "POST" });
  expect(response.headers.get("Cache-Control")).toBe("no-store");
  now += 3_600_000;
  expect(await (await browser.fetch("/")).json()).toMatchObject({ user: "nobody", key: true });
  expect((await browser.fetch("/offer", { method: "POST" })).headers.has("Secure-Session-Registration")).toBe(false);
  const newcomer = new Browser(handler, await deviceKey(), clock);
  await newcomer.fetch("/offer", { method: "POST" });
  expect(await (await newcomer.fetch("/")).json()).toMatchObject({ ended: null, key: true });
});

// Two logins in one millisecond are two logins.
test.each([1000, 0])(
  "deviceBound() asks for a new key at a login %i ms after the last one, and keeps the key when the id is merely renewed",
  async (later) => {
    const { browser, handler } = await signedIn();
    const [before] = browser.sessions.keys();
    await browser.fetch("/renew", { method: "POST" });
    expect(browser.requests.filter((each) => each === "POST /dbsc/start")).toHaveLength(1);
    expect(await (await browser.fetch("/")).json()).toEqual(BOUND);
    now += later;
    browser.key = await deviceKey();
    await browser.fetch("/login", { method: "POST" });
    expect(browser.requests.filter((each) => each === "POST /dbsc/start")).toHaveLength(2);
    expect([...browser.sessions.keys()]).toEqual([before]);
    const look = await steal(browser, handler);
    now += 400_000;
    expect(await (await browser.fetch("/")).json()).toEqual(BOUND);
    now += 400_000;
    expect(await look()).toEqual(REJECTED);
  },
);

test("deviceBound() lets a thief of fresh cookies keep nothing: a renewed id stays bound", async () => {
  const { browser, handler } = await signedIn();
  const thief = new Browser(handler, await deviceKey(), clock);
  for (const { name, value } of browser.jar.cookies())
    thief.jar.store(ORIGIN, new Response(null, { headers: { "Set-Cookie": `${name}=${value}; Path=/; Secure` } }));
  expect(await (await thief.fetch("/renew", { method: "POST" })).json()).toEqual(BOUND);
  const offered = await thief.fetch("/offer", { method: "POST" });
  expect(offered.headers.has("Secure-Session-Registration")).toBe(false);
  now += 600_000;
  expect(await (await thief.fetch("/")).json()).toEqual(REJECTED);
});

test("deviceBound() ends the browser's part with the session", async () => {
  const { browser } = await signedIn();
  await browser.fetch("/logout", { method: "POST" });
  expect(browser.jar.cookies()).toEqual([]);
  expect(browser.sessions.size).toBe(1);
  await browser.fetch("/");
  expect(browser.sessions.size).toBe(0);
  await browser.fetch("/login", { method: "POST" });
  expect(browser.sessions.size).toBe(1);
});

test("deviceBound() ends the browser's part of a session that was ended from elsewhere", async () => {
  const { browser, handler } = await signedIn();
  await handler(
    new Request(`${ORIGIN}/logout`, { method: "POST", headers: { Cookie: browser.jar.header(ORIGIN) ?? "" } }),
  );
  expect(await (await browser.fetch("/")).json()).toEqual({ ended: "unknown", key: false });
  await browser.fetch("/");
  expect(browser.sessions.size).toBe(0);
});

test("deviceBound() answers a page that another site links to by loading it again, and no other request", async () => {
  const { browser } = await signedIn();
  now += 400_000;
  const navigation = { "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "cross-site" };
  const answer = await browser.send("/a/b:c?d=e&f", { headers: navigation });
  expect(answer.status).toBe(200);
  expect(answer.headers.get("Refresh")).toBe("0;url=./b:c?d=e&f");
  expect(answer.headers.get("Cache-Control")).toBe("no-store");
  expect(answer.headers.get("Content-Type")).toBe("text/html; charset=utf-8");
  expect(answer.headers.getSetCookie()).toEqual([]);
  expect((await browser.send("/", { method: "POST", headers: navigation })).headers.has("Refresh")).toBe(false);
  expect(
    (await browser.send("/", { headers: { ...navigation, "Sec-Fetch-Site": "same-site" } })).headers.get("Refresh"),
  ).toBe("0;url=./");
  for (const other of [
    { "Sec-Fetch-Site": "same-origin" },
    { "Sec-Fetch-Site": "none" },
    { "Sec-Fetch-Site": "not-cross-site" },
    { "Sec-Fetch-Site": "cross-site-not" },
    { "Sec-Fetch-Mode": "cors" },
    { "Sec-Fetch-Dest": "iframe" },
    { "Sec-Purpose": "prefetch" },
  ]) {
    const passed = await browser.send("/", { headers: { ...navigation, ...other } });
    expect(passed.headers.has("Refresh")).toBe(false);
    expect(await passed.json()).toEqual(REJECTED);
  }
  expect(await (await browser.fetch("/", { headers: navigation })).json()).toEqual(BOUND);
  // A program on the same host, or on a sister host, may have a cookie of a similar name.
  now += 400_000;
  browser.jar.store(ORIGIN, new Response(null, { headers: { "Set-Cookie": "admin-bound=1; Path=/" } }));
  expect((await browser.send("/", { headers: navigation })).headers.get("Refresh")).toBe("0;url=./");
  // If the browser sends a second cookie that is not valid, it would send it again with the same page.
  browser.jar.store(
    ORIGIN,
    new Response(null, { headers: { "Set-Cookie": "__Host-session-bound=x; Path=/; Secure" } }),
  );
  expect(await (await browser.send("/", { headers: navigation })).json()).toEqual(REJECTED);
  browser.jar.store(
    ORIGIN,
    new Response(null, { headers: { "Set-Cookie": "__Host-session-bound=x; Path=/; Secure" } }),
  );
  const skipped = { ...navigation, "Secure-Session-Skipped": "unreachable" };
  expect((await browser.send("/", { headers: skipped })).status).toBe(503);
  const nobody = new Browser((await signedIn()).handler, browser.key, clock);
  expect(await (await nobody.send("/", { headers: navigation })).json()).toEqual({ ended: null, key: false });
});

test("deviceBound() asks a browser that could not refresh to come again, rather than take it for a stranger", async () => {
  const { browser } = await signedIn();
  const skipped = { headers: { "Secure-Session-Skipped": 'server_error;session_identifier="x"' } };
  expect(await (await browser.send("/", skipped)).json()).toEqual(BOUND);
  now += 400_000;
  const answer = await browser.send("/", skipped);
  expect(answer.status).toBe(503);
  expect(answer.headers.get("Retry-After")).toBe("60");
  expect(answer.headers.get("Cache-Control")).toBe("no-store");
  expect(answer.headers.get("Content-Type")).toBe("text/plain; charset=utf-8");
  expect(answer.headers.getSetCookie()).toEqual([]);
  expect(await (await browser.fetch("/")).json()).toEqual(BOUND);
});

test("deviceBound() honours the browser's quota of six signatures in nine minutes, however busy the page is", async () => {
  const { browser } = await signedIn();
  for (let seconds = 0; seconds < 540; seconds += 10) {
    now += 10_000;
    const cookie = browser.jar.cookies().find(({ name }) => name.endsWith("-bound"));
    // Browsers refresh two minutes before the cookie expires, while pages continue to load.
    const [session] = browser.sessions.values();
    if (session !== undefined && (cookie?.expiresAt ?? 0) - now < 120_000) await browser.refresh(session);
    expect(await (await browser.fetch("/")).json()).toEqual(BOUND);
  }
  expect(browser.signatures).toBeLessThanOrEqual(4);
});

test("deviceBound({ exclude }) tells the browser which paths need no proof", async () => {
  const { browser } = await signedIn({ exclude: ["/assets", "/health"] });
  const [known] = browser.sessions.values();
  expect(known?.config["scope"]).toEqual({
    include_site: false,
    scope_specification: [
      { type: "exclude", domain: "*", path: "/assets" },
      { type: "exclude", domain: "*", path: "/health" },
    ],
  });
});

test("deviceBound() serves its two addresses alone, below the path that it is given", async () => {
  const { browser, handler } = await signedIn({ path: "/auth/device" });
  expect(browser.requests).toEqual(["POST /login", "POST /auth/device/start"]);
  now += 400_000;
  expect(await (await browser.fetch("/")).json()).toEqual(BOUND);
  const get = await handler(new Request(`${ORIGIN}/auth/device/start`));
  expect([get.status, get.headers.get("Allow")]).toEqual([405, "POST"]);
  for (const path of [
    "/auth/device",
    "/auth/device/",
    "/auth/device/start/",
    "/x/auth/device/start",
    "/auth/devices/start",
  ]) {
    const response = await handler(new Request(ORIGIN + path, { method: "POST" }));
    expect(await response.json()).toMatchObject({ ended: null });
  }
});
