import { describe, expect, test } from "vitest";
import { splitting } from "../../src/cookie_sessions/chunks.ts";
import type { CookieFunction, CookieOptions } from "../../src/core/cookie_transport.ts";
import { cookieTransport } from "../../src/core/cookie_transport.ts";

const SHOP = "https://www.shop.example/";
const EXPIRED = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";

interface Stored {
  readonly name: string;
  readonly value: string;
  readonly domain: string;
  readonly isHostOnly: boolean;
  readonly path: string;
}

/** The cookies of a browser. As in RFC 6265bis, 5.7, name, domain, host-only flag, path and partition tell them apart. */
function browser({ knowsPrefixes = true } = {}) {
  const cookies = new Map<string, Stored>();
  return {
    cookies,
    set(line: string, url = SHOP): void {
      const [pair = "", ...attributes] = line.split("; ");
      const [, name = "", value = ""] = /^([^=]*)=(.*)$/.exec(pair) ?? [];
      const of = (attribute: string): string | undefined =>
        attributes.find((each) => each.startsWith(`${attribute}=`))?.slice(attribute.length + 1);
      const { hostname } = new URL(url);
      const domain = (of("Domain") ?? hostname).replace(/^\./, "").toLowerCase();
      const isHostOnly = of("Domain") === undefined;
      const path = of("Path") ?? "/";
      if (hostname !== domain && !hostname.endsWith(`.${domain}`)) return;
      if (knowsPrefixes && /^__Host-/i.test(name) && (!isHostOnly || path !== "/" || !attributes.includes("Secure")))
        return;
      const key = JSON.stringify([name, domain, isHostOnly, path, attributes.includes("Partitioned")]);
      cookies.delete(key);
      if (of("Max-Age") !== "0") cookies.set(key, { name, value, domain, isHostOnly, path });
    },
    request(url = SHOP): Request {
      const { hostname, pathname } = new URL(url);
      const sent = [...cookies.values()].filter(
        ({ domain, isHostOnly, path }) =>
          (isHostOnly ? hostname === domain : hostname === domain || hostname.endsWith(`.${domain}`)) &&
          (pathname === path || pathname.startsWith(path.endsWith("/") ? path : `${path}/`)),
      );
      const Cookie = sent.map(({ name, value }) => `${name}=${value}`).join("; ");
      return new Request(url, { headers: Cookie === "" ? {} : { Cookie } });
    },
    take(headers: Headers, url = SHOP): string[] {
      const lines = headers.getSetCookie();
      for (const line of lines) this.set(line, url);
      return lines;
    },
    values(): string[] {
      return [...cookies.values()].map(({ name, value }) => `${name}=${value}`).toSorted();
    },
  };
}

const context = (request: Request, maxAge: number | null = 60) => ({ maxAge, request, runtimeArguments: [] });
const requestWith = (Cookie: string, url = SHOP): Request => new Request(url, { headers: { Cookie } });

