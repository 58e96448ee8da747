import { expectTypeOf } from "vitest";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  memoryStore,
  type Session,
  SessionError,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  type Transport,
  withSession,
} from "../mod.ts";
import { fileStore } from "../src/stores/file.ts";
import { cookieJar, fakeClock } from "../src/testing.ts";
import {
  altered,
  codeOf,
  cookieOf,
  counted,
  errorOf,
  gate,
  idIn,
  keyOf,
  openStore,
  SHOP,
  temporaryDirectory,
  visitor,
} from "./setup/sessions.ts";

const MADE_UP = "a".repeat(32);
const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");
const destroy = (session: Session): Promise<void> => session.destroy();

describe("the cookie", () => {
  test("[01] [02] [17] a session is created under an id, carried by Set-Cookie, and found again by it", async () => {
    const handle = withSession(async (_request, session) => {
      const visits = await session.update("visits", (n = 0) => n + 1);
      return new Response(`Visit ${visits}`);
    });
    const first = await handle(new Request(SHOP));
    const cookies = first.headers.getSetCookie();
    expect(cookies).toHaveLength(1);
    expect(cookies[0]).toMatch(/^__Host-session=[\w-]{32}; Max-Age=86400; Path=\/; Secure; HttpOnly; SameSite=Lax$/);
    const second = await handle(new Request(SHOP, { headers: { Cookie: cookieOf({ cookies }) } }));
    expect(await second.text()).toBe("Visit 2");
  });

  test("[17] nothing of the data leaves the server, and no id reaches the store", async () => {
    const { store, records } = openStore();
    const { response, cookies } = await visitor({ store, header: "X-Session-Id" })((session) =>
      session.set("card", "4111-1111"),
    );
    expect(JSON.stringify([...response.headers])).not.toContain("4111");
    const id = idIn(cookies) ?? "";
    expect([...records.keys()]).toEqual([keyOf(id)]);
    expect(JSON.stringify([...records.values()].map(({ fields }) => [...fields]))).not.toContain(id);
  });

  test.each(["HYPERF_SESSION_ID", "dmsession", "hertz-session", "__Secure-id", "__Host-id"])(
    "[03] its name can be %s",
    async (name) => {
      const visit = visitor({ cookie: { name } });
      expect((await visit(set)).cookies[0]).toMatch(new RegExp(`^${name}=`));
      expect((await visit(get)).result).toBe(1);
    },
  );

  const attributes: [SessionOptions["cookie"] & object, string][] = [
    [{ name: "s" }, "Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax"],
    [
      { name: "s", domain: "shop.example" },
      "Max-Age=86400; Path=/; Domain=shop.example; Secure; HttpOnly; SameSite=Lax",
    ],
    [{ name: "s", path: "/app" }, "Max-Age=86400; Path=/app; Secure; HttpOnly; SameSite=Lax"],
    [{ name: "s", secure: false }, "Max-Age=86400; Path=/; HttpOnly; SameSite=Lax"],
    [{ name: "s", httpOnly: false }, "Max-Age=86400; Path=/; Secure; SameSite=Lax"],
    [{ name: "s", sameSite: "Strict" }, "Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Strict"],
    [{ name: "s", sameSite: "None" }, "Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=None"],
    [
      { name: "s", sameSite: "None", partitioned: true },
      "Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
    ],
    [{ name: "s", maxAge: 60 }, "Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax"],
    [{ name: "s", maxAge: 0.5 }, "Max-Age=1; Path=/; Secure; HttpOnly; SameSite=Lax"],
    [{ name: "s", maxAge: null }, "Path=/; Secure; HttpOnly; SameSite=Lax"],
    [{ name: "s", maxAge: 1e9 }, "Max-Age=34560000; Path=/; Secure; HttpOnly; SameSite=Lax"],
  ];

  test.each(attributes)("[11] [14] [15] its attributes follow %j", async (cookie, expected) => {
    const { cookies } = await visitor({ cookie })(set, { url: `${SHOP}app/` });
    expect(cookies[0]?.replace(/^s=[^;]+; /, "")).toBe(expected);
  });

  test.each(attributes)("[42] logging out repeats Path, Domain and Partitioned when they are %j", async (cookie) => {
    const visit = visitor({ cookie });
    const url = `${SHOP}app/`;
    const kept = (lines: string[]): unknown =>
      lines[0]?.split("; ").filter((part) => /^(Path|Domain|Secure|HttpOnly|SameSite|Partitioned)/.test(part));
    const first = await visit(set, { url });
    const last = await visit(destroy, { url });
    expect(kept(last.cookies)).toEqual(kept(first.cookies));
    expect(last.cookies[0]).toMatch(/^s=; .*Max-Age=0/);
  });

  test("[15] a browser-session cookie goes with the browser, its session stays in the store", async () => {
    const { store, records } = openStore();
    const jar = cookieJar();
    const visit = visitor({ store, cookie: { maxAge: null } }, { jar });
    const { cookies } = await visit(set);
    expect(cookies[0]).not.toMatch(/Max-Age|Expires/);
    jar.closeBrowser();
    expect((await visit(get)).result).toBe(undefined);
    expect(records.size).toBe(1);
  });

  test("[16] Max-Age follows idleTimeout, 24 hours unless given", async () => {
    expect((await visitor()(set)).cookies[0]).toContain("Max-Age=86400;");
    expect((await visitor({ idleTimeout: 600 })(set)).cookies[0]).toContain("Max-Age=600;");
    expect((await visitor({ idleTimeout: 1e9, absoluteTimeout: false })(set)).cookies[0]).toContain(
      "Max-Age=34560000;",
    );
  });

  test.each([
    "http://localhost/",
    "http://localhost:8787/a?b#c",
    "http://shop.localhost:3000/",
    "http://127.0.0.1:8787/",
    "http://127.1.2.3/",
    "http://[::1]:8787/",
  ])("on %s it is called session, without Secure", async (url) => {
    const visit = visitor();
    const { cookies } = await visit(set, { url });
    expect(cookies[0]).toMatch(/^session=[\w-]{32}; Max-Age=86400; Path=\/; HttpOnly; SameSite=Lax$/);
    expect((await visit(get, { url })).result).toBe(1);
    const last = await visit(destroy, { url });
    expect(last.cookies[0]).toMatch(/^session=; /);
    expect(last.cookies[0]).not.toContain("Secure");
  });

  test.each([
    "https://localhost/",
    "http://shop.example/",
    "http://localhost.example/",
    "http://127.0.0.1.example/",
    "http://mylocalhost/",
    "http://10.0.0.1/",
    "http://[::2]/",
    "http://example.com/?http://localhost/",
  ])("on %s Secure and the prefix stay", async (url) => {
    const { cookies } = await visitor()(set, { url });
    expect(cookies[0]).toMatch(/^__Host-session=.*; Secure; /);
  });

  test.each([
    ["__Secure-id", "id"],
    ["__Host-id", "id"],
    ["plain", "plain"],
  ])("on loopback the prefix of %s is left off", async (name, sent) => {
    const { cookies } = await visitor({ cookie: { name } })(set, { url: "http://localhost/" });
    expect(cookies[0]).toMatch(new RegExp(`^${sent}=`));
  });

  test("on loopback SameSite=None falls back to Lax, and Partitioned is left out", async () => {
    const cookie = { sameSite: "None", partitioned: true } as const;
    const { cookies } = await visitor({ cookie })(set, { url: "http://localhost/" });
    expect(cookies[0]).toMatch(/; SameSite=Lax$/);
  });

  test("off loopback the cookie called session is nobody's, and on it the one with the prefix", async () => {
    const store = memoryStore();
    const id = idIn((await visitor({ store })(set)).cookies);
    const away = await visitor({ store })(get, { headers: { Cookie: `session=${id}` } });
    const here = await visitor({ store })(get, {
      url: "http://localhost/",
      headers: { Cookie: `__Host-session=${id}` },
    });
    expect([away.result, here.result]).toEqual([undefined, undefined]);
  });

  test("two cookies of the name with different values are nobody's; with the same value, its", async () => {
    const store = memoryStore();
    const visit = visitor({ store });
    const [one, other] = [cookieOf(await visitor({ store })(set)), cookieOf(await visitor({ store })(set))];
    for (const [header, expected] of [
      [`${one}; ${other}`, undefined],
      [`${one}; x=1; ${one}`, 1],
      [`${one}; __Host-session=`, undefined],
    ] as const) {
      expect((await visit(get, { headers: { Cookie: header } })).result).toBe(expected);
    }
  });

  test.each([
    "__host-session=ID",
    "__Host-Session=ID",
    "\u00a0__Host-session=ID",
    "__%48ost-session=ID",
    "x__Host-session=ID",
    "__Host-session ID",
    "__Host-session=ID x",
    "__Host-session=ID,",
    "__Host-session=%ID",
  ])("a cookie header like %j gives no session", async (header) => {
    const store = memoryStore();
    const id = idIn((await visitor({ store })(set)).cookies) ?? "";
    const { result } = await visitor({ store })(get, { headers: { Cookie: header.replace("ID", id) } });
    expect(result).toBe(undefined);
  });

  test.each([
    "__Host-session=ID",
    "a=1;__Host-session=ID;b",
    " \t__Host-session \t=\t ID \t",
    '=; ;;__Host-session="ID"',
  ])("a cookie header like %j gives the session", async (header) => {
    const store = memoryStore();
    const id = idIn((await visitor({ store })(set)).cookies) ?? "";
    const { result } = await visitor({ store })(get, { headers: { Cookie: header.replace("ID", id) } });
    expect(result).toBe(1);
  });

  test("ERR_COOKIE_TOO_LARGE is thrown when name and value exceed what browsers keep", async () => {
    expect(await codeOf(() => visitor({ cookie: { name: "n".repeat(4065) } })(set))).toBe("ERR_COOKIE_TOO_LARGE");
    expect((await visitor({ cookie: { name: "n".repeat(4064) } })(set)).cookies[0]).toHaveLength(
      4097 + "; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax".length,
    );
  });

  test("[09] refresh: always sends the cookie with every response whose session was used, the id unchanged", async () => {
    const visit = visitor({ cookie: { refresh: "always" } });
    const { cookies } = await visit(set);
    expect((await visit(get)).cookies).toEqual(cookies);
    expect((await visit((session) => session.set("a", 2))).cookies).toEqual(cookies);
    expect((await visit(() => 0)).cookies).toEqual([]);
    expect((await visitor({ cookie: { refresh: "always" } })(get)).cookies).toEqual([]);
  });

  test("[10] by default it is sent when the id is new, last seen was written or the attributes changed, and else not", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    const sends = async (use: (session: Session) => unknown): Promise<number> => (await visit(use)).cookies.length;
    expect(await sends(set)).toBe(1);
    expect(await sends(get)).toBe(0);
    expect(await sends((session) => session.set("a", 2))).toBe(0);
    expect(await sends((session) => session.regenerate())).toBe(1);
    expect(await sends((session) => session.setTimeouts({ idle: 90_000 }))).toBe(1);
    clock.advance(9000);
    expect(await sends(get)).toBe(1);
    expect(await sends(get)).toBe(0);
    expect(await sends((session) => session.touch())).toBe(1);
  });

  test("other Set-Cookies of the handler are kept, each on its line", async () => {
    const { cookies } = await visitor()((session) => {
      set(session);
      const response = new Response("Hello");
      response.headers.append("Set-Cookie", "a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT");
      response.headers.append("Set-Cookie", "b=2");
      return response;
    });
    expect(cookies).toHaveLength(3);
    expect(cookies.slice(0, 2)).toEqual(["a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "b=2"]);
    expect(cookies[2]).toMatch(/^__Host-session=/);
  });
});

describe("the header", () => {
  const header = "X-Session-Id";
  const told = (response: Response): string => response.headers.get(header) ?? "";

  test("[04] [07] [19] an empty one asks for the id, which then is all that a client without cookies needs", async () => {
    const options = { header, store: memoryStore() };
    const first = await visitor(options)(set, { headers: { [header]: "" } });
    expect(told(first.response)).toMatch(/^[\w-]{32}$/);
    expect(first.cookies).toEqual([]);
    const second = await visitor(options)(get, { headers: { [header]: told(first.response) } });
    expect([second.result, second.cookies]).toEqual([1, []]);
    const third = await visitor(options)((session) => session.regenerate(), {
      headers: { [header]: told(first.response) },
    });
    expect(told(third.response)).toMatch(/^[\w-]{32}$/);
    expect(told(third.response)).not.toBe(told(first.response));
    expect(third.cookies).toEqual([]);
    const last = await visitor(options)(destroy, { headers: { [header]: told(third.response) } });
    expect([last.response.headers.get(header), last.cookies]).toEqual(["", []]);
    expect(last.response.headers.get("Cache-Control")).toBe("no-store");
  });

  test("[19] a client that keeps no cookie and asks for no header begins a session each time", async () => {
    const store = memoryStore();
    const ids = new Set<string | null>();
    for (let n = 0; n < 3; n++) ids.add(idIn((await visitor({ store, header })(set)).cookies));
    expect(ids.size).toBe(3);
  });

  test("[04] a dead id in it is answered in it, by a new one", async () => {
    const { response, cookies } = await visitor({ header })(set, { headers: { [header]: MADE_UP } });
    expect(told(response)).toMatch(/^[\w-]{32}$/);
    expect(told(response)).not.toBe(MADE_UP);
    expect(cookies).toEqual([]);
  });

  test("without it in the request, a new session answers by cookie and in no header", async () => {
    const { response, cookies } = await visitor({ header })(set);
    expect(cookies).toHaveLength(1);
    expect(response.headers.has(header)).toBe(false);
  });

  test("[05] its name is an option, and may equal the cookie's", async () => {
    const options = { header: "session", cookie: { name: "session" }, store: memoryStore() };
    const first = await visitor(options)(set, { headers: { session: "" } });
    const id = first.response.headers.get("session") ?? "";
    expect((await visitor(options)(get, { headers: { session: id } })).result).toBe(1);
    expect((await visitor(options)(get, { headers: { Cookie: `session=${id}` } })).result).toBe(1);
  });

  test("[06] with both present the cookie wins, and nothing is merged", async () => {
    const store = memoryStore();
    const options = { store, header };
    const one = await visitor(options)((session) => session.set({ who: "cookie", a: 1 }));
    const other = await visitor(options)((session) => session.set({ who: "header", b: 2 }), {
      headers: { [header]: "" },
    });
    const headers = { Cookie: cookieOf(one), [header]: told(other.response) };
    const { result, response, cookies } = await visitor(options)(
      async (session) => {
        session.set("c", 3);
        await session.regenerate();
        return await session.all();
      },
      { headers },
    );
    expect({ ...result }).toEqual({ who: "cookie", a: 1, c: 3 });
    expect(cookies).toHaveLength(1);
    expect(response.headers.has(header)).toBe(false);
  });

  test("an Authorization header with a scheme carries the id, in any letter case", async () => {
    const options: SessionOptions = {
      cookie: false,
      header: { name: "Authorization", scheme: "Bearer" },
      store: memoryStore(),
    };
    const { response } = await visitor(options)(set, { headers: { Authorization: "Bearer" } });
    const answer = response.headers.get("Authorization") ?? "";
    expect(answer).toMatch(/^Bearer [\w-]{32}$/);
    for (const Authorization of [answer, answer.replace("Bearer", "bearer"), answer.replace(" ", "  ")]) {
      expect((await visitor(options)(get, { headers: { Authorization } })).result).toBe(1);
    }
    for (const Authorization of [answer.replace("Bearer", "Basic"), answer.slice(7), `Bearer${answer.slice(7)}`]) {
      expect((await visitor(options)(get, { headers: { Authorization } })).result).toBe(undefined);
    }
  });

  test("without a cookie it answers also a client that sends none", async () => {
    const { response, cookies } = await visitor({ header, cookie: false })(set);
    expect(told(response)).toMatch(/^[\w-]{32}$/);
    expect(cookies).toEqual([]);
  });

  test("[19] with cookie: false a cookie is not read", async () => {
    const store = memoryStore();
    const first = await visitor({ store })(set);
    const { result } = await visitor({ store, cookie: false, header })(get, { headers: { Cookie: cookieOf(first) } });
    expect(result).toBe(undefined);
  });

  test.each(["../../etc/passwd", "a b", "x".repeat(10_000), `${MADE_UP}, ${MADE_UP}`, "é".repeat(30), "{}"])(
    "[40] an id like %j costs no store call and is answered by a new one",
    async (id) => {
      const { store, calls } = counted(memoryStore());
      const { response } = await visitor({ store, header })(set, { headers: { [header]: id } });
      expect(told(response)).toMatch(/^[\w-]{32}$/);
      expect(calls).toEqual(["create"]);
    },
  );
});

describe("custom transports", () => {
  const query: Transport = {
    read: (request) => new URL(request.url).searchParams.get("sid"),
    write: (headers, id, { maxAge, request }) =>
      headers.set("X-Next", `${new URL(request.url).pathname}?sid=${id}&for=${maxAge}`),
    clear: (headers) => headers.set("X-Next", "/"),
  };

  test("[08] read, write and clear carry the id in the address", async () => {
    const options = { transports: [query], store: memoryStore() };
    const first = await visitor(options)(set, { url: `${SHOP}basket` });
    const next = first.response.headers.get("X-Next") ?? "";
    expect(next).toMatch(/^\/basket\?sid=[\w-]{32}&for=86400$/);
    expect(first.cookies).toEqual([]);
    expect(first.response.headers.get("Cache-Control")).toBe("no-store");
    const url = new URL(next, SHOP).href;
    expect((await visitor(options)(get, { url })).result).toBe(1);
    expect((await visitor(options)(destroy, { url })).response.headers.get("X-Next")).toBe("/");
    expect((await visitor(options)(get, { url })).result).toBe(undefined);
  });

  test("[08] read may be async and read a form: the handler has the body all the same", async () => {
    const form: Transport = {
      read: async (request) => {
        if (request.method !== "POST") return null;
        const sid = (await request.clone().formData()).get("sid");
        return typeof sid === "string" ? sid : null;
      },
      write: (headers, id) => headers.set("X-Id", id),
      clear: (headers) => headers.delete("X-Id"),
    };
    const store = memoryStore();
    const post = (sid: string): { method: string; body: URLSearchParams } => ({
      method: "POST",
      body: new URLSearchParams({ sid, name: "ada" }),
    });
    const first = await visitor({ store, transports: [form] })(set);
    const id = first.response.headers.get("X-Id") ?? "";
    const lazy = await visitor({ store, transports: [form] })(async (session, request) => {
      const a = await session.get("a");
      return [a, (await request.formData()).get("name")];
    }, post(id));
    const eager = await visitor({ store, transports: [form], load: "eager" })(async (session, request) => {
      const name = (await request.formData()).get("name");
      return [await session.get("a"), name];
    }, post(id));
    expect([lazy.result, eager.result]).toEqual([
      [1, "ada"],
      [1, "ada"],
    ]);
    const unknown = await visitor({ store, transports: [form], load: "eager" })(set, post(MADE_UP));
    expect(unknown.response.headers.get("X-Id")).toMatch(/^[\w-]{32}$/);
    expect(unknown.response.headers.get("X-Id")).not.toBe(MADE_UP);
  });

  test("the first that presents an id answers, and the first of all answers a new session", async () => {
    const named = (name: string, isAsync: boolean): Transport => ({
      read: (request) => (isAsync ? Promise.resolve(request.headers.get(name)) : request.headers.get(name)),
      write: (headers, id) => headers.set(name, id),
      clear: (headers) => headers.delete(name),
    });
    const options = {
      transports: [named("One", false), named("Two", true), named("Three", false)],
      store: memoryStore(),
    };
    const told = ({ response }: { response: Response }): string[] =>
      ["One", "Two", "Three"].filter((name) => response.headers.has(name));
    expect(told(await visitor(options)(set))).toEqual(["One"]);
    expect(told(await visitor(options)(set, { headers: { Two: MADE_UP, Three: MADE_UP } }))).toEqual(["Two"]);
    expect(told(await visitor(options)(set, { headers: { Three: MADE_UP } }))).toEqual(["Three"]);
  });

  test("read is not asked when nobody touches the session, and once when it is used", async () => {
    let reads = 0;
    const counting = { ...query, read: (request: Request) => (reads++, query.read(request)) };
    const visit = visitor({ transports: [counting] });
    await visit(() => 0);
    expect(reads).toBe(0);
    await visit(async (session) => {
      await session.get("a");
      await session.update("a", () => 1);
      await session.save();
    });
    expect(reads).toBe(1);
  });
});

describe("what caches are told", () => {
  const withHeaders =
    (headers: Record<string, string>) =>
    async (session: Session): Promise<Response> => {
      await session.get("a");
      return new Response("Hello", { headers });
    };

  test("a response that carries Set-Cookie gets no-store, whatever the handler said", async () => {
    const visit = visitor();
    for (const use of [set, (session: Session) => session.regenerate(), destroy]) {
      const { response } = await visit(async (session) => {
        await use(session);
        return new Response("Hello", { headers: { "Cache-Control": "public, max-age=600" } });
      });
      expect(response.headers.get("Cache-Control")).toBe("no-store");
    }
  });

  test("a response that carries the id header gets no-store", async () => {
    const { response } = await visitor({ header: "X-Id" })(set, { headers: { "X-Id": "" } });
    expect(response.headers.get("Cache-Control")).toBe("no-store");
  });

  test.each([
    ["was only read", get],
    ["was only asked for has()", (session) => session.has("a")],
    ["was only asked for its id", (session) => session.id()],
    ["was only asked for info()", (session) => session.info()],
    ["was written", (session) => session.set("a", Math.random())],
  ] as [string, (session: Session) => unknown][])("one whose live session %s gets Vary and private", async (_, use) => {
    const visit = visitor();
    await visit(set);
    const { response } = await visit(use);
    expect(response.headers.get("Vary")).toBe("Cookie");
    expect(response.headers.get("Cache-Control")).toBe("private");
  });

  test("one whose session was read without an id gets Vary and private as well", async () => {
    const { response } = await visitor({ header: "X-Id" })(get);
    expect(response.headers.get("Vary")?.split(/, */)).toEqual(["Cookie", "X-Id"]);
    expect(response.headers.get("Cache-Control")).toBe("private");
  });

  test("one that was read under the id header varies on that", async () => {
    const options = { header: "X-Id", store: memoryStore() };
    const first = await visitor(options)(set, { headers: { "X-Id": "" } });
    const { response } = await visitor(options)(get, { headers: { "X-Id": first.response.headers.get("X-Id") ?? "" } });
    expect(response.headers.get("Vary")).toContain("X-Id");
  });

  test("a Cache-Control of the handler's own stays when the session was only read", async () => {
    const { response } = await visitor()(withHeaders({ "Cache-Control": "max-age=5" }));
    expect(response.headers.get("Cache-Control")).toBe("max-age=5");
    expect(response.headers.get("Vary")).toBe("Cookie");
  });

  test.each([
    ["Accept", "Accept, Cookie"],
    ["cookie", "cookie"],
    ["Accept, COOKIE", "Accept, COOKIE"],
    ["*", "*"],
  ])("a Vary of %s becomes %s", async (before, after) => {
    const { response } = await visitor()(withHeaders({ Vary: before }));
    expect(response.headers.get("Vary")).toBe(after);
  });

  test.each([
    ["a new session", set, ""],
    ["a session that ends", destroy, MADE_UP],
  ] as [string, (session: Session) => unknown, string][])(
    "[18] the id header of %s is exposed to other origins where the response lets them in, and nowhere else",
    async (_, use, id) => {
      const respond =
        (headers: Record<string, string>) =>
        async (session: Session): Promise<Response> => {
          await use(session);
          return new Response("Hello", { headers });
        };
      const exposed = async (headers: Record<string, string>): Promise<string | null> => {
        const { response } = await visitor({ header: "X-Id" })(respond(headers), { headers: { "X-Id": id } });
        return response.headers.get("Access-Control-Expose-Headers");
      };
      const allowed = { "Access-Control-Allow-Origin": "https://app.example" };
      expect(await exposed(allowed)).toBe("X-Id");
      expect(await exposed({ ...allowed, "Access-Control-Expose-Headers": "ETag" })).toBe("ETag, X-Id");
      expect(await exposed({ ...allowed, "Access-Control-Expose-Headers": "x-id" })).toBe("x-id");
      expect(await exposed({})).toBe(null);
    },
  );

  test("[18] nothing is exposed when the cookie answers", async () => {
    const { response } = await visitor({ header: "X-Id" })((session) => {
      set(session);
      return new Response("Hello", { headers: { "Access-Control-Allow-Origin": "https://app.example" } });
    });
    expect(response.headers.has("Access-Control-Expose-Headers")).toBe(false);
  });
});

describe("responses", () => {
  test("the handler's very Response comes back when nobody touched the session, with an id or without", async () => {
    const store = memoryStore();
    const { cookies } = await visitor({ store })(set);
    const mine = new Response("Hello");
    const handle = withSession(() => mine, { store });
    for (const headers of [{}, { Cookie: cookieOf({ cookies }) }, { Cookie: "__Host-session=junk" }]) {
      expect(await handle(new Request(SHOP, { headers }))).toBe(mine);
    }
    expect([...mine.headers.keys()]).toEqual(["content-type"]);
  });

  test("a redirect gets the cookie, its status and Location kept", async () => {
    const { response, cookies } = await visitor()(
      (session) => (set(session), Response.redirect(`${SHOP}account`, 303)),
    );
    expect([response.status, response.headers.get("Location"), cookies.length]).toEqual([303, `${SHOP}account`, 1]);
  });

  test("a fetched response gets the cookie, although its headers are immutable", async () => {
    const fetched = await fetch("data:text/plain,Hello");
    expect(() => fetched.headers.set("a", "b")).toThrow(TypeError);
    const { response, cookies } = await visitor()((session) => (set(session), fetched));
    expect([response.status, await response.text(), cookies.length]).toEqual([200, "Hello", 1]);
    expect(response.headers.get("Content-Type")).toContain("text/plain");
  });

  test.each([204, 205, 304])("a response with status %i and no body gets the cookie", async (status) => {
    const { response, cookies } = await visitor()(
      (session) => (set(session), new Response(null, { status, headers: { ETag: "x" } })),
    );
    expect([response.status, response.body, response.headers.get("ETag"), cookies.length]).toEqual([
      status,
      null,
      "x",
      1,
    ]);
  });

  test.each([400, 404, 500, 503])(
    "an error response with status %i gets the cookie, and the session is stored",
    async (status) => {
      const visit = visitor();
      const { response, cookies } = await visit(
        (session) => (set(session), new Response("No", { status, statusText: "Because" })),
      );
      expect([response.status, response.statusText, await response.text(), cookies.length]).toEqual([
        status,
        "Because",
        "No",
        1,
      ]);
      expect((await visit(get)).result).toBe(1);
    },
  );

  test("Response.error() comes back as it is, since nothing can be put on it", async () => {
    const failure = Response.error();
    expect((await visitor()((session) => (set(session), failure))).response).toBe(failure);
  });

  test("a stream is passed on as it comes, with the cookie ahead of it", async () => {
    const end = gate();
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode("first"));
        await end.opened;
        controller.enqueue(new TextEncoder().encode("last"));
        controller.close();
      },
    });
    const { response, cookies } = await visitor()((session) => (set(session), new Response(body)));
    expect(cookies).toHaveLength(1);
    const reader = response.body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("first");
    end.open();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("last");
    expect((await reader.read()).done).toBe(true);
  });

  test("cancelling the response cancels the handler's stream", async () => {
    let reason: unknown;
    const body = new ReadableStream({ cancel: (why) => void (reason = why) });
    const { response } = await visitor()((session) => (set(session), new Response(body)));
    await response.body!.cancel("closed");
    expect(reason).toBe("closed");
  });

  test("save() works while a body is streamed, for a session that exists", async () => {
    const visit = visitor();
    await visit(set);
    const { response } = await visit((session) => {
      const body = new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            session.set("a", 2);
            await session.save();
            controller.close();
          },
        },
        { highWaterMark: 0 },
      );
      return new Response(body);
    });
    expect((await visit(get)).result).toBe(1);
    await response.text();
    expect((await visit(get)).result).toBe(2);
  });

  test("a Response shared between requests is copied: no client gets another's cookie", async () => {
    const shared = new Response(null, { status: 204 });
    const handle = withSession((_request, session) => (set(session), shared));
    const [one, other] = await Promise.all([handle(new Request(SHOP)), handle(new Request(SHOP))]);
    expect([...shared.headers]).toEqual([]);
    expect(one!.headers.getSetCookie()).toHaveLength(1);
    expect(other!.headers.getSetCookie()).toHaveLength(1);
    expect(one!.headers.getSetCookie()).not.toEqual(other!.headers.getSetCookie());
  });

  test("a handler that throws stores nothing, and its error comes out as it is", async () => {
    const { store, calls } = counted(memoryStore());
    const failure = new Error("no");
    await expect(
      visitor({ store })((session) => {
        set(session);
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect(calls).toEqual([]);
  });

  test("[36] what is returned has been stored", async () => {
    const { store, records } = openStore();
    await visitor({ store })(set);
    expect(records.size).toBe(1);
  });
});

describe("the beginning of a session", () => {
  test("[33] no request begins one by itself", async () => {
    const { store, records } = openStore();
    const visit = visitor({ store });
    await visit(() => 0);
    await visit(get);
    await visit((session) => session.all());
    expect(records.size).toBe(0);
  });

  test("[40] a thousand made-up ids leave no record, and none is adopted", async () => {
    const { store, records } = openStore();
    for (let n = 0; n < 1000; n++) {
      await visitor({ store })(get, { headers: { Cookie: `__Host-session=${MADE_UP}${n}` } });
    }
    expect(records.size).toBe(0);
    const { cookies } = await visitor({ store })(set, { headers: { Cookie: `__Host-session=${MADE_UP}` } });
    expect(idIn(cookies)).not.toBe(MADE_UP);
    expect(records.has(keyOf(MADE_UP))).toBe(false);
  });

  test("[13] [40] [44] an expired record is a fresh session under a new id, although the store still has it", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const events: SessionEvent[] = [];
    const options = { store, now: clock.now, observe: (event: SessionEvent) => events.push(event) };
    const headers = { Cookie: cookieOf(await visitor(options)(set)) };
    clock.advance(86_400);
    events.length = 0;
    const { result, cookies } = await visitor(options)(
      async (session) => {
        const before = await session.get("a");
        set(session);
        return [before, (await session.info()).isNew];
      },
      { headers },
    );
    expect(result).toEqual([undefined, true]);
    expect(cookies[0]).not.toContain(headers.Cookie);
    expect(events).toEqual([{ type: "rejected", reason: "expired" }, { type: "created" }]);
    expect(records.size).toBe(2);
  });

  test("[12] [13] the cookie's lifetime governs the cookie only, and without it a live record is out of reach", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const jar = cookieJar({ now: clock.now });
    const visit = visitor({ store, now: clock.now, cookie: { maxAge: 60 } }, { jar });
    const headers = { Cookie: cookieOf(await visit(set)) };
    clock.advance(61);
    expect((await visit(get)).result).toBe(undefined);
    expect(records.size).toBe(1);
    expect((await visitor({ store, now: clock.now })(get, { headers })).result).toBe(1);
  });

  test.each([
    ["has no head", () => new Map([["=a", "1"]])],
    ["is empty", () => new Map()],
    ["has a head that is no JSON", (fields) => new Map(fields).set("@", "{")],
    ["has a head of another kind", (fields) => new Map(fields).set("@", '["x"]')],
    ["has a head that is null", (fields) => new Map(fields).set("@", "null")],
    ["has times that are none", (fields) => new Map(fields).set("@", fields.get("@")!.replace(/\d{10,}/g, '"soon"'))],
  ] as [string, (fields: ReadonlyMap<string, string>) => Map<string, string>][])(
    "a record that %s is no session, is not overwritten, and fails nobody",
    async (_, spoil) => {
      const { store, records } = openStore();
      const events: SessionEvent[] = [];
      const options = { store, observe: (event: SessionEvent) => events.push(event) };
      const headers = { Cookie: cookieOf(await visitor(options)(set)) };
      const [[key, record]] = [...records] as [[string, NonNullable<ReturnType<typeof records.get>>]];
      const spoilt = { ...record, fields: spoil(record.fields) };
      records.set(key, spoilt);
      events.length = 0;
      const { result, cookies } = await visitor(options)(
        async (session) => {
          const value = await session.get("a");
          session.set("a", 2);
          return value;
        },
        { headers },
      );
      expect(result).toBe(undefined);
      expect(events).toEqual([{ type: "rejected", reason: "corrupt" }, { type: "created" }]);
      expect(records.get(key)).toEqual(spoilt);
      expect(cookies[0]).not.toContain(headers.Cookie);
    },
  );

  test("a value that cannot be decoded is no value, and the rest of the session is there", async () => {
    const { store, records } = openStore();
    const events: SessionEvent[] = [];
    const visit = visitor({ store, observe: (event) => events.push(event) });
    await visit((session) => session.set({ a: 1, b: 2 }));
    const [[key, record]] = [...records] as [[string, NonNullable<ReturnType<typeof records.get>>]];
    records.set(key, { ...record, fields: new Map(record.fields).set("=a", "[[[") });
    const { result } = await visit(async (session) => [await session.get("a"), await session.get("b")]);
    expect(result).toEqual([undefined, 2]);
    expect(events).toContainEqual({ type: "rejected", reason: "corrupt" });
  });

  test("a record found under another key is no session", async () => {
    const { store, records } = openStore();
    await visitor({ store })(set);
    const [record] = records.values();
    records.set(keyOf(MADE_UP), record!);
    const { result } = await visitor({ store })(get, { headers: { Cookie: `__Host-session=${MADE_UP}` } });
    expect(result).toBe(undefined);
  });

  test("a record of a newer version of the library is left alone", async () => {
    const { store, records } = openStore();
    const events: SessionEvent[] = [];
    const options = { store, observe: (event: SessionEvent) => events.push(event) };
    const headers = { Cookie: cookieOf(await visitor(options)(set)) };
    const [[key, record]] = [...records] as [[string, NonNullable<ReturnType<typeof records.get>>]];
    const head = { ...JSON.parse(record.fields.get("@")!), format: 99 };
    const newer = { ...record, fields: new Map(record.fields).set("@", JSON.stringify(head)) };
    records.set(key, newer);
    events.length = 0;
    expect((await visitor(options)(get, { headers })).result).toBe(undefined);
    await visitor(options)((session) => session.set("a", 2), { headers });
    expect(events[0]).toEqual({ type: "rejected", reason: "newer" });
    expect(records.get(key)).toEqual(newer);
  });
});

