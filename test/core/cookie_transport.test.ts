import { describe, expect, test, vi } from "vitest";
import { writeBeside } from "../../src/core/cookie_transport/cookie_beside.ts";
import { readCookies } from "../../src/core/cookie_transport/cookie_header.ts";
import { SessionError } from "../../src/core/errors.ts";
import { type CookieOptions, cookieTransport } from "../../src/core/cookie_transport.ts";
import { isToken } from "../../src/core/http_token.ts";

const SHOP = "https://shop.example/";
const LOOPBACK = "http://localhost:8000/";

const written = (options: CookieOptions = {}, { url = SHOP, maxAge = 60 as number | null, id = "id" } = {}): string => {
  const headers = new Headers();
  cookieTransport(options).write(headers, id, { maxAge, request: new Request(url), runtimeArguments: [] });
  return headers.getSetCookie().join("\n");
};
const cleared = (options: CookieOptions = {}, url = SHOP): string => {
  const headers = new Headers();
  cookieTransport(options).clear(headers, { maxAge: null, request: new Request(url), runtimeArguments: [] });
  return headers.getSetCookie().join("\n");
};
const read = (cookie: string | null, options: CookieOptions = { name: "s" }, url = SHOP): unknown =>
  cookieTransport(options).read(new Request(url, { headers: cookie === null ? {} : { Cookie: cookie } }));

test("a function of cookie options may give any number of different answers", () => {
  const transport = cookieTransport((request) => ({ name: new URL(request.url).pathname.slice(1) }));
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 300; n++) {
      const headers = new Headers();
      transport.write(headers, "id", { maxAge: 60, request: new Request(`${SHOP}s${n}`), runtimeArguments: [] });
      expect(headers.get("Set-Cookie")).toMatch(new RegExp(`^s${n}=id;`));
    }
  }
});

describe("write()", () => {
  test.each<[string, CookieOptions, string]>([
    ["by default", {}, "__Host-session=id; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax"],
    [
      "with every attribute",
      {
        name: "__Secure-s",
        domain: "shop.example",
        path: "/a",
        httpOnly: false,
        sameSite: "None",
        partitioned: true,
      },
      "__Secure-s=id; Max-Age=60; Path=/a; Domain=shop.example; Secure; SameSite=None; Partitioned",
    ],
    [
      "without Secure when that was asked for",
      { name: "s", secure: false, sameSite: "Strict" },
      "s=id; Max-Age=60; Path=/; HttpOnly; SameSite=Strict",
    ],
  ])("says the attributes %s", (_name, options, expected) => {
    expect(written(options)).toBe(expected);
  });

  test("adds to the cookies that are there", () => {
    const headers = new Headers({ "Set-Cookie": "other=1" });
    cookieTransport().write(headers, "id", { maxAge: 1, request: new Request(SHOP), runtimeArguments: [] });
    expect(headers.getSetCookie()).toEqual(["other=1", expect.stringMatching(/^__Host-session=id;/)]);
  });

  test.each([
    [null, ""],
    [1, "; Max-Age=1"],
    [0.2, "; Max-Age=1"],
    [59.5, "; Max-Age=60"],
    [34_560_000, "; Max-Age=34560000"],
    [34_560_001, "; Max-Age=34560000"],
  ])("says of an age of %j: %j", (maxAge, expected) => {
    expect(written({}, { maxAge })).toBe(`__Host-session=id${expected}; Path=/; Secure; HttpOnly; SameSite=Lax`);
  });
});

test("clear() expires the cookie and repeats its attributes", () => {
  const age = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
  expect(cleared()).toBe(`__Host-session=; ${age}; Path=/; Secure; HttpOnly; SameSite=Lax`);
  const options: CookieOptions = { name: "s", domain: "a.example", path: "/b", sameSite: "None", partitioned: true };
  expect(cleared(options)).toBe(`s=; ${age}; Path=/b; Domain=a.example; Secure; HttpOnly; SameSite=None; Partitioned`);
  expect(cleared({}, LOOPBACK)).toBe(`session=; ${age}; Path=/; HttpOnly; SameSite=Lax`);
});

