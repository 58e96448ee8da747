import { beforeEach, describe, expect, test } from "vitest";
import {
  memoryStore,
  type Plugin,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  withSession,
} from "../../mod.ts";
import { isFinal } from "../../src/core/admission.ts";
import type { Operation } from "../../src/core/repository.ts";
import { deviceBound, type DeviceBoundOptions } from "../../src/device_bound.ts";
import { faultyStore } from "../../src/testing/faulty_store.ts";
import { Browser, deviceKey, ORIGIN, sign } from "./browser.ts";

let now = 0;
const clock = (): number => now;

beforeEach(() => {
  now = 1_700_000_000_000;
});

interface Data {
  user?: string;
}

type Handler = (request: Request) => Promise<Response>;

function app(options: SessionOptions<Data> = {}, bound: DeviceBoundOptions = {}): Handler {
  const plugin = deviceBound(bound);
  return withSession<Data>(
    async (request, session) => {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/login") {
        await session.regenerate({ reauthenticated: true, grace: Number(searchParams.get("grace")) });
        session.set("user", "ada");
      }
      if (pathname === "/visit") session.set("user", "nobody");
      if (pathname === "/renew") await session.regenerate({ grace: Number(searchParams.get("grace")) });
      if (pathname === "/offer") await plugin.offer(session);
      if (pathname === "/logout") await session.destroy();
      const { ended } = await session.info();
      return Response.json({ user: await session.get("user"), ended });
    },
    { now: clock, ...options, plugins: [...(options.plugins ?? []), plugin] },
  );
}

/** A memory store that records its calls, and can call a function just before its next write. */
function watched(): {
  readonly store: SessionStore;
  readonly calls: string[];
  beforeSave: (() => unknown) | undefined;
} {
  const inner = memoryStore();
  const calls: string[] = [];
  const scene: ReturnType<typeof watched> = {
    calls,
    beforeSave: undefined,
    store: {
      ...inner,
      async save(key, write) {
        calls.push("save");
        const before = scene.beforeSave;
        scene.beforeSave = undefined;
        await before?.();
        return await inner.save(key, write);
      },
    },
  };
  return scene;
}

async function loggedIn(handler: Handler): Promise<{ readonly browser: Browser; readonly offer: string }> {
  const browser = new Browser(handler, await deviceKey(), clock);
  browser.isCapable = false;
  const login = await browser.fetch("/login", { method: "POST" });
  return { browser, offer: login.headers.get("Secure-Session-Registration") ?? "" };
}

/** A request of the browser itself, with its own cookies or with others. */
function post(path: string, headers: Record<string, string> = {}): Request {
  return new Request(`${ORIGIN}/dbsc/${path}`, { method: "POST", headers });
}

function cookieOf(browser: Browser): { readonly Cookie: string } {
  return { Cookie: browser.jar.header(ORIGIN) ?? "" };
}

const REFUSAL = { "cache-control": "no-store", "content-type": "text/plain;charset=UTF-8" };
const LATER = { "cache-control": "no-store", "retry-after": "1" };

