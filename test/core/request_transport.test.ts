import { afterEach, describe, expect, test, vi } from "vitest";
import {
  type CookieOptions,
  memoryStore,
  type Session,
  SessionManager,
  type SessionOptions,
  type Transport,
  withSession,
} from "../../mod.ts";
import { resolveOptions } from "../../src/core/options/resolve_options.ts";
import { RequestTransport } from "../../src/core/request_transport.ts";
import { cookieOf, counted, idIn, SHOP, visitor } from "../setup/sessions.ts";

const MADE_UP = "a".repeat(32);
const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");
const destroy = (session: Session): Promise<void> => session.destroy();

describe("the header", () => {
  const header = "X-Session-Id";
  const told = (response: Response): string => response.headers.get(header) ?? "";

  test("[04] [07] [19] an empty one asks for the id, which then is all that a client without cookies needs", async () => {
    const options = { header, store: memoryStore() };
    const first = await visitor(options)(set, { headers: { [header]: "" } });
    expect(told(first.response)).toMatch(/^[\w-]{32}$/);
    expect(first.cookies).toEqual([]);
    const second = await visitor(options)(get, { headers: { [header]: told(first.response) } });
    expect([second.result, second.cookies]).toEqual([1, []]);
    const third = await visitor(options)((session) => session.regenerate(), {
      headers: { [header]: told(first.response) },
    });
    expect(told(third.response)).toMatch(/^[\w-]{32}$/);
    expect(told(third.response)).not.toBe(told(first.response));
    expect(third.cookies).toEqual([]);
    const last = await visitor(options)(destroy, { headers: { [header]: told(third.response) } });
    expect([last.response.headers.get(header), last.cookies]).toEqual(["", []]);
    expect(last.response.headers.get("Cache-Control")).toBe("no-store");
  });

  test("[19] a client that keeps no cookie and asks for no header begins a session each time", async () => {
    const store = memoryStore();
    const ids = new Set<string | null>();
    for (let n = 0; n < 3; n++) ids.add(idIn((await visitor({ store, header })(set)).cookies));
    expect(ids.size).toBe(3);
  });

  test("[04] a dead id in it is answered in it, by a new one", async () => {
    const { response, cookies } = await visitor({ header })(set, { headers: { [header]: MADE_UP } });
    expect(told(response)).toMatch(/^[\w-]{32}$/);
    expect(told(response)).not.toBe(MADE_UP);
    expect(cookies).toEqual([]);
  });

  test("without it in the request, a new session answers by cookie and in no header", async () => {
    const { response, cookies } = await visitor({ header })(set);
    expect(cookies).toHaveLength(1);
    expect(response.headers.has(header)).toBe(false);
  });

  test("[05] its name is an option, and may equal the cookie's", async () => {
    const options = { header: "session", cookie: { name: "session" }, store: memoryStore() };
    const first = await visitor(options)(set, { headers: { session: "" } });
    const id = first.response.headers.get("session") ?? "";
    expect((await visitor(options)(get, { headers: { session: id } })).result).toBe(1);
    expect((await visitor(options)(get, { headers: { Cookie: `session=${id}` } })).result).toBe(1);
  });

  test("[06] with both present the cookie wins, and nothing is merged", async () => {
    const store = memoryStore();
    const options = { store, header };
    const one = await visitor(options)((session) => session.set({ who: "cookie", a: 1 }));
    const other = await visitor(options)((session) => session.set({ who: "header", b: 2 }), {
      headers: { [header]: "" },
    });
    const headers = { Cookie: cookieOf(one), [header]: told(other.response) };
    const { result, response, cookies } = await visitor(options)(
      async (session) => {
        session.set("c", 3);
        await session.regenerate();
        return await session.all();
      },
      { headers },
    );
    expect({ ...result }).toEqual({ who: "cookie", a: 1, c: 3 });
    expect(cookies).toHaveLength(1);
    expect(response.headers.has(header)).toBe(false);
  });

  test("an Authorization header with a scheme carries the id, in any letter case", async () => {
    const options: SessionOptions = {
      cookie: false,
      header: { name: "Authorization", scheme: "Bearer" },
      store: memoryStore(),
    };
    const { response } = await visitor(options)(set, { headers: { Authorization: "Bearer" } });
    const answer = response.headers.get("Authorization") ?? "";
    expect(answer).toMatch(/^Bearer [\w-]{32}$/);
    for (const Authorization of [answer, answer.replace("Bearer", "bearer"), answer.replace(" ", "  ")]) {
      expect((await visitor(options)(get, { headers: { Authorization } })).result).toBe(1);
    }
    for (const Authorization of [answer.replace("Bearer", "Basic"), answer.slice(7), `Bearer${answer.slice(7)}`]) {
      expect((await visitor(options)(get, { headers: { Authorization } })).result).toBe(undefined);
    }
  });

  test("without a cookie it answers also a client that sends none", async () => {
    const { response, cookies } = await visitor({ header, cookie: false })(set);
    expect(told(response)).toMatch(/^[\w-]{32}$/);
    expect(cookies).toEqual([]);
  });

  test("[19] with cookie: false a cookie is not read", async () => {
    const store = memoryStore();
    const first = await visitor({ store })(set);
    const { result } = await visitor({ store, cookie: false, header })(get, { headers: { Cookie: cookieOf(first) } });
    expect(result).toBe(undefined);
  });

  test.each(["../../etc/passwd", "a b", "x".repeat(10_000), `${MADE_UP}, ${MADE_UP}`, "é".repeat(30), "{}"])(
    "[40] an id like %j costs no store call and is answered by a new one",
    async (id) => {
      const { store, calls } = counted(memoryStore());
      const { response } = await visitor({ store, header })(set, { headers: { [header]: id } });
      expect(told(response)).toMatch(/^[\w-]{32}$/);
      expect(calls).toEqual(["create"]);
    },
  );
});