describe("timeouts", () => {
  test("[16] [43] a session that is used, if only read, lives on; one that is not ends at idleTimeout", async () => {
    const clock = fakeClock();
    const jar = cookieJar({ now: clock.now });
    const visit = visitor({ now: clock.now, idleTimeout: 100, absoluteTimeout: false }, { jar });
    await visit(set);
    for (let n = 0; n < 20; n++) {
      clock.advance(90);
      expect((await visit(get)).result).toBe(1);
    }
    clock.advance(100);
    expect((await visit(get)).result).toBe(undefined);
  });

  test("idle: alive one instant before the end, over at it", async () => {
    const clock = fakeClock();
    const options = { now: clock.now, store: memoryStore(), idleTimeout: 100 };
    const headers = { Cookie: cookieOf(await visitor(options)(set)) };
    const open = (at: number): Promise<unknown> =>
      visitor({ ...options, now: () => clock.now() + at })((session) => session.has("a"), { headers }).then(
        ({ result }) => result,
      );
    expect(await open(100_000)).toBe(false);
    expect(await open(99_999)).toBe(true);
  });

  test("touchInterval: within it last seen is left, by writing requests too, so that a session ends between idle − touchInterval and idle", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 100 });
    await visit(set);
    clock.advance(9);
    expect((await visit((session) => session.set("a", 2))).cookies).toEqual([]);
    clock.advance(90);
    expect((await visit((session) => session.has("a"))).result).toBe(true);
    clock.advance(99);
    expect((await visit((session) => session.has("a"))).result).toBe(true);
  });

  test("touchInterval: a session last used within it ends idleTimeout after it was last seen", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 100 });
    await visit(set);
    clock.advance(9);
    await visit((session) => session.set("a", 2));
    clock.advance(91);
    expect((await visit((session) => session.has("a"))).result).toBe(false);
  });

  test("touchInterval: with 0 a session ends exactly at idle after its last use", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 100, touchInterval: 0 });
    await visit(set);
    clock.advance(9);
    expect((await visit(get)).cookies).toHaveLength(1);
    clock.advance(99.999);
    expect((await visit(get)).result).toBe(1);
    clock.advance(100);
    expect((await visit(get)).result).toBe(undefined);
  });

  test("absolute: so long after it began it is over, whatever happens", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 100, absoluteTimeout: 250, touchInterval: 0 });
    await visit(set);
    for (const expected of [1, 1, 1, 1, undefined]) {
      clock.advance(50);
      await visit((session) => session.regenerate());
      expect((await visit(get)).result).toBe(expected);
    }
  });

  test("absolute: 30 days unless given, false for none", async () => {
    const clock = fakeClock();
    const [usual, never] = [visitor({ now: clock.now }), visitor({ now: clock.now, absoluteTimeout: false })];
    await usual(set);
    await never(set);
    for (let day = 1; day <= 61; day++) {
      clock.advance(43_200);
      expect((await usual((session) => session.has("a"))).result).toBe(day < 60);
      expect((await never((session) => session.has("a"))).result).toBe(true);
    }
  });

  test("durations may be fractions of a second", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 0.5, touchInterval: 0.1 });
    await visit(set);
    clock.advance(0.4);
    expect((await visit(get)).result).toBe(1);
    clock.advance(0.6);
    expect((await visit(get)).result).toBe(undefined);
  });

  test("a clock that is set back ends no session, and fails nobody", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit(set);
    clock.advance(-86_400);
    expect((await visit((session) => session.update("a", (a) => a + 1))).result).toBe(2);
  });
});

