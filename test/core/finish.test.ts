import { describe, expect, test } from "vitest";
import {
  memoryStore,
  type Plugin,
  type Session,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
} from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { waitUntilFor } from "../../src/core/finish.ts";
import { resolveOptions } from "../../src/core/options/resolve_options.ts";
import { internalsOf } from "../../src/core/session_internals.ts";
import { faultyStore } from "../../src/testing.ts";
import { altered, codeOf, cookieOf, counted, failing, openStore, SHOP, soon, visitor } from "../setup/sessions.ts";

const SECRETS = ["a secret for tests, 32 bytes long"];

/** A manager, and a request of a client that has a session of `{ n: 1 }`. */
async function begun(options: SessionOptions = {}) {
  const sessions = new SessionManager({ store: openStore().store, ...options });
  const session = sessions.start(new Request(SHOP));
  session.set("n", 1);
  const Cookie = cookieOf({ cookies: (await sessions.commit(session)).getSetCookie() });
  const start = (): Session => sessions.start(new Request(SHOP, { headers: { Cookie } }));
  return { sessions, start };
}

test("A cookie of no session is cleared, but left alone if the store fails afterwards and that is tolerated", async () => {
  const store = failing(openStore().store, ["create"]);
  const sessions = new SessionManager({ store, onStoreError: "anonymous" });
  const Cookie = `__Host-session=${"a".repeat(32)}`;
  const start = (): Session => sessions.start(new Request(SHOP, { headers: { Cookie } }));
  const read = start();
  await read.get("n");
  expect((await sessions.commit(read)).getSetCookie()).toHaveLength(1);
  const written = start();
  written.set("n", 1);
  expect(await written.id()).toBeNull();
  expect((await sessions.commit(written)).getSetCookie()).toEqual([]);
});

describe("waitUntilFor()", () => {
  const later = (options: SessionOptions = {}) => resolveOptions({ ...options, persist: "after-response" });
  const promise = Promise.resolve();

  /** A platform's context whose `waitUntil` notes its object and its argument. */
  function context() {
    const seen: unknown[] = [];
    return {
      seen,
      waitUntil(given: Promise<unknown>): void {
        seen.push(this, given);
      },
    };
  }

  test("is none unless responses go out first, and there is one", () => {
    const ctx = context();
    expect(waitUntilFor(resolveOptions({}), new Response(), [ctx])).toBeUndefined();
    expect(waitUntilFor(later(), undefined, [ctx])).toBeUndefined();
    expect(waitUntilFor(later(), new Response(), [ctx])).toBeTypeOf("function");
  });

  test.each<[number, string | null, boolean]>([
    [201, "/", true],
    [299, "/", true],
    [300, "/", false],
    [303, "/", false],
    [399, "/", false],
    [400, "/", true],
    [304, null, true],
  ])("a response with the status %i and the Location %j goes out first: %j", (status, location, expected) => {
    const response = new Response(null, { status, headers: location === null ? {} : { Location: location } });
    expect(waitUntilFor(later(), response, [context()]) !== undefined).toBe(expected);
  });

  test("is the method of the first argument that has one", () => {
    const [ctx, other] = [context(), context()];
    const rest = [undefined, null, "waitUntil", 7, {}, { waitUntil: true }, ctx, other];
    waitUntilFor(later(), new Response(), rest)?.(promise);
    expect([ctx.seen[0] === ctx, ctx.seen[1] === promise, other.seen]).toEqual([true, true, []]);
    expect(waitUntilFor(later(), new Response(), rest.slice(0, 6))).toBeUndefined();
  });

  test("reads nothing of an argument that has none, such as an environment that throws for an unknown name", () => {
    const strict = new Proxy<object>(
      { PORT: "80" },
      {
        get(target, name) {
          if (!(name in target)) throw new ReferenceError("unknown variable");
          return Reflect.get(target, name) as unknown;
        },
      },
    );
    const ctx = context();
    waitUntilFor(later(), new Response(), [strict, ctx])?.(promise);
    expect(ctx.seen[0]).toBe(ctx);
  });

  test("is that of the options, which gets what the runtime passed, without sessions of other wrappers", () => {
    const seen: unknown[] = [];
    const ctx = context();
    const policy = later({ waitUntil: (...given: unknown[]) => void seen.push(...given) });
    waitUntilFor(policy, new Response(), [new SessionManager().open(""), "env", ctx])?.(promise);
    expect(seen).toEqual([promise, "env", ctx]);
    expect(ctx.seen).toEqual([]);
  });
});

