import { Hono } from "hono";
import { except } from "hono/combine";
import { HTTPException } from "hono/http-exception";
import { describe, expect, test } from "vitest";
import { memoryStore, type Session, SessionManager } from "../mod.ts";
import { session, type SessionEnv } from "../src/hono.ts";
import { cookieJar, faultyStore } from "../src/testing.ts";

interface ShopData {
  visits?: number;
  user?: string;
}

const SHOP = "https://shop.example";

function visits(app: Hono<SessionEnv<ShopData>>): (path: string) => Promise<Response> {
  const jar = cookieJar();
  return (path) => jar.fetch((request) => app.fetch(request), SHOP + path);
}

/** An app in which every route counts a visit, and then answers in its own way. */
function counting(): Hono<SessionEnv<ShopData>> {
  const app = new Hono<SessionEnv<ShopData>>();
  app.use(session<ShopData>());
  app.use(async (c, next) => {
    if (c.req.path !== "/idle") await c.var.session.update("visits", (n = 0) => n + 1);
    await next();
  });
  app.get("/idle", (c) => c.text("idle"));
  app.get("/visits", async (c) => c.text(String(await c.var.session.get("visits"))));
  app.get("/c-redirect", (c) => c.redirect("/visits"));
  app.get("/redirect", () => Response.redirect(`${SHOP}/visits`, 303));
  app.get("/raw", () => new Response("raw", { status: 201, headers: { "Set-Cookie": "mine=1" } }));
  app.get("/throws", () => {
    throw new Error("down");
  });
  app.onError((_error, c) => c.text("caught", 500));
  return app;
}