describe("load", () => {
  test("[41] eager loads before the handler runs", async () => {
    const { store, calls } = counted(memoryStore());
    const jar = cookieJar();
    await visitor({ store }, { jar })(set);
    calls.length = 0;
    const { result } = await visitor({ store, load: "eager" }, { jar })(() => [...calls]);
    expect(result).toEqual(["load"]);
  });

  test("[41] eager turns a failing store into an error before the handler runs", async () => {
    let ran = false;
    const visit = visitor({ store: failing("load"), load: "eager" });
    expect(await codeOf(() => visit(() => (ran = true), { headers: { Cookie: `__Host-session=${MADE_UP}` } }))).toBe(
      "ERR_STORE",
    );
    expect(ran).toBe(false);
  });

  test("[31] [32] the store's function gets the rest, without Session objects, when the session is first used", async () => {
    const store = memoryStore();
    const asked: unknown[][] = [];
    const options = {
      store: (...rest: unknown[]) => {
        asked.push(rest);
        return store;
      },
    };
    const env = { name: "env" };
    const ctx = { waitUntil() {} };
    const inner = withSession(
      async (_request, _admin, _shop: Session, _env: unknown, _ctx: unknown) =>
        new Response(String(await _admin.get("a"))),
      options,
    );
    const outer = withSession(inner, { cookie: { name: "shop" } });
    await outer(new Request(SHOP), env, ctx);
    expect(asked).toEqual([]);
    await outer(new Request(SHOP, { headers: { Cookie: `__Host-session=${MADE_UP}` } }), env, ctx);
    expect(asked).toEqual([[env, ctx]]);
    expect(asked[0]?.[0]).toBe(env);
  });

  test("the store's function may be async, and is called once a request", async () => {
    const store = memoryStore();
    let calls = 0;
    const visit = visitor({ store: async () => (calls++, store) });
    await visit(async (session) => {
      await session.get("a");
      set(session);
      await session.save();
      session.set("a", 2);
    });
    expect(calls).toBe(1);
    expect((await visit(get)).result).toBe(2);
  });
});