describe("two cookies of the name with different values", () => {
  const old = "s=old; Path=/; Secure";

  test.each<[string, CookieOptions, string, string?]>([
    ["the cookie was for the domain", { name: "s" }, `${old}; Domain=shop.example`],
    ["the cookie was for this host as a domain", { name: "s" }, `${old}; Domain=www.shop.example`],
    ["the cookie was for the host alone", { name: "s", domain: "shop.example" }, old],
    ["the cookie was for another domain", { name: "s", domain: "shop.example" }, `${old}; Domain=www.shop.example`],
    ["the cookie had the path of a folder", { name: "s" }, "s=old; Path=/app; Secure", `${SHOP}app/page`],
    ["the cookie had the path of a deep folder", { name: "s" }, "s=old; Path=/app/a/b; Secure", `${SHOP}app/a/b/c/d`],
    ["the cookie had the path /", { name: "s", path: "/app" }, old, `${SHOP}app/page`],
    ["the cookie was partitioned", { name: "s" }, `${old}; Partitioned`],
    ["the cookie was not partitioned", { name: "s", sameSite: "None", partitioned: true }, old],
    ["a __Host- cookie was partitioned", {}, "__Host-session=old; Path=/; Secure; Partitioned"],
  ])("are nobody's, and the stray one is expired, when %s", (_name, options, stray, url = SHOP) => {
    const { name = "__Host-session" } = options;
    const transport = cookieTransport(options);
    const write = (request: Request): Headers => {
      const headers = new Headers();
      transport.write(headers, "new", context(request));
      return headers;
    };
    const planted = (): ReturnType<typeof browser> => {
      const client = browser();
      client.set(stray, url);
      client.take(write(new Request(url)), url);
      expect(client.values()).toEqual([`${name}=new`, `${name}=old`]);
      return client;
    };
    const request = planted().request(url);
    expect(transport.read(request, [])).toBeNull();
    expect(transport.isAmbiguous?.(request, [])).toBe(true);

    const written = planted();
    const lines = written.take(write(request), url);
    expect(written.values()).toEqual([`${name}=new`]);
    // A browser that takes both scopes for one keeps the last line.
    expect(lines.at(-1)).toContain(`${name}=new;`);
    expect(lines.length).toBeLessThan(10);

    const kept = planted();
    const strays = new Headers();
    transport.expireStrays?.(strays, context(request));
    kept.take(strays, url);
    expect(kept.values()).toEqual([`${name}=new`]);
    expect(transport.read(kept.request(url), [])).toBe("new");

    const cleared = planted();
    const clearing = new Headers();
    transport.clear(clearing, context(request));
    cleared.take(clearing, url);
    expect(cleared.values()).toEqual([]);
  });

  test("of equal values are that value, and nothing is guessed", () => {
    const transport = cookieTransport({ name: "s" });
    const request = requestWith("s=one; s=one");
    expect(transport.read(request, [])).toBe("one");
    expect(transport.isAmbiguous?.(request, [])).toBe(false);
    const headers = new Headers();
    transport.write(headers, "two", context(request));
    transport.expireStrays?.(headers, context(request));
    expect(headers.getSetCookie()).toHaveLength(1);
  });

  test.each([
    "__Host-session=planted; Path=/; Secure; Domain=shop.example",
    "__Host-session=planted; Path=/app; Secure",
    "__Host-session=planted; Path=/",
  ])("end with the next response where a browser knows no prefixes, and a sister host has planted %s", (line) => {
    const url = "https://www.shop.example/app/page";
    const client = browser({ knowsPrefixes: false });
    client.set(line, url);
    const transport = cookieTransport();
    for (const token of ["first", "second"]) {
      const headers = new Headers();
      transport.write(headers, token, context(client.request(url)));
      client.take(headers, url);
    }
    expect(client.values()).toEqual(["__Host-session=second"]);
    expect(transport.read(client.request(url), [])).toBe("second");
  });

  test("of a __Host- name cost as many lines as those of another name", () => {
    const linesOf = (name: string): number => {
      const headers = new Headers();
      cookieTransport({ name }).clear(headers, context(requestWith(`${name}=a; ${name}=b`, `${SHOP}app/page`)));
      return headers.getSetCookie().length;
    };
    expect(linesOf("__Host-session")).toBe(linesOf("sid"));
  });

  test.each(["http://127.0.0.1:8000/", "http://localhost/", "http://[::1]/"])("guess no domain on %s", (url) => {
    const headers = new Headers();
    cookieTransport().clear(headers, context(requestWith("session=a; session=b", url)));
    expect(headers.getSetCookie()).toEqual([`session=; ${EXPIRED}; Path=/; HttpOnly; SameSite=Lax`]);
  });
});

