import { describe, expect, expectTypeOf, test } from "vitest";
import { memoryStore, withSession } from "../mod.ts";
import { type CrossOriginOptions, crossOriginProtection } from "../src/cross_origin.ts";
import { SHOP } from "./setup/client.ts";

interface Row {
  readonly name: string;
  readonly method?: string;
  readonly url?: string;
  readonly headers?: Record<string, string>;
  readonly allowed: boolean;
}

const rows: Row[] = [
  { name: "GET from another site", method: "GET", headers: { "Sec-Fetch-Site": "cross-site" }, allowed: true },
  { name: "HEAD from another site", method: "HEAD", headers: { "Sec-Fetch-Site": "cross-site" }, allowed: true },
  { name: "OPTIONS from another site", method: "OPTIONS", headers: { Origin: "https://evil.example" }, allowed: true },
  { name: "POST of the same origin", headers: { "Sec-Fetch-Site": "same-origin" }, allowed: true },
  { name: "POST of the user's own", headers: { "Sec-Fetch-Site": "none" }, allowed: true },
  { name: "POST of the same site", headers: { "Sec-Fetch-Site": "same-site" }, allowed: false },
  { name: "POST from another site", headers: { "Sec-Fetch-Site": "cross-site" }, allowed: false },
  { name: "POST with a word that nobody knows", headers: { "Sec-Fetch-Site": "?1" }, allowed: false },
  { name: "POST with an empty word", headers: { "Sec-Fetch-Site": "" }, allowed: false },
  {
    name: "POST from another site with our Origin",
    headers: { "Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example" },
    allowed: false,
  },
  { name: "PUT from another site", method: "PUT", headers: { "Sec-Fetch-Site": "cross-site" }, allowed: false },
  { name: "PATCH from another site", method: "PATCH", headers: { Origin: "https://evil.example" }, allowed: false },
  { name: "DELETE from another site", method: "DELETE", headers: { Origin: "https://evil.example" }, allowed: false },
  { name: "an unknown method from another site", method: "BURN", headers: { Origin: "null" }, allowed: false },
  {
    name: "a method that ends like GET",
    method: "BUDGET",
    headers: { Origin: "https://evil.example" },
    allowed: false,
  },
  {
    name: "a method that begins like GET",
    method: "GETX",
    headers: { Origin: "https://evil.example" },
    allowed: false,
  },
  { name: "POST with our Origin alone", headers: { Origin: "https://shop.example" }, allowed: true },
  { name: "POST with another Origin alone", headers: { Origin: "https://evil.example" }, allowed: false },
  { name: "POST with our host on http", headers: { Origin: "http://shop.example" }, allowed: false },
  {
    name: "POST over a proxy that speaks http to us",
    url: "http://shop.example/",
    headers: { Origin: "https://shop.example" },
    allowed: true,
  },
  { name: "POST on http", url: "http://localhost:8000/", headers: { Origin: "http://localhost:8000" }, allowed: true },
  { name: "POST with our host on another port", headers: { Origin: "https://shop.example:8443" }, allowed: false },
  {
    name: "POST with another scheme of our host",
    headers: { Origin: "chrome-extension://shop.example" },
    allowed: false,
  },
  { name: "POST with an opaque Origin", headers: { Origin: "null" }, allowed: false },
  { name: "POST with an Origin that is not one", headers: { Origin: "shop.example" }, allowed: false },
  { name: "POST without either header", allowed: true },
  {
    name: "a WebSocket from another site",
    method: "GET",
    headers: { Upgrade: "websocket", Origin: "https://evil.example" },
    allowed: false,
  },
  {
    name: "a WebSocket of the same origin",
    method: "GET",
    headers: { Upgrade: "websocket", Origin: "https://shop.example" },
    allowed: true,
  },
];

/** A handler that counts its calls. */
function counted(options?: CrossOriginOptions) {
  const seen = { runs: 0 };
  const handle = crossOriginProtection((request: Request) => {
    seen.runs += 1;
    return new Response(request.method);
  }, options);
  return { seen, handle };
}

