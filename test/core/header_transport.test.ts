import { describe, expect, test } from "vitest";
import { headerTransport } from "../../src/core/header_transport.ts";
import type { Transport } from "../../src/core/transport.ts";

const NAME = "X-Session-Id";
const request = (headers: Record<string, string> = {}): Request => new Request("https://shop.example/", { headers });

const context = { maxAge: 1, request: request(), runtimeArguments: [] };

/** A request whose header has exactly this value, including blanks, as a runtime may pass it. */
const raw = (name: string, value: string): Request => {
  const headers = new Headers();
  const get = (asked: string): string | null => (asked.toLowerCase() === name.toLowerCase() ? value : null);
  return Object.defineProperty(request(), "headers", { value: Object.assign(headers, { get }) });
};

test.each([
  "Cookie",
  "set-cookie",
  "Host",
  "Origin",
  "Vary",
  "Expires",
  "ETag",
  "Age",
  "DPoP",
  "DPoP-Nonce",
  "X-CSRF-Token",
  "Secure-Session-Response",
  "X-Forwarded-For",
  "Forwarded",
  "Via",
  "WWW-Authenticate",
  "Upgrade",
  "User-Agent",
  "Referer",
  "Accept",
  "Accept-Language",
  "Range",
  "If-None-Match",
  "Last-Modified",
  "TE",
  "Trailer",
  "Expect",
  "Server",
  "Link",
  "Allow",
  "Retry-After",
  "Refresh",
  "Clear-Site-Data",
  "Strict-Transport-Security",
  "Cache-Control",
  "CDN-Cache-Control",
  "Surrogate-Control",
  "Content-Type",
  "Sec-Session",
  "Transfer-Encoding",
  "Connection",
  "Date",
  "Location",
  "Proxy-Authorization",
  "Access-Control-Allow-Origin",
])("headerTransport() refuses %s, which has another use in HTTP", (name) => {
  for (const options of [name, { name, scheme: "Bearer" } as const])
    expect(() => headerTransport(options)).toThrow(
      new TypeError(`Cannot use the header ${name}: HTTP uses it for something else`),
    );
});

test.each([
  "Authorization",
  "X-Cookie",
  "Cookie-Id",
  "Session",
  "X-Host",
  "X-Range",
  "Range-Id",
  "X-Accept-Id",
  "X-Link",
  "Link-Id",
  "X-Trailer",
  "Trailer-Id",
])("headerTransport() accepts %s", (name) => {
  expect(headerTransport(name).read(request({ [name]: "id" }))).toBe("id");
});

describe("headerTransport()", () => {
  const open = (): Transport => headerTransport({ name: NAME });

  test("reads the value as it is, and null when there is none or an empty one", () => {
    expect(open().read(request({ [NAME]: "the id" }))).toBe("the id");
    expect(open().read(request({ [NAME]: "Bearer id" }))).toBe("Bearer id");
    expect(open().read(request({ [NAME]: "" }))).toBeNull();
    expect(open().read(request())).toBeNull();
  });

  test("takes the header, even an empty one, for the wish to hear in it", () => {
    expect(open().wants?.(request({ [NAME]: "" }))).toBe(true);
    expect(open().wants?.(request({ [NAME]: "id" }))).toBe(true);
    expect(open().wants?.(request())).toBe(false);
  });

  test.each([
    ["id\v", "id\v"],
    ["\vid", "\vid"],
    ["id\u00a0", "id\u00a0"],
    ["\u00a0id", "\u00a0id"],
    ["id\f", "id\f"],
    [" \tid\t ", "id"],
    [" ", null],
  ])("trims only spaces and tabs of %j", (value, expected) => {
    expect(open().read(raw(NAME, value))).toBe(expected);
    if (!/^[ \t]|[ \t]$/.test(value)) expect(open().read(request({ [NAME]: value }))).toBe(expected);
    const bearer = headerTransport({ name: NAME, scheme: "Bearer" });
    expect(bearer.read(raw(NAME, `Bearer ${value}`))).toBe(expected);
  });

  test("takes its name alone, and throws a TypeError for an unknown option", () => {
    expect(headerTransport(NAME).read(request({ [NAME]: "id" }))).toBe("id");
    expect(() => Reflect.apply(headerTransport, undefined, [{ name: NAME, schema: "Bearer" }])).toThrow(
      "did you mean scheme?",
    );
  });

  test("writes the id, and empties the header when the session ended", () => {
    const headers = new Headers();
    open().write(headers, "one", context);
    open().write(headers, "two", context);
    expect([...headers]).toEqual([["x-session-id", "two"]]);
    open().clear(headers, context);
    expect([...headers]).toEqual([["x-session-id", ""]]);
  });

  test("is what responses depend on, and what scripts of other origins read", () => {
    expect(open()).toMatchObject({ requestHeader: NAME, responseHeader: NAME });
  });

  test.each(["", "a b", "a:b", "ä", "a\n", "\na"])("throws a TypeError when the name is %j", (name) => {
    expect(() => headerTransport({ name })).toThrow(TypeError);
    expect(() => headerTransport({ name })).toThrow("not a token");
  });

  test("throws a TypeError when the scheme is none that it knows", () => {
    const scheme: unknown = "Basic";
    expect(() => headerTransport({ name: NAME, scheme: scheme as "Bearer" })).toThrow(TypeError);
    expect(() => headerTransport({ name: NAME, scheme: scheme as "Bearer" })).toThrow('header.scheme must be "Bearer"');
  });
});

describe("headerTransport({ scheme })", () => {
  const open = (): Transport => headerTransport({ name: "Authorization", scheme: "Bearer" });

  test.each([
    ["Bearer id", "id"],
    ["bearer id", "id"],
    ["BEARER   id", "id"],
    ["Basic id", null],
    ["Bearerid", null],
    ["id", null],
    ["Bearer", null],
    ["", null],
  ])("reads %j as %j", (value, expected) => {
    expect(open().read(request({ Authorization: value }))).toBe(expected);
  });

  test.each([
    ["Bearer id", true],
    ["Bearer", true],
    ["", true],
    ["Basic id", false],
  ])("says whether %j wishes to hear in it: %j", (value, expected) => {
    expect(open().wants?.(request({ Authorization: value }))).toBe(expected);
    expect(open().wants?.(request())).toBe(false);
  });

  test("writes the id behind the scheme", () => {
    const headers = new Headers();
    open().write(headers, "id", context);
    expect(headers.get("Authorization")).toBe("Bearer id");
  });
});

test("the name is what a signature is bound to, and messages say that the option is of the header", () => {
  expect(headerTransport(NAME).name?.(request(), [])).toBe(NAME);
  expect(() => headerTransport({ name: NAME, schema: "Bearer" } as never)).toThrow(/header/);
});
