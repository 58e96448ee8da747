import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { expect, test } from "vitest";
import { memoryStore, type Plugin, SessionManager, type SessionOptions } from "../../mod.ts";
import { type NodeRequest, nodeSession } from "../../src/node.ts";
import { codeOf, counted, openStore } from "../setup/sessions.ts";
import { FullResponse } from "./bare_response.ts";
import { brokenStore, type Data, sessionOf } from "./setup.ts";

type Options = SessionOptions<Data, [NodeRequest, FullResponse]> | SessionManager<Data>;

/** The arguments of the middleware without a server, and the calls of `next`. */
function exchange(headers: Record<string, string> = {}) {
  const request: NodeRequest = { headers: { host: "localhost", ...headers } };
  const response = new FullResponse();
  const told: unknown[][] = [];
  const next = (error?: unknown, ...rest: unknown[]): void => void told.push([error, ...rest]);
  return { request, response, told, next };
}

/** Passes an exchange through the middleware, and lets a handler use the session. */
async function answered(
  options: Options,
  use: (session: ReturnType<typeof sessionOf>, response: FullResponse) => unknown,
  headers: Record<string, string> = {},
) {
  const { request, response } = exchange(headers);
  const ended = Promise.withResolvers<void>();
  const end = response.end.bind(response);
  response.end = (...args) => (ended.resolve(), end(...args));
  const finished = Promise.withResolvers<void>();
  nodeSession<Data>(options as SessionOptions<Data>)(request, response, () => {
    void (async () => {
      await use(sessionOf(request), response);
      response.end("body");
    })().then(finished.resolve, finished.reject);
  });
  await finished.promise;
  await ended.promise;
  const cookies = [response.getHeader("Set-Cookie") ?? []].flat();
  return { response, cookies, cookie: { cookie: String(cookies[0]).split(";")[0] ?? "" } };
}

test("the middleware refuses what is no request or no response of Node, and says what to pass", () => {
  const { request, response } = exchange();
  const middleware = nodeSession<Data>();
  for (const other of [undefined, null, "request", {}, { req: request }, () => {}])
    expect(() => middleware(other as never, response)).toThrow(/^The middleware of nodeSession takes .*ctx\.req/);
  for (const other of [undefined, null, "response", {}, { res: response }, () => {}])
    expect(() => middleware(request, other as never)).toThrow(/^The middleware of nodeSession takes .*ctx\.res/);
  expect(() => middleware({} as never, {} as never)).toThrow(TypeError);
});

test("nodeSession() says to call it when it is used as a middleware itself", () => {
  const message = /: write app\.use\(nodeSession\(\)\)$/;
  expect(() => nodeSession(new IncomingMessage(new Socket()) as never)).toThrow(message);
  expect(() => nodeSession(null as never)).toThrow("must be an object");
});

test("the session is a property of the request that programs can see, replace and list", () => {
  const { request, response, told, next } = exchange();
  nodeSession<Data>()(request, response, next);
  expect(told).toEqual([[undefined]]);
  const session = sessionOf(request);
  expect(Object.isExtensible(session)).toBe(false);
  expect(Object.keys(request)).toContain("session");
  const other = {};
  Object.assign(request, { session: other });
  expect(Reflect.get(request, "session")).toBe(other);
  Object.defineProperty(request, "session", { value: session });
  expect(sessionOf(request)).toBe(session);
});

test.each([null, undefined])("req.session = %s, the logout of other middlewares, is refused", async (value) => {
  const { request, response } = exchange();
  nodeSession()(request, response);
  const session = Reflect.get(request, "session");
  const assign = () => Object.assign(request, { session: value });
  expect(assign).toThrow(`req.session = ${value} ends no session: write await req.session.destroy()`);
  expect(assign).toThrow(TypeError);
  expect(Reflect.get(request, "session")).toBe(session);
});

test("a session that is assigned to a copy that inherits from the request leaves that of the request", () => {
  const { request, response } = exchange();
  nodeSession()(request, response);
  const session = Reflect.get(request, "session");
  const copy = Object.assign(Object.create(request), { session: "own" });
  expect([copy.session, Reflect.get(request, "session")]).toEqual(["own", session]);
});

test("the middleware needs no next, not even where it was used before", async () => {
  const { request, response } = exchange();
  const middleware = nodeSession<Data>();
  middleware(request, response);
  middleware(request, response);
  sessionOf(request).set("user", "Ada");
  response.end("body");
  await expect.poll(() => response.calls).toEqual([["end", "body"]]);
  expect([response.getHeader("Set-Cookie")].flat()).toHaveLength(1);
});

