import { describe, expect, test } from "vitest";
import {
  memoryStore,
  type Session,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  withSession,
} from "../../../mod.ts";
import { cloudflareKvStore, type CloudflareKvNamespace } from "../../../src/stores/cloudflare_kv.ts";
import { userSessions } from "../../../src/user_sessions.ts";
import { codeOf, cookieOf, errorOf, openStore, SHOP, soon, visitor } from "../../setup/sessions.ts";

/** Invalid options, as a program without types may pass them. */
const wrap = (options: object) => (): unknown => withSession(() => new Response(), options as SessionOptions);

describe("an unknown option", () => {
  test.each<[string, object, string]>([
    ["secret", { secret: "x".repeat(32) }, "store"],
    ["ttl", { ttl: 60 }, ""],
    ["cookies", { cookies: {} }, "cookie"],
    ["samesite", { cookie: { samesite: "lax" } }, "sameSite"],
    ["idleTimout", { idleTimout: 60 }, "idleTimeout"],
    ["idletimeout", { idletimeout: 60 }, "idleTimeout"],
    ["onevent", { onevent: () => {} }, "onEvent"],
    ["expires", { cookie: { expires: 60 } }, ""],
    ["domains", { cookie: { name: "s", previous: [{ domains: "a.example" }] } }, "domain"],
    ["Scheme", { header: { name: "X-Id", Scheme: "Bearer" } }, "scheme"],
    ["Idle", { timeoutLimits: { Idle: 60 } }, "idle"],
    ["second", { rotateEvery: { second: 60 } }, "seconds"],
  ])("throws a TypeError that names it, and the nearest known one: %s", (name, options, nearest) => {
    expect(wrap(options)).toThrow(TypeError);
    expect(wrap(options)).toThrow(`"${name}"`);
    expect(wrap(options)).toThrow(nearest);
    expect(() => new SessionManager(options)).toThrow(`"${name}"`);
  });

  test("throws at the calls of a session as well", async () => {
    await visitor()(async (session) => {
      session.set("a", 1);
      await expect(session.regenerate({ gracePeriod: 60 } as object)).rejects.toThrow('"gracePeriod"');
      await expect(session.destroy({ clearSite: ["cache"] } as object)).rejects.toThrow('"clearSite"');
      expect(() => session.setTimeouts({ idleTimeout: 60 } as object)).toThrow('"idleTimeout"');
      expect(() => session.set("a", 1, { maxAge: 60 } as object)).toThrow('"maxAge"');
      expect(() => session.flash("a", 1, { TTL: 60 } as object)).toThrow("ttl");
    });
  });
});

describe("the function that opens the store", () => {
  const env = { SESSIONS: undefined as unknown as CloudflareKvNamespace };

  test("keeps the message of a store that is told of a missing binding", async () => {
    const own = ((): unknown => {
      try {
        return cloudflareKvStore(env.SESSIONS);
      } catch (error) {
        return error;
      }
    })();
    expect(own).toBeInstanceOf(TypeError);
    const handle = withSession(
      async (_request, session, _env: typeof env) => new Response(`${await session.update("n", (n = 0) => n + 1)}`),
      {
        store: (given) => cloudflareKvStore(given.SESSIONS),
      },
    );
    const error: unknown = await handle(new Request(SHOP), env).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(TypeError);
    expect(String(error)).toBe(String(own));
  });

  test("says so when it answers nothing", async () => {
    const handle = withSession(async (_request, session) => new Response(`${await session.create()}`), {
      store: () => undefined as unknown as SessionStore,
    });
    await expect(handle(new Request(SHOP))).rejects.toThrow(/store.*undefined/);
  });

  test("is called once for six requests when it takes no argument, however they overlap", async () => {
    let connections = 0;
    const { store } = openStore();
    const open = async (): Promise<SessionStore> => {
      connections++;
      return await soon(store);
    };
    const sessions = new SessionManager({ store: open });
    await Promise.all([1, 2, 3].map(() => visitor(sessions)((session) => session.set("n", 1))));
    for (let request = 0; request < 3; request++) await visitor(sessions)((session) => session.set("n", 1));
    expect(connections).toBe(1);
  });

  test("is called once for each environment, and again after it has failed", async () => {
    const opened: unknown[] = [];
    let fails = true;
    const handle = withSession(async (_request, session, _env: object) => new Response(`${await session.create()}`), {
      store: (env: object) => {
        opened.push(env);
        if (fails) throw new Error("connection refused");
        return memoryStore();
      },
    });
    const [one, other] = [{ name: "one" }, { name: "other" }];
    expect(await codeOf(() => handle(new Request(SHOP), one))).toBe("ERR_STORE");
    fails = false;
    for (const given of [one, one, other, one, other]) await handle(new Request(SHOP), given);
    expect(opened).toEqual([one, one, other]);
  });
});