describe("custom transports", () => {
  const query: Transport = {
    read: (request) => new URL(request.url).searchParams.get("sid"),
    write: (headers, id, { maxAge, request }) =>
      headers.set("X-Next", `${new URL(request.url).pathname}?sid=${id}&for=${maxAge}`),
    clear: (headers) => headers.set("X-Next", "/"),
  };

  test("[08] read, write and clear carry the id in the address", async () => {
    const options = { transports: [query], store: memoryStore() };
    const first = await visitor(options)(set, { url: `${SHOP}basket` });
    const next = first.response.headers.get("X-Next") ?? "";
    expect(next).toMatch(/^\/basket\?sid=[\w-]{32}&for=86400$/);
    expect(first.cookies).toEqual([]);
    expect(first.response.headers.get("Cache-Control")).toBe("no-store");
    const url = new URL(next, SHOP).href;
    expect((await visitor(options)(get, { url })).result).toBe(1);
    expect((await visitor(options)(destroy, { url })).response.headers.get("X-Next")).toBe("/");
    expect((await visitor(options)(get, { url })).result).toBe(undefined);
  });

  test("[08] read may be async and read a form: the handler has the body all the same", async () => {
    const form: Transport = {
      read: async (request) => {
        if (request.method !== "POST") return null;
        const sid = (await request.clone().formData()).get("sid");
        return typeof sid === "string" ? sid : null;
      },
      write: (headers, id) => headers.set("X-Id", id),
      clear: (headers) => headers.delete("X-Id"),
    };
    const store = memoryStore();
    const post = (sid: string): { method: string; body: URLSearchParams } => ({
      method: "POST",
      body: new URLSearchParams({ sid, name: "ada" }),
    });
    const first = await visitor({ store, transports: [form] })(set);
    const id = first.response.headers.get("X-Id") ?? "";
    const lazy = await visitor({ store, transports: [form] })(async (session, request) => {
      const a = await session.get("a");
      return [a, (await request.formData()).get("name")];
    }, post(id));
    const eager = await visitor({ store, transports: [form], load: "eager" })(async (session, request) => {
      const name = (await request.formData()).get("name");
      return [await session.get("a"), name];
    }, post(id));
    expect([lazy.result, eager.result]).toEqual([
      [1, "ada"],
      [1, "ada"],
    ]);
    const unknown = await visitor({ store, transports: [form], load: "eager" })(set, post(MADE_UP));
    expect(unknown.response.headers.get("X-Id")).toMatch(/^[\w-]{32}$/);
    expect(unknown.response.headers.get("X-Id")).not.toBe(MADE_UP);
  });

  test("[08] an async one is read once, also by a change after the response, which is stored", async () => {
    let reads = 0;
    const later: Transport = {
      read: async ({ headers }) => (reads++, headers.get("X-Id")),
      write: (headers, id) => headers.set("X-Id", id),
      clear: (headers) => headers.delete("X-Id"),
    };
    const visit = visitor({ store: memoryStore(), transports: [later] });
    const headers = { "X-Id": (await visit(set)).response.headers.get("X-Id") ?? "" };
    const { result } = await visit((session) => ({ session }), { headers });
    reads = 0;
    result.session.set("a", 2);
    await result.session.save();
    expect(reads).toBe(1);
    expect((await visit(get, { headers })).result).toBe(2);
  });

  test("the first that presents an id answers, and the first of all answers a new session", async () => {
    const named = (name: string, isAsync: boolean): Transport => ({
      read: (request) => (isAsync ? Promise.resolve(request.headers.get(name)) : request.headers.get(name)),
      write: (headers, id) => headers.set(name, id),
      clear: (headers) => headers.delete(name),
    });
    const options = {
      transports: [named("One", false), named("Two", true), named("Three", false)],
      store: memoryStore(),
    };
    const told = ({ response }: { response: Response }): string[] =>
      ["One", "Two", "Three"].filter((name) => response.headers.has(name));
    expect(told(await visitor(options)(set))).toEqual(["One"]);
    expect(told(await visitor(options)(set, { headers: { Two: MADE_UP, Three: MADE_UP } }))).toEqual(["Two"]);
    expect(told(await visitor(options)(set, { headers: { Three: MADE_UP } }))).toEqual(["Three"]);
  });

  test("read is not asked when nobody touches the session, and once when it is used", async () => {
    let reads = 0;
    const counting = { ...query, read: (request: Request) => (reads++, query.read(request)) };
    const visit = visitor({ transports: [counting] });
    await visit(() => 0);
    expect(reads).toBe(0);
    await visit(async (session) => {
      await session.get("a");
      await session.update("a", () => 1);
      await session.save();
    });
    expect(reads).toBe(1);
  });
});