test("two middlewares of one manager share a session, and the first one stores it", async () => {
  const { request, response, told, next } = exchange();
  const { store, calls } = counted(memoryStore());
  const sessions = new SessionManager<Data>({ store });
  nodeSession<Data>(sessions)(request, response, next);
  const first = sessionOf(request);
  nodeSession<Data>(sessions)(request, response, next);
  expect(sessionOf(request)).toBe(first);
  expect(told).toEqual([[undefined], [undefined]]);
  first.set("user", "Ada");
  response.end("body");
  await expect.poll(() => response.calls).toEqual([["end", "body"]]);
  expect(calls).toEqual(["create"]);
});

test("a session that cannot be stored is an error of the next of the middleware that stores it alone", async () => {
  const { request, response, told, next } = exchange();
  const sessions = new SessionManager<Data>({ store: brokenStore() });
  nodeSession<Data>(sessions)(request, response, next);
  const others: unknown[] = [];
  nodeSession<Data>(sessions)(request, response, (error) => void others.push(error));
  sessionOf(request).set("user", "Ada");
  response.end("body");
  await expect.poll(() => told.length).toBe(2);
  expect(others).toEqual([undefined]);
});

test("functions of the options are given the request and the response", async () => {
  const given: unknown[] = [];
  const store = memoryStore();
  const open = (...rest: unknown[]) => (given.push(...rest), store);
  const { request, response, next } = exchange();
  nodeSession<Data>({ store: open })(request, response, next);
  await sessionOf(request).create();
  expect(given).toEqual([request, response]);
});

test("middlewares of two managers are given one and the same request", async () => {
  const seen: Request[] = [];
  const transport = { read: (given: Request) => (seen.push(given), null), write() {}, clear() {} };
  const { request, response, next } = exchange();
  for (let n = 0; n < 2; n++) {
    nodeSession<Data>({ transports: [transport] })(request, response, next);
    await sessionOf(request).get("user");
  }
  expect([seen.length, seen[0] === seen[1]]).toEqual([2, true]);
});

test("two middlewares of different managers cannot share a cookie", () => {
  for (const cookie of [{}, { name: "__Secure-session" }]) {
    const { request, response, told, next } = exchange();
    nodeSession<Data>()(request, response, next);
    const second = nodeSession<Data>({ cookie });
    expect(() => second(request, response, next)).toThrow(/^Two sessions of one request cannot share the cookie/);
    nodeSession<Data>({ cookie: { name: "admin" } })(request, response, next);
    expect(told).toEqual([[undefined], [undefined]]);
    // The next request has its own.
    const other = exchange();
    second(other.request, other.response, other.next);
    expect(other.told).toEqual([[undefined]]);
  }
});

test("a session that nobody has used leaves the response alone, and cannot begin afterwards", async () => {
  const { request, response, next } = exchange();
  nodeSession<Data>()(request, response, next);
  response.end("body");
  expect([response.calls, response.fields]).toEqual([[["end", "body"]], {}]);
  expect(await codeOf(() => sessionOf(request).create())).toBe("ERR_RESPONSE_SENT");
});

test("a status of 500 or more stores nothing that was recorded, and one below does", async () => {
  for (const [status, cookies] of [
    [499, 1],
    [500, 0],
    [503, 0],
  ]) {
    const done = await answered({}, (session, response) => {
      session.set("user", "Ada");
      response.statusCode = status!;
    });
    expect([status, done.cookies.length]).toEqual([status, cookies]);
  }
});

test("a status of 500 or more still tells the client the id of what was stored before, and nothing is stored afterwards", async () => {
  for (const store of [memoryStore(), openStore().store]) {
    const sessions = new SessionManager<Data>({ store });
    const kept: ReturnType<typeof sessionOf>[] = [];
    const { cookies, cookie } = await answered(sessions, async (session, response) => {
      session.set("user", "Ada");
      await session.save();
      session.set("user", "Bob");
      response.statusCode = 500;
      kept.push(session);
    });
    expect(cookies).toHaveLength(1);
    await kept[0]?.save();
    let user: unknown;
    await answered(sessions, async (session) => (user = await session.get("user")), cookie);
    expect(user).toBe("Ada");
  }
});

