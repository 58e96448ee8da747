/**
 * Features that people request from a session library, as executable checks: one `describe` for each request, on six engines. The test moves the clock.
 *
 * Related tests: `exclusive_engines.test.ts` kills processes, `browser/` contains the requests that need a browser, and `asked_for_costs.test.ts` counts
 * store calls.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accounts } from "../../examples/several_accounts.ts";
import { support } from "../../examples/impersonation.ts";
import { isFresh, memoryStore, type Session, type SessionOptions, type SessionStore, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { encryption } from "../../src/encryption.ts";
import { exclusive } from "../../src/exclusive.ts";
import { openTelemetry } from "../../src/opentelemetry.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { migratingStore } from "../../src/stores/migrating.ts";
import { cookieJar, fakeClock, seedSession } from "../../src/testing.ts";
import { userSessions } from "../../src/user_sessions.ts";
import { altered, counted, gate, idIn, PATIENCE, SHOP, visitor, type VisitInit } from "../setup/sessions.ts";
import { telemetry } from "../setup/telemetry.ts";
import { type Engine, engines } from "../user_sessions/engines.ts";

const ENGINES = ["memory", "file", "SQLite", "Redis, one value", "Deno KV", "Durable Objects"];
const secrets = ["a secret of at least thirty-two bytes"];
const HOUR = 3600;

describe.each(ENGINES)("asked for, on %s:", (name) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await engines[name]!();
  });
  afterAll(() => engine.stop());

  /** A program on this engine, with its clock, the calls of the store and the events. */
  function program(more: SessionOptions = {}, wrap: (store: SessionStore) => SessionOptions = (store) => ({ store })) {
    const clock = fakeClock();
    const { store, calls } = counted(engine.store);
    const told: string[] = [];
    const options: SessionOptions = {
      ...wrap(store),
      now: clock.now,
      onEvent: (event) => told.push("reason" in event ? `${event.type} ${event.reason}` : event.type),
      ...more,
    };
    /** A browser with its own cookies. */
    const browser = (other: SessionOptions = options) => {
      const jar = cookieJar({ now: clock.now });
      return { jar, visit: visitor(other, { jar }) };
    };
    return { clock, calls, told, options, browser };
  }

  const signIn = (session: Session): void => session.set("user", "ada");
  const user = (session: Session): Promise<unknown> => session.get("user");
  const ended = async (session: Session): Promise<unknown> => (await session.info()).ended;
  const cookie = (value: string): VisitInit => ({ headers: { Cookie: value } });
  const withId = (id: string | null): VisitInit => cookie(`__Host-session=${id}`);

  describe("1. requests that are no use of the session", () => {
    const POLL = `${SHOP}poll`;

    test.each<[string, SessionOptions, VisitInit]>([
      ["polls that `touch` excludes", { touch: ({ url }) => url !== POLL }, { url: POLL }],
      ["prefetches", {}, { headers: { "Sec-Purpose": "prefetch;prerender" } }],
    ])("thirty %s end the session as if there had been none", async (_, more, init) => {
      const { clock, calls, told, browser } = program({ idleTimeout: HOUR, ...more });
      const { visit } = browser();
      const { cookies } = await visit(signIn);
      calls.length = 0;
      for (let time = 0; time < 30; time++) {
        clock.advance(119.9);
        expect((await visit(user, init)).result).toBe("ada");
      }
      expect(new Set(calls)).toEqual(new Set(["load"]));
      clock.advance(3);
      expect((await browser().visit(ended, withId(idIn(cookies)))).result).toBe("expired");
      expect(told.at(-1)).toBe("rejected expired");
    });

    test("the same thirty requests keep the session when they count", async () => {
      const { clock, browser } = program({ idleTimeout: HOUR });
      const { visit } = browser();
      await visit(signIn);
      for (let time = 0; time < 30; time++) {
        clock.advance(119.9);
        await visit(user, { url: POLL });
      }
      clock.advance(3);
      expect((await visit(user)).result).toBe("ada");
    });
  });

  describe("2. why a session has ended", () => {
    type Scene = ReturnType<typeof program> & { readonly users: ReturnType<typeof userSessions> };
    /** Each ends a session, and returns its old id. */
    const ways: Record<string, (scene: Scene) => Promise<string | null>> = {
      async expired({ clock, browser }) {
        const { cookies } = await browser().visit(signIn);
        clock.advance(86_400);
        return idIn(cookies);
      },
      async unknown({ browser }) {
        const { visit } = browser();
        const { cookies } = await visit(signIn);
        await visit((session) => session.destroy());
        return idIn(cookies);
      },
      async revoked({ browser, users }) {
        const owner = crypto.randomUUID();
        const { cookies } = await browser().visit((session) => users.bind(session, owner));
        expect(await users.revokeAll(owner)).toBe(1);
        return idIn(cookies);
      },
      async malformed() {
        return "../etc/passwd";
      },
    };

    test.each(Object.entries(ways))(
      "info().ended and the event say %s; the cookie expires, and costs no store call again",
      async (reason, way) => {
        const users = userSessions();
        const scene = { ...program({ plugins: [users] }), users };
        const id = await way(scene);
        const { jar, visit } = scene.browser();
        jar.store(SHOP, new Response(null, { headers: { "Set-Cookie": `__Host-session=${id}; Path=/; Secure` } }));
        scene.told.length = 0;
        expect((await visit(ended)).result).toBe(reason);
        expect(scene.told).toEqual([`rejected ${reason}`]);
        expect(jar.cookies()).toEqual([]);
        scene.calls.length = 0;
        expect((await visit(ended)).result).toBe(null);
        expect(scene.calls).toEqual([]);
      },
    );

    test("a retired id is told so, and its cookie is left, for its successor may be on the way", async () => {
      const { told, browser } = program();
      const { visit } = browser();
      const { cookies } = await visit(signIn);
      await visit((session) => session.regenerate());
      const late = await browser().visit(ended, withId(idIn(cookies)));
      expect([late.result, late.cookies]).toEqual(["retired", []]);
      expect(told.at(-1)).toBe("rejected retired");
    });
  });

  test("3. exclusive(): ten requests on ten servers make one exchange", async () => {
    const { browser } = program();
    // Each browser has its own server, and all of them want the lease at the same time. `exclusive_engines.test.ts` does the same with
    // processes, on other engines.
    const REQUESTS = 10;
    const { cookies } = await browser().visit((session) => session.set("refresh", 1));
    let exchanges = 0;
    const all = gate();
    let loaded = 0;
    const results = await Promise.all(
      Array.from({ length: REQUESTS }, () =>
        browser().visit(
          async (session) => {
            await session.get("refresh");
            // All requests have seen the old token before one of them exchanges it.
            if (++loaded === REQUESTS) all.open();
            await all.opened;
            return await exclusive(session, "refresh", (token) => (exchanges++, Number(token) + 1), { lease: 600 });
          },
          withId(idIn(cookies)),
        ),
      ),
    );
    expect(exchanges).toBe(1);
    expect(new Set(results.map(({ result }) => result))).toEqual(new Set([2]));
  });

  describe("4. options as functions of the request and of what the runtime passes", () => {
    interface Env {
      readonly SECRET: string;
      readonly SESSIONS: SessionStore;
      readonly LIMIT: number;
    }
    const tenant = (letter: string, LIMIT: number): Env => ({
      SECRET: letter.repeat(32),
      SESSIONS: engine.store,
      LIMIT,
    });

    test("store, secrets and limit come from env, and the cookie from the request as well", async () => {
      const users = userSessions({ limit: (_user, env) => (env as Env).LIMIT });
      const handler = withSession(
        async (request, session, _env: Env) => {
          const { searchParams } = new URL(request.url);
          if (searchParams.has("user")) await users.bind(session, searchParams.get("user") ?? "");
          return new Response(`${await session.id()} ${await ended(session as Session)}`);
        },
        {
          store: (env) => env.SESSIONS,
          storeTimeout: PATIENCE,
          ids: signedIds({ secrets: (env: Env) => [env.SECRET] }),
          cookie: (request, env) => ({ name: `__Host-${new URL(request.url).hostname.split(".")[0]}-${env.LIMIT}` }),
          plugins: [users],
        },
      );
      const one = tenant("1", 1);
      const two = tenant("2", 2);
      const owner = crypto.randomUUID();
      const jar = cookieJar();
      const send = (env: Env, url: string) => jar.fetch((request) => handler(request, env), url);
      await send(one, `https://shop.example/?user=${owner}`);
      await send(two, `https://blog.example/?user=${owner}2`);
      expect(jar.cookies().map(({ name }) => name)).toEqual(["__Host-shop-1", "__Host-blog-2"]);
      // The secret of the other environment did not sign this id.
      const own = jar.cookies()[0]?.value;
      const asTwo = new Request("https://shop.example/", { headers: { Cookie: `__Host-shop-2=${own}` } });
      expect(await (await handler(asTwo, two)).text()).toBe("null forged");
      // The limit is one session for each user here, and two there. The oldest sessions end.
      for (const [env, left] of [
        [one, 1],
        [two, 2],
      ] as const) {
        const many = crypto.randomUUID();
        for (let device = 0; device < 3; device++)
          await cookieJar().fetch((request) => handler(request, env), `https://shop.example/?user=${many}`);
        expect(await users.list(many, env)).toHaveLength(left);
      }
    });

    test("waitUntil gets what is stored after the response, and what the runtime passes", async () => {
      // A store that answers at once gives `waitUntil` nothing to wait for, so this one answers with promises.
      const store = altered(engine.store, { save: async (save, ...args) => await save(...args) });
      const queue = { tasks: [] as Promise<unknown>[] };
      const handler = withSession(
        (request, session, _queue: typeof queue) => (session.set("at", request.url), new Response("Hello")),
        {
          store,
          storeTimeout: PATIENCE,
          persist: "after-response",
          waitUntil: (task, { tasks }) => void tasks.push(task),
        },
      );
      const jar = cookieJar();
      const send = (url: string) => jar.fetch((request) => handler(request, queue), url);
      // A new session is stored before the response, because the client may come back at once.
      await send(SHOP);
      expect(queue.tasks).toEqual([]);
      await send(`${SHOP}later`);
      expect(queue.tasks).toHaveLength(1);
      await Promise.all(queue.tasks);
      expect((await visitor({ store }, { jar })((session) => session.get("at"))).result).toBe(`${SHOP}later`);
    });
  });

  describe("5. cookieSessions({ chunks: 3 }), with this engine for revocation", () => {
    const chunked = () => program({}, (revocation) => ({ store: cookieSessions({ secrets, chunks: 3, revocation }) }));
    const long = (letter: string): string => letter.repeat(7000);

    test("a session over three cookies is one session; chunks of two generations are none", async () => {
      const { browser, told } = chunked();
      const { jar, visit } = browser();
      await visit((session) => session.set("text", long("x")));
      const earlier = jar.cookies();
      expect(earlier.map(({ name }) => name)).toEqual(["__Host-session", "__Host-session.1", "__Host-session.2"]);
      await visit((session) => session.set("text", long("y")));
      expect((await visit((session) => session.get("text"))).result).toBe(long("y"));
      const mixed = jar.cookies().map(({ name, value }, at) => `${name}=${at === 1 ? earlier[1]?.value : value}`);
      told.length = 0;
      const { result } = await browser().visit((session) => session.get("text"), cookie(mixed.join("; ")));
      expect([result, told]).toEqual([undefined, [expect.stringMatching(/^rejected (?:forged|malformed)$/)]]);
    });

    test("after a logout no copy of any generation works", async () => {
      const { browser } = chunked();
      const { jar, visit } = browser();
      const copies: string[] = [];
      for (const letter of ["x", "y"]) {
        await visit((session) => session.set("text", long(letter)));
        copies.push(jar.header(SHOP) ?? "");
      }
      await visit((session) => session.destroy());
      expect(jar.cookies()).toEqual([]);
      for (const copy of copies) expect((await browser().visit(ended, cookie(copy))).result).toBe("revoked");
    });
  });

  test("6. regenerate({ reauthenticated: true }) notes the login, which isFresh() judges, and restarts the absolute timeout", async () => {
    const { clock, browser } = program({ idleTimeout: HOUR, absoluteTimeout: HOUR });
    const { visit } = browser();
    const login = (session: Session) => (signIn(session), session.regenerate({ reauthenticated: true }));
    const fresh = async (): Promise<boolean> => (await visit((session) => isFresh(session, 300))).result;
    await visit((session) => session.set("basket", ["pear"]));
    expect(await fresh()).toBe(false);
    clock.advance(HOUR - 60);
    await visit(login);
    const at = clock.now();
    clock.advance(299);
    expect(await fresh()).toBe(true);
    clock.advance(2);
    expect(await fresh()).toBe(false);
    const { result } = await visit(async (session) => [await session.get("basket"), await session.info()]);
    expect(result).toEqual([["pear"], expect.objectContaining({ authenticatedAt: at, expiresAt: at + HOUR * 1000 })]);
    // A rotation does not count as a login.
    await visit((session) => session.regenerate());
    expect((await visit((session) => session.info())).result.authenticatedAt).toBe(at);
  });

  describe("7. rotateEvery", () => {
    test.each([
      ["reject", "ada"],
      ["destroy", undefined],
    ] as const)("renews the id, and tells a stolen one by its use afterwards: %s", async (onReuse, left) => {
      const { clock, told, browser } = program({ rotateEvery: { seconds: HOUR, onReuse } });
      const { jar, visit } = browser();
      await visit(signIn);
      const before = jar.header(SHOP) ?? "";
      clock.advance(HOUR);
      // A prefetch does not renew the id.
      await visit(user, { headers: { "Sec-Purpose": "prefetch" } });
      expect(jar.header(SHOP)).toBe(before);
      await visit(user);
      expect(jar.header(SHOP)).not.toBe(before);
      // A request that was sent with the old id before the rotation.
      expect((await browser().visit(user, cookie(before))).result).toBe("ada");
      await visit(user);
      clock.advance(61);
      expect((await browser().visit(ended, cookie(before))).result).toBe("reuse");
      expect(told).toContain("rejected reuse");
      expect((await visit(user)).result).toBe(left);
    });
  });

  test("8. a value and a flash value with a time to live are gone after it, and the session lives on", async () => {
    const { clock, browser } = program();
    const { visit } = browser();
    await visit((session) => {
      signIn(session);
      session.set("code", 42, { ttl: 300 });
      session.set("kept", 1, { ttl: 300 });
      session.flash("seen", "in time", { ttl: 300 });
      session.flash("missed", "too late", { ttl: 300 });
    });
    clock.advance(299);
    expect((await visit(async (session) => [await session.get("code"), await session.get("seen")])).result).toEqual([
      42,
      "in time",
    ]);
    // Without a time to live, a value loses the one that it had.
    await visit((session) => session.set("kept", 2));
    clock.advance(2);
    const { result } = await visit(async (session) => [await session.all(), await session.has("missed")]);
    expect(result).toEqual([{ user: "ada", kept: 2 }, false]);
  });

  describe("9. two versions of a program side by side", () => {
    test.each<[string, (store: SessionStore) => SessionOptions, (store: SessionStore) => SessionOptions]>([
      [
        "acceptUnsigned",
        (store) => ({ store }),
        (store) => ({ store, ids: signedIds({ secrets, acceptUnsigned: true }) }),
      ],
      ["acceptPlain", (store) => ({ store }), (store) => ({ store, encryption: encryption({ acceptPlain: true }) })],
      ["migratingStore", (store) => ({ store }), (store) => ({ store: migratingStore(store, target) })],
    ])(
      "%s: the new one takes over the old one's sessions, and the old one goes on with its own",
      async (_, old, next) => {
        target = memoryStore();
        const { browser, clock, options } = program();
        const [oldVersion, newVersion] = [old(engine.store), next(engine.store)].map((each) => ({
          ...each,
          now: clock.now,
        }));
        // One browser stays on the old version.
        const stays = browser({ ...options, ...oldVersion });
        await stays.visit(signIn);
        // The other browser comes to the new version with the cookie of the old one.
        const { cookies } = await browser({ ...options, ...oldVersion }).visit(signIn);
        const moved = browser({ ...options, ...newVersion });
        moved.jar.store(SHOP, new Response(null, { headers: { "Set-Cookie": cookies[0] ?? "" } }));
        expect((await moved.visit(user)).result).toBe("ada");
        await moved.visit((session) => session.set("visits", 1));
        expect((await moved.visit((session) => session.all())).result).toEqual({ user: "ada", visits: 1 });
        await stays.visit((session) => session.set("visits", 2));
        expect((await stays.visit((session) => session.all())).result).toEqual({ user: "ada", visits: 2 });
        await moved.visit((session) => session.destroy());
        expect(moved.jar.cookies()).toEqual([]);
      },
    );
    let target: SessionStore;

    test.each<[string, (store: SessionStore) => SessionOptions, string]>([
      ["acceptUnsigned", (store) => ({ store, ids: signedIds({ secrets, acceptUnsigned: true }) }), "malformed"],
      ["acceptPlain", (store) => ({ store, encryption: encryption({ acceptPlain: true }) }), "corrupt"],
      ["migratingStore", (store) => ({ store: migratingStore(store, memoryStore()) }), "unknown"],
    ])("%s: the old version does not know what the new one has taken over", async (_, next, reason) => {
      const { browser, options } = program();
      const { jar, visit } = browser({ ...options, ...next(engine.store) });
      await visit(signIn);
      const { result } = await browser().visit(ended, cookie(jar.header(SHOP) ?? ""));
      expect(result).toBe(reason);
    });

    test.each<[string, SessionOptions, string]>([
      ["signed ids", { ids: signedIds({ secrets }) }, "forged"],
      ["encryption", { encryption: encryption() }, "corrupt"],
    ])("without that option, %s do not know the session of before", async (_, more, reason) => {
      const { browser, options } = program();
      const { cookies } = await browser().visit(signIn);
      expect((await browser({ ...options, ...more }).visit(ended, withId(idIn(cookies)))).result).toBe(reason);
    });
  });

  test("10. a cookie of a previous scope keeps its session, and is expired when the new one is sent", async () => {
    const { browser, options } = program({ cookie: { name: "__Secure-shop", path: "/shop" } });
    const { jar, visit } = browser();
    const old = { url: `${SHOP}shop` };
    await visit(signIn, old);
    expect(jar.cookies().map(({ name, path }) => [name, path])).toEqual([["__Secure-shop", "/shop"]]);
    const now = visitor({ ...options, cookie: { previous: [{ name: "__Secure-shop", path: "/shop" }] } }, { jar });
    expect((await now(user, old)).result).toBe("ada");
    await now((session) => session.set("visits", 1), old);
    expect(jar.cookies().map(({ name, path }) => [name, path])).toEqual([["__Host-session", "/"]]);
    expect((await now((session) => session.all())).result).toEqual({ user: "ada", visits: 1 });
  });

  test("11. users.revokeBy() ends the sessions of an index's value, whoever's they are, and tells them so", async () => {
    const users = userSessions<{ sid: string }>({ indexes: { sid: ({ sid }) => sid } });
    const { browser, told } = program({ plugins: [users] });
    const sid = crypto.randomUUID();
    const [ada, bob, eve] = [browser(), browser(), browser()];
    const login = (who: string, sid: string) => async (session: Session) => {
      session.set("user", who);
      await users.bind(session, `${who} ${sid}`, { sid });
    };
    await ada.visit(login("ada", sid));
    await bob.visit(login("bob", sid));
    await eve.visit(login("eve", crypto.randomUUID()));
    expect(await users.revokeBy("sid", sid)).toBe(2);
    expect(told.filter((each) => each.startsWith("revoked"))).toEqual(["revoked"]);
    for (const gone of [ada, bob]) expect((await gone.visit(ended)).result).toBe("revoked");
    expect((await eve.visit(user)).result).toBe("eve");
  });

  test("12. acting as another user: with both names in the log, under another id, for 15 minutes at most", async () => {
    const { clock, browser } = program();
    const { fetch, users, log } = support({ store: engine.store, now: clock.now, storeTimeout: PATIENCE });
    const { jar } = browser();
    const send = (path: string, form?: Record<string, string>) =>
      jar.fetch(
        fetch,
        SHOP + path,
        form && { method: "POST", headers: { "Sec-Fetch-Site": "same-origin" }, body: new URLSearchParams(form) },
      );
    const who = async (): Promise<unknown> => await (await send("")).json();
    await send("login", { user: "sue" });
    const before = jar.header(SHOP);
    await send("act", { customer: "ada" });
    expect(jar.header(SHOP)).not.toBe(before);
    await send("order", {});
    expect(await who()).toEqual({ user: "sue", actingFor: "ada" });
    clock.advance(901);
    expect(await who()).toEqual({ user: "sue", actingFor: null });
    expect(log).toEqual(["sue begins to act for ada", "sue orders for ada"]);
    expect(await users.revokeAll("sue")).toBe(1);
    expect(await who()).toEqual({ user: null, actingFor: null });
  });

  test("13. several accounts in one browser: two sessions side by side, and a logout of one", async () => {
    const fetch = accounts(secrets, { store: engine.store, storeTimeout: PATIENCE });
    const { jar } = program().browser();
    const send = async (path: string, form?: Record<string, string>): Promise<string> => {
      const init = form && {
        method: "POST",
        headers: { "Sec-Fetch-Site": "same-origin" },
        body: new URLSearchParams(form),
      };
      return await (await jar.fetch(fetch, SHOP + path, init)).text();
    };
    await send("u/0/login", { user: "ada" });
    await send("u/1/login", { user: "bob" });
    expect(await send("")).toBe('[{"account":0,"user":"ada"},{"account":1,"user":"bob"}]');
    await send("u/0/logout", {});
    expect([await send("u/0/"), await send("u/1/")]).toEqual(["Account 0: nobody\n", "Account 1: bob\n"]);
  });

  test("14. destroy({ clearSiteData }) asks the browser to clear what it keeps, when the session has ended", async () => {
    const { browser, options } = program();
    const { visit } = browser();
    const { cookies } = await visit(signIn);
    const { response } = await visit((session) => session.destroy({ clearSiteData: ["cache", "storage"] }));
    expect(response.headers.get("Clear-Site-Data")).toBe('"cache", "storage"');
    expect((await browser().visit(user, withId(idIn(cookies)))).result).toBeUndefined();
    // A response that clears cookies cannot begin a session, because the browser would drop its cookie.
    const { visit: another } = browser();
    await another(signIn);
    const begins = async (session: Session): Promise<void> => {
      await session.destroy({ clearSiteData: ["cookies"] });
      signIn(session);
    };
    await expect(another(begins)).rejects.toThrow(TypeError);
    // A plain logout sends no Clear-Site-Data.
    const { visit: third } = browser(options);
    await third(signIn);
    expect((await third((session) => session.destroy())).response.headers.has("Clear-Site-Data")).toBe(false);
  });

  test("15. seedSession() gives a test the cookie of a session that the program knows", async () => {
    const { options, browser } = program({ ids: signedIds({ secrets }), cookie: { name: "__Host-shop" } });
    const header = await seedSession(options, { user: "ada", basket: new Set(["pear"]) });
    expect((await browser().visit((session) => session.all(), cookie(header))).result).toEqual({
      user: "ada",
      basket: new Set(["pear"]),
    });
    await expect(seedSession({ store: memoryStore(), header: "X-Session-Id", cookie: false }, {})).rejects.toThrow(
      /needs options with a cookie/,
    );
    const local = await seedSession(options, { user: "bob" }, { url: "http://localhost:3000/" });
    expect(local).toMatch(/^shop=/);
    expect((await browser().visit(user, { ...cookie(local), url: "http://localhost:3000/" })).result).toBe("bob");
  });

  test("16. openTelemetry() tells the real SDK of each load and store", async () => {
    const { tracer, meter, spans, points } = telemetry();
    const { browser } = program({ onEvent: openTelemetry({ tracer, meter }) });
    const { visit } = browser();
    const { cookies } = await visit(signIn);
    await visit((session) => session.set("visits", 1));
    await browser().visit(user, withId("a".repeat(32)));
    const events = (await points("with_session.events")).points;
    const reasons = events.map(([attributes]) => Object.entries(attributes).filter(([key]) => key !== "session.name"));
    expect(reasons.map((pairs) => pairs.map(([, value]) => value).join())).toEqual([
      "created",
      "loaded",
      "changed,1",
      "rejected,unknown",
    ]);
    const names = spans().map((span) => `${span.name}: ${span.attributes["session.event"]}`);
    expect(names).toContain("session store: changed");
    expect(JSON.stringify([spans().map(({ attributes }) => attributes), events])).not.toContain(idIn(cookies));
  });
});