describe("registration", () => {
  test("answers a configuration that nobody keeps, with the next challenge", async () => {
    const { browser, offer } = await loggedIn(app());
    const response = await browser.register(offer);
    const { headers } = response;
    expect([response.status, headers.get("Cache-Control"), headers.get("Content-Type")]).toEqual([
      200,
      "no-store",
      "application/json",
    ]);
    expect(headers.get("Secure-Session-Challenge")).toContain(`id="${[...browser.sessions.keys()].join()}"`);
  });

  test("is refused without a session, and in a header", async () => {
    const handler = app({ header: "X-Session-Id" });
    const { browser, offer } = await loggedIn(handler);
    const [, challenge = ""] = /challenge="([^"]*)"/.exec(offer) ?? [];
    const proof = await sign(await deviceKey(), { jti: challenge }, { carriesKey: true });
    const id = browser.cookie("__Host-session") ?? "";
    for (const headers of [{}, { "X-Session-Id": id }]) {
      const response = await handler(post("start", { ...headers, "Secure-Session-Response": proof }));
      expect([response.status, await response.text()]).toEqual([403, "no session"]);
      expect(Object.fromEntries(response.headers)).toMatchObject(REFUSAL);
    }
  });

  test("is refused with the reason in the body", async () => {
    const handler = app();
    const { browser, offer } = await loggedIn(handler);
    const start = async (headers: Record<string, string>): Promise<string> =>
      await (await handler(post("start", { ...cookieOf(browser), ...headers }))).text();
    const key = await deviceKey();
    const prove = async (claims: object) => await sign(key, claims, { carriesKey: true });
    expect(await start({})).toBe("malformed");
    for (const jti of ["x", 7, undefined])
      expect(await start({ "Secure-Session-Response": await prove({ jti }) })).toBe("challenge");
    await browser.register(offer);
    expect(await start({ "Secure-Session-Response": await prove({ jti: "x" }) })).toBe("key");
  });

  test("with the same key once more stores nothing and does not begin anew", async () => {
    const { store, calls } = watched();
    const { browser, offer } = await loggedIn(app({ store }));
    await browser.register(offer);
    const [session] = browser.sessions.values();
    await browser.refresh(session!);
    const before = browser.challenges.get(session!.id);
    calls.length = 0;
    expect((await browser.register(offer)).status).toBe(200);
    expect(calls).toEqual([]);
    expect(browser.challenges.get(session!.id)).toBe(before);
  });

  test("with the same key once more gives no proof: a copy of the first request must not be good for another lifetime", async () => {
    const { browser, offer } = await loggedIn(app());
    expect((await browser.register(offer)).headers.getSetCookie()).toHaveLength(1);
    const copy = await browser.register(offer);
    expect(copy.headers.getSetCookie()).toEqual([]);
    expect(JSON.parse(await copy.text())).toHaveProperty("session_identifier");
  });

  test("is refused when the session ends meanwhile, and fails when the store does", async () => {
    const scene = watched();
    const handler = app({ store: scene.store });
    const { browser, offer } = await loggedIn(handler);
    scene.beforeSave = () => handler(new Request(`${ORIGIN}/logout`, { method: "POST", headers: cookieOf(browser) }));
    const ended = await browser.register(offer);
    expect([ended.status, await ended.text()]).toEqual([403, "no session"]);

    const store = faultyStore(memoryStore());
    const other = await loggedIn(app({ store }));
    store.plan({ save: "rejects" });
    await expect(other.browser.register(other.offer)).rejects.toMatchObject({ code: "ERR_STORE" });
  });

  test("is put off while the store fails", async () => {
    const store = faultyStore(memoryStore());
    const { browser, offer } = await loggedIn(app({ store, onStoreError: "anonymous" }));
    store.plan({ load: ["rejects"] });
    const response = await browser.register(offer);
    expect(response.status).toBe(503);
    expect(Object.fromEntries(response.headers)).toMatchObject(LATER);
    expect((await browser.register(offer)).status).toBe(200);
  });

  test("goes on with the first offer when another one follows", async () => {
    const browser = new Browser(app({}, { offerOn: () => false }), await deviceKey(), clock);
    browser.isCapable = false;
    const first = await browser.fetch("/offer", { method: "POST" });
    await browser.fetch("/offer", { method: "POST" });
    expect((await browser.register(first.headers.get("Secure-Session-Registration") ?? "")).status).toBe(200);
  });
});

