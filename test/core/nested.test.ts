import { createStorage } from "unstorage";
import { describe, expect, test } from "vitest";
import {
  memoryStore,
  type Session,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type Transport,
} from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { cookieTransport } from "../../src/core/cookie_transport.ts";
import { headerTransport } from "../../src/core/header_transport.ts";
import { unstorageStore } from "../../src/stores/unstorage.ts";
import { type FaultPlan, faultyStore } from "../../src/testing.ts";
import { codeOf, cookieOf, counted, openStore, SHOP } from "../setup/sessions.ts";

interface Data {
  inner: number;
  outer: number;
  more: number;
}

/** A manager, and the response of a nested handler that begins a session of `{ inner: 1 }`. */
async function nested(options: SessionOptions<Data> = {}) {
  const { store, calls } = counted(openStore().store);
  const sessions = new SessionManager<Data>({ store, ...options });
  const respond = async (cookie = ""): Promise<Response> => {
    const session = sessions.start(new Request(SHOP, { headers: { Cookie: cookie } }));
    session.set("inner", 1);
    return await sessions.respond(session, new Response("Hello"));
  };
  const inner = await respond();
  calls.length = 0;
  return { sessions, inner, calls, all: (response: Response) => allOf(sessions, response) };
}

/** The data of the session whose id a response carries. */
async function allOf(sessions: SessionManager<Data>, response: Response): Promise<object> {
  const Cookie = cookieOf({ cookies: response.headers.getSetCookie() });
  return { ...(await sessions.start(new Request(SHOP, { headers: { Cookie } })).all()) };
}

const set = (session: Session<Data>): void => session.set("outer", 1);