describe("several transports", () => {
  const request = new Request(SHOP);
  const context = (maxAge: number | null): object => ({ maxAge, request, runtimeArguments: ["env"] });

  /** A transport with all optional members. It records its calls. */
  function full(name: string, token: string | null): Transport & { readonly calls: unknown[] } {
    const calls: unknown[] = [];
    return {
      calls,
      requestHeader: `X-${name}`,
      responseHeader: `X-${name}-Id`,
      read: (...args) => (calls.push(["read", ...args]), token),
      write: (_headers, ...args) => void calls.push(["write", ...args]),
      clear: (_headers, ...args) => void calls.push(["clear", ...args]),
      isAmbiguous: (...args) => (calls.push(["isAmbiguous", ...args]), token === "two"),
      isStale: (...args) => (calls.push(["isStale", ...args]), token === "old"),
      name: (...args) => (calls.push(["name", ...args]), name),
      presentedName: (...args) => (calls.push(["presentedName", ...args]), `old-${name}`),
      lifetime: (...args) => (calls.push(["lifetime", ...args]), { maxAge: 7 }),
      assertFits: (...args) => void calls.push(["assertFits", ...args]),
      expireStrays: (headers, ...args) => {
        calls.push(["expireStrays", ...args]);
        if (token === "two") headers.append("Set-Cookie", `${name}=; Max-Age=0`);
      },
    };
  }
  const bare = (token: string | null, wants?: boolean): Transport => ({
    read: () => token,
    write: (headers, given) => headers.set("X-Bare", given),
    clear: (headers) => headers.set("X-Bare", ""),
    ...(wants !== undefined && { wants: () => wants }),
  });
  const carry = (...transports: Transport[]): RequestTransport =>
    new RequestTransport(resolveOptions({ transports }), request, ["env"]);

  test("the one that presented the token is asked for all else, with the request and what the runtime passes", () => {
    const [first, second, third] = [full("One", null), full("Two", "old"), full("Three", "id")];
    const carried = carry(first, second, third);
    expect(carried.readToken()).toBe("old");
    for (const each of [first, second]) expect(each.calls.splice(0)).toEqual([["read", request, ["env"]]]);
    expect([carried.name, carried.presentedName, carried.lifetime, carried.isStale, carried.answerer]).toEqual([
      "Two",
      "old-Two",
      { maxAge: 7 },
      true,
      second,
    ]);
    carried.assertFits("id", 60);
    const headers = new Headers();
    carried.write(headers, "id", null);
    carried.clear(headers);
    expect(second.calls).toEqual([
      ["name", request, ["env"]],
      ["presentedName", request, ["env"]],
      ["lifetime", request, ["env"]],
      ["isStale", request, ["env"]],
      ["assertFits", "id", context(60)],
      ["write", "id", context(null)],
      ["clear", context(0)],
    ]);
    expect(Object.fromEntries(headers)).toEqual({
      "access-control-expose-headers": "X-Two-Id",
      "cache-control": "no-store",
    });
    // The response does not depend on a header that was not read.
    expect(carried.varyHeaders).toEqual(["X-One", "X-Two"]);
    expect([first.calls, third.calls]).toEqual([[], []]);
  });

  test("one that has no more than it must have says nothing of the rest", () => {
    const carried = carry(bare("id"), full("Two", null));
    expect(carried.readToken()).toBe("id");
    expect([carried.name, carried.presentedName, carried.lifetime, carried.isStale]).toEqual([
      "__Host-session",
      "__Host-session",
      undefined,
      false,
    ]);
    expect(carried.assertFits("id", 60)).toBeUndefined();
    expect(carried.varyHeaders).toEqual([]);
    const headers = new Headers();
    carried.write(headers, "id", 60);
    expect(Object.fromEntries(headers)).toEqual({ "cache-control": "no-store", "x-bare": "id" });
  });

  test("the first that the client asks for answers where none presented a token, or else the first of all", () => {
    const [no, yes, also, silent] = [bare(null, false), bare(null, true), bare(null, true), bare(null)];
    for (const [transports, expected] of [
      [[silent, no, yes, also], yes],
      [[silent, no], silent],
      [[no, silent], no],
    ] as const) {
      const carried = carry(...transports);
      expect(carried.isStale).toBe(false);
      expect(carried.readToken()).toBeNull();
      expect(carried.answerer).toBe(expected);
    }
  });

  test("one in JavaScript that answers undefined has found no token", () => {
    const silent: Transport = { ...bare(null), read: () => undefined as never };
    const next = bare("id");
    const carried = carry(silent, next);
    expect(carried.readToken()).toBe("id");
    expect(carried.answerer).toBe(next);
    expect(carry(silent).readToken()).toBeNull();
  });

  test("each is asked once, however often the token is read", async () => {
    const [late, next] = [full("One", null), full("Two", null)];
    const carried = carry({ ...late, read: (...args) => Promise.resolve(late.read(...args)) }, next);
    expect([await carried.readToken(), await carried.readToken()]).toEqual([null, null]);
    expect([late.calls.length, next.calls.length]).toEqual([1, 1]);
  });

  test("a request is ambiguous when one of them says so, and each expires what strays in its way", () => {
    const [one, two] = [full("One", null), full("Two", "two")];
    expect(carry(one, bare(null)).isAmbiguous).toBe(false);
    expect(carry(bare(null), one, two).isAmbiguous).toBe(true);
    expect(two.calls.splice(0)).toEqual([["isAmbiguous", request, ["env"]]]);
    one.calls.length = 0;
    const untouched = new Headers();
    carry(bare(null), one).expireStrays(untouched);
    expect([...untouched]).toEqual([]);
    const headers = new Headers();
    carry(bare(null), one, two).expireStrays(headers);
    expect(two.calls).toEqual([["expireStrays", context(0)]]);
    expect(Object.fromEntries(headers)).toEqual({ "set-cookie": "Two=; Max-Age=0", "cache-control": "no-store" });
  });
});