describe("previous", () => {
  test.each<[string, CookieOptions, string, string?]>([
    ["another name", { previous: [{ name: "sid" }] }, "sid=old; Path=/"],
    [
      "another name and domain",
      { previous: [{ name: "sid", domain: "shop.example" }] },
      "sid=old; Path=/; Domain=shop.example",
    ],
    ["another domain", { name: "s", previous: [{ domain: "shop.example" }] }, "s=old; Path=/; Domain=shop.example"],
    ["the host alone", { name: "s", domain: "shop.example", previous: [{}] }, "s=old; Path=/"],
    ["another path", { name: "s", previous: [{ path: "/app" }] }, "s=old; Path=/app", `${SHOP}app/x`],
    ["another path, unseen", { name: "s", previous: [{ path: "/app" }] }, "s=old; Path=/app", `${SHOP}login`],
    ["a partition", { previous: [{ partitioned: true }] }, "__Host-session=old; Path=/; Secure; Partitioned"],
    ["the second of several", { previous: [{ name: "a" }, { name: "sid" }] }, "sid=old; Path=/"],
  ])("expires the cookie of %s when the session's is written or cleared", (_name, options, old, url = SHOP) => {
    const { name = "__Host-session" } = options;
    for (const verb of ["write", "clear"] as const) {
      const client = browser();
      client.set(old, url);
      const headers = new Headers();
      const request = client.request(url);
      if (verb === "write") cookieTransport(options).write(headers, "new", context(request));
      else cookieTransport(options).clear(headers, context(request));
      client.take(headers, url);
      expect(client.values()).toEqual(verb === "write" ? [`${name}=new`] : []);
    }
  });

  test("costs no line where no such cookie can be", () => {
    const headers = new Headers();
    const options: CookieOptions = { previous: [{ name: "sid" }, { name: "old", path: "/" }] };
    cookieTransport(options).write(headers, "id", context(requestWith("other=1; __Host-session=a")));
    expect(headers.getSetCookie()).toHaveLength(1);
  });

  test("never expires the cookie that is set", () => {
    const headers = new Headers();
    const options: CookieOptions = {
      name: "s",
      domain: ".shop.example",
      previous: [{ domain: "SHOP.example" }, {}, {}],
    };
    cookieTransport(options).write(headers, "id", context(requestWith("s=a")));
    expect(headers.getSetCookie()).toEqual([
      `s=; ${EXPIRED}; Path=/; Secure; HttpOnly; SameSite=Lax`,
      "s=id; Max-Age=60; Path=/; Domain=.shop.example; Secure; HttpOnly; SameSite=Lax",
    ]);
  });

  test("lets a client keep the session that it presents under a previous name", () => {
    const transport = cookieTransport({
      previous: [{ name: "older" }, { name: "__Secure-sid", domain: "shop.example" }],
    });
    const of = (cookie: string, url = SHOP) => {
      const request = requestWith(cookie, url);
      return [transport.read(request, []), transport.isStale?.(request, []), transport.presentedName?.(request, [])];
    };
    expect(of("__Secure-sid=old")).toEqual(["old", true, "__Secure-sid"]);
    expect(of("__Secure-sid=old; older=oldest")).toEqual(["oldest", true, "older"]);
    expect(of("__Secure-sid=old; __Host-session=new")).toEqual(["new", true, "__Host-session"]);
    expect(of("sid=old", "http://localhost/")).toEqual(["old", true, "__Secure-sid"]);
    expect(of("other=old")).toEqual([null, false, "__Host-session"]);
    expect(of("__Host-session=; older=old")).toEqual([null, true, "__Host-session"]);
  });

  test("expires a copy of the token under a previous name with the next write, and not before", () => {
    const transport = cookieTransport({ previous: [{ name: "older" }] });
    for (const cookie of ["__Host-session=id; older=id", "older=id; __Host-session=id"]) {
      const request = requestWith(cookie);
      expect([transport.read(request, []), transport.isStale?.(request, [])]).toEqual(["id", false]);
      const headers = new Headers();
      transport.write(headers, "id", context(request));
      expect(headers.getSetCookie()).toEqual([
        `older=; ${EXPIRED}; Path=/; Secure; HttpOnly; SameSite=Lax`,
        expect.stringMatching(/^__Host-session=id; /),
      ]);
    }
    expect(transport.isStale?.(requestWith("__Host-session=; older="), [])).toBe(true);
  });

  test("leaves a session alone that comes under the name of today, where a previous cookie had that name as well", () => {
    const transport = cookieTransport({ name: "s", domain: "shop.example", previous: [{}, { path: "/app" }] });
    const request = requestWith("s=a");
    expect([transport.read(request, []), transport.isStale?.(request, [])]).toEqual(["a", false]);
    expect(transport.isStale?.(requestWith("s="), [])).toBe(false);
  });

  test("is ambiguous when two cookies of a previous name differ", () => {
    const transport = cookieTransport({ previous: [{ name: "sid" }] });
    const request = requestWith("sid=a; sid=b");
    expect(transport.read(request, [])).toBeNull();
    expect(transport.isAmbiguous?.(request, [])).toBe(true);
    const headers = new Headers();
    transport.expireStrays?.(headers, context(request));
    expect(headers.getSetCookie()[0]).toBe(`sid=; ${EXPIRED}; Path=/; Secure; HttpOnly; SameSite=Lax`);
  });

  test.each([
    [SHOP, "__Secure-", "; Secure"],
    ["http://localhost/", "", ""],
  ])("keeps the token that was read from a previous name on %s, and expires another one", (url, prefix, secure) => {
    const transport = cookieTransport({ previous: [{ name: "__Secure-oldest" }, { name: "__Secure-older" }] });
    const request = requestWith(`${prefix}older=b; ${prefix}oldest=a`, url);
    expect(transport.read(request, [])).toBe("a");
    const headers = new Headers();
    transport.expireStrays?.(headers, context(request));
    expect(headers.getSetCookie()).toEqual([`${prefix}older=; ${EXPIRED}; Path=/${secure}; HttpOnly; SameSite=Lax`]);
  });

  test.each<[CookieOptions, string]>([
    [{ previous: [{ name: "a b" }] }, "not a token"],
    [{ previous: [{ domain: "shop.example" }] }, "cannot have a domain"],
    [{ name: "s", previous: [{ path: "a" }] }, "its path"],
  ])("throws a TypeError when it is %j", (options, message) => {
    expect(() => cookieTransport(options)).toThrow(TypeError);
    expect(() => cookieTransport(options)).toThrow(message);
  });

  test("throws a TypeError when it is not a list, or has an unknown name", () => {
    for (const previous of [{}, "sid", [{ nmae: "sid" }], ["sid"], [{ name: null }], [{ path: ["/a"] }]]) {
      expect(() => Reflect.apply(cookieTransport, undefined, [{ previous }])).toThrow(TypeError);
    }
  });
});

