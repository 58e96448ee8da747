import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { memoryStore, SessionManager } from "../../mod.ts";
import { nextSession } from "../../src/next.ts";
import { given as next } from "./next_headers.ts";

interface Data {
  n?: number;
  url?: string;
}

/** A request of Next.js, from a browser that sends what it was given. `examples/next` runs with the real one. */
function visit(more: Record<string, string> = {}): void {
  const cookie = next.jar
    .filter(({ maxAge }) => maxAge !== 0)
    .map(({ name, value }) => `${name}=${value}`)
    .at(-1);
  next.headers = new Headers({ host: "shop.example", ...(cookie === undefined ? {} : { cookie }), ...more });
}

afterAll(() => {
  next.headers = null;
});

beforeEach(() => {
  next.jar.length = 0;
  visit();
});

const open = () => nextSession(new SessionManager<Data>({ store: memoryStore() }));
const redirect = () => Object.assign(new Error("NEXT_REDIRECT"), { digest: "NEXT_REDIRECT;replace;/;307;" });

describe("action()", () => {
  test("gives the session before the arguments, answers the result, and sets the cookie", async () => {
    const sessions = open();
    const count = sessions.action(async (session, by: number) => await session.update("n", (n = 0) => n + by));
    expect(await count(2)).toBe(2);
    expect(next.jar).toEqual([expect.objectContaining({ name: "__Host-session", secure: true, httpOnly: true })]);
    visit();
    expect(await count(3)).toBe(5);
    expect(next.jar).toHaveLength(1);
  });

  test("stores the session when it ends by redirect(), and not when it fails", async () => {
    const sessions = open();
    const fail = (error: Error) =>
      sessions.action(async (session) => {
        session.set("n", 7);
        throw error;
      });
    await expect(fail(new Error("no"))()).rejects.toThrow("no");
    expect(next.jar).toEqual([]);
    await expect(fail(redirect())()).rejects.toThrow("NEXT_REDIRECT");
    expect(next.jar).toHaveLength(1);
    visit();
    expect(await sessions.action((session) => session.get("n"))()).toBe(7);
  });

  test("expires the cookie at logout, and expired strays come before a new cookie", async () => {
    const previous = [{ path: "/old" }];
    const sessions = nextSession(
      new SessionManager<Data>({ store: memoryStore(), cookie: { name: "shop", previous } }),
    );
    visit({ cookie: "shop=x" });
    await sessions.action(async (session) => session.set("n", 1))();
    // Next.js keeps the last one of a name.
    expect(next.jar.map(({ maxAge, path }) => [maxAge, path])).toEqual([
      [0, "/old"],
      [86_400, "/"],
    ]);
    visit();
    await sessions.action((session) => session.destroy())();
    expect(next.jar.at(-1)).toMatchObject({ name: "shop", value: "", maxAge: 0 });
  });
});

describe("current()", () => {
  test("reads the session of the request, for all that render", async () => {
    const sessions = open();
    await sessions.action(async (session) => session.set("n", 1))();
    visit();
    for (let times = 0; times < 2; times++) expect(await (await sessions.current()).get("n")).toBe(1);
    next.headers = new Headers({ host: "shop.example" });
    expect(await (await sessions.current()).get("n")).toBeUndefined();
  });

  test("cannot begin or end a session, and stores a change at once", async () => {
    const sessions = open();
    const nobody = await sessions.current();
    await expect(nobody.create()).rejects.toMatchObject({ code: "ERR_RESPONSE_SENT" });
    await sessions.action(async (session) => session.set("n", 1))();
    visit();
    const session = await sessions.current();
    await expect(session.destroy()).rejects.toMatchObject({ code: "ERR_RESPONSE_SENT" });
    session.set("n", 2);
    await session.save();
    expect(next.jar).toHaveLength(1);
    visit();
    expect(await (await sessions.current()).get("n")).toBe(2);
  });

  test("joins the session of an action of the same request, which can still begin there", async () => {
    const sessions = open();
    await sessions.action(async (session) => {
      const joined = await sessions.current();
      joined.set("n", 3);
      expect(await session.get("n")).toBe(3);
    })();
    expect(next.jar).toHaveLength(1);
  });
});

