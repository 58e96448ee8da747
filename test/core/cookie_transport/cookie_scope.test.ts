import { describe, expect, test } from "vitest";
import {
  type CookieScope,
  distinct,
  guessedStrays,
  isHostName,
  previousStrays,
} from "../../../src/core/cookie_transport/cookie_scope.ts";

const own: CookieScope = { name: "s", domain: undefined, path: "/", partitioned: false };
const scope = (more: Partial<CookieScope>): CookieScope => ({ ...own, ...more });
const at = (url: string): URL => new URL(url);

test("isHostName() knows a name that begins with __Host-, in any letter case, and no other", () => {
  const names = ["__Host-s", "__HOST-", "__host-Http-s", "__Hosts", "__Secure-__Host-s", "s__Host-", ""];
  expect(names.map(isHostName)).toEqual([true, true, true, false, false, false, false]);
});

test("distinct() gives each scope once, and never the own one; letter case and a dot in front of a domain are no difference", () => {
  const ofDomain = scope({ domain: "shop.example" });
  const others = [
    scope({ name: "t" }),
    scope({ path: "/a" }),
    scope({ partitioned: true }),
    scope({ domain: "www.shop.example" }),
    // Only a dot at the beginning of a domain is ignored.
    scope({ domain: "shopexample" }),
  ];
  expect(distinct(own, [own, ...others, scope({}), ...others])).toEqual(others);
  expect(distinct(ofDomain, [scope({ domain: ".Shop.Example" }), own])).toEqual([own]);
  expect(distinct(own, [])).toEqual([]);
});

describe("previousStrays()", () => {
  const none = (): boolean => false;
  const all = (): boolean => true;

  test("gives those whose cookie the request carries, and those whose path it cannot show", () => {
    const older = scope({ name: "older" });
    const folder = scope({ path: "/app" });
    const address = at("https://shop.example/login");
    expect(previousStrays(own, [older, folder], address, all)).toEqual([older, folder]);
    expect(previousStrays(own, [older, folder], address, (name) => name === "older")).toEqual([older, folder]);
    expect(previousStrays(own, [older, folder], address, none)).toEqual([folder]);
    expect(previousStrays(own, [], address, all)).toEqual([]);
    expect(previousStrays(own, [own, older, older], address, all)).toEqual([older]);
  });

  test.each<[string, string, boolean]>([
    ["/app", "/app", true],
    ["/app", "/app/", true],
    ["/app", "/app/page", true],
    ["/app", "/apple", false],
    ["/app", "/", false],
    ["/app/", "/app/page", true],
    ["/app/", "/app/", true],
    ["/app/", "/app", false],
    ["/", "/any", true],
  ])("a request shows a cookie of the path %s when its address is %s: %j", (path, pathname, isShown) => {
    const previous = scope({ name: "older", path });
    // The current cookie has another path.
    const strays = previousStrays(scope({ path: "/own" }), [previous], at(`https://shop.example${pathname}`), none);
    expect(strays).toEqual(isShown ? [] : [previous]);
  });

  test("a path that the own cookie has as well is shown or not with that", () => {
    const elsewhere = at("https://shop.example/login");
    expect(previousStrays(scope({ path: "/app" }), [scope({ path: "/app", domain: "a.b" })], elsewhere, none)).toEqual(
      [],
    );
  });
});

describe("guessedStrays()", () => {
  /** The guesses, each with the parts of its scope. */
  const guesses = (from: CookieScope, url: string, isSecure = true): string[] =>
    guessedStrays(from, at(url), isSecure).map(({ domain = "host", path, partitioned }) =>
      [domain, path, ...(partitioned ? ["partitioned"] : [])].join(" "),
    );

  test("tries the domains and the folders of the address, and the other partition", () => {
    expect(guesses(own, "https://www.shop.example/app/page")).toEqual([
      "www.shop.example /",
      "shop.example /",
      "host /app",
      "host /app/page",
      "host / partitioned",
    ]);
  });

  test("tries the host alone where the own cookie has a domain, / where it has a path, and no partition where it has one", () => {
    const wide = scope({ domain: "shop.example", path: "/app", partitioned: true });
    expect(guesses(wide, "https://shop.example/app/")).toEqual([
      "host /app partitioned",
      "shop.example / partitioned",
      "shop.example /app/ partitioned",
      "shop.example /app",
    ]);
  });

  test("tries the three widest domains and the three widest folders", () => {
    expect(guesses(own, "https://a.b.c.d.example/1/2/3/4/5")).toEqual([
      "b.c.d.example /",
      "c.d.example /",
      "d.example /",
      "host /1",
      "host /1/2",
      "host /1/2/3",
      "host / partitioned",
    ]);
  });

  test("tries no domain and no folder with a semicolon, behind which a link would write attributes of its own", () => {
    expect(guesses(own, "https://www.shop.example/app/x;Max-Age=9;Path=/page")).toEqual([
      "www.shop.example /",
      "shop.example /",
      "host /app",
      "host / partitioned",
    ]);
    expect(guesses(own, "https://x;domain=www.shop.example/app")).toEqual(["host / partitioned"]);
  });

  test.each(["http://127.0.0.1/", "http://[::1]/", "http://localhost/"])("tries no domain on %s", (url) => {
    expect(guesses(own, url)).toEqual(["host / partitioned"]);
  });

  test.each(["https://1.shop.example/", "https://shop.1a/", "https://a1.example/", "https://shop.example./"])(
    "takes %s for a name, and no address",
    (url) => {
      expect(guesses(own, url)).toContain(`${new URL(url).hostname} /`);
    },
  );

  test("tries no partition without https", () => {
    expect(guesses(own, "http://shop.example/", false)).toEqual(["shop.example /"]);
  });
});
