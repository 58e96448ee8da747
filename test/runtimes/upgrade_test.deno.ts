import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { type Session, SessionManager, withSession } from "../../mod.ts";
import { cookieIn, type Handshake, shakeHands } from "./handshake.ts";

interface Data {
  readonly visits: number;
}

type Shake = (path: string, cookie?: string) => Promise<Handshake>;

/** What a handler does with its session before and after the request has become a WebSocket. */
const ways: Record<
  string,
  { before?: (session: Session<Data>) => unknown; after: (session: Session<Data>) => unknown }
> = {
  "/set": { before: (session) => session.set("visits", 5), after: (session) => session.get("visits") },
  "/touch": { before: (session) => session.touch(), after: (session) => session.get("visits") },
  "/read": { before: (session) => session.get("visits"), after: (session) => session.get("visits") },
  "/first": { after: (session) => session.get("visits") },
  "/update": { after: (session) => session.update("visits", (n = 0) => n + 1) },
  "/late": { after: (session) => session.update("visits", (n = 0) => n + 1) },
};

function codeOf(error: unknown): unknown {
  return Reflect.get(Object(error), "code") ?? error;
}

/** Starts a server that answers each path with a WebSocket. Its first message is the result of the session's call. */
async function serving(step: (shake: Shake, sessions: SessionManager<Data>) => Promise<void>): Promise<void> {
  const sessions = new SessionManager<Data>();
  const handler = withSession<Data>(async (request, session) => {
    const { before, after } = ways[new URL(request.url).pathname] ?? { after: () => "no such way" };
    await before?.(session);
    const { socket, response } = Deno.upgradeWebSocket(request);
    const opened = new Promise((resolve) => socket.addEventListener("open", resolve));
    // Some time after the response.
    void opened
      .then(() => new Promise((resolve) => setTimeout(resolve, 50)))
      .then(() => after(session))
      .catch(codeOf)
      .then((result) => socket.send(String(result)));
    return response;
  }, sessions);
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, handler);
  try {
    await step((path, cookie) => shakeHands(server.addr.port, path, cookie), sessions);
  } finally {
    await server.shutdown();
  }
}

Deno.test("Deno.upgradeWebSocket() after session.set() tells the client its cookie, and stores the value", async () => {
  await serving(async (shake, sessions) => {
    const { status, cookies, message } = await shake("/set");
    deepEqual([status, message], [101, "5"]);
    equal(cookies.length, 1);
    match(cookies[0] ?? "", /^session=[\w-]{32}; Max-Age=86400; Path=\/; HttpOnly; SameSite=Lax$/);
    const id = cookieIn(cookies).slice("session=".length);
    equal(await sessions.open(id).get("visits"), 5);
  });
});

Deno.test("Deno.upgradeWebSocket() leaves the session usable: read or touched before, or first used afterwards", async () => {
  await serving(async (shake) => {
    const cookie = cookieIn((await shake("/set")).cookies);
    for (const path of ["/touch", "/read", "/first"]) {
      const { status, message } = await shake(path, cookie);
      deepEqual([path, status, message], [path, 101, "5"]);
    }
    // The request touches the session, so the response renews the cookie.
    equal(cookieIn((await shake("/touch", cookie)).cookies), cookie);
  });
});

Deno.test("update() commits at once when it comes from a WebSocket, also as the first use of the session", async () => {
  await serving(async (shake, sessions) => {
    const cookie = cookieIn((await shake("/set")).cookies);
    equal((await shake("/update", cookie)).message, "6");
    equal((await shake("/update", cookie)).message, "7");
    equal(await sessions.open(cookie.slice("session=".length)).get("visits"), 7);
  });
});

Deno.test("update() from a WebSocket is refused when there is no session, and the client can no longer be told of one", async () => {
  await serving(async (shake) => {
    const { status, cookies, message } = await shake("/late");
    deepEqual([status, cookies, message], [101, [], "ERR_RESPONSE_SENT"]);
  });
});

Deno.test("a session is usable after the response, and after the client went away: what transports read was asked for before", async () => {
  const sessions = new SessionManager<Data>();
  const first = sessions.start(new Request("http://localhost/"));
  first.set("visits", 5);
  await first.save();
  const cookie = `session=${await first.id()}`;
  const leaving = new AbortController();
  const seen: Session<Data>[] = [];
  const handler = withSession<Data>(async (request, session) => {
    // The handler does not read the address. Deno drops properties that were not read before the client left.
    if (seen.push(session) === 2) {
      const left = new Promise((resolve) => request.signal.addEventListener("abort", resolve));
      leaving.abort();
      await left;
    }
    return new Response("Hello");
  }, sessions);
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, handler);
  const address = `http://127.0.0.1:${server.addr.port}`;
  equal(await (await fetch(address, { headers: { Cookie: cookie } })).text(), "Hello");
  await rejects(fetch(address, { headers: { Cookie: cookie }, signal: leaving.signal }));
  // Waits until both requests have ended.
  await server.shutdown();
  deepEqual(await Promise.all(seen.map((session) => session.get("visits"))), [5, 5]);
});