describe("persist: after-response", () => {
  const persist = "after-response";
  const plugin = (more: Partial<Plugin>): SessionOptions => ({ plugins: [{ name: "job", ...more }] });

  /** Uses the session of a client. Returns the headers, and what the process had to wait for. */
  async function use(change: (session: Session) => unknown, options: SessionOptions = {}) {
    const { sessions, start } = await begun({ persist, ...options });
    const waiting: Promise<unknown>[] = [];
    const session = start();
    await change(session);
    const headers = await sessions.commit(session, (promise) => waiting.push(promise));
    await Promise.all(waiting);
    return { headers, waiting, start };
  }

  test.each<[string, (session: Session) => unknown, SessionOptions, number]>([
    ["a change", (session) => session.set("n", 2), {}, 1],
    ["a touch", (session) => session.touch(), {}, 0],
    ["other timeouts", (session) => session.setTimeouts({ idle: 60 }), {}, 0],
    [
      "a change with a plugin that only judges",
      (session) => session.set("n", 2),
      plugin({ admit: () => undefined }),
      1,
    ],
    ["a read", (session) => session.get("n"), {}, 0],
    ["a new id", (session) => session.regenerate(), {}, 0],
    ["a logout", (session) => session.destroy(), {}, 0],
    ["a logout of what was read", async (session) => (await session.get("n"), await session.destroy()), {}, 0],
    ["a change that a plugin tells the client", (session) => session.set("n", 2), plugin({ respond: () => {} }), 0],
    ["what a plugin has recorded", (session) => internalsOf(session).setMetadata("+job", 1), {}, 0],
    ["a change in the cookie", (session) => session.set("n", 2), { store: cookieSessions({ secrets: SECRETS }) }, 0],
    ["a change where the store answers at once", (session) => session.set("n", 2), { store: memoryStore() }, 1],
  ])("%s", async (_what, change, options, expected) => {
    expect((await use(change, options)).waiting).toHaveLength(expected);
  });

  test("a new session is stored before the response", async () => {
    const sessions = new SessionManager({ store: openStore().store, persist });
    const waiting: Promise<unknown>[] = [];
    const session = sessions.start(new Request(SHOP));
    session.set("n", 1);
    const headers = await sessions.commit(session, (promise) => waiting.push(promise));
    expect([waiting, headers.getSetCookie().length]).toEqual([[], 1]);
  });

  test("a response carries the cookie that other timeouts ask for, and that of a touch, and none of a change", async () => {
    const told = async (change: (session: Session) => unknown): Promise<unknown[]> =>
      (await use(change)).headers.getSetCookie().map((line) => line.replace(/^[^;]*; (Max-Age=\d+).*/, "$1"));
    expect(await told((session) => session.setTimeouts({ idle: 60 }))).toEqual(["Max-Age=60"]);
    expect(await told((session) => session.setTimeouts({ cookie: 600_000 }))).toEqual(["Max-Age=600000"]);
    expect(await told((session) => session.touch())).toEqual(["Max-Age=86400"]);
    expect(await told((session) => session.set("n", 2))).toEqual([]);
  });

  test("what was stored late is there", async () => {
    const { start } = await use((session) => session.set("n", 2));
    expect(await start().get("n")).toBe(2);
  });

  test("a failure that comes late is not one of the process", async () => {
    let isDown = false;
    const store = altered(openStore().store, {
      change: (change, ...args) => (isDown ? Promise.reject(new Error("down")) : change(...args)),
    });
    const { waiting, start } = await use((session) => (session.set("n", 2), (isDown = true)), { store });
    expect(await Promise.all(waiting)).toEqual([undefined]);
    expect(await start().get("n")).toBe(1);
  });

  test("a waitUntil changes nothing where responses wait", async () => {
    const { waiting, start } = await use((session) => session.set("n", 2), { persist: "before-response" });
    expect(waiting).toEqual([]);
    expect(await start().get("n")).toBe(2);
  });

  test("without a waitUntil the response waits", async () => {
    const { sessions, start } = await begun({ persist });
    const session = start();
    session.set("n", 2);
    await sessions.commit(session);
    expect(await start().get("n")).toBe(2);
  });
});