describe("a handler that answers with the response of another one", () => {
  test("adds to the session which that one has begun", async () => {
    const { sessions, inner, all } = await nested();
    const session = sessions.start(new Request(SHOP));
    set(session);
    const response = await sessions.respond(session, inner);
    expect(response.headers.getSetCookie()).toHaveLength(1);
    expect(await all(response)).toEqual({ inner: 1, outer: 1 });
  });

  test("applies its clear() to the session which that one has begun or renewed, as its other changes", async () => {
    const { sessions, inner, all } = await nested();
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    for (const headers of [{}, { Cookie }]) {
      const session = sessions.start(new Request(SHOP, { headers }));
      session.clear();
      set(session);
      const other = sessions.start(new Request(SHOP, { headers }));
      await other.regenerate();
      other.set("more", 1);
      expect(await all(await sessions.respond(session, await sessions.respond(other, new Response())))).toEqual({
        outer: 1,
      });
    }
  });

  test("adds what it has changed in place to the session which that one has begun", async () => {
    const sessions = new SessionManager<{ inner: number; list: number[] }>();
    const inner = sessions.start(new Request(SHOP));
    inner.set("inner", 1);
    const session = sessions.start(new Request(SHOP));
    (await session.get("list", [])).push(1);
    const response = await sessions.respond(session, await sessions.respond(inner, new Response()));
    const Cookie = cookieOf({ cookies: response.headers.getSetCookie() });
    const all = await sessions.start(new Request(SHOP, { headers: { Cookie } })).all();
    expect({ ...all }).toEqual({ inner: 1, list: [1] });
  });

  test("consumes the flash values that it has read, also if that one has renewed the id", async () => {
    const sessions = new SessionManager<{ notice: string; list: number[] }>();
    const before = sessions.start(new Request(SHOP));
    before.flash("notice", "Saved");
    before.set("list", [1]);
    let Cookie = cookieOf({ cookies: (await sessions.commit(before)).getSetCookie() });
    const request = new Request(SHOP, { headers: { Cookie } });
    const session = sessions.start(request);
    expect(await session.get("notice")).toBe("Saved");
    (await session.get("list"))?.push(2);
    const inner = sessions.start(request.clone());
    await inner.regenerate();
    const response = await sessions.respond(session, await sessions.respond(inner, new Response()));
    Cookie = cookieOf({ cookies: response.headers.getSetCookie() });
    const all = await sessions.start(new Request(SHOP, { headers: { Cookie } })).all();
    expect({ ...all }).toEqual({ list: [1, 2] });
  });

  test("keeps the id that the other one has renewed by age, which the client has not used yet", async () => {
    let now = 0;
    const { store } = openStore();
    const sessions = new SessionManager<Data>({ store, now: () => now, rotateEvery: 600 });
    const visit = async (Cookie: string, use: (session: Session<Data>) => void, response = new Response()) => {
      const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
      await session.get("inner");
      use(session);
      return await sessions.respond(session, response);
    };
    const Cookie = cookieOf({ cookies: (await visit("", set)).headers.getSetCookie() });
    now += 600_000;
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    await session.get("inner");
    session.set("more", 1);
    const inner = await visit(Cookie, (session) => session.set("inner", 1));
    const response = await sessions.respond(session, inner.clone());
    expect(cookieOf({ cookies: response.headers.getSetCookie() })).toBe(
      cookieOf({ cookies: inner.headers.getSetCookie() }),
    );
    // The response was lost.
    now += 120_000;
    const again = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    expect({ ...(await again.all()) }).toEqual({ inner: 1, outer: 1, more: 1 });
  });

  test("finds it among other cookies of that response, whatever the client has sent", async () => {
    const { sessions, inner, all } = await nested();
    const headers = new Headers({ "Set-Cookie": "a=1; Path=/" });
    for (const line of [...inner.headers.getSetCookie(), "b=2"]) headers.append("Set-Cookie", line);
    const session = sessions.start(new Request(SHOP, { headers: { Cookie: `__Host-session=${"a".repeat(32)}` } }));
    set(session);
    const response = await sessions.respond(session, new Response(null, { headers }));
    const lines = response.headers.getSetCookie();
    expect(lines.map((line) => line.split("=")[0])).toEqual(["a", "b", "__Host-session"]);
    expect(await all(new Response(null, { headers: { "Set-Cookie": lines[2] ?? "" } }))).toEqual({
      inner: 1,
      outer: 1,
    });
  });

  test("finds it beside a line that expires a cookie of the same name in another scope", async () => {
    const { sessions, inner, all } = await nested({ cookie: { name: "s", previous: [{ domain: "shop.example" }] } });
    const before = { Cookie: cookieOf({ cookies: inner.headers.getSetCookie() }) };
    const login = sessions.start(new Request(SHOP, { headers: before }));
    await login.regenerate();
    const renewed = await sessions.respond(login, new Response());
    const [expired, token = ""] = renewed.headers.getSetCookie();
    expect(expired).toContain("s=; Max-Age=0;");
    const session = sessions.start(new Request(SHOP, { headers: before }));
    set(session);
    await sessions.respond(session, renewed);
    expect(await all(new Response(null, { headers: { "Set-Cookie": token } }))).toEqual({ inner: 1, outer: 1 });
  });

  test.each<[string, SessionOptions<Data>]>([
    ["a header", { header: "X-Id" }],
    ["a header with a scheme", { header: { name: "Authorization", scheme: "Bearer" } }],
    ["a header alone", { cookie: false, header: "X-Id" }],
  ])("adds to the session which that one has begun for a client of %s", async (_what, options) => {
    const { sessions } = await nested(options);
    const name = typeof options.header === "object" ? options.header.name : "X-Id";
    const start = (told: string): Session<Data> => sessions.start(new Request(SHOP, { headers: { [name]: told } }));
    const begun = start("");
    begun.set("inner", 1);
    const inner = await sessions.respond(begun, new Response());
    const session = start("");
    set(session);
    const response = await sessions.respond(session, inner);
    expect({ ...(await start(response.headers.get(name) ?? "").all()) }).toEqual({ inner: 1, outer: 1 });
  });

  test.each<[string, (inner: Response) => Response]>([
    ["tells of no session", () => new Response(null, { headers: { "Set-Cookie": "a=1" } })],
    ["sets no cookie", () => new Response()],
    [
      "tells of a session that is none",
      () => new Response(null, { headers: { "Set-Cookie": `__Host-session=${"b".repeat(32)}` } }),
    ],
    ["ends it", () => new Response(null, { headers: { "Set-Cookie": "__Host-session=; Max-Age=0" } })],
  ])("has a session of its own when that response %s", async (_what, make) => {
    const { sessions, inner, all } = await nested();
    const session = sessions.start(new Request(SHOP));
    set(session);
    const response = await sessions.respond(session, make(inner));
    const own = response.headers.getSetCookie().at(-1) ?? "";
    expect(await all(new Response(null, { headers: { "Set-Cookie": own } }))).toEqual({ outer: 1 });
  });

  test("looks for no session when it has recorded nothing", async () => {
    const { sessions, inner, calls } = await nested();
    const session = sessions.start(new Request(SHOP));
    await session.get("outer");
    const response = await sessions.respond(session, inner);
    expect(calls).toEqual([]);
    expect(response.headers.getSetCookie()).toEqual(inner.headers.getSetCookie());
  });

  test("looks for no session when that response has no header of a transport", async () => {
    const events: string[] = [];
    const { sessions } = await nested({ header: "X-Id", onEvent: ({ type }) => events.push(type) });
    const start = (told: string): Session<Data> => sessions.start(new Request(SHOP, { headers: { "X-Id": told } }));
    const begun = start("");
    set(begun);
    const { headers } = await sessions.respond(begun, new Response());
    events.length = 0;
    const session = start(headers.get("X-Id") ?? "");
    session.set("outer", 2);
    await sessions.respond(session, new Response());
    expect(events).toEqual(["loaded", "changed"]);
  });

  test("looks for no session when that response tells of the one that it has", async () => {
    const { sessions, inner, calls } = await nested();
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    for (const use of [set, async (session: Session<Data>) => (await session.get("inner"), set(session))]) {
      calls.length = 0;
      const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
      await use(session);
      session.set("outer", Math.random());
      await sessions.respond(session, inner);
      expect(calls).toEqual(["load", "change"]);
    }
  });

  test("looks for no session where it began one itself by save()", async () => {
    const { sessions, calls } = await nested();
    const session = sessions.start(new Request(SHOP));
    set(session);
    await session.save();
    const token = (await session.id()) ?? "";
    session.set("more", 1);
    calls.length = 0;
    await sessions.respond(session, new Response(null, { headers: { "Set-Cookie": `__Host-session=${token}` } }));
    expect(calls).toEqual(["change"]);
  });

  test.each(["begun", "regenerated"] as const)("keeps the session that it has %s and stored itself", async (way) => {
    const { sessions, inner, all } = await nested();
    let Cookie = "";
    if (way === "regenerated") {
      const before = sessions.start(new Request(SHOP));
      set(before);
      Cookie = cookieOf({ cookies: (await sessions.commit(before)).getSetCookie() });
    }
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    if (way === "begun") set(session);
    else await session.regenerate();
    await session.save();
    const response = await sessions.respond(session, inner);
    expect(cookieOf({ cookies: response.headers.getSetCookie() })).toBe(`__Host-session=${await session.id()}`);
    expect(await all(response)).toEqual({ outer: 1 });
  });

  test("changes nothing of a session that was opened by its id", async () => {
    const { sessions, inner, all } = await nested();
    const own = sessions.start(new Request(SHOP));
    set(own);
    const first = await sessions.respond(own, new Response());
    const opened = sessions.open((await own.id()) ?? "");
    opened.set("outer", 2);
    await sessions.respond(opened, inner);
    expect([await all(first), await all(inner)]).toEqual([{ outer: 2 }, { inner: 1 }]);
  });

  test("adds to the session which that one has begun where the cookie holds the session", async () => {
    const store = cookieSessions({ secrets: ["a secret for tests, 32 bytes long"] });
    const { sessions, inner, all } = await nested({ store });
    const session = sessions.start(new Request(SHOP));
    set(session);
    const response = await sessions.respond(session, inner);
    expect(response.headers.getSetCookie()).toHaveLength(1);
    expect(await all(response)).toEqual({ inner: 1, outer: 1 });
  });

  /** The response of a nested handler that signs in. */
  async function login(sessions: SessionManager<Data>, Cookie: string): Promise<Response> {
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    await session.regenerate();
    session.set("inner", 2);
    return await sessions.respond(session, new Response());
  }

  test("finds no session in a header that the client itself has sent beside its cookie", async () => {
    const { sessions, inner } = await nested({ header: "X-Session-Id" });
    const other = sessions.start(new Request(SHOP, { headers: { "X-Session-Id": "" } }));
    set(other);
    const id = (await sessions.respond(other, new Response())).headers.get("X-Session-Id") ?? "";
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    const session = sessions.start(new Request(SHOP, { headers: { Cookie, "X-Session-Id": id } }));
    expect([await session.get("inner"), id]).toEqual([1, expect.stringMatching(/^[\w-]{32}$/)]);
    const response = await sessions.respond(session, new Response(null, { headers: { "Set-Cookie": "theme=dark" } }));
    expect(response.headers.getSetCookie()).toEqual(["theme=dark"]);
  });

  test("finds it in a cookie of that response where a header is read before the cookie", async () => {
    const { sessions, inner } = await nested({ transports: [headerTransport("X-Id"), cookieTransport()] });
    const Cookie = `__Host-session=${inner.headers.get("X-Id")}`;
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    set(session);
    const response = await sessions.respond(session, await login(sessions, Cookie));
    expect(await allOf(sessions, response)).toEqual({ inner: 2, outer: 1 });
  });

  test.each<[string, SessionOptions<Data>, (session: Session<Data>) => unknown]>([
    ["had only read", { cookie: { refresh: "always" } }, (session) => session.get("inner")],
    ["was due for a touch", {}, (session) => session.get("inner")],
    ["had called touch()", {}, (session) => session.touch()],
    ["had stored a change", {}, (session) => session.update("outer", () => 1)],
    ["had saved", {}, async (session) => (set(session), await session.save())],
    ["had recorded a change", {}, set],
    ["had renewed the id by age", { rotateEvery: 600 }, (session) => session.id()],
  ])("keeps the id that a login in that one has made, when it %s", async (what, options, use) => {
    let now = 0;
    const { sessions, inner, all } = await nested({ ...options, now: () => now });
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    if (what !== "had only read") now += 20_000_000;
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    await session.get("inner");
    await use(session);
    const signedIn = await login(sessions, Cookie);
    const response = await sessions.respond(session, signedIn);
    expect(cookieOf({ cookies: response.headers.getSetCookie() })).toBe(
      cookieOf({ cookies: signedIn.headers.getSetCookie() }),
    );
    expect(await all(response)).toMatchObject({ inner: 2 });
  });

  test("adds nothing that it has stored in its own session to another one, which that one has begun", async () => {
    const { sessions, inner, all } = await nested();
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    await session.update("outer", () => 1);
    expect(await all(inner)).toEqual({ inner: 1, outer: 1 });
    expect(await all(await sessions.respond(session, await login(sessions, "")))).toEqual({ inner: 2 });
  });

  test("begins a new session after destroy(), also if the token of that response opens none", async () => {
    const { sessions, inner, all } = await nested();
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    await session.destroy();
    set(session);
    const unknown = `${Cookie.slice(0, -4)}0000; Path=/; Secure`;
    const response = await sessions.respond(session, new Response(null, { headers: { "Set-Cookie": unknown } }));
    expect([await all(response), await all(inner)]).toEqual([{ outer: 1 }, {}]);
  });

  test.each<[string, (session: Session<Data>) => unknown, Partial<Data>]>([
    ["touch()", (session) => session.touch(), {}],
    ["set()", set, { outer: 1 }],
    ["update()", (session) => session.update("more", () => 1), { more: 1 }],
    ["save()", async (session) => (set(session), await session.save(), session.set("more", 1)), { outer: 1, more: 1 }],
    ["a change after save()", async (session) => (set(session), await session.save(), session.delete("outer")), {}],
  ])(
    "keeps a login in that one, and what was changed, after %s, where the cookie holds the session",
    async (_, use, expected) => {
      const [secrets, revocation] = [["a secret for tests, 32 bytes long"], openStore().store];
      const store = cookieSessions({ secrets, revocation });
      const { sessions, inner, all } = await nested({ store });
      const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
      const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
      await session.get("inner");
      await use(session);
      const response = await sessions.respond(session, await login(sessions, Cookie));
      expect(await all(response)).toEqual({ inner: 2, ...expected });
    },
  );

  test("does not bring back a value that it has deleted and stored, where the cookie holds the session", async () => {
    const store = cookieSessions({ secrets: ["a secret for tests, 32 bytes long"] });
    const { sessions, inner, all } = await nested({ store });
    const first = sessions.start(
      new Request(SHOP, { headers: { Cookie: cookieOf({ cookies: inner.headers.getSetCookie() }) } }),
    );
    set(first);
    const Cookie = cookieOf({ cookies: (await sessions.commit(first)).getSetCookie() });
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    session.delete("outer");
    await session.save();
    expect(await all(await sessions.respond(session, await login(sessions, Cookie)))).toEqual({ inner: 2 });
  });

  test("begins a new session without what was there before destroy(), where the cookie holds the session", async () => {
    const store = cookieSessions({ secrets: ["a secret for tests, 32 bytes long"] });
    const { sessions, inner, all } = await nested({ store });
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    await session.destroy();
    set(session);
    await session.save();
    session.set("more", 1);
    expect(await all(await sessions.respond(session, await login(sessions, "")))).toEqual({
      inner: 2,
      outer: 1,
      more: 1,
    });
  });

  test.each<[string, SessionOptions<Data>]>([
    ["", {}],
    [
      ", where the cookie holds the session",
      { store: cookieSessions({ secrets: ["a secret for tests, 32 bytes long"] }) },
    ],
  ])(
    "begins a new session after destroy(), also if that one has renewed the cookie of the old one%s",
    async (_, options) => {
      const { sessions, inner, all, calls } = await nested({ ...options, cookie: { refresh: "always" } });
      const request = new Request(SHOP, { headers: { Cookie: cookieOf({ cookies: inner.headers.getSetCookie() }) } });
      const other = sessions.start(request.clone());
      other.set("more", 1);
      const renewed = await sessions.respond(other, new Response());
      expect(await all(renewed)).toEqual({ inner: 1, more: 1 });
      const session = sessions.start(request);
      await session.destroy();
      set(session);
      expect(await all(await sessions.respond(session, renewed))).toEqual({ outer: 1 });
      expect(calls.filter((call) => call === "delete")).toHaveLength(options.store === undefined ? 1 : 0);
    },
  );

  test.each<[string, SessionOptions<Data>]>([
    ["", {}],
    [
      ", where the cookie holds the session",
      { store: cookieSessions({ secrets: ["a secret for tests, 32 bytes long"] }) },
    ],
  ])("begins a new session after destroy(), also if that one has renewed the id%s", async (_, options) => {
    const { sessions, inner, all } = await nested(options);
    const request = new Request(SHOP, { headers: { Cookie: cookieOf({ cookies: inner.headers.getSetCookie() }) } });
    const session = sessions.start(request);
    await session.destroy();
    const other = sessions.start(request.clone());
    await other.regenerate();
    const renewed = await sessions.respond(other, new Response());
    set(session);
    const response = await sessions.respond(session, renewed.clone());
    expect(await all(response)).toEqual({ outer: 1 });
    if (options.store === undefined) expect(await all(renewed)).toEqual({});
  });

  test.each<[string, Partial<Data>, (session: Session<Data>) => unknown]>([
    ["nothing", {}, () => {}],
    ["a change", { outer: 1 }, set],
    [
      "a change that is saved",
      { outer: 1, more: 1 },
      async (session) => (set(session), await session.save(), session.set("more", 1)),
    ],
  ])("ends the session by destroy() with an id that that one has renewed, before %s", async (_, expected, use) => {
    const { sessions, inner, all } = await nested();
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    const renewed = await login(sessions, Cookie);
    await session.destroy();
    await use(session);
    const response = await sessions.respond(session, renewed.clone());
    expect(response.headers.getSetCookie()).toHaveLength(1);
    expect([await all(response), await all(renewed)]).toEqual([expected, {}]);
  });

  test.each<[string, (session: Session<Data>) => unknown, (Cookie: string) => string]>([
    ["has destroyed its own", (session) => session.destroy(), (Cookie) => Cookie],
    [
      "has found none under the client's cookie",
      (session) => session.get("outer"),
      (Cookie) => Cookie.slice(0, -4) + "0000",
    ],
  ])("keeps the session which that one has begun if it %s", async (_, use, presented) => {
    const { sessions, inner, all } = await nested();
    const Cookie = presented(cookieOf({ cookies: inner.headers.getSetCookie() }));
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    await use(session);
    const response = await sessions.respond(session, await login(sessions, ""));
    expect(response.headers.getSetCookie()).toHaveLength(1);
    expect(await all(response)).toEqual({ inner: 2 });
  });

  test("clears the cookie after destroy() if that one has only renewed the id", async () => {
    const { sessions, inner } = await nested();
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    await session.destroy();
    const renewed = await login(sessions, Cookie);
    const response = await sessions.respond(session, renewed.clone());
    expect(response.headers.getSetCookie()).toEqual([expect.stringContaining("Max-Age=0")]);
    expect(await allOf(sessions, renewed)).toEqual({});
  });

  test("ends the session that it has destroyed under the id of that response, on a store without compare-and-set", async () => {
    const { sessions, inner, all } = await nested({ store: unstorageStore(createStorage()) });
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    await session.get("inner");
    const renewed = await login(sessions, Cookie);
    await session.destroy();
    const response = await sessions.respond(session, renewed.clone());
    expect(response.headers.getSetCookie()).toEqual([expect.stringContaining("Max-Age=0")]);
    expect([await all(renewed), await all(inner)]).toEqual([{}, {}]);
  });

  test.each<[string, SessionOptions<Data>]>([
    ["cookie", {}],
    ["header", { header: "X-Session-Id", cookie: false }],
  ])("does not sign in again whom that one has signed out, where the %s holds the session", async (_, options) => {
    const store = cookieSessions({ secrets: ["a secret for tests, 32 bytes long"] });
    const events: string[] = [];
    const { sessions, inner } = await nested({ ...options, store, onEvent: ({ type }) => void events.push(type) });
    const headers = {
      "Cookie": cookieOf({ cookies: inner.headers.getSetCookie() }),
      "X-Session-Id": inner.headers.get("X-Session-Id") ?? "",
    };
    const request = (): Request => new Request(SHOP, { headers });
    for (const use of [
      set,
      (session: Session<Data>) => session.update("more", () => 1),
      (session: Session<Data>) => session.regenerate(),
    ]) {
      const [session, other] = [sessions.start(request()), sessions.start(request())];
      await use(session);
      await other.destroy();
      const signedOut = await sessions.respond(other, new Response());
      events.length = 0;
      const response = await sessions.respond(session, signedOut.clone());
      expect(response.headers.getSetCookie()).toEqual(signedOut.headers.getSetCookie());
      expect(response.headers.get("X-Session-Id")).toBe(signedOut.headers.get("X-Session-Id"));
      expect(events.at(-1)).toBe("gone");
    }
  });

  test("begins a session with its changes if that one has destroyed a session that was not loaded here, and drops them if it was", async () => {
    for (const isLoaded of [false, true]) {
      const { sessions, inner, all } = await nested();
      const headers = { Cookie: cookieOf({ cookies: inner.headers.getSetCookie() }) };
      const session = sessions.start(new Request(SHOP, { headers }));
      if (isLoaded) await session.get("inner");
      set(session);
      const other = sessions.start(new Request(SHOP, { headers }));
      await other.destroy();
      const response = await sessions.respond(session, await sessions.respond(other, new Response()));
      expect(await all(response)).toEqual(isLoaded ? {} : { outer: 1 });
    }
  });

  test("begins a session if that one has cleared a cookie that holds none any more", async () => {
    let now = 0;
    const store = cookieSessions({ secrets: ["a secret for tests, 32 bytes long"] });
    const { sessions, inner, all } = await nested({ store, now: () => now, idleTimeout: 60 });
    now = 60_000;
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    const other = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    set(session);
    await other.get("inner");
    const response = await sessions.respond(session, await sessions.respond(other, new Response()));
    expect(await all(response)).toEqual({ outer: 1 });
  });

  test("stores its changes if that one clears the cookie of a session that has not ended", async () => {
    const { sessions, inner, all } = await nested();
    const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
    const other = sessions.start(new Request(SHOP, { headers: { Cookie: Cookie.slice(0, -4) + "0000" } }));
    await other.get("inner");
    const cleared = await sessions.respond(other, new Response());
    expect(cleared.headers.getSetCookie()).toEqual([expect.stringContaining("Max-Age=0")]);
    const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
    set(session);
    await sessions.respond(session, cleared);
    expect(await all(inner)).toEqual({ inner: 1, outer: 1 });
  });

  test.each<[string, SessionOptions<Data>]>([
    ["another scope", {}],
    ["a previous scope", { cookie: { name: "s", previous: [{ domain: "shop.example" }] } }],
  ])(
    "keeps its session if that one has only expired the cookie of %s, where the cookie holds the session",
    async (_, options) => {
      const store = cookieSessions({ secrets: ["a secret for tests, 32 bytes long"] });
      const { sessions, inner, all } = await nested({ ...options, store });
      const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
      const ended = sessions.start(new Request(SHOP, { headers: { Cookie } }));
      await ended.destroy();
      const [first = "", own] = (await sessions.commit(ended)).getSetCookie();
      const expired = own === undefined ? `${first}; Domain=shop.example` : first;
      expect(expired).toMatch(/=; Max-Age=0;.*; Domain=shop.example/);
      const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
      set(session);
      const response = await sessions.respond(session, new Response(null, { headers: { "Set-Cookie": expired } }));
      const line = response.headers.getSetCookie().at(-1) ?? "";
      expect(await all(new Response(null, { headers: { "Set-Cookie": line } }))).toEqual({ inner: 1, outer: 1 });
    },
  );

  const bareTransport: Transport = {
    requestHeader: "X-Token",
    read: (request) => request.headers.get("X-Token"),
    write: (headers, token) => headers.set("X-Token", token),
    clear: (headers) => headers.delete("X-Token"),
  };

  test.each<[string, Transport]>([
    ["a transport that sets no cookie", bareTransport],
    ["a header", headerTransport("X-Token")],
  ])("keeps its session beside a cookie of that one, where %s holds the session", async (_, transport) => {
    const store = cookieSessions({ secrets: ["a secret for tests, 32 bytes long"] });
    const { sessions, inner } = await nested({ store, transports: [transport] });
    const start = ({ headers }: Response): Session<Data> =>
      sessions.start(new Request(SHOP, { headers: { "X-Token": headers.get("X-Token") ?? "" } }));
    const session = start(inner);
    await session.get("inner");
    set(session);
    const other = new Response(null, { headers: { "Set-Cookie": "other=1" } });
    expect({ ...(await start(await sessions.respond(session, other)).all()) }).toEqual({ inner: 1, outer: 1 });
  });

  test("adds to the session which that one has begun after destroy() here", async () => {
    const { sessions, inner, all } = await nested({ now: () => 0 });
    const request = new Request(SHOP, { headers: { Cookie: cookieOf({ cookies: inner.headers.getSetCookie() }) } });
    const session = sessions.start(request);
    await session.destroy();
    set(session);
    const response = await sessions.respond(session, await login(sessions, ""));
    expect(await all(response)).toEqual({ inner: 2, outer: 1 });
  });

  test.each(["anonymous", "throw"] as const)(
    "goes on if the store fails when the session of that one is read: onStoreError %s",
    async (onStoreError) => {
      const store = faultyStore(memoryStore());
      const events: SessionEvent[] = [];
      const options = { store, onStoreError, onEvent: (event: SessionEvent) => void events.push(event) };
      const { sessions, inner, all } = await nested(options);
      const session = sessions.start(new Request(SHOP));
      set(session);
      store.plan({ load: ["rejects"] });
      const responding = sessions.respond(session, inner.clone());
      if (onStoreError === "throw") expect(await codeOf(() => responding)).toBe("ERR_STORE");
      else expect((await responding).headers.getSetCookie()).toEqual(inner.headers.getSetCookie());
      expect(events).toMatchObject([{ type: "created" }, { type: "failed", during: "load" }]);
      expect(await all(inner)).toEqual({ inner: 1 });
    },
  );

  test("reports once what failed: to end the session whose id that one has renewed, or to load the one that it has ended", async () => {
    const store = faultyStore(memoryStore());
    const events: SessionEvent[] = [];
    const onEvent = (event: SessionEvent): void => void events.push(event);
    const failures = async (
      options: SessionOptions<Data>,
      answer: (sessions: SessionManager<Data>, Cookie: string) => Promise<Response>,
      use: (session: Session<Data>) => unknown,
      faults: FaultPlan,
    ): Promise<unknown[]> => {
      const { sessions, inner } = await nested({ ...options, onEvent });
      const Cookie = cookieOf({ cookies: inner.headers.getSetCookie() });
      const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
      const response = await answer(sessions, Cookie);
      await use(session);
      events.length = 0;
      store.plan(faults);
      expect(await codeOf(() => sessions.respond(session, response))).toBe("ERR_STORE");
      return events.map((event) => (event.type === "failed" ? event.during : event.type));
    };
    const destroy = (session: Session<Data>): Promise<void> => session.destroy();
    expect(await failures({ store }, login, destroy, { delete: ["rejects"] })).toEqual(["store"]);
    const revocable = cookieSessions({ secrets: ["a secret for tests, 32 bytes long"], revocation: store });
    const logout = async (sessions: SessionManager<Data>, Cookie: string): Promise<Response> => {
      const session = sessions.start(new Request(SHOP, { headers: { Cookie } }));
      await session.destroy();
      return await sessions.respond(session, new Response());
    };
    expect(await failures({ store: revocable }, logout, set, { load: ["rejects"] })).toEqual(["load"]);
  });

  test("rejects with the mistake of a plugin that judges the session of that one, which is no failure of the store", async () => {
    const events: string[] = [];
    const { sessions, inner } = await nested({
      plugins: [{ name: "door", admit: () => Promise.reject(new TypeError("a mistake")) }],
      onStoreError: "anonymous",
      onEvent: ({ type }) => void events.push(type),
    });
    const session = sessions.start(new Request(SHOP));
    set(session);
    await expect(sessions.respond(session, inner)).rejects.toThrow("a mistake");
    expect(events).toEqual(["created"]);
  });
});
