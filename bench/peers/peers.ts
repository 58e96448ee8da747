/**
 * The peers, each set up as its documentation shows, with its own memory store if it has one.
 *
 * @module
 */
import { type SessionEnv, useSession, useSessionStorage } from "@hono/session";
import { createCookie } from "@remix-run/cookie";
import { createMemorySessionStorage as remixMemory } from "@remix-run/session/memory-storage";
import { parseCookie, stringifySetCookie } from "cookie";
import { Hono } from "hono";
import { MemoryStore, type Session as HonoSession, sessionMiddleware } from "hono-sessions";
import { getIronSession, webCookies } from "iron-session";
import { createMemorySessionStorage as reactRouterMemory } from "react-router";
import { sveltekitSessionHandle } from "svelte-kit-sessions";
import { session as withSessionInHono, type SessionEnv as WithSessionEnv } from "../../src/hono.ts";
import { memoryStore } from "../../mod.ts";
import { type Contender, type Handler, ofFetch, pathOf } from "../contender.ts";

const SECRET = "a secret of at least 32 bytes, for the benchmark";
const DAY = 86_400;
const NO_ID = "the data travel in the cookie: there is no id to renew";
const COOKIE = { path: "/", httpOnly: true, secure: true, sameSite: "lax", maxAge: DAY } as const;

/** The peers that answer Requests with Responses. */
export function peers(): Contender[] {
  const hono = { over: "bare Hono" };
  const all = [
    ofFetch("bare Hono", bareHono()),
    ofFetch("with-session in Hono", oursInHono(), hono),
    ofFetch("hono-sessions", honoSessions(), hono),
    ofFetch("@hono/session", honoSession(), { ...hono, cannot: { login: "it cannot renew an id and keep the data" } }),
    ofFetch("iron-session", ironSession(), { cannot: { login: NO_ID } }),
    ofFetch("Remix session", remix()),
    ofFetch("Remix session, signed", remix([SECRET])),
    ofFetch("React Router", reactRouter(), { cannot: { login: "it cannot renew an id" } }),
    ofFetch("React Router, signed", reactRouter([SECRET]), { cannot: { login: "it cannot renew an id" } }),
    ofFetch("svelte-kit-sessions", svelteKitSessions()),
  ];
  return all as unknown as Contender[];
}

function bareHono(): Handler {
  const app = new Hono();
  for (const path of ["/idle", "/read", "/write", "/login"]) app.get(path, (c) => c.text(path));
  return (request) => app.fetch(request);
}

function oursInHono(): Handler {
  const app = new Hono<WithSessionEnv<{ n: number; user: string }>>();
  app.use(withSessionInHono({ store: memoryStore() }));
  app.get("/idle", (c) => c.text("/idle"));
  app.get("/read", async (c) => c.text(String(await c.var.session.get("n"))));
  app.get("/write", async (c) => c.text(String(await c.var.session.update("n", (n = 0) => n + 1))));
  app.get("/login", async (c) => {
    await c.var.session.regenerate();
    c.var.session.set("user", "ada");
    return c.text(String(await c.var.session.get("n")));
  });
  return (request) => app.fetch(request);
}

/**
 * Its ids are neither hashed nor signed here. The option `encryptionKey`, which is recommended with this store, would cost a key
 * derivation for each request.
 */
function honoSessions(): Handler {
  type Variables = { session: HonoSession<{ n: number; user: string }>; session_key_rotation: boolean };
  const app = new Hono<{ Variables: Variables }>();
  const cookieOptions = { sameSite: "Lax", path: "/", httpOnly: true, secure: true } as const;
  app.use("*", sessionMiddleware({ store: new MemoryStore(), expireAfterSeconds: DAY, cookieOptions }));
  app.get("/idle", (c) => c.text("/idle"));
  app.get("/read", (c) => c.text(String(c.get("session").get("n"))));
  app.get("/write", (c) => {
    const session = c.get("session");
    session.set("n", (session.get("n") ?? 0) + 1);
    return c.text(String(session.get("n")));
  });
  app.get("/login", (c) => {
    c.set("session_key_rotation", true);
    c.get("session").set("user", "ada");
    return c.text(String(c.get("session").get("n")));
  });
  return (request) => app.fetch(request);
}