describe("on plain http to this machine", () => {
  test.each([
    ["shop.example", ""],
    [".shop.example", ""],
    ["notlocalhost", ""],
    ["localhost", "; Domain=localhost"],
    ["localhost.shop.example", ""],
    [".Shop.Localhost", "; Domain=.Shop.Localhost"],
  ])("a cookie for the domain %s says of it: %j, because browsers refuse one for another host", (domain, sent) => {
    const options: CookieOptions = { name: "s", domain };
    expect(written(options, { url: LOOPBACK })).toBe(`s=id; Max-Age=60; Path=/${sent}; HttpOnly; SameSite=Lax`);
    expect(cleared(options, LOOPBACK)).toContain(`; Path=/${sent}; HttpOnly`);
    expect(written(options)).toContain(`; Domain=${domain};`);
    expect(written({ ...options, secure: true }, { url: LOOPBACK })).toContain(`; Domain=${domain}; Secure`);
  });

  test.each([
    "http://localhost/",
    "http://localhost:8000/",
    "http://localhost?query",
    "http://shop.localhost/",
    "http://a.b.localhost:1/",
    "http://127.0.0.1/",
    "http://127.10.22.255:8000/path",
    "http://[::1]/",
    "http://[::1]:8000/",
    "HTTP://LOCALHOST/",
  ])("%s gets a cookie without prefix and Secure, and is read by that name", (url) => {
    expect(written({}, { url })).toBe("session=id; Max-Age=60; Path=/; HttpOnly; SameSite=Lax");
    expect(read("session=id; __Host-session=other", {}, url)).toBe("id");
  });

  test.each([
    "https://localhost/",
    "https://127.0.0.1/",
    "http://shop.example/",
    "http://localhost.shop.example/",
    "http://127.0.0.1.shop.example/",
    "http://notlocalhost/",
    "http://128.0.0.1/",
    "http://1127.example/",
    "http://[::2]/",
    "http://shop.example/http://localhost/",
    "http://shop.example/.localhost",
    "http://shop.example/?.localhost",
    "http://shop.example/#.localhost",
    "http://shop.example:80/x@y.localhost",
  ])("%s is not that: the cookie keeps prefix and Secure", (url) => {
    expect(written({}, { url })).toBe("__Host-session=id; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax");
    expect(read("session=other; __Host-session=id", {}, url)).toBe("id");
  });

  test.each([
    ["http://shop.example/.localhost", "/path"],
    ["http://x.example?.localhost", "?query"],
    ["http://x.example#.localhost", "#fragment"],
    ["http://x.example:1.localhost", ":port"],
    ["http://user@x.localhost", "user@"],
    ["http://127a0a0a1", "dots"],
    ["xhttp://localhost", "start"],
    ["http://localhost;x", "end"],
  ])("a URL that a runtime hands on as it came, %s, is not that", (url) => {
    const request = new Request(SHOP);
    Object.defineProperty(request, "url", { value: url });
    const headers = new Headers();
    cookieTransport().write(headers, "id", { maxAge: null, request, runtimeArguments: [] });
    expect(headers.get("Set-Cookie")).toContain("__Host-session=id; Path=/; Secure");
  });

  test("a URL that a runtime hands on without a path is that", () => {
    const request = new Request(SHOP);
    Object.defineProperty(request, "url", { value: "http://localhost" });
    const headers = new Headers();
    cookieTransport().write(headers, "id", { maxAge: null, request, runtimeArguments: [] });
    expect(headers.get("Set-Cookie")).toBe("session=id; Path=/; HttpOnly; SameSite=Lax");
  });

  test("SameSite=None falls back to Lax, and Partitioned is left out; Strict stays", () => {
    const options: CookieOptions = { sameSite: "None", partitioned: true };
    expect(written(options, { url: LOOPBACK })).toBe("session=id; Max-Age=60; Path=/; HttpOnly; SameSite=Lax");
    expect(written({ sameSite: "Strict" }, { url: LOOPBACK })).toContain("SameSite=Strict");
    expect(written(options)).toContain("; SameSite=None; Partitioned");
  });

  test.each([
    ["__Host-s", "s"],
    ["__Secure-s", "s"],
    ["__Http-s", "s"],
    ["__Host-Http-s", "s"],
    ["__hOsT-s", "s"],
    ["x__Host-s", "x__Host-s"],
    ["__Host", "__Host"],
  ])("the name %s becomes %s", (name, expected) => {
    expect(written({ name }, { url: LOOPBACK })).toMatch(new RegExp(`^${expected}=id;`));
  });
});

describe("read()", () => {
  test.each([
    ["s=id", "id"],
    ["a=1; s=id; b=2", "id"],
    ["a=1;s=id;b=2", "id"],
    [" \t s \t = \t id \t ", "id"],
    ['s="id"', "id"],
    ["s=a=b", "a=b"],
    ["s=a b", "a b"],
    ["s=%41", "%41"],
    ['s="', '"'],
    ['s="a', '"a'],
    ['s=a"', 'a"'],
    ['s=""', null],
    ["s=", null],
    ["s", null],
    ["sx", null],
    ["=s", null],
    ["", null],
    [null, null],
    ["S=id", null],
    ["%73=id", null],
    ["xs=id", null],
    ["sx=id", null],
    ["a=1 s=id", null],
    ["s\u00a0=id", null],
    ["\u00a0s=id", null],
    ["s=\u00a0id\u00a0", "\u00a0id\u00a0"],
    ["s=one; s=one", "one"],
    ['s=one; s="one"', "one"],
    ["s=one; s=two", null],
    ["s=two; s=one", null],
    ["s=; s=one", null],
    ["s=one; s=", null],
    ["s=one; s=two; s=one", null],
  ])("of the header %j is %j", (header, expected) => {
    expect(read(header)).toBe(expected);
  });

  test("takes a time that grows no faster than the header when a hostile one is all spaces", () => {
    // If the time grew with the square of the length, this would take a quarter of an hour.
    const spaces = " ".repeat(1_000_000);
    expect(read(`a${spaces}b=1; s=${spaces}id${spaces}; s${spaces}x=2`)).toBe("id");
    expect(read(`s=a${spaces}b`)).toBe(`a${spaces}b`);
  });

  test("says on which header of the request it depends", () => {
    expect(cookieTransport().requestHeader).toBe("Cookie");
  });
});