describe("crossOriginProtection()", () => {
  test.each(rows)("$name, allowed: $allowed", async ({ method = "POST", url = SHOP, headers = {}, allowed }) => {
    const { seen, handle } = counted();
    const response = await handle(new Request(url, { method, headers }));
    expect([response.status, seen.runs]).toEqual(allowed ? [200, 1] : [403, 0]);
  });

  test("answers 403, which no cache keeps, and touches no session", async () => {
    const calls: string[] = [];
    const store = memoryStore();
    const handle = crossOriginProtection(
      withSession(
        async (_request, session) => {
          session.set("n", 1);
          return new Response();
        },
        { store: { ...store, save: (...given) => (calls.push("save"), store.save(...given)) } },
      ),
    );
    const refused = await handle(new Request(SHOP, { method: "POST", headers: { "Sec-Fetch-Site": "cross-site" } }));
    expect([refused.status, refused.headers.get("Cache-Control"), refused.headers.getSetCookie()]).toEqual([
      403,
      "no-store",
      [],
    ]);
    expect(refused.headers.get("Content-Type")).toBe("text/plain; charset=utf-8");
    expect(await refused.text()).toBe("This request comes from another site.\n");
    expect(calls).toEqual([]);
    const allowed = await handle(new Request(SHOP, { method: "POST" }));
    expect([allowed.status, allowed.headers.getSetCookie().length, calls]).toEqual([200, 1, ["save"]]);
  });

  test("lets trusted origins through, by their exact name", async () => {
    const { handle } = counted({ trustedOrigins: ["https://app.example", "https://shop.example:8443"] });
    const status = async (Origin: string, more: Record<string, string> = {}) =>
      (await handle(new Request(SHOP, { method: "POST", headers: { Origin, ...more } }))).status;
    expect(await status("https://app.example", { "Sec-Fetch-Site": "cross-site" })).toBe(200);
    expect(await status("https://shop.example:8443")).toBe(200);
    for (const origin of ["https://app.example.evil.example", "http://app.example", "https://app.example:444", "null"])
      expect(await status(origin, { "Sec-Fetch-Site": "cross-site" })).toBe(403);
  });

  test("passes on what the runtime passes, and what the handler answers", async () => {
    const handle = crossOriginProtection((_request: Request, env: { n: number }, context: string) => [env.n, context]);
    expect(handle(new Request(SHOP), { n: 1 }, "context")).toEqual([1, "context"]);
    expectTypeOf(handle).returns.toEqualTypeOf<Promise<Response> | (string | number)[]>();
    expectTypeOf(handle).parameters.toEqualTypeOf<[Request, { n: number }, string]>();
    const session = crossOriginProtection(withSession(() => new Response("Hello")));
    expect(await (await session(new Request(SHOP))).text()).toBe("Hello");
    expectTypeOf(session).returns.toEqualTypeOf<Promise<Response>>();
  });

  test("refuses by a promise, as withSession() answers, so that a caller may chain on it", async () => {
    const handle = crossOriginProtection(withSession(() => new Response("Hello")));
    const refused = handle(new Request(SHOP, { method: "POST", headers: { Origin: "https://evil.example" } }));
    expect(await refused.then(({ status }) => status)).toBe(403);
  });

  test.each<unknown>([
    "https://app.example/",
    "https://app.example/path",
    "app.example",
    "https://APP.example",
    "https://app.example:443",
    "*",
    "https://*.app.example",
    "null",
    "",
    1,
    undefined,
  ])("throws a TypeError when a trusted origin is %j", (origin) => {
    const options: unknown = { trustedOrigins: [origin] };
    expect(() => counted(options as CrossOriginOptions)).toThrow(TypeError);
    expect(() => counted(options as CrossOriginOptions)).toThrow("must be an origin");
  });

  test("throws a TypeError when the handler is not a function, or an option is unknown or not a list", () => {
    expect(() => Reflect.apply(crossOriginProtection, undefined, [undefined])).toThrow(TypeError);
    expect(() => counted({ trustedOrigin: [] } as CrossOriginOptions)).toThrow("did you mean trustedOrigins?");
    expect(() => counted({ trustedOrigins: "https://app.example" } as unknown as CrossOriginOptions)).toThrow(
      "must be a list",
    );
  });
});
