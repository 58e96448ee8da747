import { Hono } from "hono";
import { describe, expectTypeOf, test } from "vitest";
import { z } from "zod";
import {
  type CookieOptions,
  type DestroyOptions,
  type HeaderOptions,
  isFresh,
  type MaybePromise,
  type MemoryStoreOptions,
  memoryStore,
  type OwnTimeouts,
  type Plugin,
  type PreviousCookie,
  type RegenerateOptions,
  type Session,
  SessionError,
  type SessionErrorCode,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  type StoredRecord,
  type TimeoutLimits,
  type ValueOptions,
  withSession,
} from "../mod.ts";
import type { CrossOriginOptions } from "../src/cross_origin.ts";
import type { EncryptionOptions } from "../src/encryption.ts";
import type { ExclusiveOptions } from "../src/exclusive.ts";
import { session as middleware, type SessionEnv } from "../src/hono.ts";
import type { RedisStoreOptions } from "../src/stores/redis.ts";
import type { SqlStoreOptions } from "../src/stores/sqlite.ts";
import { csrfToken, verifyCsrfToken } from "../src/csrf.ts";
import { userSessions, type UserSessionsOptions } from "../src/user_sessions.ts";
import { cloudflareKvStore, type CloudflareKvNamespace } from "../src/stores/cloudflare_kv.ts";

/** The compiler does the test. Running the file only shows that no line throws. */

type Fruit = { readonly name: string; readonly quantity: number };
type ShopData = { user?: string; basket: Fruit[]; visits: number };
interface ShopInterface {
  user: string;
  visits: number;
}
interface Env {
  readonly SESSIONS: CloudflareKvNamespace;
}
interface Ctx {
  waitUntil(promise: Promise<unknown>): void;
}

/** Options of which each is undefined. */
type Undefined<Options> = { [Name in keyof Options]-?: undefined };

const ok = new Response("ok");
const store = memoryStore();

/** The types that a handler must get, in whatever way the program declares that the data are a ShopData. */
async function shopHandler(_request: Request, session: Session<ShopData>): Promise<Response> {
  expectTypeOf(session.get("user")).resolves.toEqualTypeOf<string | undefined>();
  expectTypeOf(session.get("visits")).resolves.toEqualTypeOf<number | undefined>();
  expectTypeOf(session.get("user", null)).resolves.toEqualTypeOf<string | null>();
  expectTypeOf(session.get("visits", 0)).resolves.toEqualTypeOf<number>();
  expectTypeOf(session.pull("basket")).resolves.toEqualTypeOf<Fruit[] | undefined>();
  expectTypeOf(session.all()).resolves.toEqualTypeOf<Partial<ShopData>>();
  expectTypeOf(session.keys()).resolves.toEqualTypeOf<("user" | "basket" | "visits")[]>();
  expectTypeOf(session.has).parameter(0).toEqualTypeOf<"user" | "basket" | "visits">();
  expectTypeOf(session.update("visits", (n = 0) => n + 1)).resolves.toEqualTypeOf<number>();
  expectTypeOf(session.update("visits", async (n) => (n === undefined ? undefined : 1))).resolves.toEqualTypeOf<
    1 | undefined
  >();
  session.set("user", "ada");
  session.set("user", undefined);
  session.set({ user: "ada", visits: 1 });
  session.flash("basket", [{ name: "pear", quantity: 1 }]);
  session.delete("user", "basket");
  session.keepFlash("user");
  return ok;
}

