import { describe, expect, test } from "vitest";
import { cookieTransport } from "../../src/core/cookie_transport.ts";
import { headerTransport } from "../../src/core/header_transport.ts";
import { factsToJson, isBound, newBinding, readFacts } from "../../src/device_bound/binding.ts";
import {
  boundCookieAttributes,
  boundCookieName,
  type CookieExchange,
  keepSessionCookie,
  carriesProof,
  proofLifetime,
} from "../../src/device_bound/bound_cookie.ts";
import { assertCookie } from "../../src/device_bound/host.ts";
import {
  isSkipped,
  offerRegistration,
  readProof,
  readSessionId,
  sessionConfiguration,
  sessionEnd,
  writeChallenge,
} from "../../src/device_bound/messages.ts";
import { settingsOf } from "../../src/device_bound/options.ts";

const ORIGIN = "https://shop.example";

function exchange(cookie: Parameters<typeof cookieTransport>[0] = {}, url = ORIGIN): CookieExchange {
  return { transport: cookieTransport(cookie), request: new Request(url), runtimeArguments: [] };
}

function request(headers: Record<string, string>): Request {
  return new Request(ORIGIN, { headers });
}

describe("the messages to the browser", () => {
  test("offer a registration, and give a challenge, as Chromium reads them", () => {
    const headers = new Headers();
    offerRegistration(headers, "c", "/dbsc");
    writeChallenge(headers, "d", "id");
    expect(Object.fromEntries(headers)).toEqual({
      "secure-session-registration": '(ES256 RS256);path="/dbsc/start";challenge="c"',
      "secure-session-challenge": '"d";id="id"',
    });
  });

  test("configure a session of one host", () => {
    const scope = { path: "/dbsc", refreshInitiators: [], exclude: [] };
    expect(JSON.parse(sessionConfiguration("id", exchange(), scope))).toEqual({
      session_identifier: "id",
      refresh_url: "/dbsc/refresh",
      scope: { include_site: false, scope_specification: [] },
      credentials: [
        { type: "cookie", name: "__Host-session-bound", attributes: "Path=/; Secure; HttpOnly; SameSite=Lax" },
      ],
    });
  });

  test("configure a session of a site, with paths that are left alone, and hosts that may ask", () => {
    const scope = { path: "/dbsc", refreshInitiators: ["app.shop.example"], exclude: ["/assets", "/x"] };
    const site = exchange({ name: "shop", domain: "Shop.example" });
    expect(JSON.parse(sessionConfiguration("id", site, scope))).toMatchObject({
      scope: {
        include_site: true,
        scope_specification: [
          { type: "exclude", domain: "*", path: "/assets" },
          { type: "exclude", domain: "*", path: "/x" },
        ],
      },
      allowed_refresh_initiators: ["app.shop.example"],
    });
    const onSubdomain = exchange({ name: "shop", domain: "shop.example" }, "https://app.shop.example");
    expect(JSON.parse(sessionConfiguration("id", onSubdomain, scope))).toMatchObject({
      scope: { include_site: false },
    });
  });

  test("end a session", () => {
    expect(JSON.parse(sessionEnd("id"))).toEqual({ session_identifier: "id", continue: false });
  });
});

describe("the messages of the browser", () => {
  test("are read, also when they are absent", () => {
    expect(readProof(request({ "Secure-Session-Response": "proof" }))).toBe("proof");
    expect(readProof(request({ "Secure-Session-Response": '"a.b-c_.d";q="x"' }))).toBe("a.b-c_.d");
    // Two headers arrive as one.
    expect(readProof(request({ "Secure-Session-Response": '"a.b.c", "d.e.f"' }))).toBe('"a.b.c", "d.e.f"');
    expect(readProof(request({}))).toBeNull();
    expect(readSessionId(request({ "Sec-Secure-Session-Id": '"id"' }))).toBe("id");
    expect(readSessionId(request({ "Sec-Secure-Session-Id": '"id"; q=1' }))).toBe("id");
    expect(readSessionId(request({ "Sec-Secure-Session-Id": "id" }))).toBe("id");
    expect(readSessionId(request({}))).toBe("");
    expect(isSkipped(request({ "Secure-Session-Skipped": "" }))).toBe(true);
    expect(isSkipped(request({}))).toBe(false);
  });
});

describe("the bound cookie", () => {
  test("is found under the name of the session cookie, and under no name that ends alike", () => {
    const transports = [headerTransport("X-Session-Id"), cookieTransport({ name: "shop" })];
    const isCarried = (Cookie: string): boolean => carriesProof(request({ Cookie }), [], transports);
    expect(isCarried("a=b; shop-bound=x")).toBe(true);
    expect(isCarried("shop=x; outward-bound=x; shop-bound-2=x")).toBe(false);
    expect(carriesProof(request({}), [], transports)).toBe(false);
  });

  test("has the name and the attributes of the session cookie, and a name with an end of its own", () => {
    expect(boundCookieName(exchange({ name: "shop" }))).toBe("shop-bound");
    const attributes = boundCookieAttributes(exchange({ name: "shop", path: "/app", sameSite: "Strict" }));
    expect(attributes).toBe("Path=/app; Secure; HttpOnly; SameSite=Strict");
  });

  test("lives as long as its proof less the skew of clocks, and for half as long at least", () => {
    expect(proofLifetime(600)).toEqual({ validFor: 600, maxAge: 300 });
    expect(proofLifetime(700)).toEqual({ validFor: 700, maxAge: 400 });
    expect(proofLifetime(3)).toEqual({ validFor: 3, maxAge: 2 });
  });

  test("and others stay when the session cookie is taken out of a response", () => {
    const headers = new Headers();
    for (const line of ["a=1", "__Host-session=x; Max-Age=0", "__Host-session-bound=y"])
      headers.append("Set-Cookie", line);
    keepSessionCookie(headers, exchange());
    expect(headers.getSetCookie()).toEqual(["a=1", "__Host-session-bound=y"]);
  });
});

