import { describe, expect, test } from "vitest";
import { type Session, SessionManager, type SessionOptions, withSession } from "../../mod.ts";
import { cookieJar } from "../../src/testing.ts";
import { counted, openStore, SHOP } from "../setup/sessions.ts";

const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");

describe("several sessions", () => {
  test("[53] composition gives the handler each of them, with their own cookies and stores", async () => {
    const [admins, shoppers] = [openStore(), openStore()];
    const admin = { store: admins.store, cookie: { name: "__Host-admin" } };
    const shop = { store: shoppers.store };
    const handle = withSession(
      withSession(async (request, adminSession, shopSession: Session, env: { name: string }) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/both") {
          adminSession.set("who", "admin");
          shopSession.set("who", "shopper");
        }
        return Response.json([
          pathname === "/none" ? null : await adminSession.get("who"),
          pathname === "/all" ? await shopSession.get("who") : null,
          env.name,
        ]);
      }, admin),
      shop,
    );
    const jar = cookieJar();
    const send = (path: string): Promise<Response> =>
      jar.fetch((request) => handle(request, { name: "env" }), `${SHOP}${path}`);
    const first = await send("both");
    expect(
      first.headers
        .getSetCookie()
        .map((line) => line.split("=")[0])
        .toSorted(),
    ).toEqual(["__Host-admin", "__Host-session"]);
    expect(await (await send("all")).json()).toEqual(["admin", "shopper", "env"]);
    expect([admins.records.size, shoppers.records.size]).toEqual([1, 1]);
    const none = await send("none");
    expect(none.headers.has("Vary")).toBe(false);
    expect((await send("one")).headers.get("Vary")).toBe("Cookie");
  });

  test.each<[string, SessionOptions | SessionManager, SessionOptions | SessionManager, string]>([
    ["the default", {}, {}, "__Host-session"],
    ["a name", { cookie: { name: "s" } }, { cookie: { name: "s", path: "/app" } }, "s"],
    [
      "what is one name on loopback",
      { cookie: { name: "__Host-s" } },
      { cookie: { name: "__Secure-s" } },
      "__Secure-s",
    ],
  ])("[53] composition throws a TypeError when two sessions have one cookie: %s", (_name, inner, outer, shown) => {
    const handle = withSession(() => new Response("Hello"), inner);
    const between = withSession(handle, { cookie: { name: "between" } });
    expect(() => withSession(handle, outer)).toThrow(TypeError);
    expect(() => withSession(between, outer)).toThrow(`cannot share the cookie ${shown}:`);
  });

  test.each<[string, SessionOptions, SessionOptions]>([
    ["alone", { cookie: false, header: "X-Id" }, { cookie: false, header: "x-id" }],
    ["with and without a scheme", { cookie: false, header: "X-Id" }, { header: { name: "X-Id", scheme: "Bearer" } }],
    ["beside cookies", { header: "X-Id" }, { cookie: { name: "s" }, header: "X-Id" }],
  ])("[53] composition throws a TypeError when two sessions have one header: %s", (_name, inner, outer) => {
    const handle = withSession(() => new Response("Hello"), inner);
    expect(() => withSession(handle, outer)).toThrow(
      /^Two sessions of one request cannot share the header x-id: pass one SessionManager to both, or give each its own header name and store prefix$/i,
    );
  });

  test("[53] composition takes sessions that have no cookie beside others, and one handler wrapped twice", () => {
    const handle = withSession(() => new Response("Hello"), {});
    expect(() => withSession(handle, { cookie: false, header: "X-Session-Id" })).not.toThrow();
    const twoHeaders = ["X-Session-Id", "X-Admin-Id"].map((header) => ({ cookie: false as const, header }));
    expect(() => twoHeaders.reduce((inner, options) => withSession(inner, options), handle)).not.toThrow();
    const transport = { read: () => null, write() {}, clear() {} };
    expect(() => withSession(handle, { transports: [transport] })).not.toThrow();
    expect(() => withSession(handle, { cookie: () => ({ name: "tenant" }) })).not.toThrow();
    expect(() => [1, 2].map(() => withSession(handle, { cookie: { name: "s" } }))).not.toThrow();
  });

  test("[53] one manager around itself is one session", async () => {
    const { store, records } = openStore();
    const sessions = new SessionManager({ store });
    const handle = withSession(
      withSession(async (_request, inner, outer: Session) => {
        outer.set("a", 1);
        inner.set("b", 2);
        return Response.json([inner === outer, await outer.get("b")]);
      }, sessions),
      sessions,
    );
    const response = await handle(new Request(SHOP));
    expect(await response.json()).toEqual([true, 2]);
    expect(response.headers.getSetCookie()).toHaveLength(1);
    expect(records.size).toBe(1);
  });

  test("[53] one manager around itself stores once, when the outermost handler is done", async () => {
    const { store, calls } = counted(openStore().store);
    const sessions = new SessionManager({ store });
    const inner = withSession((_request, session) => (session.set("a", 1), new Response("Hello")), sessions);
    const outer = withSession(async (request, session) => {
      const response = await inner(request);
      expect([calls, response.headers.getSetCookie()]).toEqual([[], []]);
      session.set("b", 2);
      return response;
    }, sessions);
    expect((await outer(new Request(SHOP))).headers.getSetCookie()).toHaveLength(1);
    expect(calls).toEqual(["create"]);
  });

  test("[53] a response that hands out one id and only read the other is not stored by caches", async () => {
    for (const [inner, outer] of [
      [set, get],
      [get, set],
    ] as const) {
      const handle = withSession(
        withSession(
          async (_request, one, other: Session) => {
            await inner(one);
            await outer(other);
            return new Response("Hello");
          },
          { cookie: { name: "one" } },
        ),
        { cookie: { name: "other" } },
      );
      const response = await handle(new Request(SHOP));
      expect(response.headers.get("Cache-Control")).toBe("no-store");
      expect(response.headers.getSetCookie()).toHaveLength(1);
    }
  });
});