/** Calls that must not compile. The function is never called. */
async function wrongCalls(session: Session<ShopData>): Promise<void> {
  // @ts-expect-error there is no such key
  await session.get("usr");
  // @ts-expect-error there is no such key
  await session.has("usr");
  // @ts-expect-error there is no such key
  await session.pull("usr");
  // @ts-expect-error there is no such key
  session.set("usr", "ada");
  // @ts-expect-error there is no such key
  session.set({ usr: "ada" });
  // @ts-expect-error there is no such key
  session.delete("user", "usr");
  // @ts-expect-error there is no such key
  session.flash("usr", "ada");
  // @ts-expect-error there is no such key
  session.keepFlash("usr");
  // @ts-expect-error there is no such key
  await session.update("usr", () => 1);
  // @ts-expect-error a user is text
  session.set("user", 1);
  // @ts-expect-error a user is text
  session.set({ user: 1 });
  // @ts-expect-error a quantity is a number
  session.set("basket", [{ name: "pear", quantity: "1" }]);
  // @ts-expect-error visits are a number
  session.flash("visits", "1");
  // @ts-expect-error visits are a number
  await session.update("visits", () => "1");
  // @ts-expect-error what was there may be undefined
  await session.update("visits", (n) => n + 1);
  // @ts-expect-error a user may be undefined
  (await session.get("user")).trim();
  // @ts-expect-error grace is a number of seconds
  await session.regenerate({ grace: "60" });
  // @ts-expect-error a time to live is a number of seconds
  session.set("user", "ada", { ttl: "60" });
  // @ts-expect-error the option is called ttl
  session.set({ user: "ada" }, { maxAge: 60 });
  // @ts-expect-error there is no such word
  await session.destroy({ clearSiteData: ["everything"] });
  // @ts-expect-error the timeout is called idle
  session.setTimeouts({ idleTimeout: 60 });
  // @ts-expect-error an id cannot be chosen
  await session.create("my-own-id");
  const request = new Request("https://shop.example/");
  // @ts-expect-error a request is no session
  await csrfToken(request);
  // @ts-expect-error the session comes first
  await verifyCsrfToken(request, session);
  // @ts-expect-error the session comes first
  await userSessions().bind("user-1815", session);
  // @ts-expect-error an id is no session
  await userSessions().revokeAll("user-1815", { except: "id" });
}

function wrongOptions(): void {
  const handler = async (): Promise<Response> => ok;
  // @ts-expect-error a text is no Response
  withSession(async () => "ok");
  // @ts-expect-error null is no Response
  withSession(async () => null);
  // @ts-expect-error the option is called idleTimeout
  withSession(handler, { timeout: 60 });
  // @ts-expect-error a load is lazy or eager
  withSession(handler, { load: "always" });
  // @ts-expect-error Lax begins with a capital
  withSession(handler, { cookie: { sameSite: "lax" } });
  // @ts-expect-error seconds are a number
  withSession(handler, { idleTimeout: "60" });
  // @ts-expect-error a store is no name
  withSession(handler, { store: "memory" });
  // @ts-expect-error the function must give a store
  withSession(handler, { store: () => new Map() });
  const { delete: _, ...partial } = memoryStore();
  // @ts-expect-error a verb is missing
  withSession(handler, { store: partial });
  // @ts-expect-error there is no such code
  throw new SessionError("ERR_OTHER", "No");
}

/** Functions of a session take one with data of any type, and also one of two types. */
async function functionsOf(session: Session<ShopData> | Session<{ visits: bigint }>): Promise<void> {
  await csrfToken(session);
  await userSessions().bind(session, "user-1815");
  await isFresh(session, 300);
}

test("a plugin that answers can use the session", () => {
  const plugin: Plugin = {
    name: "door",
    async answer(_request, session) {
      expectTypeOf(session.get("user")).resolves.toBeAny();
      return (await session.has("user")) ? undefined : new Response("Sign in first\n", { status: 401 });
    },
  };
  withSession(() => ok, { plugins: [plugin] });
});