describe("chunks", () => {
  const transport = cookieTransport({}, splitting(3));
  const names = (lines: readonly string[]): string[] =>
    lines.map((line) => `${line.split("=")[0]}${line.includes("Max-Age=0") ? " expired" : ""}`);
  const round = (length: number, client = browser()) => {
    const token = Array.from({ length }, (_, at) => String.fromCharCode(97 + (at % 26))).join("");
    const headers = new Headers();
    transport.write(headers, token, context(client.request()));
    const lines = client.take(headers);
    expect(transport.read(client.request(), [])).toBe(token);
    return lines;
  };
  const most = [4095 - 14, 4095 - 16, 4095 - 16] as const;

  test.each([
    [1, ["__Host-session", "__Host-session.1 expired", "__Host-session.2 expired"]],
    [most[0], ["__Host-session", "__Host-session.1 expired", "__Host-session.2 expired"]],
    [most[0] + 1, ["__Host-session", "__Host-session.1", "__Host-session.2 expired"]],
    [most[0] + most[1], ["__Host-session", "__Host-session.1", "__Host-session.2 expired"]],
    [most[0] + most[1] + 1, ["__Host-session", "__Host-session.1", "__Host-session.2"]],
    [most[0] + most[1] + most[2], ["__Host-session", "__Host-session.1", "__Host-session.2"]],
  ])("split a token of %i octets, and each response says all chunks", (length, expected) => {
    expect(names(round(length))).toEqual(expected);
  });

  test("that are too many throw ERR_COOKIE_TOO_LARGE before anything is written", () => {
    const tooLarge = "a".repeat(most[0] + most[1] + most[2] + 1);
    const headers = new Headers();
    const write = () => transport.write(headers, tooLarge, context(new Request(SHOP)));
    expect(write).toThrow(expect.objectContaining({ code: "ERR_COOKIE_TOO_LARGE" }));
    expect(write).toThrow("browsers keep 4096 in each of 3 chunks");
    expect([...headers]).toEqual([]);
    expect(() => transport.assertFits?.(tooLarge, context(new Request(SHOP)))).toThrow("4096");
    expect(() => transport.assertFits?.(tooLarge.slice(1), context(new Request(SHOP)))).not.toThrow();
  });

  test("that a shorter token no longer needs are expired, and so are those of a larger setting", () => {
    const client = browser();
    round(12_000, client);
    client.set("__Host-session.3=left; Path=/; Secure");
    expect(names(round(10, client))).toEqual([
      "__Host-session",
      "__Host-session.1 expired",
      "__Host-session.2 expired",
      "__Host-session.3 expired",
    ]);
    expect(client.values()).toHaveLength(1);
  });

  test("are all expired by clear()", () => {
    const client = browser();
    round(12_000, client);
    const headers = new Headers();
    transport.clear(headers, context(client.request()));
    client.take(headers);
    expect(client.values()).toEqual([]);
  });

  test("are ambiguous when one of them is", () => {
    const request = requestWith("__Host-session=a; __Host-session.1=b; __Host-session.1=c");
    expect(transport.read(request, [])).toBeNull();
    expect(transport.isAmbiguous?.(request, [])).toBe(true);
  });

  test("are not joined unless they were asked for", () => {
    expect(cookieTransport().read(requestWith("__Host-session=a; __Host-session.1=b"), [])).toBe("a");
    expect(transport.read(requestWith("__Host-session=a; __Host-session.2=b"), [])).toBe("a");
  });

  test("of a previous name are joined and expired", () => {
    const renamed = cookieTransport({ previous: [{ name: "sid" }] }, splitting(2));
    const request = requestWith("sid=a; sid.1=b");
    expect(renamed.read(request, [])).toBe("ab");
    const headers = new Headers();
    renamed.write(headers, "ab", context(request));
    expect(names(headers.getSetCookie())).toEqual([
      "sid expired",
      "sid.1 expired",
      "__Host-session",
      "__Host-session.1 expired",
    ]);
  });
});