describe("a session that another request has ended", () => {
  test.each(["before-response", "after-response"] as const)("gets no cookie, with persist: %s", async (persist) => {
    for (const again of [false, true]) {
      const { sessions, start } = await begun({ persist, cookie: { refresh: "always" } });
      const session = start();
      await session.get("n");
      await sessions.commit(await ended(start()));
      session.set("n", 2);
      expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
      if (again) session.set("n", 3);
      const waiting: Promise<unknown>[] = [];
      const headers = await sessions.commit(session, (promise) => waiting.push(promise));
      expect([headers.getSetCookie(), waiting]).toEqual([[], []]);
    }
  });

  async function ended(session: Session): Promise<Session> {
    await session.destroy();
    return session;
  }
});

describe("Clear-Site-Data", () => {
  const clears = (headers: Headers): string | null => headers.get("Clear-Site-Data");

  test("is told when the session has ended, each word in quotes", async () => {
    const { sessions, start } = await begun();
    const session = start();
    await session.destroy({ clearSiteData: ["cookies", "storage"] });
    const headers = await sessions.commit(session);
    expect([clears(headers), headers.getSetCookie().length]).toEqual(['"cookies", "storage"', 1]);
  });

  test("tells cache and storage for true, and nothing for false", async () => {
    for (const [clearSiteData, told] of [
      [true, '"cache", "storage"'],
      [false, null],
    ] as const) {
      const { sessions, start } = await begun();
      const session = start();
      await session.destroy({ clearSiteData });
      expect(clears(await sessions.commit(session))).toBe(told);
    }
  });

  test("is not told where there was no session to end, also if a plugin adds headers", async () => {
    const plugin = { name: "each", respond: (headers: Headers) => headers.set("X-Plugin", "1") };
    for (const plugins of [[], [plugin]]) {
      const { sessions } = await begun({ plugins });
      const session = sessions.start(new Request(SHOP));
      await session.destroy({ clearSiteData: ["storage"] });
      const headers = await sessions.commit(session);
      expect([clears(headers), headers.has("X-Plugin")]).toEqual([null, plugins.length > 0]);
    }
  });

  test("is not told unless asked for, nor when the store did not end the session", async () => {
    const { sessions, start } = await begun();
    const session = start();
    await session.destroy();
    expect(clears(await sessions.commit(session))).toBeNull();
    const broken = altered(openStore().store, { delete: () => Promise.reject(new Error("down")) });
    const failing = await begun({ store: broken, onStoreError: "anonymous" });
    const alive = failing.start();
    await alive.destroy({ clearSiteData: ["storage"] });
    const headers = await failing.sessions.commit(alive);
    expect([clears(headers), headers.getSetCookie()]).toEqual([null, []]);
    expect(await failing.start().get("n")).toBe(1);
  });

  test.each<["cookies" | "*" | "storage", boolean]>([
    ["cookies", false],
    ["*", false],
    ["storage", true],
  ])("of %s in a response that begins a session is accepted: %j", async (word, isAccepted) => {
    const { sessions, start } = await begun();
    const session = start();
    await session.destroy({ clearSiteData: [word] });
    session.set("n", 2);
    const told = sessions.commit(session);
    if (isAccepted) expect(clears(await told)).toBe('"storage"');
    else await expect(told).rejects.toThrow(/^Cannot begin a session in a response that clears cookies/);
  });
});

