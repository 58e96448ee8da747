import { describe, expect, test } from "vitest";
import type { Transport } from "../../../mod.ts";
import { assertCookieAge, headerNameOf, nameOf, transportsOf } from "../../../src/core/options/transport_options.ts";

const own: Transport = { read: () => null, write() {}, clear() {} };
const REQUEST = new Request("https://shop.example/");

test("assertCookieAge() refuses a cookie that would end before it is sent again", () => {
  for (const cookie of [
    {},
    false,
    undefined,
    () => ({ maxAge: 1 }),
    { maxAge: null },
    { maxAge: 60 },
    { maxAge: 61 },
    { maxAge: 1, refresh: "always" },
  ] as const)
    expect(assertCookieAge(cookie, 60)).toBeUndefined();
  expect(Reflect.apply(assertCookieAge, undefined, [null, 60])).toBeUndefined();
  for (const cookie of [{ maxAge: 59 }, { maxAge: 59, refresh: "changed" }] as const)
    expect(() => assertCookieAge(cookie, 60)).toThrow(RangeError);
});

test("nameOf() is the name of the cookie, or else of the header, to which what is signed is bound", () => {
  expect([
    nameOf({ name: "shop" }, "X-Id"),
    nameOf({}, "X-Id"),
    nameOf(() => ({ name: "shop" }), "X-Id"),
    nameOf(false, "X-Id"),
    nameOf(false, { name: "Authorization" }),
  ]).toEqual(["shop", "__Host-session", "__Host-session", "X-Id", "Authorization"]);
});

test("headerNameOf() is the name of the header that stands beside a cookie", () => {
  expect([
    headerNameOf({}, "X-Id"),
    headerNameOf(() => ({}), { name: "Authorization", scheme: "Bearer" }),
    headerNameOf(false, "X-Id"),
    headerNameOf({}, false),
    headerNameOf({}, undefined),
  ]).toEqual(["X-Id", "Authorization", undefined, undefined, undefined]);
});

describe("transportsOf()", () => {
  /** The request header that each transport reads. */
  const read = (...args: Parameters<typeof transportsOf>): unknown[] =>
    transportsOf(...args).map(({ requestHeader }) => requestHeader);

  test("gives the cookie, then the header, or the program's own in their place", () => {
    expect(read(undefined, {}, false, 1)).toEqual(["Cookie"]);
    expect(read(undefined, {}, "X-Id", 1)).toEqual(["Cookie", "X-Id"]);
    expect(read(undefined, () => ({}), { name: "X-Id" }, 1)).toEqual(["Cookie", "X-Id"]);
    expect(read(undefined, false, "X-Id", 1)).toEqual(["X-Id"]);
    expect(read(undefined, undefined, "X-Id", 1)).toEqual(["X-Id"]);
    const transports = [own];
    expect(transportsOf(transports, {}, "X-Id", 1)).toBe(transports);
  });

  test("gives the cookie as many chunks as it is told", () => {
    const [cookie] = transportsOf(undefined, {}, false, 2);
    const headers = new Headers();
    cookie?.write(headers, "x".repeat(6000), { maxAge: null, request: REQUEST, runtimeArguments: [] });
    expect(headers.getSetCookie().map((line) => line.split("=")[0])).toEqual(["__Host-session", "__Host-session.1"]);
  });

  test.each<[string, unknown[]]>([
    ["transports that are no list", [{}, {}, false]],
    ["transports that are null", [null, {}, false]],
    ["a header that is true", [undefined, {}, true]],
    ["a header that is null", [undefined, {}, null]],
    ["a header that is undefined", [undefined, {}, undefined]],
    ["a transport without read", [[{ ...own, read: undefined }], {}, false]],
    ["a transport without write", [[{ ...own, write: undefined }], {}, false]],
    ["a transport without clear", [[own, { ...own, clear: undefined }], {}, false]],
    ["no way at all", [undefined, false, false]],
    ["an empty list", [[], {}, false]],
  ])("throws a TypeError for %s", (_what, args) => {
    expect(() => Reflect.apply(transportsOf, undefined, [...args, 1])).toThrow(TypeError);
    expect(() => Reflect.apply(transportsOf, undefined, [...args, 1])).not.toThrow(/Cannot read|is not a function/);
  });

  test.each([true, null, undefined, 7])("says what a header must be when it is %j", (header) => {
    expect(() => Reflect.apply(transportsOf, undefined, [undefined, {}, header, 1])).toThrow(/^header must be a name/);
  });
});