describe("refresh", () => {
  test("answers a challenge, and then a proof, which nobody keeps", async () => {
    const handler = app();
    const { browser, offer } = await loggedIn(handler);
    await browser.register(offer);
    const [session] = browser.sessions.values();
    const headers = { ...cookieOf(browser), "Sec-Secure-Session-Id": `"${session!.id}"` };
    const asked = await handler(post("refresh", headers));
    expect([asked.status, asked.headers.get("Cache-Control")]).toEqual([403, "no-store"]);
    for (const jti of [7, undefined, "x"]) {
      const proof = await sign(browser.key, { jti });
      const old = await handler(post("refresh", { ...headers, "Secure-Session-Response": proof }));
      expect([old.status, old.headers.has("Secure-Session-Challenge")]).toEqual([403, true]);
    }
    const proof = await sign(browser.key, { jti: browser.challenges.get(session!.id) });
    const proved = await handler(post("refresh", { ...headers, "Secure-Session-Response": proof }));
    expect([proved.status, proved.headers.get("Cache-Control")]).toEqual([200, "no-store"]);
    expect(proved.headers.getSetCookie()).toEqual([expect.stringMatching(/^__Host-session-bound=[^;]/)]);
  });

  test("with the proof that was given last stores nothing", async () => {
    const { store, calls } = watched();
    const handler = app({ store });
    const { browser, offer } = await loggedIn(handler);
    await browser.register(offer);
    const [session] = browser.sessions.values();
    const proof = await sign(browser.key, { jti: browser.challenges.get(session!.id) });
    const headers = { ...cookieOf(browser), "Sec-Secure-Session-Id": session!.id, "Secure-Session-Response": proof };
    calls.length = 0;
    for (let times = 0; times < 2; times++) expect((await handler(post("refresh", headers))).status).toBe(200);
    expect(calls).toEqual(["save"]);
  });

  test("ends the browser's part without a session, with another one, before a key, and in a header", async () => {
    const handler = app({ header: "X-Session-Id" });
    const { browser, offer } = await loggedIn(handler);
    const ends = async (id: string, headers: Record<string, string>): Promise<void> => {
      const response = await handler(post("refresh", { "Sec-Secure-Session-Id": id, ...headers }));
      expect([response.status, await response.json()]).toEqual([200, { session_identifier: id, continue: false }]);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        "cache-control": "no-store",
        "content-type": "application/json",
      });
    };
    await ends("x", {});
    await browser.register(offer);
    const [session] = browser.sessions.values();
    await ends("x", cookieOf(browser));
    await ends(session!.id, { "X-Session-Id": browser.cookie("__Host-session") ?? "" });
  });

  test.each(["strong", "eventual"] as const)(
    "before there is a key waits for it where the store may be late: %s",
    async (consistency) => {
      const inner = memoryStore();
      let facts = "";
      const store: SessionStore = {
        ...inner,
        traits: { ...inner.traits, consistency },
        save: (key, write) => {
          facts = write.record.fields.get("@") ?? "";
          return inner.save(key, write);
        },
      };
      const handler = app({ store });
      const { browser } = await loggedIn(handler);
      const [, id = ""] = /"id":"([^"]*)"/.exec(facts) ?? [];
      expect(id).not.toBe("");
      const response = await handler(post("refresh", { ...cookieOf(browser), "Sec-Secure-Session-Id": id }));
      if (consistency === "strong") expect(await response.json()).toMatchObject({ continue: false });
      else expect([response.status, Object.fromEntries(response.headers)]).toMatchObject([503, LATER]);
    },
  );

  test("is put off when the session ends meanwhile, and fails when the store does", async () => {
    const scene = watched();
    const handler = app({ store: scene.store });
    const { browser, offer } = await loggedIn(handler);
    await browser.register(offer);
    const [session] = browser.sessions.values();
    scene.beforeSave = () => handler(new Request(`${ORIGIN}/logout`, { method: "POST", headers: cookieOf(browser) }));
    expect(await browser.refresh(session!)).toBe("server_error");
    await browser.refresh(session!);
    expect(browser.sessions.size).toBe(0);
  });
});