describe("persist", () => {
  /** A store that waits with its writes, and a runtime that waits for them. */
  function slow(): {
    store: SessionStore;
    ctx: { waitUntil(promise: Promise<unknown>): void };
    waiting: Promise<unknown>[];
    open: () => void;
    hold: () => void;
  } {
    let writing = Promise.resolve();
    let release = (): void => {};
    const waiting: Promise<unknown>[] = [];
    const store = altered(memoryStore(), {
      create: async (create, ...args) => (await writing, await create(...args)),
      change: async (change, ...args) => (await writing, await change(...args)),
      touch: async (touch, ...args) => (await writing, await touch(...args)),
      delete: async (remove, ...args) => (await writing, await remove(...args)),
    });
    return {
      store,
      waiting,
      ctx: {
        waitUntil(promise) {
          // As the platforms' own do, it insists on being called as a method.
          expect(this.waitUntil).toBeDefined();
          waiting.push(promise);
        },
      },
      hold: () => {
        const held = gate();
        [writing, release] = [held.opened, held.open];
      },
      open: () => release(),
    };
  }

  /** Whether a promise settles before the writes are let through. */
  async function isFirst(promise: Promise<unknown>): Promise<boolean> {
    const ticks = (async () => {
      for (let n = 0; n < 5; n++) await new Promise((resolve) => setImmediate(resolve));
      return false;
    })();
    return await Promise.race([promise.then(() => true), ticks]);
  }

  test.each([
    ["a change", (session) => session.set("a", 2), true],
    ["a touch", (session) => session.touch(), true],
    ["a change after a read", (session) => session.update("a", () => 2), true],
    ["a regenerated session", (session) => session.regenerate(), false],
    ["a destroyed session", destroy, false],
    ["a redirect", (session) => (session.set("a", 2), Response.redirect(SHOP, 303)), false],
  ] as [string, (session: Session) => unknown, boolean][])(
    "[37] after-response: the response to %s goes out first: %s",
    async (_, use, first) => {
      const { store, ctx, waiting, hold, open } = slow();
      const handle = withSession(
        async (_request, session: Session, _env: unknown, _ctx: unknown) => {
          const result = await use(session);
          return result instanceof Response ? result : new Response("Hello");
        },
        { store, persist: "after-response" },
      );
      const { cookies } = await visitor({ store })(set);
      hold();
      const answered = handle(new Request(SHOP, { headers: { Cookie: cookieOf({ cookies }) } }), {}, ctx);
      expect(await isFirst(answered)).toBe(first);
      open();
      await answered;
      await Promise.all(waiting);
      expect(waiting).toHaveLength(first ? 1 : 0);
    },
  );

  test("[37] after-response: a new session is awaited", async () => {
    const { store, ctx, waiting, hold, open } = slow();
    const handle = withSession((_request, session: Session, _ctx: unknown) => (set(session), new Response("Hello")), {
      store,
      persist: "after-response",
    });
    hold();
    const answered = handle(new Request(SHOP), ctx);
    expect(await isFirst(answered)).toBe(false);
    open();
    expect((await answered).headers.getSetCookie()).toHaveLength(1);
    expect(waiting).toEqual([]);
  });

  test("[37] after-response: without a waitUntil it is awaited", async () => {
    const { store, hold, open } = slow();
    const jar = cookieJar();
    const visit = visitor({ store, persist: "after-response" }, { jar });
    await visit(set);
    hold();
    const answered = visit((session) => session.set("a", 2));
    expect(await isFirst(answered)).toBe(false);
    open();
    await answered;
    expect((await visit(get)).result).toBe(2);
  });

  test("[37] after-response: what was stored late is there, with the cookie of its touch, and a failure is heard by observe", async () => {
    const waiting: Promise<unknown>[] = [];
    const ctx = { waitUntil: (promise: Promise<unknown>) => void waiting.push(promise) };
    const events: SessionEvent[] = [];
    const clock = fakeClock();
    let fails = false;
    const store = altered(memoryStore(), {
      change: (change, ...args) => (fails ? Promise.reject(new Error("down")) : change(...args)),
    });
    const options = {
      store,
      now: clock.now,
      persist: "after-response",
      observe: (event: SessionEvent) => events.push(event),
    } as const;
    const handle = withSession(
      (_request, session: Session, _ctx: unknown) => (session.set("a", 2), new Response("Hello")),
      options,
    );
    const headers = { Cookie: cookieOf(await visitor(options)(set)) };
    clock.advance(10_000);
    const response = await handle(new Request(SHOP, { headers }), ctx);
    expect(response.headers.getSetCookie()).toHaveLength(1);
    await Promise.all(waiting);
    expect((await visitor(options)(get, { headers })).result).toBe(2);
    fails = true;
    events.length = 0;
    const failed = await withSession(
      (_request, session: Session, _ctx: unknown) => (session.set("a", 3), new Response("Hello")),
      options,
    )(new Request(SHOP, { headers }), ctx);
    expect(failed.status).toBe(200);
    await Promise.all(waiting);
    expect(events.at(-1)).toMatchObject({ type: "failed", during: "store", error: { code: "ERR_STORE" } });
    expect((await visitor(options)(get, { headers })).result).toBe(2);
  });

  test("[37] before-response leaves waitUntil alone", async () => {
    const { store, ctx, waiting } = slow();
    const handle = withSession((_request, session: Session, _ctx: unknown) => (set(session), new Response("Hello")), {
      store,
    });
    const cookie = (await handle(new Request(SHOP), ctx)).headers.getSetCookie();
    await handle(new Request(SHOP, { headers: { Cookie: cookieOf({ cookies: cookie }) } }), ctx);
    expect(waiting).toEqual([]);
  });
});