describe("a call that nobody awaits", () => {
  const users = userSessions();
  const options = { store: openStore().store, plugins: [users] };

  test.each<[string, (session: Session) => unknown, (session: Session) => unknown, unknown]>([
    ["update()", (session) => session.update("n", async (n) => await soon(n + 1)), (session) => session.get("n"), 2],
    ["pull()", (session) => session.pull("n"), (session) => session.get("n"), undefined],
    ["users.bind()", (session) => users.bind(session, "ada"), async () => (await users.list("ada")).length, 1],
    ["regenerate()", (session) => session.regenerate(), (session) => session.get("n"), 1],
    ["destroy()", (session) => session.destroy(), (session) => session.get("n"), undefined],
  ])("has happened when the response is there: %s", async (_, use, look, expected) => {
    const visit = visitor(options);
    await visit((session) => session.set("n", 1));
    await visit((session) => void use(session));
    expect((await visit(look)).result).toBe(expected);
  });

  test("get() has been read: its object can be changed in place, and a flash value is consumed", async () => {
    const visit = visitor(options);
    await visit((session) => session.set("basket", ["tea"]));
    await visit((session) => session.flash("notice", "Welcome"));
    await visit((session) => void session.get("basket").then((basket) => basket.push("cake")));
    expect((await visit((session) => session.get("basket"))).result).toEqual(["tea", "cake"]);
    await visit((session) => void session.get("notice"));
    expect((await visit((session) => session.has("notice"))).result).toBe(false);
  });

  test.each<[string, (session: Session) => unknown]>([
    ["get()", (session) => session.get("n")],
    ["all()", (session) => session.all()],
    ["info()", (session) => session.info()],
  ])("%s is a use of the session: a cookie of a session that ended is expired", async (_, use) => {
    const headers = { Cookie: `__Host-session=${"a".repeat(32)}` };
    const { cookies } = await visitor(options)((session) => void use(session), { headers });
    expect(cookies).toEqual([expect.stringMatching(/^__Host-session=; Max-Age=0;/)]);
  });

  test("create() has made a session", async () => {
    const { cookies } = await visitor(options)((session) => void session.create());
    expect(cookieOf({ cookies })).toMatch(/^__Host-session=[\w-]{32}$/);
  });

  test("update() that fails does not end the process, and is told to nobody else", async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): unknown => unhandled.push(error);
    process.on("unhandledRejection", note);
    const visit = visitor(options);
    await visit((session) => session.set("n", 1));
    await visit((session) => void session.update("n", () => Promise.reject(new Error("mine"))).catch(() => {}));
    await soon(0);
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
    expect((await visit((session) => session.get("n"))).result).toBe(1);
  });

  test.each<[string, (session: Session) => Promise<unknown>]>([
    ["update()", (session) => session.update("n", () => Promise.reject(new Error("mine")))],
    ["regenerate()", (session) => session.regenerate({ grace: -1 })],
    ["pull()", (session) => session.pull(1 as never)],
  ])("%s that fails is an unhandled rejection, as any promise that nobody awaits", async (_, fail) => {
    const unhandled: unknown[] = [];
    // The runner would take the rejection for a fault of the test.
    const listeners = process.listeners("unhandledRejection");
    process.removeAllListeners("unhandledRejection").on("unhandledRejection", (error) => unhandled.push(error));
    try {
      await visitor(options)((session) => void fail(session));
      await soon(0);
    } finally {
      process.removeAllListeners("unhandledRejection");
      for (const each of listeners) process.on("unhandledRejection", each);
    }
    expect(unhandled).toEqual([expect.any(Error)]);
  });
});

test.each<[string, unknown, (fallback: never) => void, unknown]>([
  ["a list", [], (list: unknown[]) => list.push("cake"), ["cake"]],
  ["an object", {}, (basket: Record<string, number>) => (basket["cake"] = 1), { cake: 1 }],
  ["a Map", new Map(), (map: Map<string, number>) => map.set("cake", 1), new Map([["cake", 1]])],
])("the fallback of get() that is changed in place is stored: %s", async (_, fallback, change, expected) => {
  const visit = visitor();
  await visit(async (session) => change((await session.get("basket", fallback)) as never));
  expect((await visit((session) => session.get("basket"))).result).toEqual(expected);
});

test("the fallback of get() that is not changed is not stored", async () => {
  const { store, records } = openStore();
  const { cookies } = await visitor({ store })((session) => session.get("basket", []));
  expect([cookies, records.size]).toEqual([[], 0]);
});

test("a schema whose issues have neither path nor message is a schema, and says what it can", async () => {
  const schema = {
    "~standard": {
      version: 1 as const,
      vendor: "own",
      validate: (value: unknown): { value: { n?: number } } | { issues: { message: string }[] } =>
        Number(Object(value).n ?? 0) < 10 ? { value: value as { n?: number } } : { issues: [{ message: "too much" }] },
    },
  };
  const error = await errorOf(() => visitor({ schema })((session) => session.set("n", 11)));
  expect([error.code, error.message]).toEqual(["ERR_SCHEMA", expect.stringContaining("too much")]);
  const silent = { "~standard": { ...schema["~standard"], validate: () => ({ issues: [{}] }) } };
  expect(await codeOf(() => visitor({ schema: silent })((session) => session.set("n", 1)))).toBe("ERR_SCHEMA");
});
