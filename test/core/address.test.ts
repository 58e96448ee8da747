import { describe, expect, test } from "vitest";
import { withSession } from "../../mod.ts";
import { isOrigin, urlOf } from "../../src/core/address.ts";
import { crossOriginProtection } from "../../src/cross_origin.ts";
import { deviceBound } from "../../src/device_bound.ts";
import { dpop } from "../../src/dpop.ts";

test.each([
  ["https://shop.example/a?b#c", "https://shop.example/a?b#c"],
  ["http://user:password@shop.example/a", "http://shop.example/a"],
  ["http://user@shop.example/a", "http://shop.example/a"],
  ["http://a b/a?b", "http://invalid.invalid/a?b"],
  ["HTTPS://[/a/b", "http://invalid.invalid/a/b"],
  ["http://x:99999999?a", "http://invalid.invalid/?a"],
  ["http://x:99999999\\a", "http://invalid.invalid/a"],
  ["/a", "http://invalid.invalid/a"],
  ["//a", "http://invalid.invalid//a"],
  ["//[", "http://invalid.invalid//["],
  ["*", "http://invalid.invalid/*"],
  ["", "http://invalid.invalid/"],
])("urlOf() makes a URL of %j", (address, expected) => {
  expect(urlOf(address).href).toBe(expected);
});

// What Bun and Deno give a handler for a hostile `Host`. Node's constructor refuses these.
describe.each(["/start", "http://a b/start", "http://[/start", "http://x:99999999/start"])(
  "a request for %j",
  (url) => {
    const request = (headers: Record<string, string> = {}): Request =>
      Object.defineProperty(new Request("http://shop.example", { method: "POST", headers }), "url", { value: url });

    test("expires cookies of other scopes", async () => {
      const handle = withSession(async (_request, session) => new Response(String(await session.size())), {
        cookie: { previous: [{ name: "session", path: "/shop" }] },
      });
      const response = await handle(request({ Cookie: "__Host-session=a; __Host-session=b" }));
      expect(response.status).toBe(200);
      expect(response.headers.getSetCookie()).toEqual(
        expect.arrayContaining([
          expect.stringMatching(/^session=; .*; Path=\/shop;/),
          expect.stringMatching(/^__Host-session=; .*; Path=\/start;/),
        ]),
      );
    });

    test("is refused if it comes from another site", async () => {
      const handle = crossOriginProtection(() => new Response());
      expect((await handle(request({ Origin: "https://shop.example" }))).status).toBe(403);
    });

    test("reaches a nested handler and returns", async () => {
      const inner = withSession((_request, session) => {
        session.set("inner", 1);
        return new Response();
      });
      const outer = withSession((_request, session) => {
        session.set("outer", 1);
        return inner(request());
      });
      expect((await outer(request())).status).toBe(200);
    });

    test("reaches handlers with dpop and deviceBound", async () => {
      for (const plugin of [dpop({ origin: "https://shop.example" }), deviceBound({ path: "/st" })]) {
        const handle = withSession(async (_request, session) => Response.json(await session.get("user", "nobody")), {
          header: "X-Session-Id",
          plugins: [plugin],
        });
        expect(
          await (await handle(request({ DPoP: "a.b.c", Cookie: `__Host-session=${"a".repeat(32)}` }))).json(),
        ).toBe("nobody");
      }
    });
  },
);

test("isOrigin() accepts scheme, host and port as browsers write them, and nothing else", () => {
  for (const origin of ["https://shop.example", "http://localhost:3000"]) expect(isOrigin(origin)).toBe(true);
  for (const other of [
    "https://shop.example/",
    "https://shop.example:443",
    "null",
    "data:,x",
    "shop.example",
    "",
    1,
    null,
    Object.create(null),
  ])
    expect(isOrigin(other)).toBe(false);
});