describe("a failing store", () => {
  const headers = { Cookie: `__Host-session=${MADE_UP}` };

  test("throws ERR_STORE when it cannot load, at the read and not before, and each read asks again", async () => {
    const base = memoryStore();
    let fails = true;
    const store = altered(base, {
      load: (load, ...args) => (fails ? Promise.reject(new Error("down")) : load(...args)),
    });
    const { cookies } = await visitor({ store })(set);
    const { result, response } = await visitor({ store })(
      async (session) => {
        const code = await codeOf(() => session.get("a"));
        fails = false;
        return [code, await session.get("a")];
      },
      { headers: { Cookie: cookieOf({ cookies }) } },
    );
    expect(result).toEqual(["ERR_STORE", 1]);
    expect(response.status).toBe(200);
  });

  test.each(["create", "change", "touch", "delete"] as const)(
    "throws ERR_STORE, and sends no cookie, when it cannot %s",
    async (verb) => {
      const clock = fakeClock();
      let fails = false;
      const store = altered(memoryStore(), {
        [verb]: (call: (...args: unknown[]) => unknown, ...args: unknown[]) =>
          fails ? Promise.reject(new Error("down")) : call(...args),
      });
      const visit = visitor({ store, now: clock.now });
      if (verb !== "create") await visit(set);
      fails = true;
      const use = {
        create: set,
        change: (session: Session) => session.set("a", 2),
        touch: (session: Session) => session.touch(),
        delete: destroy,
      }[verb];
      expect(await codeOf(() => visit(use))).toBe("ERR_STORE");
      fails = false;
      expect((await visit(get)).result).toBe(verb === "create" ? undefined : 1);
    },
  );

  test("throws ERR_STORE when its function throws, and whatever it throws is not let out", async () => {
    const error = await errorOf(() =>
      visitor({
        store: () => {
          throw new Error("redis://user:password@host");
        },
      })(set),
    );
    expect(error.code).toBe("ERR_STORE");
    expect(error.message).not.toContain("password");
  });

  test("anonymous: a load that fails is a request without a session, which writes nothing and leaves the cookie alone", async () => {
    const events: SessionEvent[] = [];
    const { store, calls } = counted(failing("load"));
    const visit = visitor({ store, onStoreError: "anonymous", observe: (event) => events.push(event) });
    for (const use of [
      set,
      destroy,
      (session: Session) => session.update("a", (a = 0) => a + 1),
      (session: Session) => session.regenerate(),
    ]) {
      const { result, cookies, response } = await visit(
        async (session) => {
          const before = await session.get("a");
          await use(session);
          return [before, (await session.info()).isNew];
        },
        { headers },
      );
      expect([result, cookies, response.status]).toEqual([[undefined, true], [], 200]);
    }
    expect(new Set(calls)).toEqual(new Set(["load"]));
    expect(events[0]).toMatchObject({ type: "failed", during: "load", error: { code: "ERR_STORE" } });
  });

  test.each(["create", "change", "touch", "delete"] as const)(
    "anonymous: a %s that fails lets the response go out, without a cookie",
    async (verb) => {
      const events: SessionEvent[] = [];
      let fails = false;
      const store = altered(memoryStore(), {
        [verb]: (call: (...args: unknown[]) => unknown, ...args: unknown[]) =>
          fails ? Promise.reject(new Error("down")) : call(...args),
      });
      const jar = cookieJar();
      const visit = visitor({ store, onStoreError: "anonymous", observe: (event) => events.push(event) }, { jar });
      if (verb !== "create") await visit(set);
      const before = jar.header(SHOP);
      fails = true;
      const use = {
        create: set,
        change: (session: Session) => session.set("a", 2),
        touch: (session: Session) => session.touch(),
        delete: destroy,
      }[verb];
      const { response, cookies } = await visit(
        async (session) => (await use(session), new Response("Hello", { status: 201 })),
      );
      expect([response.status, cookies, jar.header(SHOP)]).toEqual([201, [], before]);
      expect(events.at(-1)).toMatchObject({ type: "failed", during: "store" });
      fails = false;
      expect((await visit(get)).result).toBe(verb === "create" ? undefined : 1);
    },
  );

  test("anonymous: a value that cannot be stored, or does not fit the schema, is an error all the same", async () => {
    const schema = z.object({ a: z.number().optional() });
    const visit = visitor({ schema, onStoreError: "anonymous" });
    expect(await codeOf(() => visit((session) => session.set("a", "one" as unknown as number)))).toBe("ERR_SCHEMA");
  });

  test.each(["load", "create"] as const)(
    "throws ERR_STORE_TIMEOUT when a %s takes longer than storeTimeout",
    async (verb) => {
      const store = altered(memoryStore(), { [verb]: () => new Promise(() => {}) });
      const visit = visitor({ store, storeTimeout: 0.02 });
      const use = verb === "load" ? get : set;
      const init = verb === "load" ? { headers } : {};
      expect(await codeOf(() => visit(use, init))).toBe("ERR_STORE_TIMEOUT");
      expect((await visitor({ store, storeTimeout: 0.02, onStoreError: "anonymous" })(use, init)).cookies).toEqual([]);
    },
  );

  test("throws ERR_CONFLICT when it never wins within storeTimeout", async () => {
    const store = altered(memoryStore(), { change: async () => "conflict" });
    const events: SessionEvent[] = [];
    const visit = visitor({ store, storeTimeout: 0.3, observe: (event) => events.push(event) });
    await visit(set);
    expect(await codeOf(() => visit((session) => session.update("a", (a) => a + 1)))).toBe("ERR_CONFLICT");
    expect(events.filter(({ type }) => type === "conflict").length).toBeGreaterThan(1);
    expect(events.at(-1)).toMatchObject({ type: "failed" });
  });

  test("[storeTimeout] may be longer than a timer can be", async () => {
    const slow = altered(memoryStore(), {
      create: async (create, ...args) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return await create(...args);
      },
    });
    const { cookies } = await visitor({ store: slow, storeTimeout: 3_000_000 })((session) => session.set("n", 1));
    expect(cookies).toHaveLength(1);
  });

  test("a store whose client sends a command each time that its answer is awaited is waited for once", async () => {
    const store = memoryStore();
    /** As the queries of many a database's client: they are sent by whoever waits. */
    const lazily = <Answer>(send: () => Promise<Answer>): Promise<Answer> => ({
      // oxlint-disable-next-line unicorn/no-thenable, promise/no-callback-in-promise -- that is what such clients give
      then: (done, failed) => send().then(done, failed),
      catch: (failed) => send().catch(failed),
      finally: (settled) => send().finally(settled),
      [Symbol.toStringTag]: "Query",
    });
    const visit = visitor({ store: altered(store, { change: (change, ...args) => lazily(() => change(...args)) }) });
    await visit((session) => session.set("n", 1));
    await visit((session) => session.update("n", (n) => n + 1));
    expect((await visit((session) => session.get("n"))).result).toBe(2);
  });

  test("throws ERR_RECORD_TOO_LARGE as the store does", async () => {
    const failure = new SessionError(
      "ERR_RECORD_TOO_LARGE",
      "Cannot store the session: its record is 70 bytes, Toy takes 60",
    );
    const store = altered(memoryStore(), { create: () => Promise.reject(failure) });
    await expect(visitor({ store })(set)).rejects.toBe(failure);
  });

  test("an outage is not a logout: the session and its cookie are there when it is over", async () => {
    for (const onStoreError of ["throw", "anonymous"] as const) {
      let fails = false;
      const fail = <Args extends unknown[], Answer>(
        call: (...args: Args) => Promise<Answer>,
        ...args: Args
      ): Promise<Answer> => (fails ? Promise.reject(new Error("down")) : call(...args));
      const store = altered(memoryStore(), { load: fail, create: fail, change: fail, touch: fail, delete: fail });
      const jar = cookieJar();
      const visit = visitor({ store, onStoreError }, { jar });
      await visit(set);
      const before = jar.header(SHOP);
      fails = true;
      for (const use of [get, set, destroy, (session: Session) => session.regenerate()]) {
        await visit(use).catch(() => {});
      }
      fails = false;
      expect(jar.header(SHOP)).toBe(before);
      expect((await visit(get)).result).toBe(1);
    }
  });
});