test("proofs are also read as the draft writes them, in quotes, with parameters that are ignored", async () => {
  const handler = app();
  const { browser, offer } = await loggedIn(handler);
  const [, challenge] = /challenge="([^"]*)"/.exec(offer) ?? [];
  const send = async (path: string, proof: string, id = ""): Promise<Response> =>
    await handler(
      post(path, {
        ...cookieOf(browser),
        "Secure-Session-Response": `"${proof}";a=1`,
        "Sec-Secure-Session-Id": `"${id}";a`,
      }),
    );
  const registered = await send("start", await sign(browser.key, { jti: challenge }, { carriesKey: true }));
  expect(registered.status).toBe(200);
  const { session_identifier: id } = (await registered.json()) as { session_identifier: string };
  const [, jti] = /"([^"]*)"/.exec(registered.headers.get("Secure-Session-Challenge") ?? "") ?? [];
  const refreshed = await send("refresh", await sign(browser.key, { jti }), id);
  expect([refreshed.status, refreshed.headers.getSetCookie().length]).toEqual([200, 1]);
});

describe("a binding that another request changes meanwhile", () => {
  /** A browser on one server, another server, and the store of both. */
  async function two(bound: DeviceBoundOptions = {}): Promise<{
    readonly scene: ReturnType<typeof watched>;
    readonly browser: Browser;
    readonly offer: string;
    readonly other: Handler;
  }> {
    const scene = watched();
    const { store } = scene;
    return { scene, ...(await loggedIn(app({ store }, bound))), other: app({ store }, bound) };
  }

  test("keeps the key of the first of two registrations", async () => {
    const { scene, browser, offer, other } = await two();
    const cookies = cookieOf(browser);
    const [, challenge = ""] = /challenge="([^"]*)"/.exec(offer) ?? [];
    const proof = await sign(await deviceKey(), { jti: challenge }, { carriesKey: true });
    let first: Response | undefined;
    scene.beforeSave = async () =>
      (first = await other(post("start", { ...cookies, "Secure-Session-Response": proof })));
    const second = await browser.register(offer);
    expect([first?.status, second.status, await second.text()]).toEqual([200, 403, "key"]);
    expect(second.headers.getSetCookie()).toEqual([]);
  });

  test("takes no key that answers the offer of before a login with a grace", async () => {
    const { scene, browser, offer, other } = await two();
    now += 1000;
    scene.beforeSave = () =>
      other(new Request(`${ORIGIN}/login?grace=10`, { method: "POST", headers: cookieOf(browser) }));
    // An attacker may have planted the session, and got this offer.
    const late = await browser.register(offer);
    expect([late.status, await late.text(), late.headers.getSetCookie()]).toEqual([403, "key", []]);
  });

  test("takes no key of before a login with a grace", async () => {
    const { scene, browser, offer, other } = await two();
    await browser.register(offer);
    const [session] = browser.sessions.values();
    now += 1000;
    let login: Response | undefined;
    scene.beforeSave = async () =>
      (login = await other(new Request(`${ORIGIN}/login?grace=10`, { method: "POST", headers: cookieOf(browser) })));
    expect(await browser.refresh(session!)).toBe("server_error");
    browser.jar.store(ORIGIN, login!);
    browser.key = await deviceKey();
    expect((await browser.register(login?.headers.get("Secure-Session-Registration") ?? "")).status).toBe(200);
  });

  test("is not ended for the browser by a refresh between login and registration", async () => {
    const { browser, offer } = await two();
    await browser.register(offer);
    const [session] = browser.sessions.values();
    now += 1000;
    const login = await browser.send("/login", { method: "POST" });
    expect(await browser.refresh(session!)).toBe("server_error");
    now += 60_000;
    expect(await browser.refresh(session!)).toBeUndefined();
    expect(browser.sessions.size).toBe(0);
    expect((await browser.register(login.headers.get("Secure-Session-Registration") ?? "")).status).toBe(200);
  });

  test.each([0, 10])(
    "is not ended for the browser by a proof of its former key that arrives after the next registration, with a grace of %s s",
    async (grace) => {
      const { browser, offer, other } = await two();
      await browser.register(offer);
      const [session] = browser.sessions.values();
      const headers = { ...cookieOf(browser), "Sec-Secure-Session-Id": session?.id ?? "" };
      const proof = await sign(browser.key, { jti: browser.challenges.get(session?.id ?? "") });
      now += 1000;
      const login = await browser.send(`/login?grace=${grace}`, { method: "POST" });
      browser.key = await deviceKey();
      await browser.register(login.headers.get("Secure-Session-Registration") ?? "");
      const prove = async (): Promise<number> =>
        (await other(post("refresh", { ...headers, "Secure-Session-Response": proof }))).status;
      expect(await prove()).toBe(503);
      Object.assign(headers, cookieOf(browser));
      expect(await prove()).toBe(503);
      now += 60_000;
      expect(await prove()).toBe(403);
    },
  );

  test("accepts no proof of before a login, also if the browser has registered the same key again", async () => {
    const { browser, offer, other } = await two();
    await browser.register(offer);
    const [session] = browser.sessions.values();
    const id = session?.id ?? "";
    const proof = await sign(browser.key, { jti: browser.challenges.get(id) });
    now += 1000;
    const login = await browser.send("/login", { method: "POST" });
    await browser.register(login.headers.get("Secure-Session-Registration") ?? "");
    now += 61_000;
    const headers = { ...cookieOf(browser), "Sec-Secure-Session-Id": id, "Secure-Session-Response": proof };
    const late = await other(post("refresh", headers));
    expect([late.status, late.headers.getSetCookie()]).toEqual([403, []]);
    // The browser's own proof answers the challenge of this login.
    expect(await browser.refresh(session!)).toBeUndefined();
    expect(browser.sessions.size).toBe(1);
  });

  test("counts no proof twice", async () => {
    const { scene, browser, offer, other } = await two();
    await browser.register(offer);
    const [session] = browser.sessions.values();
    const id = session?.id ?? "";
    const prove = async (handler: Handler, proof: string): Promise<Response> =>
      await handler(
        post("refresh", { ...cookieOf(browser), "Sec-Secure-Session-Id": id, "Secure-Session-Response": proof }),
      );
    const first = await sign(browser.key, { jti: browser.challenges.get(id) });
    let second = "";
    scene.beforeSave = async () => {
      const response = await prove(other, first);
      const [, jti] = /"([^"]*)"/.exec(response.headers.get("Secure-Session-Challenge") ?? "") ?? [];
      second = await sign(browser.key, { jti });
    };
    const handler = app({ store: scene.store });
    // Both have proved it with one challenge.
    expect((await prove(handler, first)).status).toBe(200);
    scene.beforeSave = async () => {
      const response = await prove(other, second);
      const [, jti] = /"([^"]*)"/.exec(response.headers.get("Secure-Session-Challenge") ?? "") ?? [];
      await prove(other, await sign(browser.key, { jti }));
    };
    expect((await prove(handler, second)).status).toBe(503);
    now += 1000;
    expect((await prove(handler, second)).status).toBe(403);
  });

  test("stays when offer() was called before it", async () => {
    const { scene, browser, other } = await two({ offerOn: () => false });
    const ask = (): Request => new Request(`${ORIGIN}/offer`, { method: "POST", headers: cookieOf(browser) });
    scene.beforeSave = async () => {
      const offered = await other(ask());
      expect((await browser.register(offered.headers.get("Secure-Session-Registration") ?? "")).status).toBe(200);
    };
    const late = await app({ store: scene.store }, { offerOn: () => false })(ask());
    expect(late.headers.has("Secure-Session-Registration")).toBe(false);
  });
});

