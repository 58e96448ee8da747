import { describe, expect, test } from "vitest";
import type { SessionOptions, Transport } from "../../../mod.ts";
import { splitting } from "../../../src/cookie_sessions/chunks.ts";
import { assertCookieAge, transportPolicy } from "../../../src/core/options/transport_options.ts";

const own: Transport = { read: () => null, write() {}, clear() {} };
type Ways = Pick<SessionOptions, "transports" | "cookie" | "header">;
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
  const namesOf = (key: "name" | "headerName", all: readonly Ways[]): unknown[] =>
    all.map((ways) => transportPolicy(ways)[key]);
  /** The request header that each transport reads. */
  const read = (ways: Ways): unknown[] => transportPolicy(ways).transports.map(({ requestHeader }) => requestHeader);

  test("gives the name of the cookie, or else of the header, to which what is signed is bound", () => {
    const all: Ways[] = [
      { cookie: { name: "shop" }, header: "X-Id" },
      { header: "X-Id" },
      { cookie: () => ({ name: "shop" }), header: "X-Id" },
      { cookie: false, header: "X-Id" },
      { cookie: false, header: { name: "Authorization" } },
      { transports: [own], cookie: false },
      { transports: [own] },
    ];
    expect(namesOf("name", all)).toEqual([
      "shop",
      "__Host-session",
      "__Host-session",
      "X-Id",
      "Authorization",
      "__Host-session",
      "__Host-session",
    ]);
  });

  test("gives the name of the header that stands beside a cookie", () => {
    const all: Ways[] = [
      { header: "X-Id" },
      { cookie: () => ({}), header: { name: "Authorization", scheme: "Bearer" } },
      { cookie: false, header: "X-Id" },
      {},
    ];
    expect(namesOf("headerName", all)).toEqual(["X-Id", "Authorization", undefined, undefined]);
  });

  test("gives the cookie, then the header, or the program's own in their place", () => {
    expect(read({})).toEqual(["Cookie"]);
    expect(read({ header: "X-Id" })).toEqual(["Cookie", "X-Id"]);
    expect(read({ cookie: () => ({}), header: { name: "X-Id" } })).toEqual(["Cookie", "X-Id"]);
    expect(read({ cookie: false, header: "X-Id" })).toEqual(["X-Id"]);
    expect(transportPolicy({ transports: [own] }).transports).toEqual([own]);
  });

  test("says so where no client could have a session", () => {
    for (const ways of [{ cookie: false }, { transports: [] }] as const)
      expect(() => transportPolicy(ways)).toThrow("Without a cookie, a header or a transport");
  });

  test("gives the request headers that were read after each transport, for Vary", () => {
    expect(transportPolicy({ header: "X-Id" }).varyHeaders).toEqual([[], ["Cookie"], ["Cookie", "X-Id"]]);
    const transports = [own, { ...own, requestHeader: "X-One" }, { ...own, requestHeader: "X-Two" }];
    expect(transportPolicy({ transports }).varyHeaders).toEqual([[], [], ["X-One"], ["X-One", "X-Two"]]);
  });

  test("gives the cookie the splitting of its source", () => {
    const [cookie] = transportPolicy({}, splitting(2)).transports;
    const headers = new Headers();
    cookie?.write(headers, "x".repeat(6000), { maxAge: null, request: REQUEST, runtimeArguments: [] });
    expect(headers.getSetCookie().map((line) => line.split("=")[0])).toEqual(["__Host-session", "__Host-session.1"]);
  });

  test.each<[string, object]>([
    ["transports that are no list", { transports: {} }],
    ["transports that are null", { transports: null }],
    ["a header that is true", { header: true }],
    ["a header that is null", { header: null }],
    ["a transport without read", { transports: [{ ...own, read: undefined }] }],
    ["a transport without write", { transports: [{ ...own, write: undefined }] }],
    ["a transport without clear", { transports: [own, { ...own, clear: undefined }] }],
    ["a cookie beside transports", { transports: [own], cookie: {} }],
    ["a header beside transports", { transports: [own], header: "X-Id" }],
    ["no way at all", { cookie: false, header: false }],
    ["an empty list", { transports: [] }],
  ])("throws a TypeError for %s", (_what, ways) => {
    expect(() => transportPolicy(ways)).toThrow(TypeError);
    expect(() => transportPolicy(ways)).not.toThrow(/Cannot read|is not a function/);
  });

  test.each([true, null, 7])("says what a header must be when it is %j", (header) => {
    expect(() => transportPolicy({ header } as object)).toThrow(/^header must be a name/);
  });
});
