import { describe, expect, test } from "vitest";
import { headerTransport } from "../../src/transports/header.ts";
import type { Transport } from "../../src/transports/transport.ts";

const NAME = "X-Session-Id";
const request = (headers: Record<string, string> = {}): Request => new Request("https://shop.example/", { headers });

describe("headerTransport()", () => {
  const open = (): Transport => headerTransport({ name: NAME });

  test("reads the value as it is, and null when there is none or an empty one", () => {
    expect(open().read(request({ [NAME]: "the id" }))).toBe("the id");
    expect(open().read(request({ [NAME]: "Bearer id" }))).toBe("Bearer id");
    expect(open().read(request({ [NAME]: "" }))).toBeNull();
    expect(open().read(request())).toBeNull();
  });

  test("takes the header, even an empty one, for the wish to hear in it", () => {
    expect(open().asks?.(request({ [NAME]: "" }))).toBe(true);
    expect(open().asks?.(request({ [NAME]: "id" }))).toBe(true);
    expect(open().asks?.(request())).toBe(false);
  });

  test("writes the id, and empties the header when the session ended", () => {
    const headers = new Headers();
    open().write(headers, "one", { maxAge: 1, request: request() });
    open().write(headers, "two", { maxAge: 1, request: request() });
    expect([...headers]).toEqual([["x-session-id", "two"]]);
    open().clear(headers, { request: request() });
    expect([...headers]).toEqual([["x-session-id", ""]]);
  });

  test("is what responses depend on, and what scripts of other origins read", () => {
    expect(open()).toMatchObject({ varyOn: NAME, exposes: NAME });
  });

  test.each(["", "a b", "a:b", "ä", "a\n", "\na"])("throws a TypeError when the name is %j", (name) => {
    expect(() => headerTransport({ name })).toThrow(TypeError);
    expect(() => headerTransport({ name })).toThrow("not a token");
  });

  test("throws a TypeError when the scheme is none that it knows", () => {
    const scheme: unknown = "Basic";
    expect(() => headerTransport({ name: NAME, scheme: scheme as "Bearer" })).toThrow(TypeError);
    expect(() => headerTransport({ name: NAME, scheme: scheme as "Bearer" })).toThrow('only be "Bearer"');
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
    expect(open().asks?.(request({ Authorization: value }))).toBe(expected);
    expect(open().asks?.(request())).toBe(false);
  });

  test("writes the id behind the scheme", () => {
    const headers = new Headers();
    open().write(headers, "id", { maxAge: 1, request: request() });
    expect(headers.get("Authorization")).toBe("Bearer id");
  });
});