test.each<[string, (session: ReturnType<typeof sessionOf>) => unknown]>([
  ["pull()", (session) => session.pull("user")],
  ["regenerate()", (session) => session.regenerate()],
  ["destroy()", (session) => session.destroy()],
  ["get()", async (session) => ((await session.get("list")) ?? []).push("in place")],
])("a status of 500 or more stores nothing of %s that is still under way", async (_call, use) => {
  for (const store of [memoryStore(), openStore().store]) {
    const sessions = new SessionManager<Data>({ store });
    const { cookie } = await answered(sessions, (session) => session.set({ user: "Ada", list: [] }));
    const calls: unknown[] = [];
    const failed = await answered(
      sessions,
      (session, response) => {
        calls.push(use(session));
        response.statusCode = 500;
      },
      cookie,
    );
    await Promise.all(calls);
    expect(failed.cookies).toEqual([]);
    let seen: unknown;
    await answered(sessions, async (session) => (seen = { ...(await session.all()) }), cookie);
    expect(seen).toEqual({ user: "Ada", list: [] });
  }
});

test("a session that cannot be stored becomes an error of next, and what described the body goes", async () => {
  const { request, response, told, next } = exchange();
  nodeSession<Data>({ store: brokenStore() })(request, response, next);
  sessionOf(request).set("user", "Ada");
  const described = [
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Location",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Expires",
    "Last-Modified",
    "Location",
    "Transfer-Encoding",
  ];
  for (const name of [...described, "X-Own"]) response.setHeader(name, "1");
  response.end("body");
  await expect.poll(() => told.length).toBe(2);
  expect(told).toEqual([[undefined], [expect.objectContaining({ code: "ERR_STORE" })]]);
  expect([response.statusCode, response.calls, response.fields]).toEqual([500, [], { "x-own": "1" }]);
});

test("a session that cannot be stored is a response of 500 when next takes no error, or is not there", async () => {
  for (const next of [() => {}, undefined]) {
    const { request, response } = exchange();
    nodeSession<Data>({ store: brokenStore() })(request, response, next);
    sessionOf(request).set("user", "Ada");
    response.setHeader("Content-Type", "text/html");
    // Node closes the connection if a length is removed that was not set.
    const removed: string[] = [];
    response.removeHeader = (name) => void removed.push(name);
    response.end("body");
    await expect.poll(() => response.calls).toEqual([["end", "Internal Server Error\n"]]);
    expect(removed).toEqual(["Content-Type"]);
    expect([response.statusCode, response.fields]).toEqual([500, { "content-type": "text/plain; charset=utf-8" }]);
  }
});

test("a failure after the headers are sent breaks the connection off, where the response can", async () => {
  for (const canDestroy of [true, false]) {
    const { request, response, told } = exchange();
    const broken: unknown[] = [];
    if (canDestroy) Object.assign(response, { destroy: (error: unknown) => broken.push(error) });
    nodeSession<Data>({ load: "eager" })(request, response, (error) => {
      told.push([error]);
      response.isSent = true;
      throw new RangeError("no");
    });
    await expect.poll(() => told.length).toBe(1);
    await new Promise(setImmediate);
    expect([told, broken]).toEqual([[[undefined]], canDestroy ? [new RangeError("no")] : []]);
    expect(response.statusCode).toBe(200);
  }
});

test("a connection that closes before the response drops what was recorded", async () => {
  const { store, calls } = counted(memoryStore());
  const { request, response, next } = exchange();
  nodeSession<Data>({ store })(request, response, next);
  sessionOf(request).set("user", "Ada");
  response.emit("close");
  response.end("body");
  await new Promise(setImmediate);
  expect(calls).toEqual([]);
});

test("a change after the connection has closed is stored at once, with what was recorded before", async () => {
  const store = memoryStore();
  const { cookie } = await answered({ store }, (session) => session.set("user", "Ada"));
  const { request, response, next } = exchange(cookie);
  nodeSession<Data>({ store })(request, response, next);
  sessionOf(request).delete("user");
  response.emit("close");
  sessionOf(request).set("visits", 1);
  const stored = async (): Promise<object> => {
    const later = exchange(cookie);
    nodeSession<Data>({ store })(later.request, later.response, later.next);
    return { ...(await sessionOf(later.request).all()) };
  };
  await expect.poll(stored).toEqual({ visits: 1 });
});

test("a connection that closes before the response leaves the client the id that it has", async () => {
  const store = memoryStore();
  const { cookie } = await answered({ store }, (session) => session.set("user", "Ada"));
  const { request, response, next } = exchange(cookie);
  nodeSession<Data>({ store })(request, response, next);
  await sessionOf(request).regenerate();
  await sessionOf(request).save();
  response.emit("close");
  const left = async (): Promise<unknown> => {
    const later = exchange(cookie);
    nodeSession<Data>({ store })(later.request, later.response, later.next);
    return await sessionOf(later.request).get("user");
  };
  await expect.poll(left).toBe("Ada");
});