describe("a request to an endpoint", () => {
  test("keeps no session alive, and renews no id", async () => {
    const handler = app({ idleTimeout: 1800, rotateEvery: 600 });
    const { browser, offer } = await loggedIn(handler);
    await browser.register(offer);
    const [session] = browser.sessions.values();
    const Cookie = `__Host-session=${browser.cookie("__Host-session")}`;
    const ask = async (): Promise<Response> =>
      await handler(post("refresh", { Cookie, "Sec-Secure-Session-Id": session?.id ?? "" }));
    now += 1_700_000;
    const response = await ask();
    expect([response.status, response.headers.getSetCookie()]).toEqual([403, []]);
    now += 100_000;
    expect(await (await ask()).json()).toMatchObject({ continue: false });
  });

  test.each<[string, string, SessionOptions<Data>]>([
    ["that regenerate() has renewed", "/renew?grace=3600", {}],
    ["that was renewed by age", "/", { rotateEvery: 300 }],
    ["under a new name of the cookie", "", { cookie: { name: "__Host-now", previous: [{ name: "__Host-session" }] } }],
  ])("tells an id %s only to who gives a proof", async (_, path, options) => {
    const store = memoryStore();
    const { browser, offer } = await loggedIn(app({ store }));
    await browser.register(offer);
    const [session] = browser.sessions.values();
    const id = session?.id ?? "";
    const other: Plugin = { name: "other", respond: (headers) => headers.append("Set-Cookie", "other=1") };
    const handler = app({ store, plugins: [other], ...options });
    const { Cookie } = cookieOf(browser);
    const stolen = { "Cookie": `__Host-session=${browser.cookie("__Host-session")}`, "Sec-Secure-Session-Id": id };
    now += 599_999;
    if (path !== "") await handler(new Request(`${ORIGIN}${path}`, { headers: { Cookie } }));
    for (const endpoint of ["start", "refresh"]) {
      const response = await handler(post(endpoint, stolen));
      expect([response.status, response.headers.getSetCookie()]).toEqual([403, ["other=1"]]);
    }
    const proof = await sign(browser.key, { jti: browser.challenges.get(id) });
    const response = await handler(post("refresh", { ...stolen, "Secure-Session-Response": proof }));
    const names = response.headers.getSetCookie().map((line) => line.split("=", 1)[0]);
    const name = options.cookie === undefined ? "__Host-session" : "__Host-now";
    expect(names).toEqual(expect.arrayContaining([name, `${name}-bound`]));
  });
});

