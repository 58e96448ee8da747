import { describe, expect, test } from "vitest";
import { memoryStore, type SessionEvent, SessionManager, type SessionOptions, withSession } from "../../mod.ts";
import { encryption } from "../../src/encryption.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { cookieJar } from "../../src/testing.ts";
import { codeOf, cookieOf, counted, idIn, SHOP, visitor } from "../setup/sessions.ts";

const secrets = ["a secret of at least thirty-two bytes"];
const withCookie = (Cookie: string) => ({ headers: { Cookie } });

describe("the cookie", () => {
  test("[RFC 6265bis 4.1.1] keeps to the grammar of Set-Cookie", async () => {
    const grammar =
      /^[\w!#$%&'*+.^`|~-]+=[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+(?:; (?:[A-Z][A-Za-z-]*)(?:=[\x20-\x3a\x3c-\x7e]+)?)*$/;
    const all: SessionOptions[] = [{}, { ids: signedIds({ secrets }) }, { encryption: encryption() }];
    for (const options of all) {
      const { cookies } = await visitor(options)((session) =>
        session.set("text", 'ä; Path=/a, "b"\r\nSet-Cookie: c=d'),
      );
      expect(cookies).toEqual([expect.stringMatching(grammar)]);
    }
  });

  test("[ASVS 3.3.1] [ASVS 3.3.2] [ASVS 3.3.3] [ASVS 3.3.4] [NIST 5.1.1] is __Host-, Secure, HttpOnly and SameSite=Lax unless chosen otherwise", async () => {
    const { response, cookies } = await visitor()((session) => session.set("n", 1));
    expect(cookies).toHaveLength(1);
    expect(cookies[0]).toMatch(/^__Host-session=[\w-]{32}; Max-Age=86400; Path=\/; Secure; HttpOnly; SameSite=Lax$/);
    const id = idIn(cookies) ?? "";
    const elsewhere = [...response.headers].filter(([name]) => name !== "set-cookie");
    expect(JSON.stringify(elsewhere) + (await response.text())).not.toContain(id);
  });

  test("[OWASP: content] [OWASP: name] [NIST 5.1.1] says nothing of the user, nor of what made it", async () => {
    const { cookies } = await visitor({ ids: signedIds({ secrets }) })((session) => session.set("user", "ada"));
    expect(cookies[0]).toMatch(/^__Host-session=[\w-]{32}\.[\w-]{43};/);
  });

  const prefixed = ["__Secure-", "__Host-", "__Http-", "__Host-Http-"];
  const casings = [(text: string) => text, (text: string) => text.toUpperCase(), (text: string) => text.toLowerCase()];
  test("[RFC 6265bis 4.1.3] keeps to prefixes in any letter case: what they forbid throws when the handler is wrapped", () => {
    const wrap = (cookie: object) => () => withSession(() => new Response(), { cookie });
    for (const prefix of prefixed) {
      for (const inCase of casings) {
        const name = `${inCase(prefix)}s`;
        const isHost = prefix.startsWith("__Host-");
        expect(wrap({ name })).not.toThrow();
        expect(wrap({ name, secure: false })).toThrow(TypeError);
        for (const wrong of [{ domain: "shop.example" }, { path: "/app" }]) {
          if (isHost) expect(wrap({ name, ...wrong })).toThrow(TypeError);
          else expect(wrap({ name, ...wrong })).not.toThrow();
        }
        if (prefix.endsWith("Http-")) expect(wrap({ name, httpOnly: false })).toThrow(TypeError);
        else expect(wrap({ name, httpOnly: false })).not.toThrow();
      }
    }
  });

  test("[RFC 6265bis 5.7] tossed from a subdomain, cannot pin a session, wherever it stands", async () => {
    const options = { store: memoryStore() };
    const make = () => visitor(options, { jar: cookieJar() });
    const theirs = cookieOf(await make()((session) => session.set("user", "mallory")));
    const ours = cookieOf(await make()((session) => session.set("user", "ada")));
    for (const header of [`${theirs}; ${ours}`, `${ours}; ${theirs}`, `${ours}; a=b; ${theirs}; ${ours}`]) {
      expect((await make()((session) => session.get("user"), withCookie(header))).result).toBeUndefined();
    }
    // Names that only look like ours are other names, in whatever notation.
    for (const name of [
      "__host-session",
      "__Host-session ",
      " __Host-session",
      "__Host%2Dsession",
      "_\u005fHost-session%20",
    ]) {
      const header = `${ours}; ${theirs.replace("__Host-session", name)}`;
      const { result } = await make()((session) => session.get("user"), withCookie(header));
      expect([undefined, "ada"]).toContain(result);
    }
  });

  test("[RFC 6265bis 5.5] has a Max-Age of 400 days at the most", async () => {
    const year = 2 * 365 * 86_400;
    const { cookies } = await visitor({ idleTimeout: year, absoluteTimeout: false })((session) => session.set("n", 1));
    expect(cookies[0]).toContain("Max-Age=34560000;");
  });

  test("[ASVS 3.3.5] [RFC 6265bis 5.7] of more than 4096 octets is refused before anything is stored", async () => {
    const { store, calls } = counted(memoryStore());
    const most = 4096 - "__Host-session".length;
    const begin = (length: number) =>
      visitor({ store, generateId: () => "a".repeat(length) })((session) => session.set("n", 1));
    expect(await codeOf(() => begin(most + 1))).toBe("ERR_COOKIE_TOO_LARGE");
    expect(calls).toEqual([]);
    expect((await begin(most)).cookies).toHaveLength(1);
  });

  test("keeps prefix and Secure behind a proxy that says so, and with secure: true", async () => {
    const begin = (options: SessionOptions, headers: Record<string, string>) =>
      visitor(options, { jar: cookieJar() })((session) => session.set("n", 1), {
        url: "http://localhost:3000/",
        headers,
      });
    for (const headers of [
      { "X-Forwarded-Proto": "https" },
      { Forwarded: "proto=https" },
      { "X-Forwarded-Host": "shop.example" },
    ]) {
      expect((await begin({}, headers)).cookies[0]).toMatch(/^__Host-session=.*; Secure/);
    }
    expect((await begin({ cookie: { secure: true } }, {})).cookies[0]).toMatch(/^__Host-session=.*; Secure/);
    expect((await begin({}, {})).cookies[0]).toMatch(/^session=[^;]+; Max-Age=86400; Path=\/; HttpOnly/);
  });
});

describe("when the cookie's domain has changed between two deployments", () => {
  const scene = () => {
    const store = memoryStore();
    const events: string[] = [];
    const url = "https://www.shop.example/";
    const options = (cookie: object): SessionOptions => ({
      store,
      cookie: { name: "s", ...cookie },
      onEvent: (event: SessionEvent) => events.push(event.type),
    });
    const login = async (manager: SessionManager, Cookie?: string) =>
      await visitor(manager, { jar: cookieJar() })(
        async (session) => {
          await session.regenerate();
          session.set("user", "ada");
        },
        { url, headers: Cookie === undefined ? {} : { Cookie } },
      );
    const who = async (manager: SessionManager, Cookie: string) =>
      await visitor(manager, { jar: cookieJar() })((session) => session.get("user"), { url, headers: { Cookie } });
    return { events, options, login, who, url };
  };

  test("and previous names it, the login expires the old cookie, and the user is in", async () => {
    const { options, login, who, events } = scene();
    const old = cookieOf(await login(new SessionManager(options({ domain: "shop.example" }))));
    const manager = new SessionManager(options({ previous: [{ domain: "shop.example" }] }));
    expect((await who(manager, old)).result).toBe("ada");
    const { cookies } = await login(manager, old);
    expect(cookies).toEqual([
      expect.stringMatching(/^s=; Max-Age=0;.*Domain=shop\.example/),
      expect.stringMatching(/^s=[\w-]{32}; Max-Age=86400; Path=\/; Secure/),
    ]);
    expect((await who(manager, cookies[1]?.split(";")[0] ?? "")).result).toBe("ada");
    expect(events).not.toContain("ambiguous");
  });

  test("and nothing names it, two cookies are nobody's once, the stray one is expired, and the user is in", async () => {
    const { options, login, who, events } = scene();
    const old = cookieOf(await login(new SessionManager(options({ domain: "shop.example" }))));
    const manager = new SessionManager(options({}));
    const fresh = cookieOf(await login(manager, old));
    expect(fresh).not.toBe(old);
    const both = await who(manager, `${fresh}; ${old}`);
    expect(both.result).toBeUndefined();
    expect(events).toContain("ambiguous");
    expect(both.cookies).toContainEqual(expect.stringMatching(/^s=; Max-Age=0;.*Domain=shop\.example/));
    // None of the lines has the scope of the present cookie.
    for (const line of both.cookies) expect(line).toMatch(/Max-Age=0;.*(?:Domain=|Partitioned)/);
    expect((await who(manager, fresh)).result).toBe("ada");
  });

  test("destroy() throws rather than do nothing", async () => {
    const { options, login, url } = scene();
    const manager = new SessionManager(options({}));
    const [one, two] = [cookieOf(await login(manager)), cookieOf(await login(manager))];
    const destroy = () =>
      visitor(manager, { jar: cookieJar() })((session) => session.destroy(), {
        url,
        headers: { Cookie: `${one}; ${two}` },
      });
    expect(await codeOf(destroy)).toBe("ERR_AMBIGUOUS_COOKIE");
  });
});

test("a response of ours has one Set-Cookie of the session's name, whatever the handler set", async () => {
  const { cookies } = await visitor()((session) => {
    session.set("n", 1);
    const headers = new Headers({ "Set-Cookie": "__Host-session=theirs; Path=/" });
    headers.append("Set-Cookie", "other=1");
    return new Response(null, { headers });
  });
  expect(cookies.map((line) => line.split("=")[0])).toEqual(["other", "__Host-session"]);
  expect(cookies[1]).not.toContain("theirs");
});

test("an id with a vertical tab or a no-break space beside it opens no session", async () => {
  const options = { store: memoryStore(), header: "X-Session-Id" };
  const id = idIn((await visitor(options)((session) => session.set("n", 1))).cookies) ?? "";
  const open = async (value: string) =>
    (
      await visitor(options, { jar: cookieJar() })((session) => session.get("n"), {
        url: SHOP,
        headers: { "X-Session-Id": value },
      })
    ).result;
  for (const value of [`${id}\v`, `${id}\u00a0`, `\v${id}`, `\u00a0${id}`, `${id}\f`])
    expect(await open(value)).toBeUndefined();
  expect(await open(` ${id}\t`)).toBe(1);
});