function honoSession(): Handler {
  interface Data {
    n: number;
  }
  const app = new Hono<SessionEnv<Data>>();
  const records = new Map<string, Data | null>();
  const storage = {
    get: (sid: string) => records.get(sid) ?? null,
    set: (sid: string, value: Data | null) => void records.set(sid, value),
    delete: (sid: string) => void records.delete(sid),
  };
  app.use(
    useSessionStorage(storage),
    useSession({ secret: "0123456789abcdef".repeat(2), duration: { absolute: DAY } }),
  );
  app.get("/idle", (c) => c.text("/idle"));
  app.get("/read", async (c) => c.text(String((await c.var.session.get())?.n)));
  app.get("/write", async (c) => {
    await c.var.session.update((data) => ({ n: (data?.n ?? 0) + 1 }));
    return c.text(String(c.var.session.data?.n));
  });
  return (request) => app.fetch(request);
}

function ironSession(): Handler {
  const options = { password: SECRET, cookieName: "sid", ttl: DAY };
  return async (request) => {
    const path = pathOf(request);
    if (path === "/idle") return new Response(path);
    const headers = new Headers();
    const session = await getIronSession<{ n: number }>(webCookies(request, headers), options);
    if (path === "/read") return new Response(String(session.n), { headers });
    session.n = (session.n ?? 0) + 1;
    await session.save();
    return new Response(String(session.n), { headers });
  };
}

/** In the order of its own middleware: read the cookie, call the handler, save, set the cookie. */
function remix(secrets?: string[]): Handler {
  const cookie = createCookie("sid", { ...COOKIE, sameSite: "Lax", ...(secrets && { secrets }) });
  const storage = remixMemory();
  return async (request) => {
    const path = pathOf(request);
    if (path === "/idle") return new Response(path);
    const session = await storage.read(await cookie.parse(request.headers.get("Cookie")));
    if (path === "/write") session.set("n", Number(session.get("n") ?? 0) + 1);
    if (path === "/login") {
      session.regenerateId(true);
      session.set("user", "ada");
    }
    const response = new Response(String(session.get("n")));
    const saved = await storage.save(session);
    if (saved !== null) response.headers.append("Set-Cookie", await cookie.serialize(saved));
    return response;
  };
}

function reactRouter(secrets?: string[]): Handler {
  const { getSession, commitSession } = reactRouterMemory<{ n: number }>({
    cookie: { name: "sid", ...COOKIE, ...(secrets && { secrets }) },
  });
  return async (request) => {
    const path = pathOf(request);
    if (path === "/idle") return new Response(path);
    const session = await getSession(request.headers.get("Cookie"));
    if (path === "/read") return new Response(String(session.get("n")));
    session.set("n", (session.get("n") ?? 0) + 1);
    return new Response(String(session.get("n")), { headers: { "Set-Cookie": await commitSession(session) } });
  };
}

/** SvelteKit's cookies are read and written with the package that SvelteKit itself uses. */
function svelteKitSessions(): Handler {
  const handle = sveltekitSessionHandle({ secret: SECRET, cookie: COOKIE }) as (input: unknown) => Promise<Response>;
  interface SvelteSession {
    readonly data: { n?: number; user?: string };
    setData(data: object): Promise<void>;
    save(): Promise<void>;
    regenerate(): Promise<SvelteSession>;
  }
  return async (request) => {
    let read: Record<string, string | undefined> | undefined;
    const written: string[] = [];
    const cookies = {
      get: (name: string) => (read ??= parseCookie(request.headers.get("Cookie") ?? ""))[name],
      set: (name: string, value: string, options: object) =>
        void written.push(stringifySetCookie({ name, value, ...options })),
      delete: (name: string, options: object) =>
        void written.push(stringifySetCookie({ name, value: "", ...options, maxAge: 0 })),
    };
    const event: { cookies: object; locals: { session?: SvelteSession } } = { cookies, locals: {} };
    const resolve = async (): Promise<Response> => {
      const path = pathOf(request);
      let session = event.locals.session!;
      if (path === "/write") {
        await session.setData({ ...session.data, n: (session.data.n ?? 0) + 1 });
        await session.save();
      } else if (path === "/login") {
        const { data } = session;
        session = await session.regenerate();
        await session.setData({ ...data, user: "ada" });
        await session.save();
      }
      return new Response(path === "/idle" ? path : String(session.data.n));
    };
    const response = await handle({ event, resolve });
    // The last cookie of a name wins, as in SvelteKit, which keeps cookies by name.
    const last = written.at(-1);
    if (last !== undefined) response.headers.append("Set-Cookie", last);
    return response;
  };
}