test("a refresh that finds no session leaves the browser the cookie of a previous name, too", async () => {
  const handler = app({ cookie: { name: "__Host-now", previous: [{ name: "__Host-session" }] } });
  const Cookie = `__Host-session=${"x".repeat(32)}`;
  const response = await handler(post("refresh", { Cookie, "Sec-Secure-Session-Id": "any" }));
  expect(await response.json()).toMatchObject({ continue: false });
  expect(response.headers.getSetCookie()).toEqual([]);
});

describe("isFinal()", () => {
  const op = (consistency: string): Operation => ({ store: { traits: { consistency } } }) as unknown as Operation;

  test("is true for reasons that stay, and for an unknown id where the store shows all that it has", () => {
    for (const reason of ["malformed", "expired", "revoked", "credentials"])
      for (const store of ["strong", "eventual"]) expect(isFinal(reason as "expired", op(store))).toBe(true);
    expect([isFinal("unknown", op("strong")), isFinal("unknown", op("eventual"))]).toEqual([true, false]);
  });

  test("is false for others, also those of a program's own plugins", () => {
    for (const reason of [null, "newer", "replaced", "retired", "reuse", "forged", "corrupt", "proof", "expired-soon"])
      expect(isFinal(reason as null, op("strong")), String(reason)).toBe(false);
  });
});

describe("the bound cookie", () => {
  test("is expired, and the answer kept by nobody, when there is no session or one that is not bound", async () => {
    const handler = app({}, { mode: "require", offerOn: ({ url }) => url.endsWith("/login") });
    const alone = await handler(new Request(ORIGIN, { headers: { Cookie: "__Host-session-bound=x" } }));
    expect(alone.headers.getSetCookie()).toEqual([expect.stringMatching(/^__Host-session-bound=; Max-Age=0/)]);
    expect(alone.headers.get("Cache-Control")).toBe("no-store");
    const plain = await handler(new Request(`${ORIGIN}/renew?grace=0`, { method: "POST" }));
    const Cookie = `${plain.headers.getSetCookie()[0]?.split(";")[0]}; __Host-session-bound=x`;
    const beside = await handler(new Request(ORIGIN, { headers: { Cookie } }));
    expect(beside.headers.getSetCookie()).toEqual([expect.stringMatching(/^__Host-session-bound=; Max-Age=0/)]);
  });
});