describe("the data", () => {
  test("withSession() infers the data when there is a schema", () => {
    const schema = z.object({
      user: z.string().optional(),
      basket: z.array(z.object({ name: z.string(), quantity: z.number() })).default([]),
    });
    withSession(
      async (_request, session) => {
        expectTypeOf(session).not.toBeAny();
        expectTypeOf(await session.get("user")).toEqualTypeOf<string | undefined>();
        expectTypeOf(await session.get("basket")).toEqualTypeOf<{ name: string; quantity: number }[] | undefined>();
        // @ts-expect-error there is no such key
        session.set("usr", "ada");
        // @ts-expect-error a user is text
        session.set("user", 1);
        return ok;
      },
      { store, schema },
    );
    expectTypeOf(new SessionManager({ schema }).open("")).toEqualTypeOf<
      Session<{ user?: string | undefined; basket: { name: string; quantity: number }[] }>
    >();
  });

  test("withSession() infers the data when it gets a manager", () => {
    const sessions = new SessionManager<ShopData>({ store });
    withSession((request, session) => {
      expectTypeOf(session).toEqualTypeOf<Session<ShopData>>();
      expectTypeOf(request).toEqualTypeOf<Request>();
      // @ts-expect-error there is no such key
      session.set("usr", "ada");
      return shopHandler(request, session);
    }, sessions);
    withSession(shopHandler, sessions);
    expectTypeOf(sessions.open("id")).toEqualTypeOf<Session<ShopData>>();
    expectTypeOf(sessions.start(new Request("https://shop.example/"))).toEqualTypeOf<Session<ShopData>>();
    expectTypeOf(sessions.commit).parameter(0).toEqualTypeOf<Session<ShopData>>();
    // @ts-expect-error the manager's sessions hold something else
    withSession(shopHandler, new SessionManager<{ user: number }>());
  });

  test("withSession() takes the data as a type argument", () => {
    withSession<ShopData>(
      (request, session) => {
        expectTypeOf(session).toEqualTypeOf<Session<ShopData>>();
        return shopHandler(request, session);
      },
      { store },
    );
    withSession<ShopData>(shopHandler);
    withSession<ShopData>(
      async (_request, session, env: Env, ctx: Ctx) => {
        expectTypeOf(session).toEqualTypeOf<Session<ShopData>>();
        ctx.waitUntil(Promise.resolve(env));
        return ok;
      },
      { store: (env: Env) => cloudflareKvStore(env.SESSIONS) },
    );
  });

  test("withSession() infers the data from the handler's own parameter", () => {
    expectTypeOf(withSession(shopHandler)).returns.resolves.toEqualTypeOf<Response>();
    withSession(shopHandler, { store });
    // @ts-expect-error the schema says something else
    withSession(shopHandler, { schema: z.object({ user: z.number() }) });
  });

  test("withSession() takes an interface for the data, not only a type alias", () => {
    withSession<ShopInterface>(async (_request, session) => {
      expectTypeOf(await session.get("user")).toEqualTypeOf<string | undefined>();
      expectTypeOf(await session.all()).toEqualTypeOf<Partial<ShopInterface>>();
      session.set({ user: "ada" });
      // @ts-expect-error there is no such key
      session.set("usr", "ada");
      return ok;
    });
    new SessionManager<ShopInterface>().open("id").set("visits", 1);
    middleware<ShopInterface>();
  });

  test("withSession() lets untyped code do what it likes, without a cast", () => {
    withSession(async (_request, session) => {
      const visits = await session.update("visits", (n = 0) => n + 1);
      const list = await session.get("list", []);
      list.push(visits);
      session.set("user", { name: "ada" });
      session.set({ a: 1, b: new Map() });
      return new Response(`${visits} ${(await session.get("user")).name}`);
    });
    new SessionManager().open("id").set("anything", new Date());
  });

  test("Session refuses wrong keys and values, and withSession() wrong options", () => {
    expectTypeOf(wrongCalls).toBeFunction();
    expectTypeOf(wrongOptions).toBeFunction();
    expectTypeOf(functionsOf).toBeFunction();
  });
});