describe("what a plugin tells the client", () => {
  /** A plugin that adds headers to the response, and counts how often it is called. */
  function teller(headers: Record<string, string>) {
    const asked: unknown[] = [];
    const plugin: Plugin = {
      name: "job",
      respond: async (given, op) => {
        asked.push(op.session);
        for (const [name, value] of Object.entries(headers)) given.append(name, value);
      },
    };
    return { asked, options: { plugins: [{ name: "silent", admit: () => undefined }, plugin] } };
  }

  test("goes with the response of each request that used the session, and with no other", async () => {
    const { asked, options } = teller({ "X-Job": "done" });
    const { sessions, start } = await begun(options);
    asked.length = 0;
    const read = start();
    await read.get("n");
    expect(Object.fromEntries(await sessions.commit(read))).toEqual({
      "cache-control": "private",
      "vary": "Cookie",
      "x-job": "done",
    });
    expect(Object.fromEntries(await sessions.commit(start()))).toEqual({});
    expect(asked).toEqual([read]);
    const opened = sessions.open((await read.id()) ?? "");
    await opened.get("n");
    expect(Object.fromEntries(await sessions.commit(opened))).toEqual({ "cache-control": "private" });
    expect(asked).toEqual([read]);
  });

  test("is left out where a store that cannot be opened is tolerated, also of a request without a session", async () => {
    const { asked, options } = teller({ "X-Job": "done" });
    const events: SessionEvent[] = [];
    const failing = (onStoreError: "throw" | "anonymous"): SessionManager =>
      new SessionManager({
        ...options,
        onStoreError,
        store: () => Promise.reject(new Error("down")),
        onEvent: (event) => void events.push(event),
      });
    const use = async (sessions: SessionManager, cookie: string): Promise<Headers> => {
      const session = sessions.start(new Request(SHOP, { headers: { Cookie: cookie } }));
      await session.get("n");
      return await sessions.commit(session);
    };
    for (const cookie of ["", `__Host-session=${"a".repeat(32)}`]) {
      expect(await codeOf(() => use(failing("throw"), cookie))).toBe("ERR_STORE");
      events.length = 0;
      expect(Object.fromEntries(await use(failing("anonymous"), cookie))).toEqual({
        "cache-control": "private",
        "vary": "Cookie",
      });
      expect(events).toMatchObject([{ type: "failed", during: "load" }]);
    }
    expect(asked).toEqual([]);
  });

  test("is not asked for a session that is gone, or could not be stored, unless the client gets a new id", async () => {
    let isDown = false;
    const store = altered(openStore().store, {
      change: (change, ...args) => (isDown ? Promise.reject(new Error("down")) : change(...args)),
    });
    const { asked, options } = teller({ "X-Job": "done" });
    const { sessions, start } = await begun({ ...options, store, onStoreError: "anonymous" });
    const known = start();
    const fresh = sessions.start(new Request(SHOP));
    fresh.set("n", 1);
    await fresh.save();
    asked.length = 0;
    isDown = true;
    for (const session of [known, fresh]) session.set("n", 2);
    expect((await sessions.commit(known)).has("X-Job")).toBe(false);
    const told = await sessions.commit(fresh);
    expect([told.get("X-Job"), told.getSetCookie().length]).toEqual(["done", 1]);
    expect(asked).toEqual([fresh]);
    isDown = false;
    const gone = start();
    await gone.get("n");
    const other = start();
    await other.destroy();
    await sessions.commit(other);
    gone.set("n", 3);
    asked.length = 0;
    expect((await sessions.commit(gone)).has("X-Job")).toBe(false);
    expect(asked).toEqual([]);
  });

  test("may change the session meanwhile: that is stored at once", async () => {
    const seen: Session[] = [];
    const { sessions, start } = await begun({
      plugins: [{ name: "job", respond: async () => void seen.pop()?.set("n", 3) }],
    });
    const session = start();
    await session.get("n");
    seen.push(session);
    await sessions.commit(session);
    await soon(0);
    expect(await start().get("n")).toBe(3);
  });

  test("may be nothing: the response is private to the client all the same, and is not copied", async () => {
    const { asked, options } = teller({});
    const { sessions, start } = await begun(options);
    asked.length = 0;
    const read = start();
    await read.get("n");
    expect(Object.fromEntries(await sessions.commit(read))).toEqual({ "cache-control": "private", "vary": "Cookie" });
    expect(asked).toEqual([read]);
    const again = start();
    await again.get("n");
    const response = new Response();
    expect(await sessions.respond(again, response)).toBe(response);
  });

  test("comes in the order of the plugins", async () => {
    const told: string[] = [];
    const { sessions, start } = await begun({
      plugins: ["a", "b"].map((name) => ({ name, respond: () => void told.push(name) })),
    });
    told.length = 0;
    const read = start();
    await read.get("n");
    await sessions.commit(read);
    expect(told).toEqual(["a", "b"]);
  });
});

