import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionOptions, withSession } from "../../mod.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import { codeOf, cookieOf, idIn, keyOf, openStore, SHOP, visitor } from "../setup/sessions.ts";

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
    const { cookies } = await visitor({ cookie, touchInterval: 0 })(set, { url: `${SHOP}app/` });
    expect(cookies[0]?.replace(/^s=[^;]+; /, "")).toBe(expected);
  });

  test.each(attributes)("[42] logging out repeats Path, Domain and Partitioned when they are %j", async (cookie) => {
    const visit = visitor({ cookie, touchInterval: 0 });
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
