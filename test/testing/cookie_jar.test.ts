import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { cookieJar, fakeClock } from "../../src/testing.ts";

describe("cookieJar()", () => {
  const home = "https://shop.example/account/page";

  function setting(...lines: string[]): Response {
    const headers = new Headers();
    for (const line of lines) headers.append("Set-Cookie", line);
    return new Response(null, { headers });
  }

  /** The cookies that a jar sends to `to` after `from` has set `lines`. */
  function sent(lines: string[], from: string = home, to: string = from): string | null {
    const jar = cookieJar();
    jar.store(from, setting(...lines));
    return jar.header(to);
  }

  it("sends back what was set when the address is the same", () => {
    expect(sent(["a=1", "b=two; HttpOnly"])).toBe("a=1; b=two");
    expect(cookieJar().header(home)).toBeNull();
  });

  it("reads names and values as browsers do when they look odd", () => {
    expect(sent([" \ta \t=\t x=y \t; Path=/"])).toBe("a=x=y");
    expect(sent(["a="])).toBe("a=");
    expect(sent(["bare"])).toBe("bare");
    expect(sent(["=bare"])).toBe("bare");
    expect(sent(["", "="])).toBeNull();
    expect(sent(["a=\u0001"])).toBeNull();
    expect(sent(["a=\u007f"])).toBeNull();
    expect(sent(["a=1; Domain; Path; Max-Age; Expires; SameSite"])).toBe("a=1");
    expect(sent(["a=tab\there"])).toBe("a=tab\there");
    expect(sent(['a="quoted, kept"'])).toBe('a="quoted, kept"');
  });

  it("replaces a cookie in its place when name, domain and path are the same", () => {
    expect(sent(["a=1", "b=1", "a=2"])).toBe("a=2; b=1");
    expect(sent(["a=1; Path=/", "a=2; Path=/account"])).toBe("a=2; a=1");
    expect(sent(["a=1", "b=1", "a=; Max-Age=0", "a=2"])).toBe("b=1; a=2");
  });

  it("sends the longest path first when several cookies fit", () => {
    expect(sent(["a=1; Path=/", "b=2; Path=/account/page", "c=3; Path=/account"])).toBe("b=2; c=3; a=1");
  });

  it("keeps a cookie to its path when the path differs", () => {
    expect(sent(["a=1; Path=/account"], home, "https://shop.example/account")).toBe("a=1");
    expect(sent(["a=1; Path=/account"], home, "https://shop.example/account/x")).toBe("a=1");
    expect(sent(["a=1; Path=/account/"], home, "https://shop.example/account/x")).toBe("a=1");
    expect(sent(["a=1; Path=/account"], home, "https://shop.example/accounts")).toBeNull();
    expect(sent(["a=1"], home, "https://shop.example/account/other")).toBe("a=1");
    expect(sent(["a=1"], home, "https://shop.example/")).toBeNull();
    expect(sent(["a=1; Path=relative"], home, "https://shop.example/account")).toBe("a=1");
    expect(sent(["a=1; Path=/x; Path=/account"], home)).toBe("a=1");
  });

  it("keeps a cookie to its host when it has no Domain", () => {
    expect(sent(["a=1"], "https://shop.example/", "https://www.shop.example/")).toBeNull();
    expect(sent(["a=1; Domain="], "https://shop.example/", "https://www.shop.example/")).toBeNull();
  });

  it("sends a cookie to subdomains when it has a Domain", () => {
    const www = "https://www.shop.example/";
    expect(sent(["a=1; Domain=shop.example"], www, "https://shop.example/")).toBe("a=1");
    expect(sent(["a=1; domain=.SHOP.example"], www, "https://api.shop.example/")).toBe("a=1");
    expect(sent(["a=1; Domain=shop.example"], www, "https://myshop.example/")).toBeNull();
    for (const [host, domain] of [
      ["1.shop.example", "shop.example"],
      ["www.shop.example1", "shop.example1"],
    ])
      expect(sent([`a=1; Domain=${domain}`], `https://${host}/`, `https://other.${domain}/`)).toBe("a=1");
  });

  it("refuses a Domain when it is foreign, a public suffix or part of an address", () => {
    expect(sent(["a=1; Domain=other.example"])).toBeNull();
    expect(sent(["a=1; Domain=www.shop.example"])).toBeNull();
    expect(sent(["a=1; Domain=example"])).toBeNull();
    expect(sent(["a=1; Domain=localhost"], "http://a.localhost/", "http://localhost/")).toBeNull();
    expect(sent(["a=1; Domain=0.0.1"], "http://127.0.0.1/")).toBeNull();
    expect(sent(["a=1; Domain=127.0.0.1"], "http://127.0.0.1/")).toBe("a=1");
    expect(sent(["a=1; Domain=localhost"], "http://localhost/", "http://a.localhost/")).toBeNull();
    expect(sent(["a=1; Domain=localhost"], "http://localhost/")).toBe("a=1");
  });

  it("keeps Secure cookies to https when http sets or asks for them", () => {
    expect(sent(["a=1; Secure"], "http://shop.example/")).toBeNull();
    expect(sent(["a=1; Secure"], "http://shop.example/", "https://shop.example/")).toBeNull();
    expect(sent(["a=1; Secure"], "https://shop.example/", "http://shop.example/")).toBeNull();
    expect(sent(["a=1; Secure"], "https://shop.example/", "wss://shop.example/")).toBe("a=1");
    expect(sent(["a=1"], "http://shop.example/", "https://shop.example/")).toBe("a=1");
  });

  it("leaves a Secure cookie alone when http sets one of its name", () => {
    const jar = cookieJar();
    jar.store("https://shop.example/", setting("a=safe; Secure; Path=/account"));
    jar.store("http://shop.example/", setting("a=forged; Path=/account/page", "a=beside; Path=/other"));
    expect(jar.header(home)).toBe("a=safe");
    expect(jar.header("https://shop.example/other")).toBe("a=beside");
  });

  it.each([
    ["https://www.shop.example/", "a=safe; Secure", "http://shop.example/", "Domain=shop.example"],
    ["https://shop.example/", "a=safe; Secure; Domain=shop.example", "http://www.shop.example/", ""],
    ["https://shop.example/", "a=safe; Secure", "http://shop.example/", ""],
  ])(
    "leaves the Secure cookie of %s alone (%s) when %s sets one that would be sent with it",
    (safe, line, plain, scope) => {
      const jar = cookieJar();
      jar.store(safe, setting(line));
      jar.store(plain, setting(`a=forged; ${scope}`, `b=beside; ${scope}`));
      expect(jar.cookies().map(({ name, value }) => `${name}=${value}`)).toEqual(["a=safe", "b=beside"]);
    },
  );

  it("lets http set a cookie that hides no Secure one", () => {
    const jar = cookieJar();
    jar.store("https://shop.example/", setting("a=plain", "other=safe; Secure"));
    jar.store("http://shop.example/", setting("a=new"));
    jar.store("https://api.shop.example/", setting("a=safe; Secure"));
    jar.store("http://www.shop.example/", setting("a=new"));
    expect(jar.header("https://shop.example/")).toBe("a=new; other=safe");
    expect(jar.header("https://www.shop.example/")).toBe("a=new");
    expect(jar.header("https://api.shop.example/")).toBe("a=safe");
  });

  it("refuses a __Host- name in any letter case when Secure, Path=/ or the bare host is missing", () => {
    const root = "https://shop.example/";
    for (const name of ["__Host-a", "__host-a", "__HOST-a"]) {
      expect(sent([`${name}=1; Secure; Path=/`])).toBe(`${name}=1`);
      expect(sent([`${name}=1; Path=/`])).toBeNull();
      expect(sent([`${name}=1; Secure`], root)).toBeNull();
      expect(sent([`${name}=1; Secure; Path=/account`])).toBeNull();
      expect(sent([`${name}=1; Secure; Path=/; Domain=shop.example`])).toBeNull();
    }
  });

  it("refuses a __Secure- name in any letter case when Secure is missing", () => {
    for (const name of ["__Secure-a", "__secure-A"]) {
      expect(sent([`${name}=1; Secure; Domain=shop.example`])).toBe(`${name}=1`);
      expect(sent([`${name}=1`])).toBeNull();
    }
  });

  it("refuses a value that would pass for a prefixed name when there is no name", () => {
    expect(sent(["=__Host-a=1; Secure; Path=/", "__secure-a; Secure; Path=/"])).toBeNull();
  });

  it("does not take other blanks off a name when they would uncover a prefix", () => {
    const jar = cookieJar();
    jar.store(home, setting("\u00a0__Host-a=1"));
    expect(jar.cookies()[0]?.name).toBe("\u00a0__Host-a");
  });

  it("refuses SameSite=None and Partitioned when Secure is missing", () => {
    expect(sent(["a=1; SameSite=None"])).toBeNull();
    expect(sent(["a=1; SameSite=None; Secure"])).toBe("a=1");
    expect(sent(["a=1; Partitioned"])).toBeNull();
    expect(sent(["a=1; Partitioned; Secure", "a=2; Secure"])).toBe("a=1; a=2");
  });

  it("holds cookies back by SameSite when another site causes the request", () => {
    const jar = cookieJar();
    jar.store(
      home,
      setting(
        "strict=1; SameSite=strict",
        "lax=1; SameSite=LAX",
        "none=1; SameSite=None; Secure",
        "plain=1",
        "odd=1; SameSite=x",
      ),
    );
    expect(jar.header(home)).toBe("strict=1; lax=1; none=1; plain=1; odd=1");
    expect(jar.header(home, "cross-site-navigation")).toBe("lax=1; none=1; plain=1; odd=1");
    expect(jar.header(home, "cross-site")).toBe("none=1");
    expect(jar.cookies().map(({ sameSite }) => sameSite)).toEqual(["Strict", "Lax", "None", "Default", "Default"]);
  });

  it("keeps no cookie but SameSite=None when the response answers another site's request", () => {
    const lines = ["lax=1; SameSite=Lax", "plain=1", "none=1; SameSite=None; Secure"];
    const jar = cookieJar();
    jar.store(home, setting(...lines), "cross-site");
    expect(jar.header(home)).toBe("none=1");
    jar.store(home, setting(...lines), "cross-site-navigation");
    expect(jar.header(home)).toBe("none=1; lax=1; plain=1");
  });

  it("lets cookies expire by Max-Age and Expires when their time has come", () => {
    const clock = fakeClock(Date.UTC(2030, 0, 1));
    const jar = cookieJar({ now: clock.now });
    jar.store(
      home,
      setting(
        "age=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "date=1; Expires=Tue, 01 Jan 2030 00:02:00 GMT",
        "odd=1; Max-Age=1x; Expires=never",
        "odder=1; Max-Age=x1",
      ),
    );
    expect(jar.header(home)).toBe("age=1; date=1; odd=1; odder=1");
    clock.advance(60);
    expect(jar.header(home)).toBe("date=1; odd=1; odder=1");
    clock.advance(60);
    expect(jar.header(home)).toBe("odd=1; odder=1");
  });

  it("drops a cookie when Max-Age is zero or less, or Expires is past", () => {
    for (const end of ["Max-Age=0", "Max-Age=-1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"]) {
      expect(sent(["a=1; Path=/", `a=; Path=/; ${end}`])).toBeNull();
      expect(sent(["a=1; Path=/", `a=; Path=/account; ${end}`])).toBe("a=1");
    }
  });

  it("keeps no cookie longer than 400 days when more is asked for", () => {
    const clock = fakeClock(Date.UTC(2030, 0, 1));
    const jar = cookieJar({ now: clock.now });
    jar.store(home, setting("age=1; Max-Age=99999999999", "date=1; Expires=Fri, 01 Jan 2038 00:00:00 GMT"));
    const latest = clock.now() + 400 * 86_400_000;
    expect(jar.cookies().map(({ expiresAt }) => expiresAt)).toEqual([latest, latest]);
    clock.advance(400 * 86_400 - 1);
    expect(jar.header(home)).toBe("age=1; date=1");
    clock.advance(1);
    expect(jar.header(home)).toBeNull();
  });

  it("forgets cookies without an end when the browser is closed", () => {
    const jar = cookieJar();
    jar.store(home, setting("until-closed=1", "kept=1; Max-Age=60"));
    jar.closeBrowser();
    expect(jar.header(home)).toBe("kept=1");
  });

  it("refuses a cookie when name and value exceed 4 096 octets", () => {
    expect(sent([`a=${"x".repeat(4095)}`])).toHaveLength(4097);
    expect(sent([`a=${"x".repeat(4096)}`])).toBeNull();
    expect(sent([`a=${"x".repeat(4000)}; Path=/account; Max-Age=60`])).toHaveLength(4002);
  });

  it("ignores an attribute when it exceeds 1 024 octets", () => {
    expect(sent([`a=1; Domain=${"x".repeat(1025)}`])).toBe("a=1");
    expect(sent([`a=1; Domain=${"x".repeat(1024)}`])).toBeNull();
  });

  it("tells what it keeps when asked", () => {
    const jar = cookieJar({ now: () => 0 });
    jar.store(home, setting("a=1; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=5"));
    expect(jar.cookies()).toEqual([
      {
        name: "a",
        value: "1",
        domain: "shop.example",
        hostOnly: true,
        path: "/",
        secure: true,
        httpOnly: true,
        partitioned: false,
        sameSite: "Lax",
        expiresAt: 5000,
      },
    ]);
  });

  describe("fetch()", () => {
    const echo = (request: Request) =>
      new Response(`${request.method} ${request.headers.get("Cookie")}`, {
        headers: [
          ["Set-Cookie", "a=1; Path=/"],
          ["Set-Cookie", "b=2; Path=/; SameSite=Strict"],
        ],
      });

    it("sends the cookies and keeps those of the answer when a handler is called", async () => {
      const jar = cookieJar();
      const first = await jar.fetch(echo, home);
      expect(await first.text()).toBe("GET null");
      const second = await jar.fetch(async (request) => echo(request), new URL(home), { method: "POST", body: "x" });
      expect(await second.text()).toBe("POST a=1; b=2");
    });

    it("goes by the context when another site causes the request", async () => {
      const jar = cookieJar();
      await jar.fetch(echo, home, { context: "cross-site" });
      expect(jar.cookies()).toEqual([]);
      await jar.fetch(echo, home);
      const response = await jar.fetch(echo, home, { context: "cross-site-navigation" });
      expect(await response.text()).toBe("GET a=1");
    });

    it("keeps the cookie of a redirect that a server answers with, when the handler is the global fetch", async () => {
      const server = createServer((request, response) => {
        if (request.url === "/login") response.writeHead(303, { "Location": "/", "Set-Cookie": "a=1" });
        response.end(request.headers.cookie);
      }).listen(0, "127.0.0.1");
      onTestFinished(() => void server.close());
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      const jar = cookieJar();
      const response = await jar.fetch(fetch, `http://127.0.0.1:${port}/login`, { method: "POST", body: "x" });
      expect(response.status).toBe(303);
      expect(await (await jar.fetch(fetch, `http://127.0.0.1:${port}/`)).text()).toBe("a=1");
      const followed = await jar.fetch(fetch, `http://127.0.0.1:${port}/login`, { redirect: "follow" });
      expect(followed.status).toBe(200);
    });

    it("leaves a Cookie header alone when the jar has none to send", async () => {
      const response = await cookieJar().fetch(echo, home, { headers: { Cookie: "mine=1" } });
      expect(await response.text()).toBe("GET mine=1");
    });
  });
});