describe("the cookie of a token that leads to no session", () => {
  const request = (): Request => new Request(SHOP, { headers: { Cookie: `__Host-session=${"a".repeat(32)}` } });

  test("is cleared when the session was used, and left alone while the store is down", async () => {
    const { store, calls } = counted(openStore().store);
    const sessions = new SessionManager({ store });
    const session = sessions.start(request());
    await session.get("n");
    const headers = await sessions.commit(session);
    expect([calls, headers.getSetCookie()]).toEqual([["load"], [expect.stringMatching(/^__Host-session=; Max-Age=0/)]]);

    const down = altered(openStore().store, { load: () => Promise.reject(new Error("down")) });
    const anonymous = new SessionManager({ store: down, onStoreError: "anonymous" });
    const unknown = anonymous.start(request());
    await unknown.get("n");
    expect((await anonymous.commit(unknown)).getSetCookie()).toEqual([]);
  });

  test("is expired where it strays beside another, and what is left is told", async () => {
    const sessions = new SessionManager({ store: openStore().store, cookie: { name: "s" } });
    const session = sessions.start(new Request(SHOP, { headers: { Cookie: "s=one; s=two" } }));
    await session.get("n");
    const lines = (await sessions.commit(session)).getSetCookie();
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) expect(line).toMatch(/^s=; Max-Age=0; .*(?:Domain|Partitioned)/);
  });
});

describe("refresh: always", () => {
  test("sends the cookie of each session that was used, and none while the store is down", async () => {
    let isDown = false;
    const store = altered(openStore().store, {
      change: (change, ...args) => (isDown ? Promise.reject(new Error("down")) : change(...args)),
    });
    const { sessions, start } = await begun({ store, cookie: { refresh: "always" }, onStoreError: "anonymous" });
    const read = start();
    await read.get("n");
    expect((await sessions.commit(read)).getSetCookie()).toHaveLength(1);
    const changed = start();
    changed.set("n", 2);
    isDown = true;
    expect((await sessions.commit(changed)).getSetCookie()).toEqual([]);
  });

  test("sends the cookie also with a response that does not wait until the change is stored", async () => {
    const { sessions, start } = await begun({ cookie: { refresh: "always" }, persist: "after-response" });
    const waiting: Promise<unknown>[] = [];
    const session = start();
    session.set("n", 2);
    const headers = await sessions.commit(session, (promise) => waiting.push(promise));
    await Promise.all(waiting);
    expect([waiting.length, headers.getSetCookie().length]).toEqual([1, 1]);
  });

  test("sends no cookie with an id that was to be replaced and could not be", async () => {
    const store = faultyStore(openStore().store);
    const { sessions, start } = await begun({ store, cookie: { refresh: "always" }, onStoreError: "anonymous" });
    const session = start();
    await session.get("n");
    await session.regenerate();
    store.plan({ save: ["none", "rejects", "rejects"], load: "rejects" });
    const headers = await sessions.commit(session);
    store.plan({});
    expect(headers.getSetCookie()).toEqual([]);
    expect(await start().get("n")).toBe(1);
  });
});

test("a header of its own has no lifetime, and the session under it lives on", async () => {
  const sessions = new SessionManager({ store: openStore().store, cookie: false, header: "X-Id" });
  const session = sessions.start(new Request(SHOP));
  session.set("n", 1);
  const id = (await sessions.commit(session)).get("X-Id") ?? "";
  const again = sessions.start(new Request(SHOP, { headers: { "X-Id": id } }));
  expect(await again.get("n")).toBe(1);
  expect(Object.fromEntries(await sessions.commit(again))).toEqual({ "cache-control": "private", "vary": "X-Id" });
});