describe("a session whose id is renewed", () => {
  const look = async (handler: Handler, Cookie: string): Promise<unknown> =>
    await (await handler(new Request(ORIGIN, { headers: { Cookie } }))).json();

  test("is offered again while the browser has given no key", async () => {
    const { browser } = await loggedIn(app());
    const renewed = await browser.fetch("/renew?grace=0", { method: "POST" });
    expect(renewed.headers.has("Secure-Session-Registration")).toBe(true);
  });

  test("is no session for who has the new id alone, however short a time ago it was bound", async () => {
    const handler = app();
    const browser = new Browser(handler, await deviceKey(), clock);
    await browser.fetch("/visit", { method: "POST" });
    await browser.fetch("/login", { method: "POST" });
    expect(await look(handler, cookieOf(browser).Cookie)).toEqual({ user: "ada", ended: null });
    expect(await look(handler, `__Host-session=${browser.cookie("__Host-session")}`)).toEqual({ ended: "proof" });
  });

  test.each(["offer", "require"] as const)(
    "lets in with the old id for a minute, in which requests may be under way: %s",
    async (mode) => {
      for (const isCapable of [true, false]) {
        const handler = app({}, { mode, offerOn: ({ url }) => url.includes("/login") });
        const browser = new Browser(handler, await deviceKey(), clock);
        browser.isCapable = isCapable;
        await browser.fetch("/visit", { method: "POST" });
        const old = `__Host-session=${browser.cookie("__Host-session")}`;
        await browser.fetch("/login?grace=3600", { method: "POST" });
        now += 59_999;
        expect(await look(handler, old)).toEqual({ user: "ada", ended: null });
        now += 1;
        const isNeeded = isCapable || mode === "require";
        expect(await look(handler, old)).toEqual(isNeeded ? { ended: "proof" } : { user: "ada", ended: null });
      }
    },
  );

  test.each([-300_000, 300_000])(
    "lets in who was under way at the login, and nobody at a later renewal, bound by a clock that is %i ms off",
    async (skew) => {
      const store = memoryStore();
      const [handler, other] = [app({ store }), app({ store, now: () => now + skew })];
      const browser = new Browser(
        async (request) => await (request.url.includes("/dbsc/") ? other : handler)(request),
        await deviceKey(),
        clock,
      );
      await browser.fetch("/visit", { method: "POST" });
      const before = `__Host-session=${browser.cookie("__Host-session")}`;
      await browser.fetch("/login?grace=3600", { method: "POST" });
      expect(await look(handler, before)).toEqual({ user: "ada", ended: null });
      const stolen = `__Host-session=${browser.cookie("__Host-session")}`;
      now += 120_000;
      expect(await look(handler, stolen)).toEqual({ ended: "proof" });
      await browser.fetch("/renew?grace=3600", { method: "POST" });
      expect(await look(handler, stolen)).toEqual({ ended: "proof" });
      expect(await look(handler, cookieOf(browser).Cookie)).toEqual({ user: "ada", ended: null });
    },
  );

  test("lets nobody in with the old id alone, long after it was bound", async () => {
    const handler = app();
    const { browser, offer } = await loggedIn(handler);
    await browser.register(offer);
    now += 100_000;
    const old = `__Host-session=${browser.cookie("__Host-session")}`;
    await browser.fetch("/renew?grace=3600", { method: "POST" });
    expect(await look(handler, old)).toEqual({ ended: "proof" });
    expect(await look(handler, cookieOf(browser).Cookie)).toEqual({ user: "ada", ended: null });
  });
});

test("offer() and thumbprint() reject for a session of a manager without the plugin", async () => {
  const session = new SessionManager().open("");
  await expect(deviceBound().offer(session)).rejects.toThrow("deviceBound is not among the plugins");
  await expect(deviceBound().thumbprint(session)).rejects.toThrow("deviceBound is not among the plugins");
});
