import { describe, expect, test, vi } from "vitest";
import type { SessionOptions } from "../../mod.ts";
import { type NextSession, nextSession } from "../../src/next.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { type UserSessions, userSessions } from "../../src/user_sessions.ts";

interface Data {
  user?: string;
}

interface Bundle {
  readonly users: UserSessions<{ name: string }>;
  readonly sessions: NextSession<Data>;
}

/** Runs the module of the sessions again, as Next.js does for each of its bundles. */
function bundle(cookie: string, store?: () => SessionStore): Bundle {
  const users = userSessions<{ name: string }>();
  return {
    users,
    sessions: nextSession<Data>({
      cookie: { name: cookie },
      plugins: [users],
      ...(store === undefined ? {} : { store }),
    }),
  };
}

function login({ users, sessions }: Bundle): (request: Request) => Promise<Response> {
  return sessions.route(async (_request, session) => {
    await session.regenerate({ reauthenticated: true });
    await users.bind(session, "ada", { name: "Phone" });
    session.set("user", "Ada");
    return new Response();
  });
}

function devices({ users, sessions }: Bundle): (request: Request) => Promise<Response> {
  return sessions.route(async (_request, session) => {
    const own = await users.handle(session);
    const list = await users.list("ada");
    return Response.json([
      await session.get("user"),
      list.map(({ handle, metadata }) => [metadata.name, handle === own]),
    ]);
  });
}

function request(cookie: string = ""): Request {
  return new Request("https://shop.example/", { headers: { Cookie: cookie } });
}

describe("nextSession()", () => {
  test.each<[string, string, (() => SessionStore) | undefined]>([
    ["no store is given", "__Host-default", undefined],
    ["a function opens the store", "__Host-opened", () => memoryStore()],
  ])("shares sessions and user sessions among bundles when %s", async (_when, cookie, store) => {
    const one = bundle(cookie, store);
    const other = bundle(cookie, store);
    for (const first of [one, other]) {
      const answer = await login(first)(request());
      const sent = answer.headers.getSetCookie()[0]?.split(";")[0] ?? "";
      for (const second of [one, other]) {
        const shown: unknown = await (await devices(second)(request(sent))).json();
        expect(shown).toEqual(["Ada", expect.arrayContaining([["Phone", true]])]);
      }
      await first.users.revokeAll("ada");
      expect(await (await devices(other)(request(sent))).json()).toEqual([null, []]);
    }
  });

  test("opens a store once when a function gives it to several bundles", async () => {
    const open = vi.fn<() => SessionStore>(() => memoryStore());
    for (const each of [bundle("__Host-once", open), bundle("__Host-once", open)]) await login(each)(request());
    expect(open).toHaveBeenCalledOnce();
  });

  test("takes options that are inherited, from defaults or a class", () => {
    expect(() => nextSession(Object.create({ idleTimeout: -1 }))).toThrow(RangeError);
  });

  test("keeps no store when the options are refused", async () => {
    expect(() => nextSession({ cookie: { name: "__Host-refused" }, store: {} as never })).toThrow(TypeError);
    expect((await login(bundle("__Host-refused"))(request())).headers.getSetCookie()).toHaveLength(1);
  });

  test.each([
    ["the options", "The options of nextSession must be an object, such as { store: … }", null],
    ["the options", "The options of nextSession must be an object", 5],
    ["cookie", "The options of cookie must be an object", { cookie: null }],
    ["header", "header must be a name", { header: null }],
    ["transports", "transports must be a list", { transports: null }],
  ])("names %s in the error: %s", (_what, message, options) => {
    expect(() => nextSession(options as never)).toThrow(message);
  });

  test("gives each cookie a store of its own", async () => {
    const answer = await login(bundle("__Host-one"))(request());
    const value = answer.headers.getSetCookie()[0]?.split(";")[0]?.split("=")[1] ?? "";
    const shown: unknown = await (await devices(bundle("__Host-two"))(request(`__Host-two=${value}`))).json();
    expect(shown).toEqual([null, []]);
  });

  const transport = { read: () => null, write() {}, clear() {} };
  const kinds: [string, SessionOptions][] = [
    ["a cookie of the default name", {}],
    ["a cookie that depends on the request", { cookie: () => ({ name: "__Host-function" }) }],
    ["another cookie that depends on the request", { cookie: () => ({ name: "__Host-other" }) }],
    ["a header", { cookie: false, header: "X-Shop-Id" }],
    ["another header", { cookie: false, header: { name: "X-Admin-Id" } }],
    ["a cookie and a header", { header: "X-Shop-Id" }],
    ["transports", { transports: [transport] }],
    ["other transports", { transports: [transport, { ...transport, read: () => "" }] }],
    ["one other transport", { transports: [{ ...transport, read: () => "" }] }],
  ];

  test.each(kinds)(
    "shares the store of sessions that travel by %s among bundles, and with no others",
    async (...kind) => {
      const open = (options: SessionOptions) => nextSession({ store: memoryStore(), ...options }).manager;
      const session = open(kind[1]).open("");
      session.set("a", "1");
      await session.save();
      const id = String(await session.id());
      expect(await open(kind[1]).open(id).get("a")).toBe("1");
      for (const [how, other] of kinds)
        if (how !== kind[0]) expect(await open(other).open(id).get("a"), how).toBeUndefined();
    },
  );

  test.each<[string, SessionOptions, SessionOptions]>([
    ["cookie", { cookie: { name: "__Host-same" } }, { cookie: { name: "__Host-same", sameSite: "Strict" } }],
    ["header", { cookie: false, header: "X-Same" }, { cookie: false, header: { name: "X-Same", scheme: "Bearer" } }],
  ])("shares the store under the name of a %s alone", async (_, one, other) => {
    const session = nextSession({ store: memoryStore(), ...one }).manager.open("");
    session.set("a", "1");
    await session.save();
    const id = String(await session.id());
    expect(
      await nextSession({ store: memoryStore(), ...other })
        .manager.open(id)
        .get("a"),
    ).toBe("1");
  });

  test("refuses what is no transport, as withSession() does", () => {
    const transports = [null] as never;
    expect(() => nextSession({ transports })).toThrow("transport");
  });
});