describe("what a runtime passes beside the request", () => {
  test("withSession() infers env for the store's function from the handler", () => {
    const handle = withSession(
      async (request, session, env: Env, ctx: Ctx) => {
        expectTypeOf(request).toEqualTypeOf<Request>();
        ctx.waitUntil(Promise.resolve(env));
        const visits = await session.update("visits", (n = 0) => n + 1);
        return new Response(`Visit ${visits}\n`);
      },
      {
        store: (env) => {
          expectTypeOf(env).toEqualTypeOf<Env>();
          return cloudflareKvStore(env.SESSIONS);
        },
      },
    );
    expectTypeOf(handle).parameters.toEqualTypeOf<[request: Request, env: Env, ctx: Ctx]>();
    // @ts-expect-error the handler wants an env and a ctx
    expectTypeOf(() => handle(new Request("https://shop.example/"))).toBeFunction();
  });

  test("withSession() infers env if the handler's session has the type of the data", () => {
    const handle = withSession(
      async (_request, session: Session<ShopData>, env: Env, ctx: Ctx) => {
        ctx.waitUntil(Promise.resolve(env));
        // @ts-expect-error there is no such key
        await session.get("usr");
        return new Response(`${await session.update("visits", (n = 0) => n + 1)}`);
      },
      {
        store: (env) => {
          expectTypeOf(env).toEqualTypeOf<Env>();
          return cloudflareKvStore(env.SESSIONS);
        },
      },
    );
    expectTypeOf(handle).parameters.toEqualTypeOf<[request: Request, env: Env, ctx: Ctx]>();
  });

  test("withSession() takes a handler whose request is of a subclass, with and without the data", () => {
    class OwnRequest extends Request {
      readonly country: string = "";
    }
    withSession(async (request: OwnRequest, session) => {
      session.set("country", request.country);
      return ok;
    });
    withSession<ShopData>(async (request: OwnRequest, session, env: Env) => {
      expectTypeOf(session).toEqualTypeOf<Session<ShopData>>();
      expectTypeOf(env).toEqualTypeOf<Env>();
      return new Response(request.country);
    });
    withSession(async (request: OwnRequest, _session, env: Env) => new Response(request.country + typeof env), {
      store: (env: Env) => cloudflareKvStore(env.SESSIONS),
    });
  });

  test("withSession() takes a handler that answers undefined, as Bun's do after an upgrade", () => {
    withSession((_request, _session, server: { upgrade(request: Request): boolean }) =>
      server.upgrade(new Request("https://shop.example/")) ? undefined : ok,
    );
    withSession(async () => {});
  });

  test("withSession() infers both, the data from the schema and env from the handler", () => {
    withSession(
      async (_request, session, env: Env) => {
        expectTypeOf(await session.get("user")).toEqualTypeOf<string | undefined>();
        expectTypeOf(env).toEqualTypeOf<Env>();
        return ok;
      },
      { store: (env) => cloudflareKvStore(env.SESSIONS), schema: z.object({ user: z.string() }) },
    );
  });

  test("withSession() takes a store's function of env when the handler takes none", () => {
    const handle = withSession(async (_request, session) => new Response(`${await session.size()}`), {
      store: (env: Env) => cloudflareKvStore(env.SESSIONS),
    });
    expectTypeOf(handle).toExtend<(request: Request, env: Env, ctx: Ctx) => Promise<Response>>();
  });

  test("withSession() refuses a store's function of something that the handler does not get", () => {
    const handler = async (_request: Request, _session: Session, env: Env): Promise<Response> =>
      new Response(typeof env);
    withSession(handler, { store: (env: Env) => cloudflareKvStore(env.SESSIONS) });
    // @ts-expect-error env is an Env
    withSession(handler, { store: (env: { KV: string }) => cloudflareKvStore(JSON.parse(env.KV)) });
  });

  test("withSession() gives what Deno.serve, Bun.serve, a Worker and Node's adapters take", () => {
    type DenoHandler = (
      request: Request,
      info: { remoteAddr: { hostname: string }; completed: Promise<void> },
    ) => Response | Promise<Response>;
    type BunHandler = (
      this: { port: number },
      request: Request,
      server: { port: number },
    ) => Response | undefined | Promise<Response | undefined>;
    type WorkerRequest = Request & { readonly cf?: { readonly country: string } };
    type WorkerHandler = (request: WorkerRequest, env: Env, ctx: Ctx) => Response | Promise<Response>;
    type FetchCallback = (request: Request) => unknown;

    const bare = withSession(async () => ok);
    expectTypeOf(bare).toExtend<DenoHandler>();
    expectTypeOf(bare).toExtend<BunHandler>();
    expectTypeOf(bare).toExtend<WorkerHandler>();
    expectTypeOf(bare).toExtend<FetchCallback>();
    const worker = withSession(async (_request, _session, env: Env, ctx: Ctx) => {
      ctx.waitUntil(Promise.resolve(env));
      return ok;
    });
    expectTypeOf({ fetch: worker }).toExtend<{ fetch?: WorkerHandler }>();
    const deno = withSession(
      async (_request, _session, info: { remoteAddr: { hostname: string } }) => new Response(info.remoteAddr.hostname),
    );
    expectTypeOf(deno).toExtend<DenoHandler>();
    const bun = withSession((_request, _session, server: { port: number }) => new Response(`${server.port}`));
    expectTypeOf(bun).toExtend<BunHandler>();
  });

  test("withSession() composes, each session with its own data", () => {
    const admin = new SessionManager<{ role: string }>({ cookie: { name: "__Host-admin" } });
    const shop = new SessionManager<ShopData>();
    const handle = withSession(
      withSession(async (_request, adminSession, shopSession: Session<ShopData>, env: Env) => {
        expectTypeOf(await adminSession.get("role")).toEqualTypeOf<string | undefined>();
        expectTypeOf(await shopSession.get("visits")).toEqualTypeOf<number | undefined>();
        expectTypeOf(env).toEqualTypeOf<Env>();
        return ok;
      }, admin),
      shop,
    );
    expectTypeOf(handle).parameters.toEqualTypeOf<[request: Request, env: Env]>();
  });
});