describe("errors", () => {
  test("tell no id, store key or value, in message, cause or event, whatever the client of the store throws", async () => {
    const id = "S".repeat(32);
    const secrets = [id, keyOf(id), "the value", "the flash"];
    const events: SessionEvent[] = [];
    const errors: unknown[] = [];
    const leak = async (_: unknown, ...args: unknown[]): Promise<never> => {
      throw Object.assign(
        new TypeError(`SET ${JSON.stringify(args)} ${secrets.join(" ")}`, { cause: new Error(secrets.join(" ")) }),
        {
          command: args,
          code: "ECONNRESET",
        },
      );
    };
    for (const verb of ["load", "create", "change", "touch", "delete"] as const) {
      let leaks = false;
      const store = altered(memoryStore(), {
        [verb]: (call: (...args: unknown[]) => unknown, ...args: unknown[]) =>
          leaks ? leak(0, ...args) : call(...args),
      });
      const visit = visitor({ store, generateId: () => id, observe: (event) => events.push(event) });
      if (verb !== "create") await visit((session) => session.set("key", "the value"));
      leaks = true;
      await visit(async (session) => {
        if (verb === "delete") return await session.destroy();
        if (verb === "touch") return session.touch();
        session.set("key", "the value!");
        session.flash("notice", "the flash");
      }).catch((error: unknown) => errors.push(error));
    }
    expect(errors).toHaveLength(5);
    for (const error of errors) expect(error).toBeInstanceOf(SessionError);
    const shown = (error: unknown): string =>
      error instanceof Error
        ? `${error} ${error.stack} ${JSON.stringify({ ...error })} ${shown(error.cause)}`
        : String(error);
    const said = [
      ...errors.map(shown),
      ...events.map((event) => ("error" in event ? shown(event.error) : JSON.stringify(event))),
    ].join("\n");
    for (const secret of secrets) expect(said).not.toContain(secret);
  });

  test("name the class and system code of what the client threw", async () => {
    const store = altered(memoryStore(), {
      create: () => Promise.reject(Object.assign(new TypeError("secret"), { code: "ECONNREFUSED" })),
    });
    const error = await errorOf(() => visitor({ store })(set));
    expect(error.name).toBe("SessionError");
    expect(String(error.cause)).toContain("TypeError ECONNREFUSED");
    expect(String(error.cause)).not.toContain("secret");
  });
});

