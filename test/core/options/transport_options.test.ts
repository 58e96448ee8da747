import { describe, expect, test } from "vitest";
import type { Transport } from "../../../mod.ts";
import { splitting } from "../../../src/cookie_sessions/chunks.ts";
import { assertCookieAge, transportPolicy } from "../../../src/core/options/transport_options.ts";

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

describe("transportPolicy()", () => {
  /** The request header that each transport reads. */
  const read = (...args: Parameters<typeof transportPolicy>): unknown[] =>
    transportPolicy(...args).transports.map(({ requestHeader }) => requestHeader);

  test("gives the name of the cookie, or else of the header, to which what is signed is bound", () => {
    const args: Parameters<typeof transportPolicy>[] = [
      [undefined, { name: "shop" }, "X-Id"],
      [undefined, {}, "X-Id"],
      [undefined, () => ({ name: "shop" }), "X-Id"],
      [undefined, false, "X-Id"],
      [undefined, false, { name: "Authorization" }],
      [[own], false, false],
    ];
    expect(args.map((each) => transportPolicy(...each).name)).toEqual([
      "shop",
      "__Host-session",
      "__Host-session",
      "X-Id",
      "Authorization",
      "__Host-session",
    ]);
  });

  test("gives the name of the header that stands beside a cookie", () => {
    const args: Parameters<typeof transportPolicy>[] = [
      [undefined, {}, "X-Id"],
      [undefined, () => ({}), { name: "Authorization", scheme: "Bearer" }],
      [undefined, false, "X-Id"],
      [undefined, {}, false],
    ];
    expect(args.map((each) => transportPolicy(...each).headerName)).toEqual([
      "X-Id",
      "Authorization",
      undefined,
      undefined,
    ]);
  });

  test("gives the cookie, then the header, or the program's own in their place", () => {
    expect(read(undefined, {}, false)).toEqual(["Cookie"]);
    expect(read(undefined, {}, "X-Id")).toEqual(["Cookie", "X-Id"]);
    expect(read(undefined, () => ({}), { name: "X-Id" })).toEqual(["Cookie", "X-Id"]);
    expect(read(undefined, false, "X-Id")).toEqual(["X-Id"]);
    const transports = [own];
    expect(transportPolicy(transports, {}, "X-Id").transports).toBe(transports);
  });

  test("gives the request headers that were read after each transport, for Vary", () => {
    expect(transportPolicy(undefined, {}, "X-Id").varyHeaders).toEqual([[], ["Cookie"], ["Cookie", "X-Id"]]);
    const transports = [own, { ...own, requestHeader: "X-One" }, { ...own, requestHeader: "X-Two" }];
    expect(transportPolicy(transports, {}, false).varyHeaders).toEqual([[], [], ["X-One"], ["X-One", "X-Two"]]);
  });

  test("gives the cookie the splitting of its source", () => {
    const [cookie] = transportPolicy(undefined, {}, false, splitting(2)).transports;
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
    expect(() => Reflect.apply(transportPolicy, undefined, [...args])).toThrow(TypeError);
    expect(() => Reflect.apply(transportPolicy, undefined, [...args])).not.toThrow(/Cannot read|is not a function/);
  });

  test.each([true, null, undefined, 7])("says what a header must be when it is %j", (header) => {
    expect(() => Reflect.apply(transportPolicy, undefined, [undefined, {}, header])).toThrow(/^header must be a name/);
  });
});