describe("Hono", () => {
  test("session() gives c.var.session its data", () => {
    const app = new Hono<SessionEnv<ShopData>>();
    app.use(middleware({ store }));
    app.get("/", async (c) => {
      expectTypeOf(c.var.session).toEqualTypeOf<Session<ShopData>>();
      expectTypeOf(c.get("session")).toEqualTypeOf<Session<ShopData>>();
      // @ts-expect-error there is no such key
      c.var.session.set("usr", "ada");
      return c.text(`${await c.var.session.update("visits", (n = 0) => n + 1)}`);
    });
  });

  test("session() infers from a schema, a manager and the name that it is given", () => {
    new Hono().use(middleware({ schema: z.object({ user: z.string() }) })).get("/", async (c) => {
      expectTypeOf(await c.var.session.get("user")).toEqualTypeOf<string | undefined>();
      return c.text("ok");
    });
    new Hono().use(middleware(new SessionManager<ShopData>())).get("/", (c) => {
      expectTypeOf(c.var.session).toEqualTypeOf<Session<ShopData>>();
      return c.text("ok");
    });
    new Hono()
      .use(middleware<{ role: string }, "admin">({ as: "admin" }))
      .use(middleware<ShopData>())
      .get("/", (c) => {
        expectTypeOf(c.var.admin).toEqualTypeOf<Session<{ role: string }>>();
        expectTypeOf(c.var.session).toEqualTypeOf<Session<ShopData>>();
        return c.text("ok");
      });
  });

  test("session() takes a store's function of the context, and an app with bindings", () => {
    const app = new Hono<SessionEnv & { Bindings: Env }>();
    app.use(middleware({ store: (c) => cloudflareKvStore(c.env.SESSIONS) }));
    app.get("/", async (c) => {
      expectTypeOf(c.env.SESSIONS).toEqualTypeOf<CloudflareKvNamespace>();
      return c.text(`${await c.var.session.update("visits", (n = 0) => n + 1)}`);
    });
  });
});

