import { Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { describe, expect, test } from "vitest";
import { memoryStore, type Session, SessionManager, type SessionOptions, withSession } from "../../../mod.ts";
import { session as middleware, type SessionEnv } from "../../../src/hono.ts";
import { cookieJar } from "../../../src/testing.ts";
import { cookieOf, idIn, living, openStore, SHOP, visitor } from "../../setup/sessions.ts";

interface Data {
  user?: string;
  failed?: number;
  notice?: string;
}

/** A request as in some servers: after it was closed, only properties that were read before can be read. */
function closingRequest(init: RequestInit): { request: Request; close(): void } {
  const taken = new Map<string | symbol, unknown>();
  let isClosed = false;
  const request = new Proxy(new Request(SHOP, init), {
    get(target, name) {
      const isKept = name === "headers" || name === "url";
      if (isKept && isClosed && !taken.has(name)) throw new TypeError("Request closed");
      const value: unknown = Reflect.get(target, name, target);
      if (isKept) taken.set(name, value);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { request, close: () => (isClosed = true) };
}

async function begun(options: SessionOptions = {}) {
  const { store, records } = openStore();
  const sessions = new SessionManager({ store, ...options });
  const first = await visitor(sessions)((session) => session.set("user", "ada"));
  return { sessions, store, records, headers: { Cookie: cookieOf(first) } };
}

describe("a request that the runtime closes", () => {
  test.each<[string, (session: Session) => unknown]>([
    ["set()", (session) => session.set("late", 1)],
    ["touch()", (session) => session.touch()],
    ["update()", (session) => session.update("late", () => 1)],
    ["reading", (session) => session.get("user")],
    ["destroy()", (session) => session.destroy()],
  ])("does not fail after an upgrade when the handler has called %s", async (_, use) => {
    const { sessions, headers } = await begun();
    const { request, close } = closingRequest({ headers: { ...headers, Upgrade: "websocket" } });
    const response = await withSession(async (_request, session) => {
      await use(session);
      close();
      return new Response(null, { status: 204 });
    }, sessions)(request);
    expect(response.status).toBe(204);
  });

  test.each([true, false])(
    "is still known when the session is first used after the response (used before: %s)",
    async (isUsed) => {
      const { sessions, headers } = await begun();
      const { request, close } = closingRequest({ headers });
      const kept: Session[] = [];
      await withSession(async (_request, session) => {
        kept.push(session);
        if (isUsed) await session.has("user");
        return new Response("Hello");
      }, sessions)(request);
      close();
      expect(await kept[0]?.get("user")).toBe("ada");
      expect(await kept[0]?.update("late", (n = 0) => n + 1)).toBe(1);
    },
  );
});

test("a handler that answers undefined has its session stored, and undefined passed on", async () => {
  const { sessions, headers } = await begun();
  const server = { upgrade: () => true };
  const handle = withSession(async (_request, session, runtime: typeof server) => {
    session.set("user", "grace");
    return runtime.upgrade() ? undefined : new Response("No upgrade");
  }, sessions);
  expect(await handle(new Request(SHOP, { headers }), server)).toBe(undefined);
  expect((await visitor(sessions)((session) => session.get("user"), { headers })).result).toBe("grace");
});

test.each<[string, unknown]>([
  ["a string", "Hello"],
  ["null", null],
  ["a number", 200],
  ["an object", { status: "ok" }],
])("a handler that answers %s stores nothing, and hears a TypeError", async (_, answer) => {
  const { store, records } = openStore();
  const wrong = (_request: Request, session: Session) => {
    session.set("user", "ada");
    return answer as Response;
  };
  await expect(withSession(wrong, { store })(new Request(SHOP))).rejects.toThrow(TypeError);
  expect(records.size).toBe(0);
});

describe("Hono", () => {
  /** An app in which each route fails in the way that its name says. */
  function failingShop() {
    const { store, records } = openStore();
    const app = new Hono<SessionEnv<Data>>();
    app.use(middleware<Data>({ store }));
    app.get("/begin", async (c) => {
      c.var.session.set("user", "ada");
      await c.var.session.save();
      throw new Error("after the save");
    });
    app.get("/renew", async (c) => {
      await c.var.session.regenerate();
      await c.var.session.save();
      throw new Error("after the save");
    });
    app.get("/login", async (c) => {
      c.var.session.set("failed", (await c.var.session.get("failed", 0)) + 1);
      throw new HTTPException(401, { message: "Wrong password" });
    });
    app.get("/flash", () => {
      throw new Error("no");
    });
    app.get("/", async (c) => c.json({ ...(await c.var.session.all()) }));
    app.onError((error, c) => {
      if (c.req.path === "/flash") c.var.session.flash("notice", "That failed");
      return error instanceof HTTPException ? error.getResponse() : c.text("caught", 500);
    });
    const jar = cookieJar();
    const visit = (path: string): Promise<Response> => jar.fetch((request) => app.fetch(request), SHOP + path);
    const look = async (): Promise<unknown> => (await visit("")).json();
    return { visit, look, jar, records };
  }

  test("tells the client what save() has stored, on the response of onError", async () => {
    const { visit, look } = failingShop();
    const failed = await visit("begin");
    expect([failed.status, failed.headers.getSetCookie().length]).toEqual([500, 1]);
    expect(await look()).toEqual({ user: "ada" });
  });

  test("tells the client the id that save() has renewed, on the response of onError", async () => {
    const { visit, look, jar, records } = failingShop();
    await visit("begin");
    const before = jar.header(SHOP);
    expect((await visit("renew")).status).toBe(500);
    expect(jar.header(SHOP)).not.toBe(before);
    expect(await look()).toEqual({ user: "ada" });
    expect(living(records)).toHaveLength(1);
  });

  test("stores what a route has set before it threw an HTTPException", async () => {
    const { visit, look } = failingShop();
    for (const _ of [1, 2, 3]) expect((await visit("login")).status).toBe(401);
    expect(await look()).toEqual({ failed: 3 });
  });

  test("keeps a flash value of onError for the next page", async () => {
    const { visit, look } = failingShop();
    expect((await visit("flash")).status).toBe(500);
    expect(await look()).toEqual({ notice: "That failed" });
    expect(await look()).toEqual({});
  });
});

describe("handlers within handlers", () => {
  const names = (response: Response): string[] =>
    response.headers.getSetCookie().map((line) => line.split("=")[0] ?? "");

  /** A handler that calls another handler with a new request, as SvelteKit's `event.fetch` and Astro's `rewrite` do. */
  test.each(["one manager", "two managers"])(
    "that are nested through a new request keep the data of both, in one cookie: %s",
    async (kind) => {
      const { store } = openStore();
      const outside = new SessionManager({ store });
      const inside = kind === "one manager" ? outside : new SessionManager({ store });
      const inner = withSession((_request, session) => {
        session.set("inner", 1);
        return new Response("inner");
      }, inside);
      const outer = withSession(async (request, session) => {
        session.set("outer", 1);
        return await inner(new Request(new URL("/inner", request.url), { headers: request.headers }));
      }, outside);
      const jar = cookieJar();
      const first = await jar.fetch(outer, SHOP);
      expect(names(first)).toEqual(["__Host-session"]);
      const headers = { Cookie: jar.header(SHOP) ?? "" };
      expect({ ...(await visitor(outside)((session) => session.all(), { headers })).result }).toEqual({
        inner: 1,
        outer: 1,
      });
      // The same again with the session that exists now.
      const again = await jar.fetch(outer, SHOP);
      expect(names(again)).toEqual([]);
      expect({ ...(await visitor(outside)((session) => session.all(), { headers })).result }).toEqual({
        inner: 1,
        outer: 1,
      });
    },
  );

  test("that are mounted in Hono with one manager keep the data of both, in one cookie", async () => {
    const sessions = new SessionManager({ store: memoryStore() });
    const mounted = new Hono<SessionEnv>();
    mounted.use(middleware(sessions));
    mounted.get("/page", (c) => {
      c.var.session.set("inner", 1);
      return c.text("inner");
    });
    const app = new Hono<SessionEnv>();
    app.use(middleware(sessions));
    app.use(async (c, next) => {
      c.var.session.set("outer", 1);
      await next();
    });
    app.mount("/app", mounted.fetch);
    const response = await app.request(`${SHOP}app/page`);
    expect([await response.text(), names(response)]).toEqual(["inner", ["__Host-session"]]);
    const headers = { Cookie: cookieOf({ cookies: response.headers.getSetCookie() }) };
    expect({ ...(await visitor(sessions)((session) => session.all(), { headers })).result }).toEqual({
      inner: 1,
      outer: 1,
    });
  });

  test("that set a cookie of the session's name themselves do not send it beside ours", async () => {
    const { cookies } = await visitor()((session) => {
      session.set("user", "ada");
      const response = new Response("Hello");
      response.headers.append("Set-Cookie", "__Host-session=mine; Path=/; Secure");
      response.headers.append("Set-Cookie", "other=1");
      return response;
    });
    expect(cookies.map((line) => line.split("=")[0])).toEqual(["other", "__Host-session"]);
    expect(idIn(cookies.slice(1))).toMatch(/^[\w-]{32}$/);
  });
});