test("a cookie of a previous name is expired when it is met, also where the session was only read", async () => {
  const { sessions, start } = await begun({ cookie: { name: "s", previous: [{ name: "older" }] } });
  const id = await start().id();
  const read = async (Cookie: string): Promise<string[]> => {
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    expect(await session.get("n")).toBe(1);
    return (await sessions.commit(session)).getSetCookie();
  };
  // With the session's own cookie: another server may expire that one at the same time.
  for (const cookie of [`s=${id}; older=old`, `older=${id}`]) {
    expect(await read(cookie)).toEqual([
      expect.stringMatching(/^older=; Max-Age=0;/),
      expect.stringMatching(new RegExp(`^s=${id}; Max-Age=86400;`)),
    ]);
  }
  // A copy is expired with the next write.
  expect(await read(`s=${id}; older=${id}`)).toEqual([]);
  expect(await read(`s=${id}`)).toEqual([]);
});

test("a session under a previous name outlives a dead token under the present one", async () => {
  const cookie = { name: "s", previous: [{ name: "older" }] };
  const { sessions, start } = await begun({ cookie });
  const visit = async (Cookie: string, use: (session: Session) => unknown): Promise<unknown[]> => {
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    return [await use(session), (await sessions.commit(session)).getSetCookie().map((line) => line.split(";", 2))];
  };
  const expired = (name: string): string[] => [`${name}=`, " Max-Age=0"];
  const older = `older=${await start().id()}`;
  const dead = "a".repeat(32);
  const read = (session: Session): unknown => session.get("n");
  expect(await visit(`s=${dead}; ${older}`, read)).toEqual([undefined, [expired("s")]]);
  // The browser presents the other cookie alone now.
  expect(await visit(older, read)).toEqual([1, [expired("older"), expect.anything()]]);
  // A dead token under the previous name is expired itself, and a logout expires both.
  expect(await visit(`older=${dead}`, read)).toEqual([undefined, [expired("older"), expired("s")]]);
  expect(await visit(`s=${dead}; ${older}`, (session) => session.destroy())).toEqual([
    undefined,
    [expired("older"), expired("s")],
  ]);
});

test("a session under a previous name outlives a dead token under another previous name", async () => {
  for (const [origin, prefix] of [
    ["http://localhost/", ""],
    [SHOP, "__Host-"],
  ] as const) {
    const previous = ["oldest", "older"].map((name) => ({ name: `__Host-${name}` }));
    const { sessions, start } = await begun({ cookie: { name: "__Host-s", previous } });
    const visit = async (Cookie: string): Promise<[unknown, string[]]> => {
      const session = sessions.start(new Request(origin, { headers: { Cookie } }));
      const value = await session.get("n");
      return [value, (await sessions.commit(session)).getSetCookie().map((line) => line.slice(0, line.indexOf(" ")))];
    };
    const live = `${prefix}older=${await start().id()}`;
    const expired = (name: string): string => `${prefix}${name}=;`;
    expect(await visit(`${prefix}oldest=${"a".repeat(32)}; ${live}`)).toEqual([
      undefined,
      [expired("oldest"), expired("s")],
    ]);
    expect(await visit(live)).toEqual([1, [expired("older"), expect.stringMatching(`^${prefix}s=.{32};$`)]]);
  }
});

test("a dead token in a previous scope of the present name does not hide the session under a previous name", async () => {
  const cookie = { name: "s", previous: [{ name: "s", path: "/shop" }, { name: "older" }] };
  const { sessions, start } = await begun({ cookie });
  const older = `older=${await start().id()}`;
  const session = sessions.start(new Request(`${SHOP}shop/`, { headers: { Cookie: `s=${"a".repeat(32)}; ${older}` } }));
  expect(await session.get("n")).toBeUndefined();
  const lines = (await sessions.commit(session)).getSetCookie();
  expect(lines.map((line) => [line.split("=", 1)[0], /Path=([^;]*)/.exec(line)?.[1]])).toEqual([
    ["s", "/shop"],
    ["s", "/"],
  ]);
});