describe("assertFits()", () => {
  const context = (url = SHOP) => ({ maxAge: null, request: new Request(url), runtimeArguments: [] });
  const check = (id: string, options: CookieOptions = { name: "name" }, url = SHOP) =>
    cookieTransport(options).assertFits?.(id, context(url));

  test("throws ERR_COOKIE_TOO_LARGE, with the sizes, when name and value have more than 4096 octets", () => {
    expect(() => check("a".repeat(4092))).not.toThrow();
    expect(() => check("a".repeat(4093))).toThrow(SessionError);
    expect(() => check("a".repeat(4093))).toThrow(
      expect.objectContaining({
        code: "ERR_COOKIE_TOO_LARGE",
        message: "Cannot send the cookie: it has 4097 octets, browsers keep 4096",
      }),
    );
  });

  test("counts the name that is sent", () => {
    const id = "a".repeat(4096 - "session".length);
    expect(written({}, { id, url: LOOPBACK })).toContain(`session=${id};`);
    expect(() => check(id, {}, LOOPBACK)).not.toThrow();
    expect(() => check(id, {})).toThrow("browsers keep 4096");
    expect(() => written({}, { id })).toThrow("browsers keep 4096");
  });
});

describe("cookieTransport()", () => {
  test.each<[string, CookieOptions, string]>([
    ["the name is empty", { name: "" }, "name is not a token"],
    ["the name is nothing but a prefix", { name: "__Host-" }, "name is not a token"],
    ["the name has a semicolon", { name: "a;b" }, "name is not a token"],
    ["the path does not begin with /", { name: "s", path: "a" }, "its path"],
    ["the path is empty", { name: "s", path: "" }, "its path"],
    ["the path has a semicolon", { name: "s", path: "/a;b" }, "its path"],
    ["the path has a line feed", { name: "s", path: "/a\n" }, "its path"],
    ["the path has a line feed in front", { name: "s", path: "\n/" }, "its path"],
    ["the path is not ASCII", { name: "s", path: "/ä" }, "its path"],
    ["the domain is empty", { name: "s", domain: "" }, "domain is not a host name"],
    ["the domain has a space", { name: "s", domain: "a b" }, "domain is not a host name"],
    ["the domain has an attribute behind it", { name: "s", domain: "a.example; Path=/" }, "domain is not a host name"],
    ["the domain has a line feed in front", { name: "s", domain: "\na.example" }, "domain is not a host name"],
    ["__Host- comes without secure", { name: "__Host-s", secure: false }, "begins with __Host- needs secure"],
    ["__Secure- comes without secure", { name: "__secure-s", secure: false }, "begins with __secure- needs secure"],
    ["__Http- comes without secure", { name: "__Http-s", secure: false }, "begins with __Http- needs secure"],
    ["__Http- comes without httpOnly", { name: "__Http-s", httpOnly: false }, "begins with __Http- needs httpOnly"],
    [
      "__Host-Http- comes without httpOnly",
      { name: "__Host-Http-s", httpOnly: false },
      "begins with __Host-Http- needs httpOnly",
    ],
    ["__Host- comes with a domain", { name: "__HOST-s", domain: "a.example" }, "cannot have a domain"],
    ["__Host-Http- comes with a domain", { name: "__Host-Http-s", domain: "a.example" }, "cannot have a domain"],
    ["__Host- comes with a path", { name: "__Host-s", path: "/a" }, "must have the path /"],
    [
      "SameSite=None comes without secure",
      { name: "s", sameSite: "None", secure: false },
      "SameSite=None needs secure",
    ],
    ["Partitioned comes without secure", { name: "s", partitioned: true, secure: false }, "partitioned needs secure"],
  ])("throws a TypeError when %s", (_name, options, message) => {
    expect(() => cookieTransport(options)).toThrow(TypeError);
    expect(() => cookieTransport(options)).toThrow(`Cannot use the cookie: `);
    expect(() => cookieTransport(options)).toThrow(message);
  });

  test("throws a TypeError when sameSite is no word that it knows", () => {
    const sameSite: unknown = "lax";
    expect(() => cookieTransport({ sameSite: sameSite as "Lax" })).toThrow(
      'cookie.sameSite must be one of "Lax", "Strict", "None"',
    );
  });

  test.each<CookieOptions>([
    { name: "s", secure: false },
    { name: "s", httpOnly: false, domain: "a.example", path: "/ :<~" },
    { name: "s", domain: ".A-1.example" },
    { name: "__Secure-s", httpOnly: false, domain: "a.example", path: "/a" },
    { name: "__Http-s", domain: "a.example", path: "/a" },
    { name: "__Host-s", httpOnly: false },
    { name: "__Host-Http-s" },
    { name: "s", secure: false, sameSite: "Strict" },
    { sameSite: "None", partitioned: true },
  ])("takes %j", (options) => {
    expect(written(options)).toContain("=id; Max-Age=60; Path=/");
  });
});