describe("the request", () => {
  test.each<[Record<string, string>, string]>([
    [{ "x-forwarded-proto": "https" }, "https://shop.example/"],
    [{ "x-forwarded-proto": "https, http" }, "https://shop.example/"],
    [{ "x-forwarded-proto": "http" }, "http://shop.example/"],
    [{}, "http://shop.example/"],
    [{ "x-forwarded-host": "www.example", "x-forwarded-proto": " https ,http" }, "https://www.example/"],
    [{ host: "a b" }, "http://invalid.invalid/"],
  ])("has the address that %j tell", async (headers, url) => {
    const seen: string[] = [];
    const cookie = ({ url }: Request): { name: string } => (seen.push(url), { name: "shop" });
    const sessions = nextSession(new SessionManager<Data>({ store: memoryStore(), cookie }));
    visit({ cookie: "shop=x", ...headers });
    await (await sessions.current()).get("n");
    expect(new Set(seen)).toEqual(new Set([url]));
  });

  test("is on localhost when nothing tells a host", async () => {
    const seen: string[] = [];
    const cookie = ({ url }: Request): { name: string } => (seen.push(url), { name: "shop" });
    const sessions = nextSession(new SessionManager<Data>({ store: memoryStore(), cookie }));
    next.headers = new Headers({ cookie: "shop=x" });
    await (await sessions.current()).get("n");
    expect(new Set(seen)).toEqual(new Set(["http://localhost/"]));
  });
});

describe("route()", () => {
  test("stores the session when it ends by redirect(), and not when it fails", async () => {
    const sessions = open();
    const store = memoryStore();
    const saved: string[] = [];
    const own = nextSession(
      new SessionManager<Data>({ store: { ...store, save: (...given) => (saved.push("save"), store.save(...given)) } }),
    );
    const fail = (error: Error) =>
      own.route(async (_request, session) => {
        session.set("n", 7);
        throw error;
      });
    const request = new Request("https://shop.example/");
    await expect(fail(new Error("no"))(request)).rejects.toThrow("no");
    expect(saved).toEqual([]);
    await expect(fail(redirect())(request)).rejects.toThrow("NEXT_REDIRECT");
    expect(saved).toEqual(["save"]);
    expect(sessions.manager).toBeInstanceOf(SessionManager);
  });
});

describe("proxy()", () => {
  const goOn = () => new Response(null, { headers: { "x-middleware-next": "1" } });

  test("lets what follows find the session that began in it", async () => {
    const sessions = open();
    const proxy = sessions.proxy(async (_request, session, _context: object) => {
      session.set("n", 1);
      return goOn();
    });
    const request = new Request("https://shop.example/", { headers: { "X-Other": "kept", "Cookie": "a=b" } });
    const response = await proxy(request, {});
    const value = response.headers.getSetCookie()[0]?.split(";")[0];
    expect(response.headers.get("x-middleware-request-cookie")).toBe(`a=b; ${value}`);
    expect(response.headers.get("x-middleware-request-x-other")).toBe("kept");
    expect(response.headers.get("x-middleware-override-headers")?.split(",").toSorted()).toEqual(["cookie", "x-other"]);
    expect(response.headers.get("x-middleware-next")).toBe("1");
  });

  test("changes nothing of a response that ends there, or that sets no cookie", async () => {
    const sessions = open();
    const ends = await sessions.proxy(async (_request, session) => (session.set("n", 1), new Response("no")))(
      new Request("https://shop.example/"),
    );
    expect([ends.headers.has("x-middleware-override-headers"), ends.headers.getSetCookie().length]).toEqual([false, 1]);
    const reads = await sessions.proxy(async (_request, session) => (await session.get("n"), goOn()))(
      new Request("https://shop.example/"),
    );
    expect(reads.headers.has("x-middleware-override-headers")).toBe(false);
  });
});