describe("clearDead()", () => {
  const cookie: CookieOptions = { name: "s", previous: [{ name: "older" }, { name: "s", path: "/shop" }] };

  test.each([
    ["s=dead", ["s /shop", "s /"]],
    ["s=dead; older=other", ["s /shop", "s /"]],
    ["s=dead; older=dead", ["older /", "s /shop", "s /"]],
    ["older=dead", ["older /", "s /"]],
  ])("of the cookies %s, expires the dead token in all scopes of its name, and no other token", (Cookie, expired) => {
    const request = new Request(`${SHOP}shop/`, { headers: { Cookie } });
    const carried = new RequestTransport(resolveOptions({ cookie }), request, []);
    expect(carried.readToken()).toBe("dead");
    const headers = new Headers();
    carried.clearDead(headers);
    const scopes = headers.getSetCookie().map((line) => /^(\w+)=; Max-Age=0; .*Path=([^;]*)/.exec(line)?.slice(1));
    expect(scopes.map((scope) => scope?.join(" "))).toEqual(expired);
  });

  test("leaves all to a transport that says that its token is stale, and cannot expire what strays", () => {
    const own: Transport = {
      read: () => "dead",
      write: () => {},
      clear: (headers) => headers.append("Set-Cookie", "own=; Max-Age=0"),
      isStale: () => true,
    };
    const carried = new RequestTransport(resolveOptions({ transports: [own] }), new Request(SHOP), []);
    carried.readToken();
    const headers = new Headers();
    carried.clearDead(headers);
    expect(headers.getSetCookie()).toEqual(["own=; Max-Age=0"]);
  });
});

