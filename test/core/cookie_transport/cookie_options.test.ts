import { describe, expect, test } from "vitest";
import {
  type CookieOptions,
  resolveCookieOptions,
  withoutPrefix,
} from "../../../src/core/cookie_transport/cookie_options.ts";

test("withoutPrefix() takes a prefix that browsers know from the front, in any letter case, once", () => {
  const names = [
    "__Host-s",
    "__HOST-s",
    "__Secure-s",
    "__Http-s",
    "__Host-Http-s",
    "__Host-__Host-s",
    "s__Host-",
    "__Other-s",
  ];
  expect(names.map(withoutPrefix)).toEqual(["s", "s", "s", "s", "s", "__Host-s", "s__Host-", "__Other-s"]);
});

describe("resolveCookieOptions()", () => {
  test("fills in the defaults", () => {
    expect(resolveCookieOptions({})).toEqual({
      scope: { name: "__Host-session", domain: undefined, path: "/", partitioned: false },
      secure: true,
      alwaysSecure: false,
      httpOnly: true,
      sameSite: "Lax",
      maxAge: undefined,
      refresh: undefined,
      previous: [],
    });
  });

  test("keeps what is given", () => {
    const options: CookieOptions = {
      name: "s",
      domain: "shop.example",
      path: "/app",
      secure: true,
      httpOnly: false,
      sameSite: "None",
      partitioned: true,
      maxAge: 60,
      refresh: "always",
      previous: [{}, { name: "older", domain: "a.example", path: "/a", partitioned: true }],
    };
    expect(resolveCookieOptions(options)).toEqual({
      scope: { name: "s", domain: "shop.example", path: "/app", partitioned: true },
      secure: true,
      alwaysSecure: true,
      httpOnly: false,
      sameSite: "None",
      maxAge: 60,
      refresh: "always",
      previous: [
        { name: "s", domain: undefined, path: "/", partitioned: false },
        { name: "older", domain: "a.example", path: "/a", partitioned: true },
      ],
    });
    const insecure = resolveCookieOptions({ name: "s", secure: false });
    expect([insecure.secure, insecure.alwaysSecure]).toEqual([false, false]);
  });

  test.each([
    { sameSite: "Lax" },
    { sameSite: "Strict" },
    { sameSite: "None" },
    { refresh: "changed" },
    { refresh: "always" },
    { maxAge: null },
    { maxAge: 0.5 },
    { name: "s", domain: "localhost" },
    { name: "s", domain: "shop.example" },
    { name: "s", domain: ".a-1.shop.example" },
  ] as const)("takes %j", (options) => {
    const resolved = resolveCookieOptions(options);
    expect({ ...resolved.scope, ...resolved }).toMatchObject(options);
  });

  test.each<[unknown, string]>([
    [{ secure: "yes" }, "secure is not true or false"],
    [{ httpOnly: 1 }, "httpOnly is not true or false"],
    [{ partitioned: null }, "partitioned is not true or false"],
    [{ sameSite: "lax" }, "cookie.sameSite must be one of"],
    [{ sameSite: null }, "cookie.sameSite must be one of"],
    [{ refresh: "sometimes" }, "cookie.refresh must be one of"],
    [{ refresh: null }, "cookie.refresh must be one of"],
    [{ previous: {} }, "previous is not a list"],
    [{ previous: null }, "previous is not a list"],
    [{ previous: [{ path: "a" }] }, "its path"],
    [{ nmae: "s" }, 'cookie has no option "nmae"'],
    [{ previous: [{ secure: true }] }, 'cookie.previous has no option "secure"'],
    [{ name: 7 }, "its name is not a token"],
    [{ name: null }, "its name is not a token"],
    [{ name: "s", path: 7 }, "its path"],
    [{ name: "s", path: null }, "its path"],
    [{ name: "s", path: ["/"] }, "its path"],
    [{ name: "s", domain: 7 }, "its domain"],
    [{ name: "s", domain: null }, "its domain"],
    [{ name: "s", domain: "." }, "its domain"],
    [{ name: "s", domain: "a..example" }, "its domain"],
    [{ name: "s", domain: "a.example." }, "its domain"],
    [{ previous: [{ name: "s", partitioned: 1 }] }, "partitioned is not true or false"],
  ])("throws a TypeError for %j", (options, message) => {
    const resolve = (): unknown => Reflect.apply(resolveCookieOptions, undefined, [options]);
    expect(resolve).toThrow(TypeError);
    expect(resolve).toThrow(message);
  });

  test.each([0, -1, NaN, Infinity, "60"])("throws a RangeError for the maxAge %j", (maxAge) => {
    expect(() => Reflect.apply(resolveCookieOptions, undefined, [{ maxAge }])).toThrow(RangeError);
  });
});