describe("observe", () => {
  test("hears what happens to sessions", async () => {
    const clock = fakeClock();
    const events: SessionEvent[] = [];
    const visit = visitor({ now: clock.now, observe: (event) => events.push(event) });
    const heard = async (use: (session: Session) => unknown, init = {}): Promise<SessionEvent[]> => {
      events.length = 0;
      await visit(use, init);
      return [...events];
    };
    expect(await heard(() => 0)).toEqual([]);
    expect(await heard(get)).toEqual([]);
    expect(await heard(set)).toEqual([{ type: "created" }]);
    expect(await heard(get)).toEqual([{ type: "loaded" }]);
    expect(await heard((session) => session.set("a", 2))).toEqual([
      { type: "loaded" },
      { type: "changed", attempts: 1 },
    ]);
    expect(await heard((session) => session.touch())).toEqual([{ type: "loaded" }, { type: "touched" }]);
    expect(await heard((session) => session.regenerate())).toEqual([{ type: "loaded" }, { type: "regenerated" }]);
    expect(await heard(destroy)).toEqual([{ type: "loaded" }, { type: "destroyed" }]);
    expect(await heard(get, { headers: { Cookie: `__Host-session=${MADE_UP}` } })).toEqual([
      { type: "rejected", reason: "unknown" },
    ]);
    expect(await heard(get, { headers: { Cookie: "__Host-session=junk" } })).toEqual([
      { type: "rejected", reason: "malformed" },
    ]);
  });

  test("may throw without anybody noticing", async () => {
    const visit = visitor({
      observe: () => {
        throw new Error("no");
      },
    });
    await visit(set);
    expect((await visit(get)).result).toBe(1);
  });
});

describe("several sessions", () => {
  test("[53] composition gives the handler each of them, with their own cookies and stores", async () => {
    const [admins, shoppers] = [openStore(), openStore()];
    const admin = { store: admins.store, cookie: { name: "__Host-admin" } };
    const shop = { store: shoppers.store };
    const handle = withSession(
      withSession(async (request, adminSession, shopSession: Session, env: { name: string }) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/both") {
          adminSession.set("who", "admin");
          shopSession.set("who", "shopper");
        }
        return Response.json([
          pathname === "/none" ? null : await adminSession.get("who"),
          pathname === "/all" ? await shopSession.get("who") : null,
          env.name,
        ]);
      }, admin),
      shop,
    );
    const jar = cookieJar();
    const send = (path: string): Promise<Response> =>
      jar.fetch((request) => handle(request, { name: "env" }), `${SHOP}${path}`);
    const first = await send("both");
    expect(
      first.headers
        .getSetCookie()
        .map((line) => line.split("=")[0])
        .toSorted(),
    ).toEqual(["__Host-admin", "__Host-session"]);
    expect(await (await send("all")).json()).toEqual(["admin", "shopper", "env"]);
    expect([admins.records.size, shoppers.records.size]).toEqual([1, 1]);
    const none = await send("none");
    expect(none.headers.has("Vary")).toBe(false);
    expect((await send("one")).headers.get("Vary")).toBe("Cookie");
  });

  const shared = new SessionManager();
  test.each<[string, SessionOptions | SessionManager, SessionOptions | SessionManager]>([
    ["the default", {}, {}],
    ["a name", { cookie: { name: "s" } }, { cookie: { name: "s", path: "/app" } }],
    ["what is one name on loopback", { cookie: { name: "__Host-s" } }, { cookie: { name: "__Secure-s" } }],
    ["that of one manager", shared, shared],
  ])("[53] composition throws a TypeError when two sessions have one cookie: %s", (_name, inner, outer) => {
    const handle = withSession(() => new Response("Hello"), inner);
    const between = withSession(handle, { cookie: { name: "between" } });
    expect(() => withSession(handle, outer)).toThrow(TypeError);
    expect(() => withSession(between, outer)).toThrow(/one cookie/);
  });

  test("[53] composition takes sessions that have no cookie beside others, and one handler wrapped twice", () => {
    const handle = withSession(() => new Response("Hello"), {});
    expect(() => withSession(handle, { cookie: false, header: "X-Session-Id" })).not.toThrow();
    const transport = { read: () => null, write() {}, clear() {} };
    expect(() => withSession(handle, { transports: [transport] })).not.toThrow();
    expect(() => [1, 2].map(() => withSession(handle, { cookie: { name: "s" } }))).not.toThrow();
  });

  test("[53] a response that hands out one id and only read the other is not stored by caches", async () => {
    for (const [inner, outer] of [
      [set, get],
      [get, set],
    ] as const) {
      const handle = withSession(
        withSession(
          async (_request, one, other: Session) => {
            await inner(one);
            await outer(other);
            return new Response("Hello");
          },
          { cookie: { name: "one" } },
        ),
        { cookie: { name: "other" } },
      );
      const response = await handle(new Request(SHOP));
      expect(response.headers.get("Cache-Control")).toBe("no-store");
      expect(response.headers.getSetCookie()).toHaveLength(1);
    }
  });
});

test("withSession() says so when a handler returns nothing", async () => {
  const forgetful = withSession((async () => {}) as unknown as () => Response);
  await expect(forgetful(new Request(SHOP))).rejects.toThrow(
    new TypeError("The handler of withSession returned no Response"),
  );
});