describe("facts", () => {
  const key = {
    jwk: { kty: "OKP", crv: "Ed25519", x: "AQAB" },
    algorithm: "Ed25519",
    thumbprint: "t",
    proofs: 3,
    provedAt: 7,
  };

  test("are read as they were written", () => {
    const binding = newBinding();
    expect(newBinding().id).not.toBe(binding.id);
    expect(newBinding().secret).not.toBe(binding.secret);
    expect(binding.secret).not.toBe(binding.id);
    for (const facts of [binding, { ...binding, key }, "exempt"] as const)
      expect(readFacts(JSON.parse(JSON.stringify(factsToJson(facts))))).toEqual(facts);
    expect(readFacts(undefined)).toBeUndefined();
  });

  test("that miss a part of the key, or have another kind of it, are unreadable", () => {
    const right = { id: "a", secret: "b", jwk: key.jwk, alg: "Ed25519", jkt: "t", proofs: 3, at: 7 };
    expect(readFacts(right)).toMatchObject({ key });
    for (const name of ["id", "secret", "alg", "jkt", "proofs", "at"])
      for (const value of [undefined, null, true, {}])
        expect(readFacts({ ...right, [name]: value }), name).toBe("unreadable");
    expect(readFacts({ ...right, jwk: null })).toBe("unreadable");
  });

  test("bind a session if they hold a key, or cannot be read", () => {
    const binding = newBinding();
    expect([isBound({ ...binding, key }), isBound("unreadable")]).toEqual([true, true]);
    expect([isBound(binding), isBound("exempt"), isBound(undefined)]).toEqual([false, false, false]);
  });
});

describe("assertCookie()", () => {
  test.each([
    ["/dbsc", "Path=/; Secure"],
    ["/app/dbsc", "Secure; Path=/app; HttpOnly"],
    ["/app/dbsc", "path=/app/"],
    ["/app", "Path=/app"],
    ["/dbsc", "Secure"],
  ])("takes the path %s for the attributes %s", (path, attributes) => {
    expect(() => assertCookie(path, attributes)).not.toThrow();
  });

  test.each([
    ["/dbsc", "Path=/app", "is sent under /app only"],
    ["/application", "Path=/app", "is sent under /app only"],
    ["/dbsc", "Secure; Path=/app/; HttpOnly", "is sent under /app/ only"],
    ["/dbsc", "Path=/; Secure; Partitioned", "partitioned"],
    ["/dbsc", "Path=/; partitioned; Secure", "partitioned"],
  ])("refuses the path %s for the attributes %s", (path, attributes, message) => {
    expect(() => assertCookie(path, attributes)).toThrow(TypeError);
    expect(() => assertCookie(path, attributes)).toThrow(message);
  });
});

describe("settingsOf()", () => {
  const refused = (name: string, value: unknown): [object, typeof TypeError, string] => [
    { [name]: value },
    TypeError,
    name,
  ];

  test("has the defaults that are documented", () => {
    expect(settingsOf({})).toMatchObject({
      isRequired: false,
      scope: { path: "/dbsc", refreshInitiators: [], exclude: [] },
      lifetime: { validFor: 600, maxAge: 300 },
    });
    expect(settingsOf({ mode: "offer" }).isRequired).toBe(false);
    expect(settingsOf({ mode: "require" }).isRequired).toBe(true);
  });

  test.each<[object]>([
    [{ lifetime: 2 }],
    [{ lifetime: 86_400 }],
    [{ path: "/a" }],
    [{ path: "/a.b/c_d/~e-f" }],
    [{ offerOn: () => true }],
    [{ refreshInitiators: ["a.example"], exclude: ["/a"] }],
    [{ refreshInitiators: ["A.example", "*.b-c.example", "*", "127.0.0.1"], exclude: ["/", "/a/*", "/%C3%A4"] }],
    [{ path: "/.a/..b/c..." }],
  ])("takes %j", (options) => {
    expect(() => settingsOf(options)).not.toThrow();
  });

  test.each<[object, typeof TypeError | typeof RangeError, string]>([
    [{ lifetime: 1.9 }, RangeError, "from 2 to 86400"],
    [{ path: "" }, TypeError, "path"],
    [{ path: "/a b" }, TypeError, "path"],
    [{ path: "x/a" }, TypeError, "path"],
    [{ path: 7 }, TypeError, "path"],
    // A browser resolves these before it sends a request.
    ...["/..", "/a/../b", "/a/.", "/./a"].map((path) => refused("path", path)),
    [{ refreshInitiators: "a.example" }, TypeError, "refreshInitiators"],
    [{ refreshInitiators: [""] }, TypeError, "refreshInitiators"],
    [{ refreshInitiators: ["a.example", 7] }, TypeError, "refreshInitiators"],
    [{ exclude: "/a" }, TypeError, "exclude"],
    [{ exclude: ["/a", ""] }, TypeError, "exclude"],
    // With one of the first four, or a star in the middle of a host, Chromium 156 binds no session. The others match nothing.
    ...["assets", "*", " /a", "https://a.example/a", "/a b", "/ä"].map((each) => refused("exclude", [each])),
    ...["a*.example", "https://a.example", "a.example:8443", "a.example/x", "a.example ", "bücher.example", ".a"].map(
      (each) => refused("refreshInitiators", [each]),
    ),
  ])("refuses %j", (options, Mistake, message) => {
    expect(() => settingsOf(options)).toThrow(Mistake);
    expect(() => settingsOf(options)).toThrow(message);
  });
});