test("a request that the program discards when its response was sent leaves the client the new id", async () => {
  const store = memoryStore();
  const sessions = new SessionManager<Data>({ store });
  const { cookie } = await answered(sessions, (session) => session.set("user", "Ada"));
  const { request, response, next } = exchange(cookie);
  nodeSession<Data>(sessions)(request, response, next);
  const session = sessionOf(request);
  await session.regenerate();
  response.end("body");
  await expect.poll(() => response.calls).toEqual([["end", "body"]]);
  // An error handler may call this without knowing that the response was sent.
  await sessions.discard(session);
  const renewed = { cookie: String([response.getHeader("Set-Cookie")].flat()[0]).split(";")[0] ?? "" };
  const users: unknown[] = [];
  for (const headers of [renewed, cookie])
    await answered(sessions, async (later) => users.push(await later.get("user")), headers);
  expect(users).toEqual(["Ada", undefined]);
});

test("an eager session is loaded before next is called, and one that cannot be loaded is an error of next", async () => {
  const { store, calls } = counted(memoryStore());
  const { cookie } = await answered({ store }, (session) => session.set("user", "Ada"));
  calls.length = 0;
  const { request, response, told, next } = exchange(cookie);
  nodeSession<Data>({ store, load: "eager" })(request, response, next);
  expect([told, calls]).toEqual([[], ["load"]]);
  await expect.poll(() => told).toEqual([[undefined]]);
  const failing = exchange(cookie);
  const down = { ...store, load: () => Promise.reject(new Error("down")) };
  nodeSession<Data>({ store: down, load: "eager" })(failing.request, failing.response, failing.next);
  await expect.poll(() => failing.told).toEqual([[expect.objectContaining({ code: "ERR_STORE" })]]);
  // Without `next` there is no function to call.
  const quiet = exchange(cookie);
  nodeSession<Data>({ store, load: "eager" })(quiet.request, quiet.response);
  for (let n = 0; n < 3; n++) await new Promise(setImmediate);
  expect(quiet.response.calls).toEqual([]);
});

test("a plugin answers before an eager session is loaded, so that the plugin decides how it is loaded", async () => {
  const { store, calls } = counted(memoryStore());
  const { cookie } = await answered({ store }, (session) => session.set("user", "Ada"));
  calls.length = 0;
  const early: Plugin = { name: "early", answer: () => void calls.push("answer") };
  const { request, response, told, next } = exchange(cookie);
  nodeSession<Data>({ store, load: "eager", plugins: [early] })(request, response, next);
  await expect.poll(() => told).toEqual([[undefined]]);
  expect(calls).toEqual(["answer", "load"]);
});

test("what a plugin answers is sent in place of the handler's response", async () => {
  const given: unknown[] = [];
  const door = (instead: () => Response | undefined) => ({
    name: "door",
    answer: (_request: Request, ...rest: unknown[]) => (given.push(...rest), instead()),
  });
  const plain = exchange();
  nodeSession<Data>({
    plugins: [door(() => new Response(new Uint8Array([1, 255]), { status: 201, headers: { "X-Own": "1" } }))],
  })(plain.request, plain.response, plain.next);
  await expect.poll(() => plain.response.calls).toEqual([["end", new Uint8Array([1, 255])]]);
  expect([plain.response.statusCode, plain.response.fields, plain.told]).toEqual([201, { "x-own": "1" }, []]);
  expect(given).toEqual([sessionOf(plain.request), plain.request, plain.response]);
  const headers: [string, string][] = [
    ["Set-Cookie", "a=1"],
    ["Set-Cookie", "b=2"],
  ];
  const cookies = exchange();
  nodeSession<Data>({ plugins: [door(() => new Response(null, { headers }))] })(cookies.request, cookies.response);
  await expect.poll(() => cookies.response.calls.length).toBe(1);
  expect(cookies.response.fields).toEqual({ "set-cookie": ["a=1", "b=2"] });
  const handled = exchange();
  nodeSession<Data>({ plugins: [door(() => undefined)] })(handled.request, handled.response, handled.next);
  await expect.poll(() => handled.told).toEqual([[undefined]]);
  expect(handled.response.calls).toEqual([]);
});