test("a client whose token a transport fails to read does not count as one without a token", async () => {
  const { store, calls } = counted(memoryStore());
  const own: Transport = {
    read: () => {
      throw new Error("The transport fails");
    },
    write: (headers, token) => headers.set("X-Id", token),
    clear() {},
  };
  const sessions = new SessionManager({ store, transports: [own] });
  const session = sessions.start(new Request(SHOP));
  await expect(session.get("a")).rejects.toThrow("The transport fails");
  set(session);
  await expect(sessions.commit(session)).rejects.toThrow("The transport fails");
  expect(calls).toEqual([]);
});

describe("a request that becomes a WebSocket", () => {
  const cookie = `__Host-session=${MADE_UP}`;

  /** The package on a runtime with this user agent. */
  async function on(userAgent: string): Promise<typeof import("../../mod.ts")> {
    vi.resetModules();
    vi.stubGlobal("navigator", { userAgent });
    return await import("../../mod.ts");
  }

  /** A request, and a function that does to it what `Deno.upgradeWebSocket` does. */
  function upgradeable(headers: Record<string, string>): { readonly request: Request; readonly close: () => void } {
    const request = new Request(SHOP, { headers: { Cookie: cookie, ...headers } });
    const get = (): never => {
      throw new TypeError("The request was closed");
    };
    const close = (): void => {
      for (const name of ["headers", "url", "method"]) Object.defineProperty(request, name, { get });
    };
    return { request, close };
  }

  afterEach(() => {
    vi.unstubAllGlobals();
    vi.resetModules();
  });

  test("is read before the handler may close it, and keeps its session", async () => {
    const { withSession } = await on("Deno/2.5.0");
    const asked: unknown[] = [];
    const own: Transport = {
      read: () => null,
      write: (_headers, _token, { request }) => void asked.push(request),
      clear() {},
    };
    for (const options of [{}, { header: "X-Session-Id" }]) {
      const { request, close } = upgradeable({ Upgrade: "websocket" });
      const response = await withSession((_request, session) => {
        close();
        set(session);
        return new Response();
      }, options)(request);
      expect(response.headers.getSetCookie()).toEqual([expect.stringMatching(/^__Host-session=/)]);
    }
    // A transport of the program may read the body, so it gets the request itself.
    const { request } = upgradeable({ Upgrade: "websocket" });
    await withSession((_request, session) => (set(session), new Response()), { transports: [own] })(request);
    expect(asked).toEqual([request]);
    expect(asked[0]).toBe(request);
  });

  test("gives its session the method, the address and the headers, and not the body", async () => {
    const { withSession } = await on("Deno/2.5.0");
    const seen: Request[] = [];
    const cookie = (request: Request): object => (seen.push(request), {});
    const headers = { "X-A": "1", "Upgrade": "websocket" };
    const request = new Request(`${SHOP}a?b`, { method: "POST", body: "body", headers });
    await withSession((_request, session) => (set(session), new Response()), { cookie })(request);
    const [copy] = seen;
    expect(copy).not.toBe(request);
    expect([copy?.method, copy?.url, copy?.headers.get("X-A"), copy?.body]).toEqual(["POST", `${SHOP}a?b`, "1", null]);
    expect(new Set(seen).size).toBe(1);
    expect(await request.text()).toBe("body");
  });

  test("is not copied where the runtime leaves it open", async () => {
    const node = await on("Node.js/24");
    const seen: Request[] = [];
    const cookie = (request: Request): object => (seen.push(request), {});
    const { request } = upgradeable({ Upgrade: "websocket" });
    await node.withSession((_request, session) => (set(session), new Response()), { cookie })(request);
    expect(new Set(seen)).toEqual(new Set([request]));
    expect(seen[0]).toBe(request);
  });

  test("is not copied either if it asks for no upgrade", async () => {
    const deno = await on("Deno/2.5.0");
    const seen: Request[] = [];
    const cookie = (request: Request): object => (seen.push(request), {});
    const { request } = upgradeable({});
    await deno.withSession((_request, session) => (set(session), new Response()), { cookie })(request);
    expect(seen[0]).toBe(request);
  });

  test("that was closed before anybody asked fails when its session is used, and else does not", async () => {
    const { withSession } = await on("Deno/2.5.0");
    const { request, close } = upgradeable({});
    const response = new Response();
    expect(await withSession(() => (close(), response))(request)).toBe(response);
    const other = upgradeable({});
    const used = withSession(async (_request, session) => {
      other.close();
      await get(session);
      return response;
    });
    await expect(used(other.request)).rejects.toThrow("The request was closed");
  });
});

test("the headers of a request are read before it is answered, for Bun drops those that nobody has asked for", async () => {
  const request = new Request(SHOP);
  const { headers } = request;
  let reads = 0;
  Object.defineProperty(request, "headers", { get: () => (reads++, headers) });
  await withSession(() => new Response())(request);
  expect(reads).toBeGreaterThan(0);
});

test.each<[string, () => Promise<never>]>([
  [
    "throws",
    () => {
      throw new RangeError("The transport fails");
    },
  ],
  ["rejects", () => Promise.reject(new RangeError("The transport fails"))],
])("a response without a session names the header that a transport has read which %s", async (_, read) => {
  const transport = { name: () => "X-Id", requestHeader: "X-Id", read, write() {}, clear() {} } satisfies Transport;
  const handler = withSession(async (_request, session) => new Response(await session.get("a").catch(() => "later")), {
    transports: [transport],
  });
  const response = await handler(new Request("https://shop.example/"));
  expect(await response.text()).toBe("later");
  expect(response.headers.get("Vary")).toBe("X-Id");
});