describe("a schema", () => {
  const schema = z.object({ name: z.string().optional(), visits: z.number().default(0) });

  test("is checked on write: ERR_SCHEMA names the key and no value, and nothing is stored", async () => {
    const { store, records } = openStore();
    const error = await errorOf(() =>
      visitor({ store, schema })((session) => session.set("name", 4711 as unknown as string)),
    );
    expect(error.code).toBe("ERR_SCHEMA");
    expect(error.message).toContain("name");
    expect(error.message).not.toContain("4711");
    expect(records.size).toBe(0);
  });

  test("is not stored at the end of the request when save() has refused it and the handler has answered", async () => {
    const { store, records } = openStore();
    const visit = visitor({ store, schema });
    const { result, cookies } = await visit(async (session) => {
      session.set("name", 4711 as unknown as string);
      return await codeOf(() => session.save());
    });
    expect([result, cookies, records.size]).toEqual(["ERR_SCHEMA", [], 0]);

    await visit((session) => session.set("name", "Ada"));
    await visit(async (session) => {
      await session.regenerate();
      session.set("name", 4711 as unknown as string);
      return await codeOf(() => session.save());
    });
    expect((await visit((session) => session.all())).result).toEqual({ name: "Ada", visits: 0 });
  });

  test("is stored at the end of the request when save() has refused it and the handler has mended it", async () => {
    const visit = visitor({ schema });
    await visit(async (session) => {
      session.set({ name: 4711 as unknown as string, visits: 3 });
      expect(await codeOf(() => session.save())).toBe("ERR_SCHEMA");
      session.set("name", "Ada");
    });
    expect((await visit((session) => session.all())).result).toEqual({ name: "Ada", visits: 3 });
  });

  test("is checked on write when a regenerated session takes over what another request has stored meanwhile", async () => {
    const small = z.object({ n: z.number().max(10).optional() });
    const options = { store: memoryStore(), schema: small };
    const jar = cookieJar();
    const visit = visitor(options, { jar });
    await visit((session) => session.set("n", 9));
    const code = await codeOf(() =>
      visit(async (session) => {
        await session.regenerate();
        await session.update("n", (n = 0) => n + 1);
        await visitor(options, { jar })((other) => other.set("n", 10));
      }),
    );
    expect(code).toBe("ERR_SCHEMA");
    expect((await visit((session) => session.get("n"))).result).toBe(10);
  });

  test("is checked on load: what does not fit is no session, and observe hears rejected", async () => {
    const store = memoryStore();
    const events: SessionEvent[] = [];
    const headers = { Cookie: cookieOf(await visitor({ store })((session) => session.set("name", 4711))) };
    const { result } = await visitor({ store, schema, observe: (event) => events.push(event) })(
      (session) => session.get("name"),
      { headers },
    );
    expect(result).toBe(undefined);
    expect(events).toEqual([{ type: "rejected", reason: "schema" }]);
  });

  test("gives what it makes of the data, and that is no change", async () => {
    const { store, calls } = counted(memoryStore());
    const headers = { Cookie: cookieOf(await visitor({ store })((session) => session.set("name", "ada"))) };
    calls.length = 0;
    const { result } = await visitor({ store, schema })((session) => session.all(), { headers });
    expect({ ...result }).toEqual({ name: "ada", visits: 0 });
    expect(calls).toEqual(["load"]);
  });

  test("says what the data look like, as a manager and a type argument do", () => {
    withSession(
      async (_request, session) => {
        expectTypeOf(await session.get("name")).toEqualTypeOf<string | undefined>();
        // @ts-expect-error there is no such key
        session.set("nmae", "ada");
        // @ts-expect-error a name is text
        session.set("name", 1);
        return new Response();
      },
      { schema },
    );
    withSession(async (_request, session) => {
      expectTypeOf(await session.get("user")).toEqualTypeOf<string | undefined>();
      return new Response();
    }, new SessionManager<{ user?: string }>());
    withSession<{ user?: string }>(async (_request, session) => {
      expectTypeOf(await session.get("user", null)).toEqualTypeOf<string | null>();
      return new Response();
    });
  });
});

describe("stores", () => {
  test("[20] [25] [26] changing the store is changing one option, for one of the project's or of one's own", async () => {
    const shop = (store: SessionStore): Promise<unknown> => {
      const visit = visitor({ store });
      return visit(set)
        .then(() => visit(async (session) => session.update("a", (a) => a + 1)))
        .then(() => visit(get))
        .then(({ result }) => result);
    };
    for (const store of [memoryStore(), fileStore({ directory: await temporaryDirectory() }), openStore().store]) {
      expect(await shop(store)).toBe(2);
    }
  });

  test("[20] [21] [28] memory is gone after a restart, a folder is not", async () => {
    const directory = await temporaryDirectory();
    for (const [open, expected] of [
      [() => memoryStore(), undefined],
      [() => fileStore({ directory }), 1],
    ] as const) {
      const jar = cookieJar();
      await visitor({ store: open() }, { jar })(set);
      expect((await visitor({ store: open() }, { jar })(get)).result).toBe(expected);
    }
  });

  test("[58] one manager serves all requests at once, each with its own session", async () => {
    const sessions = new SessionManager();
    const names = Array.from({ length: 50 }, (_, n) => `client ${n}`);
    const seen = await Promise.all(
      names.map(async (name) => {
        const visit = visitor(sessions);
        await visit((session) => session.set("name", name));
        return (await visit((session) => session.get("name"))).result;
      }),
    );
    expect(seen).toEqual(names);
  });

  test("[59] withSession(handler) alone works, and two of them share nothing", async () => {
    const wrap = () =>
      withSession(async (_request, session) => new Response(String(await session.update("n", (n = 0) => n + 1))));
    const [one, other] = [wrap(), wrap()];
    const first = await one(new Request(SHOP));
    const headers = { Cookie: cookieOf({ cookies: first.headers.getSetCookie() }) };
    expect(await (await one(new Request(SHOP, { headers }))).text()).toBe("2");
    expect(await (await other(new Request(SHOP, { headers }))).text()).toBe("1");
  });
});

describe("misuse", () => {
  const wrong: [string, unknown, typeof TypeError | typeof RangeError][] = [
    ["__Host- with a domain", { cookie: { name: "__Host-a", domain: "shop.example" } }, TypeError],
    ["the default name with a domain", { cookie: { domain: "shop.example" } }, TypeError],
    ["__Host- with another path", { cookie: { path: "/app" } }, TypeError],
    ["__Host- with secure: false", { cookie: { secure: false } }, TypeError],
    ["__Secure- with secure: false", { cookie: { name: "__Secure-a", secure: false } }, TypeError],
    ["SameSite=None without secure", { cookie: { name: "a", sameSite: "None", secure: false } }, TypeError],
    ["partitioned without secure", { cookie: { name: "a", partitioned: true, secure: false } }, TypeError],
    ["a sameSite that is none", { cookie: { sameSite: "lax" } }, TypeError],
    ["a cookie name with a space", { cookie: { name: "a b" } }, TypeError],
    ["an empty cookie name", { cookie: { name: "" } }, TypeError],
    ["a cookie name with =", { cookie: { name: "a=b" } }, TypeError],
    ["a path with a semicolon", { cookie: { name: "a", path: "/;Domain=x" } }, TypeError],
    ["a path without a slash", { cookie: { name: "a", path: "app" } }, TypeError],
    ["a domain with a semicolon", { cookie: { name: "a", domain: "a;b" } }, TypeError],
    ["a maxAge of NaN", { cookie: { maxAge: NaN } }, RangeError],
    ["a negative maxAge", { cookie: { maxAge: -1 } }, RangeError],
    ["a refresh that is none", { cookie: { refresh: "sometimes" } }, TypeError],
    ["a header name with a space", { header: "X Session" }, TypeError],
    ["an empty header name", { header: "" }, TypeError],
    ["a scheme that is none", { header: { name: "Authorization", scheme: "Basic" } }, TypeError],
    ["neither cookie nor header", { cookie: false }, TypeError],
    ["no transports", { transports: [] }, TypeError],
    ["transports that are no list", { transports: {} }, TypeError],
    ["an idleTimeout of 0", { idleTimeout: 0 }, RangeError],
    ["a negative idleTimeout", { idleTimeout: -1 }, RangeError],
    ["an infinite idleTimeout", { idleTimeout: Infinity }, RangeError],
    ["an idleTimeout that is text", { idleTimeout: "60" }, RangeError],
    ["an absoluteTimeout of 0", { absoluteTimeout: 0 }, RangeError],
    ["a negative touchInterval", { touchInterval: -1 }, RangeError],
    ["a touchInterval as long as idleTimeout", { idleTimeout: 60, touchInterval: 60 }, RangeError],
    ["a storeTimeout of NaN", { storeTimeout: NaN }, RangeError],
    ["a store that is none", { store: {} }, TypeError],
    ["a store that is null", { store: null }, TypeError],
    ["a load that is none", { load: "soon" }, TypeError],
    ["a persist that is none", { persist: "never" }, TypeError],
    ["an onStoreError that is none", { onStoreError: "ignore" }, TypeError],
    ["an observe that is none", { observe: {} }, TypeError],
    ["a generateId that is none", { generateId: "id" }, TypeError],
    ["a now that is none", { now: 0 }, TypeError],
    ["a schema that is none", { schema: {} }, TypeError],
    ["a codec that is none", { codec: {} }, TypeError],
    ["a transport that is none", { transports: [{}] }, TypeError],
    ["secrets that are empty", { secrets: [] }, TypeError],
    ["secrets with an empty one", { secrets: ["x".repeat(32), ""] }, RangeError],
    ["an encrypt that is none", { encrypt: "yes" }, TypeError],
  ];

  test.each(wrong)("%s throws when the handler is wrapped", (_, options, error) => {
    const fine = options as SessionOptions;
    expect(() => withSession(() => new Response(), fine)).toThrow(error);
    expect(() => new SessionManager(fine)).toThrow(error);
  });

  test("a handler that is none throws when it is wrapped", () => {
    expect(() => withSession(undefined as unknown as () => Response)).toThrow(TypeError);
  });

  test("options are not changed, and may be frozen", async () => {
    const options = Object.freeze({ cookie: Object.freeze({ name: "s" }), secrets: Object.freeze(["x".repeat(32)]) });
    const visit = visitor(options);
    await visit(set);
    expect((await visit(get)).result).toBe(1);
  });
});

function failing(...verbs: ("load" | "create")[]): SessionStore {
  const fail = (): Promise<never> => Promise.reject(new Error("down"));
  return altered(memoryStore(), Object.fromEntries(verbs.map((verb) => [verb, fail])));
}