describe("errors, events and stores", () => {
  test("SessionError has a code to branch on, of the words that there are", () => {
    const error: unknown = new SessionError("ERR_STORE", "No");
    if (!(error instanceof SessionError)) return;
    expectTypeOf(error.code).toEqualTypeOf<SessionErrorCode>();
  });

  test("onEvent tells by its type what an event has", () => {
    const onEvent = (event: SessionEvent): void => {
      if (event.type === "rejected") expectTypeOf(event.reason).toExtend<string>();
      if (event.type === "failed") expectTypeOf(event.error).toEqualTypeOf<SessionError>();
      if (event.type === "conflict") expectTypeOf(event.attempts).toEqualTypeOf<number>();
      expectTypeOf(event.name).toEqualTypeOf<string>();
      expectTypeOf(event.request).toEqualTypeOf<Request | undefined>();
      // @ts-expect-error nothing else has a reason
      if (event.type === "loaded") expectTypeOf(event.reason).toBeUndefined();
    };
    withSession(async () => ok, { onEvent });
  });

  test("a store may answer with or without promises", () => {
    const store: SessionStore = {
      traits: { consistency: "strong", compareAndSet: true, maxBytes: 1000 },
      load: () => null,
      save: (_key, { expected }) => (expected === null ? 1 : "conflict"),
      delete: () => {},
    };
    withSession(async () => ok, { store });
    expectTypeOf(store.load("")).toEqualTypeOf<MaybePromise<StoredRecord | null>>();
  });

  test("an option may be undefined, also with exactOptionalPropertyTypes", () => {
    expectTypeOf<Undefined<SessionOptions>>().toExtend<SessionOptions>();
    expectTypeOf<Undefined<CookieOptions>>().toExtend<CookieOptions>();
    expectTypeOf<Undefined<PreviousCookie>>().toExtend<PreviousCookie>();
    expectTypeOf<Undefined<TimeoutLimits>>().toExtend<TimeoutLimits>();
    expectTypeOf<Undefined<OwnTimeouts>>().toExtend<OwnTimeouts>();
    expectTypeOf<Undefined<RegenerateOptions>>().toExtend<RegenerateOptions>();
    expectTypeOf<Undefined<ValueOptions>>().toExtend<ValueOptions>();
    expectTypeOf<Undefined<DestroyOptions>>().toExtend<DestroyOptions>();
    expectTypeOf<Undefined<MemoryStoreOptions>>().toExtend<MemoryStoreOptions>();
    expectTypeOf<Undefined<SqlStoreOptions>>().toExtend<SqlStoreOptions>();
    expectTypeOf<Undefined<RedisStoreOptions>>().toExtend<RedisStoreOptions>();
    expectTypeOf<Undefined<UserSessionsOptions>>().toExtend<UserSessionsOptions>();
    expectTypeOf<Undefined<ExclusiveOptions>>().toExtend<ExclusiveOptions>();
    expectTypeOf<Undefined<CrossOriginOptions>>().toExtend<CrossOriginOptions>();
    expectTypeOf<{ name: string; scheme: undefined }>().toExtend<HeaderOptions>();
    // An undefined secret is an unset environment variable, which must not mean "no secret".
    expectTypeOf<Undefined<EncryptionOptions>>().not.toExtend<EncryptionOptions>();
  });

  test("a store of one's own is the interface, spread or whole", () => {
    const own: SessionStore = { ...memoryStore(), load: async () => null };
    withSession(async () => ok, { store: own });
    withSession(async () => ok, { store: async () => own });
  });
});