test.each([
  ["!#$%&'*+.^_`|~09AZaz-", true],
  ["", false],
  [" a", false],
  ["a ", false],
  ["a\n", false],
  ["a(", false],
  ["a=b", false],
  ["ä", false],
  [undefined, false],
  [1, false],
])("isToken() of %j is %j", (text, expected) => {
  expect(isToken(text)).toBe(expected);
});

test("presentedName() parses no header when the cookie has no previous name", () => {
  const request = new Request(SHOP, { headers: { Cookie: "__Host-s=id" } });
  const get = vi.spyOn(request.headers, "get");
  expect(cookieTransport({ name: "__Host-s" }).presentedName?.(request, [])).toBe("__Host-s");
  expect(get).not.toHaveBeenCalled();
});

describe("readCookies() and writeBeside()", () => {
  const found = (cookie: string | null, name = "s"): unknown => {
    const request = new Request(SHOP, { headers: cookie === null ? {} : { Cookie: cookie } });
    return Object.fromEntries(readCookies(request.headers.get("Cookie"), `${name}~`));
  };
  const told = (options: CookieOptions, maxAge: number, url = SHOP): string[] => {
    const headers = new Headers({ "Set-Cookie": "other=1" });
    const transport = cookieTransport(options);
    const context = { maxAge, request: new Request(url), runtimeArguments: [] };
    writeBeside(transport, headers, `${transport.cookieName(context.request, [])}~abc`, "text", context);
    return headers.getSetCookie();
  };

  test("writes a cookie of another name with the same attributes", () => {
    const attributes = "Path=/; Secure; HttpOnly; SameSite=Lax";
    expect(told({}, 120)).toEqual(["other=1", `__Host-session~abc=text; Max-Age=120; ${attributes}`]);
    expect(told({}, 120, LOOPBACK)[1]).toMatch(/^session~abc=text; /);
  });

  test("expires a cookie when maxAge is 0", () => {
    expect(told({}, 0)[1]).toContain("Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/");
  });

  test("throws ERR_COOKIE_TOO_LARGE when browsers would drop the cookie", () => {
    const context = { maxAge: 1, request: new Request(SHOP), runtimeArguments: [] };
    const write = (length: number) =>
      writeBeside(cookieTransport(), new Headers(), "name", "a".repeat(length), context);
    expect(() => write(4092)).not.toThrow();
    expect(() => write(4093)).toThrow(expect.objectContaining({ code: "ERR_COOKIE_TOO_LARGE" }));
  });

  test.each<[string | null, object]>([
    [null, {}],
    ["", {}],
    ["s=id", {}],
    ["s=id; s~a=1", { a: "1" }],
    ["s~a=1;s~b=2", { a: "1", b: "2" }],
    ["\ts~a=1 ; s=id", { a: "1" }],
    ["s~a=1=2==", { a: "1=2==" }],
    ["s~a=12345", { a: "12345" }],
    ["s~a=", {}],
    ["s~a", {}],
    ["s~=1", { "": "1" }],
    ["t~a=1; xs~a=1; s~b=2", { b: "2" }],
    ["a=s~; =s~a", {}],
    ["~a=1", {}],
    ["S~a=1", {}],
    ["\u00a0s~a=1", {}],
  ])("reads of %j: %j", (cookie, expected) => {
    expect(found(cookie)).toEqual(expected);
  });
});

test("a function of the cookie gets the request and what the runtime passed, and nothing else", () => {
  const calls: unknown[][] = [];
  const transport = cookieTransport((...args: unknown[]) => {
    calls.push(args);
    return {};
  });
  const request = new Request(SHOP, { headers: { Cookie: "__Host-session=id" } });
  transport.read(request);
  expect(calls).toEqual([[request]]);
});

test("no cookie is not an ambiguous one", () => {
  expect(cookieTransport().isAmbiguous?.(new Request(SHOP), [])).toBe(false);
});
