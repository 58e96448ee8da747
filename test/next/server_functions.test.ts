import { describe, expect, test } from "vitest";
import { type Session, type SessionOptions } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { deviceBound } from "../../src/device_bound.ts";
import { type NextSession, nextSession } from "../../src/next.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { codeOf } from "../setup/sessions.ts";
import { within } from "./next_headers.ts";

interface Data {
  user?: string;
  n?: number;
}

type Cookie = Parameters<Parameters<typeof within>[0]["jar"]["set"]>[0];

/** A browser in front of an application of Next.js, over http on loopback unless its headers say otherwise. */
class Browser {
  readonly cookies: Map<string, string> = new Map();
  /** The cookies that Next.js was told to set, in order. */
  readonly set: Cookie[] = [];
  /** Whether Next.js allows cookies to be set. */
  takesCookies = true;
  readonly #sent: Record<string, string>;

  constructor(headers: Record<string, string> = { host: "localhost:3000" }) {
    this.#sent = headers;
  }

  request(): Headers {
    const pairs = [...this.cookies].map((pair) => pair.join("=")).join("; ");
    return new Headers(pairs === "" ? this.#sent : { ...this.#sent, cookie: pairs });
  }

  /** Runs a function of the server within one request. */
  async visit<Result>(run: () => Promise<Result>): Promise<Result> {
    const set = (cookie: Cookie): void => {
      if (!this.takesCookies) throw new Error("There are no cookies here");
      this.set.push(cookie);
      if (cookie.maxAge === 0) this.cookies.delete(cookie.name);
      else this.cookies.set(cookie.name, cookie.value);
    };
    return await within({ headers: this.request(), jar: { set } }, run);
  }
}

let applications = 0;

/** The sessions of one application. */
function application(options: SessionOptions<Data> = {}): NextSession<Data> {
  return nextSession<Data>({ cookie: { name: `session${++applications}` }, ...options });
}

const login = async (session: Session<Data>, user: string): Promise<string> => {
  await session.regenerate({ reauthenticated: true });
  session.set("user", user);
  return `Welcome, ${user}`;
};

const userOf = (sessions: NextSession<Data>) => async (): Promise<string | undefined> =>
  (await sessions.current()).get("user");

/** Throws as `redirect()` of Next.js does. */
const redirect = (): never => {
  throw Object.assign(new Error("NEXT_REDIRECT"), { digest: "NEXT_REDIRECT;replace;/;307;" });
};

describe("action()", () => {
  test("keeps a session in the cookie", async () => {
    const sessions = application({ store: cookieSessions({ secrets: ["a secret of at least thirty-two bytes"] }) });
    const browser = new Browser();
    await browser.visit(() => sessions.action(login)("ada"));
    expect(await browser.visit(userOf(sessions))).toBe("ada");
  });

  test("gives an action the session before its own arguments, and stores what it has changed", async () => {
    const sessions = application();
    const browser = new Browser();
    expect(await browser.visit(() => sessions.action(login)("ada"))).toBe("Welcome, ada");
    expect(browser.set).toMatchObject([{ path: "/", maxAge: 86_400, httpOnly: true, sameSite: "lax" }]);
    expect(await browser.visit(userOf(sessions))).toBe("ada");
    expect(await new Browser().visit(userOf(sessions))).toBeUndefined();
  });

  test("sets no cookie when there is nothing to tell the browser", async () => {
    const sessions = application();
    const browser = new Browser();
    await browser.visit(() => sessions.action((session) => session.get("user"))());
    expect(browser.set).toEqual([]);
  });

  test("shows the page that is rendered after an action the session that it has begun, renewed or ended", async () => {
    const sessions = application();
    const browser = new Browser();
    const seen = await browser.visit(async () => {
      await sessions.action(login)("ada");
      return userOf(sessions)();
    });
    expect(seen).toBe("ada");
    const renewed = await browser.visit(async () => {
      expect(await userOf(sessions)()).toBe("ada");
      await sessions.action(login)("eve");
      return userOf(sessions)();
    });
    expect(renewed).toBe("eve");
    const ended = await browser.visit(async () => {
      await sessions.action((session) => session.destroy())();
      return (await (await sessions.current()).info()).ended;
    });
    expect(ended).toBeNull();
  });

  test("shows a page the session of an action that has left by notFound()", async () => {
    const sessions = application();
    const seen = await new Browser().visit(async () => {
      const leave = sessions.action(async (session) => {
        await login(session, "ada");
        throw Object.assign(new Error("missing"), { digest: "NEXT_HTTP_ERROR_FALLBACK;404" });
      });
      await leave().catch(() => {});
      return userOf(sessions)();
    });
    expect(seen).toBe("ada");
  });

  test("gives the second of two actions, one after the other, the session of the first one", async () => {
    const sessions = application();
    const browser = new Browser();
    await browser.visit(() => sessions.action(login)("ada"));
    await browser.visit(async () => {
      await sessions.action(login)("eve");
      await sessions.action(async (session) => session.set("n", 1))();
    });
    expect(await browser.visit(async () => ({ ...(await (await sessions.current()).all()) }))).toEqual({
      user: "eve",
      n: 1,
    });
  });

  test("asks for no cookies in an action that does not use its session", async () => {
    const sessions = application();
    const browser = new Browser();
    expect(await browser.visit(() => sessions.action(async () => "done")())).toBe("done");
    expect(browser.set).toEqual([]);
  });

  test("leaves the browser the session that it has when an action fails, and stores nothing of it afterwards", async () => {
    const sessions = application();
    const browser = new Browser();
    await browser.visit(() => sessions.action(login)("ada"));
    let failed: Session<Data> | undefined;
    const fail = sessions.action(async (session) => {
      failed = session;
      await session.regenerate();
      await session.save();
      session.set("user", "eve");
      throw new RangeError("no");
    });
    await expect(browser.visit(fail)).rejects.toThrow(RangeError);
    await failed?.save();
    expect(browser.set).toHaveLength(1);
    expect(await browser.visit(userOf(sessions))).toBe("ada");
  });

  test("stores the session when the action leaves by redirect(), and not when it fails", async () => {
    const sessions = application();
    const browser = new Browser();
    const leave = sessions.action(async (session, user: string) => {
      await login(session, user);
      return redirect();
    });
    await expect(browser.visit(() => leave("ada"))).rejects.toThrow("NEXT_REDIRECT");
    const fail = sessions.action(async (session) => {
      session.set("user", "eve");
      throw new RangeError("no");
    });
    await expect(browser.visit(fail)).rejects.toThrow(RangeError);
    expect(await browser.visit(userOf(sessions))).toBe("ada");
  });

  test.each<[string, () => unknown]>([
    ["returns", () => "done"],
    ["leaves by redirect()", redirect],
    [
      "fails",
      () => {
        throw new RangeError("no");
      },
    ],
  ])("signs nobody out when the cookie of a new id cannot be set and the action %s", async (_how, leave) => {
    const sessions = application();
    const browser = new Browser();
    await browser.visit(() => sessions.action(login)("ada"));
    const renew = sessions.action(async (session) => {
      await session.regenerate();
      await session.save();
      return leave();
    });
    browser.takesCookies = false;
    await expect(browser.visit(() => renew())).rejects.toThrow(/no cookies|^no$/);
    expect(await browser.visit(userOf(sessions))).toBe("ada");
    // The session is also put back if the cookie could be set.
    browser.takesCookies = true;
    await browser.visit(() => renew()).catch(() => {});
    expect(await browser.visit(userOf(sessions))).toBe("ada");
  });

  test("drops what a failed action has recorded, also when something is recorded later", async () => {
    const sessions = application();
    const browser = new Browser();
    await browser.visit(() => sessions.action(login)("ada"));
    const held: Session<Data>[] = [];
    const fail = sessions.action(async (session) => {
      held.push(session);
      session.set("user", "eve");
      throw new RangeError("no");
    });
    await expect(browser.visit(() => fail())).rejects.toThrow(RangeError);
    for (const session of held) {
      session.set("n", 1);
      await session.save();
    }
    expect(await browser.visit(async () => ({ ...(await (await sessions.current()).all()) }))).toEqual({
      user: "ada",
      n: 1,
    });
  });

  test.each<[string, () => unknown]>([
    ["returns", () => "done"],
    ["leaves by redirect()", redirect],
    [
      "fails",
      () => {
        throw new RangeError("no");
      },
    ],
  ])(
    "lets an action that another one calls have its session, which that one stores, when the inner one %s",
    async (_how, leave) => {
      const sessions = application();
      const browser = new Browser();
      await browser.visit(() => sessions.action(login)("ada"));
      const inner = sessions.action(async () => leave());
      await browser.visit(() =>
        sessions.action(async (session) => {
          session.set("n", 1);
          await inner().catch(() => {});
          await session.regenerate();
          session.set("user", "Ada");
        })(),
      );
      expect(await browser.visit(async () => ({ ...(await (await sessions.current()).all()) }))).toEqual({
        user: "Ada",
        n: 1,
      });
    },
  );

  test("lets no stray that is expired replace the session, wherever its line stands", async () => {
    const name = "__Host-strayed";
    const stray = {
      name: "stray",
      respond: (headers: Headers) => headers.append("Set-Cookie", `${name}=; Path=/old; Max-Age=0`),
    };
    const sessions = application({ cookie: { name }, plugins: [stray] });
    const browser = new Browser({ "host": "shop.example", "x-forwarded-proto": "https" });
    await browser.visit(() => sessions.action(login)("ada"));
    expect(browser.set.map(({ maxAge }) => maxAge)).toEqual([0, 86_400]);
    expect(await browser.visit(userOf(sessions))).toBe("ada");
  });
});

describe("nextSession()", () => {
  test.each(["user:pw@shop.example", "a b", "[", ""])("takes a request whose host is %j", async (host) => {
    const sessions = application();
    const browser = new Browser({ host });
    await browser.visit(() => sessions.action(login)("ada"));
    expect(await browser.visit(userOf(sessions))).toBe("ada");
  });

  test("calls a function of the store once, and in an action without arguments", async () => {
    const opened: unknown[][] = [];
    const store = memoryStore();
    const sessions = application({ store: (...rest: unknown[]) => (opened.push(rest), store) });
    await new Browser().visit(() => sessions.action(login)("ada"));
    const set = sessions.route(async (_request, session, _context: object) => (session.set("n", 1), new Response()));
    for (let times = 0; times < 2; times++) await set(new Request("http://localhost:3000/"), { params: {} });
    expect(opened).toEqual([[]]);

    const given: unknown[] = [];
    const other = application({ store: (context?: object) => (given.push(context), store) });
    const browser = new Browser();
    await browser.visit(() => other.action(login)("ada"));
    await browser.visit(userOf(other));
    expect(new Set(given)).toEqual(new Set([undefined]));
  });

  test("shares the store of sessions without a cookie among themselves alone", async () => {
    const header = "X-Session-Id";
    const visit = async (sessions: NextSession<Data>, id: string, method = "GET") => {
      const handle = sessions.route(async (request, session) => {
        if (request.method === "POST") session.set("n", 1);
        return Response.json((await session.get("n")) ?? null);
      });
      const response = await handle(new Request("http://localhost:3000/", { method, headers: { [header]: id } }));
      return { id: response.headers.get(header) ?? "", n: (await response.json()) as unknown };
    };
    const open = () => nextSession<Data>({ cookie: false, header });
    const { id } = await visit(open(), "", "POST");
    expect((await visit(open(), id)).n).toBe(1);
    expect((await visit(nextSession<Data>({ header }), id)).n).toBeNull();
  });
});

describe("current()", () => {
  test("gives all that render one response the same session, which is loaded once, and what follows an action another one", async () => {
    const store = memoryStore();
    let loads = 0;
    const sessions = application({ store: { ...store, load: (key) => (loads++, store.load(key)) } });
    const browser = new Browser();
    await browser.visit(() => sessions.action(login)("ada"));
    loads = 0;
    await browser.visit(async () => {
      const [layout, page] = await Promise.all([sessions.current(), sessions.current()]);
      expect(page).toBe(layout);
      expect([await layout.get("user"), await (await sessions.current()).get("user")]).toEqual(["ada", "ada"]);
    });
    expect(loads).toBe(1);
    await browser.visit(async () => {
      await sessions.action(async (session) => session.set("n", 7))();
      expect(await (await sessions.current()).get("n")).toBe(7);
    });
  });

  test("stores a change of a session that exists at once, which the next component of the response sees", async () => {
    const sessions = application();
    const browser = new Browser();
    await browser.visit(() => sessions.action(login)("ada"));
    await browser.visit(async () => {
      const session = await sessions.current();
      session.set("n", 1);
      await session.save();
      expect(await (await sessions.current()).get("n")).toBe(1);
    });
    expect(browser.set).toHaveLength(1);
  });

  test("gives a session that cannot begin, since no cookie could be sent", async () => {
    const sessions = application();
    const begin = async () => (await sessions.current()).create();
    expect(await codeOf(() => new Browser().visit(begin))).toBe("ERR_RESPONSE_SENT");
  });

  test("leaves an action's session open to changes when a helper of that action asks for it", async () => {
    const sessions = application();
    const browser = new Browser();
    await browser.visit(() =>
      sessions.action(async (session) => {
        const same = await sessions.current();
        expect(same).toBe(session);
        same.set("user", "ada");
      })(),
    );
    expect(await browser.visit(userOf(sessions))).toBe("ada");
  });

  test.each([
    ["session", { host: "localhost:3000" }],
    ["__Host-session", { "host": "localhost:3000", "x-forwarded-proto": "https,http" }],
    ["__Host-session", { "host": "localhost:3000", "x-forwarded-host": "shop.example" }],
    ["__Host-session", { host: "not a host" }],
    ["session", {}],
  ])("finds the address in the headers: the cookie is %s for %j", async (name, headers) => {
    const sessions = nextSession<Data>();
    const browser = new Browser(headers);
    await browser.visit(() => sessions.action(login)("ada"));
    expect(browser.set.map((cookie) => cookie.name)).toEqual([name]);
    expect(await browser.visit(userOf(sessions))).toBe("ada");
  });

  test.each([
    ["http://shop.example/", { host: "shop.example" }],
    ["https://shop.example/", { "host": "shop.example", "x-forwarded-proto": "https" }],
    ["https://shop.example/", { "host": "shop.example", "x-forwarded-proto": "https , http" }],
    ["http://shop.example/", { "host": "shop.example", "x-forwarded-proto": "http, https" }],
    ["https://shop.example/", { "host": "10.0.0.7", "x-forwarded-host": "shop.example", "x-forwarded-proto": "https" }],
  ])("gives functions of the options a request of the address %s for %j", async (url, headers) => {
    const seen: string[] = [];
    const cookie = (request: Request) => (seen.push(request.url), { name: "own" });
    const sessions = nextSession<Data>({ cookie });
    await new Browser(headers).visit(() => sessions.action(login)("ada"));
    expect([...new Set(seen)]).toEqual([url]);
  });
});

describe("route()", () => {
  test("stores the session, and has its cookie set, when the handler leaves by redirect(), and not when it fails", async () => {
    const sessions = application();
    const browser = new Browser();
    const visit = (user: string, leave: () => never) =>
      browser.visit(() =>
        sessions.route(async (_request, session) => {
          session.set("user", user);
          return leave();
        })(new Request("http://localhost:3000/", { headers: browser.request() })),
      );
    await expect(visit("ada", redirect)).rejects.toThrow("NEXT_REDIRECT");
    const fail = (): never => {
      throw new RangeError("no");
    };
    await expect(visit("eve", fail)).rejects.toThrow(RangeError);
    expect(await browser.visit(userOf(sessions))).toBe("ada");
  });

  test("gives the browser a new id when the handler leaves by redirect(), and the old one is gone", async () => {
    const sessions = application();
    const browser = new Browser();
    await browser.visit(() => sessions.action(login)("ada"));
    const [before] = [...browser.cookies];
    const renew = sessions.route(async (_request, session) => {
      await session.regenerate();
      return redirect();
    });
    const request = new Request("http://localhost:3000/", { headers: browser.request() });
    await expect(browser.visit(() => renew(request))).rejects.toThrow("NEXT_REDIRECT");
    expect([...browser.cookies]).not.toEqual([before]);
    expect(await browser.visit(userOf(sessions))).toBe("ada");
    browser.cookies.set(...before!);
    expect(await browser.visit(userOf(sessions))).toBeUndefined();
  });

  test("gives the browser a new id when the handler leaves by notFound(), with which Next.js sends no cookies of its own", async () => {
    const sessions = application();
    const browser = new Browser();
    await browser.visit(() => sessions.action(login)("ada"));
    const leave = sessions.route(async (_request, session) => {
      await session.regenerate();
      session.set("n", 7);
      throw Object.assign(new Error("NEXT_HTTP_ERROR_FALLBACK;404"), { digest: "NEXT_HTTP_ERROR_FALLBACK;404" });
    });
    const request = new Request("http://localhost:3000/", { headers: browser.request() });
    const response = await browser.visit(() => leave(request));
    expect([response.status, await response.text(), response.headers.get("Cache-Control")]).toEqual([
      404,
      "",
      "no-store",
    ]);
    const [line = ""] = response.headers.getSetCookie();
    browser.cookies.set(...(line.split(";")[0]!.split("=") as [string, string]));
    expect(await browser.visit(async () => ({ ...(await (await sessions.current()).all()) }))).toEqual({
      user: "ada",
      n: 7,
    });
  });

  test("opens a store once for each first argument of the runtime, for all bundles", async () => {
    const opened: unknown[] = [];
    const store = (context: object, ...rest: unknown[]) => {
      opened.push([context, ...rest]);
      return memoryStore();
    };
    const name = `session${++applications}`;
    const context = { params: {} };
    for (let bundle = 0; bundle < 2; bundle++) {
      const sessions = nextSession<Data>({ cookie: { name }, store });
      const handler = sessions.route<[context: object, more: string]>(
        async (_request, session) => new Response(await session.get("user")),
      );
      const headers = { Cookie: `${name}=${"A".repeat(32)}` };
      for (let visit = 0; visit < 2; visit++)
        await handler(new Request("http://localhost:3000/", { headers }), context, "more");
    }
    expect(opened).toEqual([[context, "more"]]);
  });
});

describe("proxy()", () => {
  const next = (): Response => new Response(null, { headers: { "x-middleware-next": "1" } });
  const request = (): Request => new Request("http://localhost:3000/", { headers: { Accept: "text/html" } });

  test("lets the page find the session as the proxy has left it", async () => {
    const sessions = application();
    const proxy = sessions.proxy(async (_request, session) => {
      session.set("user", "ada");
      return next();
    });
    const { headers } = await proxy(request());
    expect(headers.get("x-middleware-override-headers")?.split(",").toSorted()).toEqual(["accept", "cookie"]);
    expect(headers.getSetCookie()).toHaveLength(1);
    const cookie = headers.get("x-middleware-request-cookie") ?? "";
    const page = new Browser({ host: "localhost:3000", cookie });
    expect(await page.visit(userOf(sessions))).toBe("ada");
  });

  test("keeps what Next.js says about caches: no browser keeps a page whose proxy has read the session", async () => {
    const sessions = application();
    const cacheControl = async (answer: Response): Promise<string | null> => {
      const proxy = sessions.proxy(async (_request, session) => {
        await session.get("user");
        return answer;
      });
      return (await proxy(request())).headers.get("Cache-Control");
    };
    expect(await cacheControl(next())).toBe("private, no-cache, no-store, max-age=0, must-revalidate");
    const chosen = next();
    chosen.headers.set("Cache-Control", "private, max-age=60");
    expect(await cacheControl(chosen)).toBe("private, max-age=60");
    expect(await cacheControl(new Response("Stop"))).toBe("private");
    expect((await sessions.proxy(async () => next())(request())).headers.has("Cache-Control")).toBe(false);
  });

  test("leaves a response alone that sets no cookie or does not go on", async () => {
    const sessions = application();
    for (const answer of [next(), new Response("Stop")]) {
      const proxy = sessions.proxy(async (_request, session) => {
        if (answer.status === 200 && answer.body !== null) session.set("user", "ada");
        return answer;
      });
      expect((await proxy(request())).headers.has("x-middleware-override-headers")).toBe(false);
    }
  });
});

test("deviceBound() binds a session whose login is a route, and none whose login is an action", async () => {
  const sessions = application({ plugins: [deviceBound()] });
  const serve = sessions.route(async (_request, session) => new Response(await login(session, "ada")));
  const answered = await serve(new Request("https://shop.example/login", { method: "POST" }));
  expect(answered.headers.get("Secure-Session-Registration")).toMatch(/path="\/dbsc\/start"/);
  expect((await serve(new Request("https://shop.example/dbsc/start", { method: "POST" }))).status).toBe(403);
  const browser = new Browser({ "host": "shop.example", "x-forwarded-proto": "https" });
  await browser.visit(() => sessions.action(login)("ada"));
  // Next.js takes cookies from an action, and no other headers.
  expect(browser.set).toHaveLength(2);
  expect(await browser.visit(userOf(sessions))).toBe("ada");
});