describe("on plain-http loopback, what says that the client came otherwise", () => {
  const secured = (headers: Record<string, string>, options: CookieOptions = {}): boolean => {
    const request = new Request("http://localhost:3000/", { headers });
    const written = new Headers();
    cookieTransport(options).write(written, "id", context(request));
    const line = written.get("Set-Cookie") ?? "";
    expect(line.startsWith("__Host-session=")).toBe(line.includes("; Secure"));
    return line.includes("; Secure");
  };

  test.each<[Record<string, string>, boolean]>([
    [{}, false],
    [{ "X-Forwarded-Proto": "https" }, true],
    [{ "X-Forwarded-Proto": "HTTPS" }, true],
    [{ "X-Forwarded-Proto": "http, https" }, true],
    [{ "X-Forwarded-Proto": "https,http" }, true],
    [{ "X-Forwarded-Proto": "wss" }, true],
    [{ "X-Forwarded-Proto": "" }, true],
    [{ "X-Forwarded-Proto": "http" }, false],
    [{ "X-Forwarded-Proto": "ws" }, false],
    [{ "X-Forwarded-Host": "shop.example" }, true],
    [{ "X-Forwarded-Host": "localhost:5173" }, false],
    [{ "X-Forwarded-Host": "LOCALHOST" }, false],
    [{ "X-Forwarded-Host": "localhost, shop.example" }, true],
    [{ "X-Forwarded-Host": "localhost.shop.example" }, true],
    [{ Forwarded: "for=192.0.2.1;proto=https" }, true],
    [{ Forwarded: "for=192.0.2.1; Proto=HTTPS" }, true],
    [{ Forwarded: 'for=192.0.2.1;host="shop.example:443"' }, true],
    [{ Forwarded: 'proto=http;host="localhost:3000"' }, false],
    [{ Forwarded: "proto=http, for=_x;proto=https" }, true],
    [{ Forwarded: "for=192.0.2.1" }, false],
  ])("%j: secure is %j", (headers, expected) => {
    expect(secured(headers)).toBe(expected);
  });

  test("is not needed when secure: true was given", () => {
    expect(secured({}, { secure: true })).toBe(true);
    expect(secured({}, { secure: undefined } as unknown as CookieOptions)).toBe(false);
  });

  test("decides under which name the cookie is read", () => {
    const headers = { "Cookie": "session=planted; __Host-session=id", "X-Forwarded-Proto": "https" };
    expect(cookieTransport().read(new Request("http://localhost:3000/", { headers }), [])).toBe("id");
  });
});