test("a session that came under a previous name keeps that cookie where it cannot be moved yet", async () => {
  const store = faultyStore(memoryStore());
  const cookie = { name: "s", previous: [{ name: "older" }] };
  const { sessions, start } = await begun({ store, cookie, onStoreError: "anonymous" });
  const Cookie = `older=${await start().id()}`;
  // The store fails when the session is loaded, and then when it is stored.
  for (const plan of [{ load: "rejects" }, { save: "rejects" }] as const) {
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    store.plan(plan);
    expect(await session.get("n")).toBe("load" in plan ? undefined : 1);
    if ("save" in plan) session.set("n", 2);
    expect((await sessions.commit(session)).getSetCookie()).toEqual([]);
    store.plan({});
  }
  // Another server may have other secrets, so a forged token does not expire the older cookie.
  const others = new SessionManager({ store: cookieSessions({ secrets: SECRETS }), cookie });
  const session = others.start(new Request(SHOP, { headers: { Cookie: `older=1${"A".repeat(60)}` } }));
  expect([await session.get("n"), (await session.info()).ended]).toEqual([undefined, "forged"]);
  expect((await others.commit(session)).getSetCookie()).toEqual([]);
  // A forged token under the name of today stays as well, and so does the cookie beside it, which may open a session.
  const beside = others.start(new Request(SHOP, { headers: { Cookie: `s=1${"A".repeat(60)}; older=old` } }));
  expect([await beside.get("n"), (await beside.info()).ended]).toEqual([undefined, "forged"]);
  expect((await others.commit(beside)).getSetCookie()).toEqual([]);
});

describe("onStoreError: anonymous", () => {
  const onStoreError = "anonymous";

  test("leaves the cookie alone of a dead id whose new session could not be stored", async () => {
    const store = altered(openStore().store, { create: () => Promise.reject(new Error("down")) });
    const sessions = new SessionManager({ store, onStoreError });
    const dead = sessions.start(new Request(SHOP, { headers: { Cookie: `__Host-session=${"a".repeat(32)}` } }));
    await dead.get("n");
    dead.set("n", 1);
    expect((await sessions.commit(dead)).getSetCookie()).toEqual([]);
  });

  test("leaves the cookie alone of a session that was ended, and after which no other one could be stored", async () => {
    const store = faultyStore(openStore().store);
    const { sessions, start } = await begun({ store, onStoreError });
    const session = start();
    await session.destroy();
    session.set("n", 2);
    store.plan({ save: "rejects" });
    expect((await sessions.commit(session)).getSetCookie()).toEqual([]);
  });

  test("goes on where the store cannot be opened", async () => {
    const sessions = new SessionManager({ store: () => Promise.reject(new Error("down")), onStoreError });
    const session = sessions.start(new Request(SHOP));
    session.set("n", 1);
    expect((await sessions.commit(session)).getSetCookie()).toEqual([]);
  });

  test("goes on after conflicts without end, and throws what is no failure of the store", async () => {
    const busy = altered(openStore().store, { change: async () => "conflict" });
    for (const onError of ["throw", onStoreError] as const) {
      const conflicts = await begun({ store: busy, onStoreError: onError, storeTimeout: 0.05 });
      const session = conflicts.start();
      session.set("n", 2);
      const committing = conflicts.sessions.commit(session);
      if (onError === "throw") expect(await codeOf(() => committing)).toBe("ERR_CONFLICT");
      else expect((await committing).getSetCookie()).toEqual([]);
      const named = new SessionManager({ cookie: { name: "n".repeat(4065) }, onStoreError: onError });
      const large = named.start(new Request(SHOP));
      large.set("n", 1);
      expect(await codeOf(() => named.commit(large))).toBe("ERR_COOKIE_TOO_LARGE");
    }
  });
});

test("timeouts of a session that does not exist are tried once, and nothing is late", async () => {
  const events: string[] = [];
  const visit = visitor({ onEvent: ({ type }) => void events.push(type) });
  expect((await visit((session) => session.setTimeouts({ idle: 60 }))).cookies).toEqual([]);
  expect(events).toEqual([]);
});

test("an object that was changed in place is stored", async () => {
  const { sessions, start } = await begun();
  const first = start();
  first.set("list", [1]);
  await sessions.commit(first);
  const session = start();
  (await session.get("list")).push(2);
  await sessions.commit(session);
  expect(await start().get("list")).toEqual([1, 2]);
});

test("a change is stored by a call that nobody awaited, before the response", async () => {
  const { sessions, start } = await begun();
  const session = start();
  void session.update("n", async (n: number) => (await new Promise(setImmediate), n + 1));
  await sessions.commit(session);
  expect(await start().get("n")).toBe(2);
});