describe("session()", () => {
  test.each([
    ["/c-redirect", 302],
    ["/redirect", 303],
    ["/raw", 201],
    ["/missing", 404],
  ])("[59] gives each request its session, and sets the cookie on %s with its own status", async (path, status) => {
    const visit = visits(counting());
    const response = await visit(path);
    expect(response.status).toBe(status);
    expect(response.headers.getSetCookie().filter((cookie) => cookie.startsWith("__Host-session="))).toHaveLength(1);
    expect(await (await visit("/visits")).text()).toBe("2");
  });

  test("keeps the handler's own cookies beside the session's", async () => {
    const response = await visits(counting())("/raw");
    expect(response.headers.getSetCookie().map((cookie) => cookie.split("=")[0])).toEqual(["mine", "__Host-session"]);
  });

  test("leaves a response alone whose session nobody used", async () => {
    const response = await visits(counting())("/idle");
    expect(response.headers.get("Set-Cookie")).toBeNull();
    expect(response.headers.get("Cache-Control")).toBeNull();
    expect(response.headers.get("Vary")).toBeNull();
  });

  test("stores nothing more when a handler throws", async () => {
    const app = new Hono<SessionEnv<ShopData>>();
    app.use(session<ShopData>());
    app.get("/set", (c) => (c.var.session.set("user", "ada"), c.text("set")));
    app.get("/throws", (c) => {
      c.var.session.set("user", "eve");
      throw new Error("down");
    });
    app.get("/user", async (c) => c.text(await c.var.session.get("user", "nobody")));
    app.onError((_error, c) => c.text("caught", 500));
    const visit = visits(app);
    const failed = await visit("/throws");
    expect([failed.status, await failed.text(), failed.headers.getSetCookie()]).toEqual([500, "caught", []]);
    expect(await (await visit("/user")).text()).toBe("nobody");
    await visit("/set");
    expect(await (await visit("/throws")).text()).toBe("caught");
    expect(await (await visit("/user")).text()).toBe("ada");
  });

  test("keeps what update() has stored when a handler throws afterwards", async () => {
    const visit = visits(counting());
    await visit("/visits");
    expect(await (await visit("/throws")).text()).toBe("caught");
    expect(await (await visit("/visits")).text()).toBe("3");
  });

  test("stores nothing more when a handler throws after a save that failed", async () => {
    const store = faultyStore(memoryStore());
    const app = new Hono<SessionEnv<ShopData>>();
    app.use(session<ShopData>({ store }));
    app.get("/begin", (c) => (c.var.session.set("visits", 1), c.text("begun")));
    app.get("/fail", async (c) => {
      c.var.session.set("user", "eve");
      store.plan({ save: ["rejects"] });
      await c.var.session.save();
      return c.text("saved");
    });
    app.get("/show", async (c) => c.json(await c.var.session.all()));
    app.onError((_error, c) => c.text("caught", 500));
    const visit = visits(app);
    await visit("/begin");
    expect((await visit("/fail")).status).toBe(500);
    expect(await (await visit("/show")).json()).toEqual({ visits: 1 });
  });

  test("stores nothing more when no handler has answered, and lets Hono say so", async () => {
    const app = new Hono<SessionEnv<ShopData>>();
    app.use(session<ShopData>());
    app.get("/forgets", (c) => (c.var.session.set("user", "eve"), undefined as never));
    app.onError((error, c) => c.text(error.message, 500));
    const response = await app.request("/forgets");
    expect([response.status, response.headers.getSetCookie()]).toEqual([500, []]);
    expect(await response.text()).toContain("Did you forget to return a Response");
  });

  test("stores nothing more of any session when a handler throws and there are several", async () => {
    const app = new Hono<SessionEnv<ShopData, "shop"> & SessionEnv<ShopData, "admin">>();
    app.use(session<ShopData, "shop">({ as: "shop", cookie: { name: "__Host-shop" } }));
    app.use(session<ShopData, "admin">({ as: "admin", cookie: { name: "__Host-admin" } }));
    app.get("*", (c) => {
      c.var.shop.set("user", "eve");
      c.var.admin.set("user", "eve");
      throw new Error("down");
    });
    app.onError((_error, c) => c.text("caught", 500));
    expect((await app.request("/")).headers.getSetCookie()).toEqual([]);
  });

  test("answers in place of the handler what a plugin answers, and stores what the plugin has changed", async () => {
    const plugin = {
      name: "door",
      answer: (request: Request, own: object, ...rest: readonly unknown[]) => {
        expect(rest).toEqual([expect.objectContaining({ req: expect.objectContaining({ raw: request }) })]);
        if (!request.url.endsWith("/door")) return undefined;
        (own as Session<ShopData>).set("user", "guest");
        return new Response("door");
      },
    };
    const app = new Hono<SessionEnv<ShopData>>();
    app.use(session<ShopData>({ plugins: [plugin] }));
    app.get("*", async (c) => c.text(await c.var.session.get("user", "nobody")));
    const visit = visits(app);
    expect(await (await visit("/")).text()).toBe("nobody");
    expect(await (await visit("/door")).text()).toBe("door");
    expect(await (await visit("/")).text()).toBe("guest");
  });

  test("[53] gives several named sessions in one request", async () => {
    const app = new Hono<SessionEnv<ShopData, "shop"> & SessionEnv<{ role?: string }, "admin">>();
    app.use(session({ as: "shop", cookie: { name: "__Host-shop" } }));
    app.use(session({ as: "admin", cookie: { name: "__Host-admin" } }));
    app.get("/", async (c) => {
      c.var.admin.set("role", "owner");
      return c.text(`${await c.var.shop.update("visits", (n = 0) => n + 1)} ${await c.var.shop.has("user")}`);
    });
    const jar = cookieJar();
    const response = await jar.fetch((request) => app.fetch(request), SHOP);
    expect(
      response.headers
        .getSetCookie()
        .map((cookie) => cookie.split("=")[0])
        .sort(),
    ).toEqual(["__Host-admin", "__Host-shop"]);
  });

  test("[53] throws a TypeError when two sessions of a request have one cookie, and not when each has its own request", async () => {
    const errors: unknown[] = [];
    const app = new Hono();
    app.onError((error, c) => {
      errors.push(error);
      return c.text("caught", 500);
    });
    app.use("/shop", session());
    app.use("/admin", session({ as: "admin" }));
    app.use("/both", session(), session({ as: "admin" }));
    const shared = new SessionManager();
    app.use("/twice", session(shared), session(shared));
    app.get("*", (c) => c.text("Hello"));
    const statuses = ["shop", "admin", "both", "shop", "twice"].map(
      async (path) => (await app.request(`/${path}`)).status,
    );
    expect(await Promise.all(statuses)).toEqual([200, 200, 500, 200, 200]);
    expect(errors).toEqual([expect.any(TypeError)]);
  });

  test("stores through executionCtx.waitUntil with persist: after-response, and waits where there is none", async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const inner = memoryStore();
    let isGated = false;
    const store: typeof inner = {
      ...inner,
      save: async (...args) => {
        if (isGated) await gate;
        return await inner.save(...args);
      },
    };
    const app = new Hono<SessionEnv<ShopData>>();
    app.use(session<ShopData>({ store, persist: "after-response" }));
    app.get("/", async (c) => {
      const visits = (await c.var.session.get("visits", 0)) + 1;
      c.var.session.set("visits", visits);
      return c.text(String(visits));
    });
    const waiting: Promise<unknown>[] = [];
    const context = {
      waitUntil: (promise: Promise<unknown>) => void waiting.push(promise),
      passThroughOnException() {},
      props: {},
    };
    const jar = cookieJar();
    const visit = (): Promise<Response> => jar.fetch((request) => app.fetch(request, {}, context), SHOP);
    await visit();
    expect(waiting).toHaveLength(0);
    isGated = true;
    expect(await (await visit()).text()).toBe("2");
    expect(waiting).toHaveLength(1);
    release();
    await Promise.all(waiting);
    expect(await (await jar.fetch((request) => app.fetch(request), SHOP)).text()).toBe("3");
  });

  test.each(["", 7, null])("refuses %j as the name of the variable", (as) => {
    expect(() => session({ as } as never)).toThrow("session: as must be the name of a variable");
  });

  test("takes a store function of the context, and a manager", async () => {
    const app = new Hono<SessionEnv<ShopData> & { Bindings: { STORE: ReturnType<typeof memoryStore> } }>();
    app.use(session({ store: (c) => c.env.STORE }));
    app.get("/", async (c) => c.text(String(await c.var.session.update("visits", (n = 0) => n + 1))));
    const env = { STORE: memoryStore() };
    const jar = cookieJar();
    for (const expected of ["1", "2"]) {
      expect(await (await jar.fetch((request) => app.fetch(request, env), SHOP)).text()).toBe(expected);
    }
    const shared = new Hono<SessionEnv<ShopData>>();
    const sessions = new SessionManager<ShopData>();
    shared.use(session(sessions));
    shared.get("/", (c) => c.text(String(sessions.start(c.req.raw) === c.var.session)));
    expect(await (await shared.request("/")).text()).toBe("true");
  });

  test("stores the session when a handler throws an HTTPException, and the client is told by what answers instead", async () => {
    const app = new Hono<SessionEnv<ShopData>>();
    const seen: unknown[] = [];
    app.use(session<ShopData>());
    app.get("/leave", (c) => {
      c.var.session.set("user", "ada");
      throw new HTTPException(401, { message: "leave" });
    });
    app.get("/odd", (c) => {
      c.var.session.set("user", "eve");
      throw Object.assign(new Error("odd"), { getResponse: 7 });
    });
    app.get("/", async (c) => c.text(await c.var.session.get("user", "nobody")));
    app.onError((error, c) => {
      seen.push(error.message, c.error === error);
      return c.text("caught", 500);
    });
    const visit = visits(app);
    expect((await visit("/leave")).headers.getSetCookie()).toHaveLength(1);
    await visit("/odd");
    expect(await (await visit("/")).text()).toBe("ada");
    expect(seen).toEqual(["leave", true, "odd", true]);
  });

  test("fails when the session cannot be stored", async () => {
    const app = new Hono<SessionEnv<ShopData>>();
    const store = { ...memoryStore(), save: () => Promise.reject(new Error("down")) };
    app.use(session<ShopData>({ store }));
    app.get("/", (c) => (c.var.session.set("user", "ada"), c.text("Hello")));
    const codes: unknown[] = [];
    app.onError((error, c) => {
      codes.push(Reflect.get(error, "code"));
      return c.text("caught", 500);
    });
    expect((await app.request("/")).status).toBe(500);
    expect(codes).toEqual(["ERR_STORE"]);
  });

  test("loads the session before the handler with load: eager, and not otherwise", async () => {
    const loads: string[] = [];
    const store = memoryStore();
    const load: typeof store.load = (...given) => (loads.push("load"), store.load(...given));
    for (const mode of ["eager", "lazy"] as const) {
      const app = new Hono();
      app.use(session({ store: { ...store, load }, load: mode }));
      app.get("/", (c) => c.text("Hello"));
      await app.request(SHOP, { headers: { Cookie: `__Host-session=${"A".repeat(32)}` } });
      expect(loads).toEqual(["load"]);
    }
  });

  test("stores at the outer of two middlewares with one manager", async () => {
    const app = new Hono<SessionEnv<ShopData>>();
    const sessions = new SessionManager<ShopData>();
    app.use(session(sessions));
    app.use(async (c, next) => {
      await next();
      c.var.session.set("user", "ada");
    });
    app.use(session(sessions));
    app.get("/", (c) => c.text("Hello"));
    expect((await app.request("/")).headers.getSetCookie()).toHaveLength(1);
  });

  test("gives the session of its context to a mounted handler, as documented", async () => {
    const app = new Hono<SessionEnv<ShopData>>();
    app.use(session<ShopData>());
    const legacy = async (_request: Request, mine: Session<ShopData>): Promise<Response> =>
      new Response(String(await mine.update("visits", (n = 0) => n + 1)));
    app.mount("/legacy", legacy, { optionHandler: (c) => [c.var.session] });
    const visit = visits(app);
    expect(await (await visit("/legacy")).text()).toBe("1");
    expect(await (await visit("/legacy/deeper")).text()).toBe("2");
  });

  test("lets a page and the routes that it calls share one session, as documented", async () => {
    interface AppEnv extends SessionEnv<ShopData> {
      Bindings: { pageSession?: Session<ShopData> };
    }
    const app = new Hono<AppEnv>();
    app.use(except((c) => c.env?.pageSession !== undefined, session<ShopData>()));
    app.use(async (c, next) => {
      if (c.env?.pageSession !== undefined) c.set("session", c.env.pageSession);
      await next();
    });
    app.get("/visits", async (c) => c.text(String(await c.var.session.update("visits", (n = 0) => n + 1))));
    app.get("/login", async (c) => {
      await c.var.session.regenerate();
      c.var.session.set("user", "ada");
      return c.text("in");
    });
    app.get("/logout", async (c) => {
      await c.var.session.destroy();
      return c.text("out");
    });
    app.get("/user", async (c) => c.text(await c.var.session.get("user", "nobody")));
    app.get("/page/*", async (c) => {
      const answers = c.req.path
        .split("/")
        .slice(2)
        .map(async (route) => {
          const answer = await app.request(`/${route}`, {}, { ...c.env, pageSession: c.var.session });
          return await answer.text();
        });
      return c.text((await Promise.all(answers)).join(" "));
    });
    const jar = cookieJar();
    const visit = async (path: string): Promise<string> =>
      await (await jar.fetch((request) => app.fetch(request), SHOP + path)).text();
    // Two calls that begin the session at once, and each end of it.
    expect(await visit("/page/visits/visits")).toMatch(/^(?:1 2|2 1)$/);
    expect(await visit("/page/login")).toBe("in");
    expect(await visit("/user")).toBe("ada");
    expect(await visit("/visits")).toBe("3");
    expect(await visit("/page/logout")).toBe("out");
    expect(await visit("/user")).toBe("nobody");
  });

  test("says to call it when it is used as a middleware itself", async () => {
    const app = new Hono();
    app.use(session as never);
    app.get("/", (c) => c.text("Hello"));
    app.onError((error, c) => c.text(error.message, 500));
    expect(await (await app.request("/")).text()).toMatch(/: write app\.use\(session\(\)\)$/);
  });

  test("throws a TypeError for what are no options, and for a variable without a name", () => {
    for (const wrong of [7, null, "options"])
      expect(() => session(wrong as never)).toThrow("session must be an object, such as { store: … }");
    for (const as of ["", 7, null]) expect(() => session({ as } as never)).toThrow("as must be the name of a variable");
  });

  test("takes options that are inherited, from defaults or a class", () => {
    class Options {
      get idleTimeout(): number {
        return -1;
      }
    }
    for (const options of [Object.create({ idleTimeout: -1 }), new Options()])
      expect(() => session(options)).toThrow(RangeError);
  });
});