describe("attributes as a function", () => {
  const tenant: CookieFunction = (_request: Request, { domain }: { domain: string }) => ({
    name: "s",
    domain,
    maxAge: 10,
  });

  test("get the request and what the runtime passes", () => {
    const transport = cookieTransport(tenant);
    for (const domain of ["a.example", "b.example", "a.example"]) {
      const headers = new Headers();
      const request = new Request(SHOP);
      transport.write(headers, "id", { maxAge: 1, request, runtimeArguments: [{ domain }] });
      expect(headers.get("Set-Cookie")).toContain(`Domain=${domain};`);
      expect(transport.lifetime?.(request, [{ domain }])).toMatchObject({ maxAge: 10, refresh: undefined });
      expect(transport.name?.(request, [{ domain }])).toBe("s");
    }
  });

  test("are asked once for each request", () => {
    let calls = 0;
    const transport = cookieTransport((request: Request) => ({
      name: `s${(calls += 1)}${new URL(request.url).pathname.length}`,
    }));
    const request = new Request(SHOP);
    expect(transport.cookieName(request, [])).toBe(transport.cookieName(request, []));
    expect(calls).toBe(1);
    expect(transport.cookieName(new Request(SHOP), [])).toBe("s21");
  });

  test("tell a null maxAge from an absent one", () => {
    let given: CookieOptions = {};
    const transport = cookieTransport(() => given);
    const maxAge = () => transport.lifetime?.(new Request(SHOP), [])?.maxAge;
    expect(maxAge()).toBeUndefined();
    given = { maxAge: null };
    expect(maxAge()).toBeNull();
    given = { maxAge: undefined } as unknown as CookieOptions;
    expect(maxAge()).toBeUndefined();
  });

  test.each<[unknown, typeof TypeError | typeof RangeError]>([
    [{ samesite: "Lax" }, TypeError],
    [{ name: "" }, TypeError],
    [{ maxAge: -1 }, RangeError],
    [Promise.resolve({}), TypeError],
    [undefined, TypeError],
  ])("throw when they answer %j", (answer, Mistake) => {
    const options: unknown = () => answer;
    const transport = cookieTransport(options as CookieFunction);
    expect(() => transport.read(requestWith("s=1"), [])).toThrow(Mistake);
  });
});

test.each<[unknown, string]>([
  [{ samesite: "Lax" }, 'cookie has no option "samesite": did you mean sameSite?'],
  [{ secure: "yes" }, "secure is not true or false"],
  [{ httpOnly: 1 }, "httpOnly is not true or false"],
  [{ partitioned: "no" }, "partitioned is not true or false"],
  [{ refresh: "often" }, 'cookie.refresh must be one of "changed", "always"'],
])("cookieTransport() throws a TypeError when it gets %j", (options, message) => {
  expect(() => Reflect.apply(cookieTransport, undefined, [options])).toThrow(TypeError);
  expect(() => Reflect.apply(cookieTransport, undefined, [options])).toThrow(message);
});

test.each([0, -1, NaN, Infinity, "60"])("cookieTransport() throws a RangeError when maxAge is %j", (maxAge) => {
  expect(() => Reflect.apply(cookieTransport, undefined, [{ maxAge }])).toThrow(RangeError);
});
