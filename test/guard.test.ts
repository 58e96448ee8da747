import { Hono } from "hono";
import { describe, expect, test } from "vitest";
import { type SessionEvent, type SessionOptions, withSession } from "../mod.ts";
import { session as middleware, type SessionEnv } from "../src/hono.ts";
import { counted, openStore, SHOP } from "./setup/sessions.ts";

interface Row {
  readonly name: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly allowed: boolean;
}

/** The table of the README, line by line. */
const rows: readonly Row[] = [
  { name: "GET from another site", method: "GET", headers: { "Sec-Fetch-Site": "cross-site" }, allowed: true },
  { name: "HEAD from another site", method: "HEAD", headers: { "Sec-Fetch-Site": "cross-site" }, allowed: true },
  { name: "OPTIONS from another site", method: "OPTIONS", headers: { Origin: "https://evil.example" }, allowed: true },
  { name: "POST of the same origin", headers: { "Sec-Fetch-Site": "same-origin" }, allowed: true },
  { name: "POST by the user's own hand", headers: { "Sec-Fetch-Site": "none" }, allowed: true },
  { name: "POST from a sister domain", headers: { "Sec-Fetch-Site": "same-site" }, allowed: false },
  { name: "POST from another site", headers: { "Sec-Fetch-Site": "cross-site" }, allowed: false },
  { name: "POST whose Sec-Fetch-Site means nothing", headers: { "Sec-Fetch-Site": "?1" }, allowed: false },
  {
    name: "POST from another site with our Origin",
    headers: { "Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example" },
    allowed: false,
  },
  { name: "PUT from another site", method: "PUT", headers: { "Sec-Fetch-Site": "cross-site" }, allowed: false },
  { name: "PATCH from another site", method: "PATCH", headers: { Origin: "https://evil.example" }, allowed: false },
  { name: "DELETE from another site", method: "DELETE", headers: { Origin: "https://evil.example" }, allowed: false },
  { name: "an unknown method from another site", method: "BURN", headers: { Origin: "null" }, allowed: false },
  { name: "POST with our Origin alone", headers: { Origin: "https://shop.example" }, allowed: true },
  { name: "POST with another Origin alone", headers: { Origin: "https://evil.example" }, allowed: false },
  { name: "POST with our host on http", headers: { Origin: "http://shop.example" }, allowed: false },
  { name: "POST with our host on another port", headers: { Origin: "https://shop.example:8443" }, allowed: false },
  { name: "POST with an opaque Origin", headers: { Origin: "null" }, allowed: false },
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
  {
    name: "POST from another site with the id header",
    headers: { "Sec-Fetch-Site": "cross-site", "X-Session-Id": "A".repeat(32) },
    allowed: true,
  },
  {
    name: "POST from another site that asks for the id header",
    headers: { "Sec-Fetch-Site": "cross-site", "X-Session-Id": "" },
    allowed: true,
  },
  {
    name: "POST from another site with cookie and id header",
    headers: { "Sec-Fetch-Site": "cross-site", "X-Session-Id": "A".repeat(32), "Cookie": "__Host-session=x" },
    allowed: false,
  },
];

const through = {
  withSession: (options: SessionOptions, seen: () => void) =>
    withSession(async (_request, session) => {
      seen();
      return new Response(String(await session.size()));
    }, options),
  Hono: (options: SessionOptions, seen: () => void) => {
    const app = new Hono<SessionEnv>();
    app.use(middleware(options));
    app.all("*", async (c) => {
      seen();
      return c.text(String(await c.var.session.size()));
    });
    return async (request: Request) => await app.fetch(request);
  },
};

describe.each(Object.entries(through))("guard through %s", (_name, wrap) => {
  test.each(rows)("same-origin: $name, allowed: $allowed", async ({ method = "POST", headers = {}, allowed }) => {
    const { store, calls } = counted(openStore().store);
    const events: SessionEvent[] = [];
    let runs = 0;
    const options: SessionOptions = {
      store,
      guard: "same-origin",
      header: "X-Session-Id",
      observe: (event) => events.push(event),
    };
    const handle = wrap(options, () => {
      runs += 1;
    });
    const response = await handle(new Request(SHOP, { method, headers }));
    expect([response.status, runs]).toEqual(allowed ? [200, 1] : [403, 0]);
    if (allowed) return;
    expect(calls).toEqual([]);
    expect(events).toEqual([{ type: "rejected", reason: "cross-site" }]);
    expect(response.headers.get("Cache-Control")).toBe("no-store");
    expect(response.headers.getSetCookie()).toEqual([]);
  });

  test("lets every request pass when it is not asked for", async () => {
    const request = new Request(SHOP, { method: "POST", headers: { "Sec-Fetch-Site": "cross-site" } });
    for (const options of [{}, { guard: false } as const]) {
      expect((await wrap(options, () => {})(request.clone())).status).toBe(200);
    }
  });
});

test("guard throws a TypeError when it is anything but a word that it knows", () => {
  expect(() => Reflect.apply(withSession, undefined, [() => new Response(), { guard: true }])).toThrow(TypeError);
});
