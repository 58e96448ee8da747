import { once } from "node:events";
import { createServer as createHttp2Server, connect } from "node:http2";
import { get, type IncomingMessage, request as send, type ServerResponse } from "node:http";
import { type AddressInfo, connect as connectTcp } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { memoryStore, type SessionEvent, SessionManager } from "../../mod.ts";
import { nodeSession } from "../../src/node.ts";
import { altered } from "../setup/sessions.ts";
import { brokenStore, browser, type Data, listen, sessionOf, slowStore, STORES } from "./setup.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown;
type Options = Parameters<typeof nodeSession<Data>>[0];

/** A server whose handler has a session, and a client of it. */
async function serve(handler: Handler, options: Options = {}): Promise<ReturnType<typeof browser>> {
  const middleware = nodeSession<Data>(options);
  return browser(
    await listen((request, response) => middleware(request, response, () => void handler(request, response))),
  );
}

const COOKIE = /^session=[\w-]{22,}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=86400$|^session=[\w-]{22,};/;

/** Each way to answer after a visit was counted. */
const WAYS: Record<string, (response: ServerResponse) => unknown> = {
  "end()": (response) => response.end("body"),
  "end() with a callback": (response) => response.end("body", "utf8", () => {}),
  "write() and end()": (response) => {
    response.write("bo");
    response.end("dy");
  },
  "writeHead() with an object": (response) =>
    response.writeHead(200, { "Content-Type": "text/plain", "X-Own": "1" }).end("body"),
  "writeHead() with a reason and an object": (response) =>
    response.writeHead(200, "Fine", { "X-Own": "1" }).end("body"),
  "writeHead() with no reason and an object": (response) =>
    response.writeHead(200, undefined, { "X-Own": "1" }).end("body"),
  "writeHead() with a flat array": (response) =>
    response.writeHead(200, ["Content-Type", "text/plain", "X-Own", "1"]).end("body"),
  "writeHead() with pairs": (response) => response.writeHead(200, [["X-Own", "1"]] as unknown as string[]).end("body"),
  "flushHeaders()": (response) => {
    response.flushHeaders();
    response.end("body");
  },
  "pipe()": (response) => Readable.from(["bo", "dy"]).pipe(response),
  "pipeline()": (response) => pipeline(Readable.from(["bo", "dy"]), response),
  "a stream longer than its buffer": (response) =>
    pipeline(Readable.from(Array.from({ length: 64 }, () => "x".repeat(32_768))), response),
};

describe.each(STORES)("nodeSession() on node:http with %s", (_name, open) => {
  test.each(Object.entries(WAYS))("sets the cookie when the handler answers by %s", async (way, answer) => {
    const visit = await serve(
      async (request, response) => {
        await sessionOf(request).update("visits", (n = 0) => n + 1);
        await answer(response);
      },
      { store: open() },
    );
    const first = await visit("/");
    expect(first.cookies).toEqual([expect.stringMatching(COOKIE)]);
    expect(first.headers.get("Cache-Control")).toBe("no-store");
    expect(first.text).toMatch(/^body$|^x{2097152}$/);
    expect(first.headers.get("X-Own")).toBe(way.startsWith("writeHead") ? "1" : null);
    const second = await visit("/");
    expect([second.cookies, second.headers.get("Cache-Control"), second.headers.get("Vary")]).toEqual([
      [],
      "private",
      "Cookie",
    ]);
    expect(second.text).toBe(first.text);
  });

  test.each([
    ["max-age=5", "max-age=5"],
    ["no-cache", "no-cache, private"],
  ])("leaves the handler its Cache-Control when the session was only read: %s", async (own, sent) => {
    const visit = await serve(
      async (request, response) => {
        await sessionOf(request).get("visits");
        response.setHeader("Cache-Control", own);
        response.end();
      },
      { store: open() },
    );
    const { headers } = await visit("/");
    expect([headers.get("Cache-Control"), headers.get("Vary")]).toEqual([sent, "Cookie"]);
  });

  test("counts visits, keeps them at a login and forgets them at a logout", async () => {
    const visit = await serve(
      async (request, response) => {
        const session = sessionOf(request);
        if (request.url === "/login") {
          await session.regenerate();
          session.set("user", "Ada");
          return response.writeHead(303, { Location: "/" }).end();
        }
        if (request.url === "/logout") {
          await session.destroy();
          return response.writeHead(303, { Location: "/" }).end();
        }
        return response.end(
          `${await session.update("visits", (n = 0) => n + 1)} ${await session.get("user", "nobody")}`,
        );
      },
      { store: open() },
    );
    expect((await visit("/")).text).toBe("1 nobody");
    const login = await visit("/login", { method: "POST" });
    expect([login.status, login.headers.get("Location"), login.cookies.length]).toEqual([303, "/", 1]);
    expect((await visit("/")).text).toBe("2 Ada");
    expect((await visit("/logout", { method: "POST" })).cookies).toEqual([expect.stringContaining("Max-Age=0")]);
    expect((await visit("/")).text).toBe("1 nobody");
  });

  test("keeps a handler's own Set-Cookie, of setHeader and of writeHead, and drops one of the session's name", async () => {
    const visit = await serve(
      (request, response) => {
        sessionOf(request).set("user", "Ada");
        if (request.url === "/set") {
          response.setHeader("Set-Cookie", ["mine=1", "session=stolen"]);
          return response.end();
        }
        if (request.url === "/array")
          return response.writeHead(200, ["Set-Cookie", "mine=1", "set-cookie", "other=2"]).end();
        return response.writeHead(200, { "Set-Cookie": "mine=1" }).end();
      },
      { store: open(), cookie: { refresh: "always" } },
    );
    for (const [path, others] of [
      ["/set", ["mine=1"]],
      ["/object", ["mine=1"]],
      ["/array", ["mine=1", "other=2"]],
    ] as const) {
      const { cookies } = await visit(path);
      expect(cookies).toEqual([...others, expect.stringMatching(COOKIE)]);
    }
  });

  test("stores nothing that was recorded when the status is 500 or more, and keeps what save() and update() have stored", async () => {
    const visit = await serve(
      async (request, response) => {
        const session = sessionOf(request);
        if (request.url === "/recorded") session.set("user", "Eve");
        if (request.url === "/saved") {
          session.set("user", "Ada");
          await session.save();
          session.set("user", "Eve");
        }
        if (request.url === "/read") return response.end(await session.get("user", "nobody"));
        return request.url === "/recorded"
          ? response.writeHead(500).end("failed")
          : Object.assign(response, { statusCode: 503 }).end("failed");
      },
      { store: open() },
    );
    expect((await visit("/recorded")).cookies).toEqual([]);
    expect((await visit("/read")).text).toBe("nobody");
    const saved = await visit("/saved");
    expect([saved.status, saved.cookies.length]).toEqual([503, 1]);
    expect((await visit("/read")).text).toBe("Ada");
  });

  test("leaves the response alone when the session was not used", async () => {
    const visit = await serve(
      (_request, response) => response.writeHead(200, { "Content-Type": "text/css" }).end("body{}"),
      { store: open() },
    );
    const answer = await visit("/");
    expect([answer.cookies, answer.headers.get("Vary"), answer.headers.get("Cache-Control")]).toEqual([[], null, null]);
  });

  test("answers HEAD and 304 with the cookie and without a body", async () => {
    const visit = await serve(
      (request, response) => {
        sessionOf(request).set("user", "Ada");
        sessionOf(request).touch();
        if (request.method === "HEAD") return response.writeHead(200, { "Content-Length": "4" }).end("body");
        return response.writeHead(304, { ETag: '"1"' }).end();
      },
      { store: open() },
    );
    const head = await visit("/", { method: "HEAD" });
    expect([head.status, head.text, head.headers.get("Content-Length"), head.cookies.length]).toEqual([
      200,
      "",
      "4",
      1,
    ]);
    const unchanged = await visit("/");
    expect([unchanged.status, unchanged.text, unchanged.headers.get("ETag"), unchanged.cookies.length]).toEqual([
      304,
      "",
      '"1"',
      1,
    ]);
  });

  test("says that the headers are sent while the response waits for the store, and tells again what is true later", async () => {
    const seen: boolean[] = [];
    let last: ServerResponse | undefined;
    const visit = await serve(
      (request, response) => {
        last = response;
        sessionOf(request).set("user", "Ada");
        seen.push(response.headersSent, response.writableEnded);
        response.end("body");
        seen.push(response.headersSent, response.writableEnded);
      },
      { store: open() },
    );
    await visit("/");
    expect(seen).toEqual([false, false, true, true]);
    expect([Object.hasOwn(last!, "headersSent"), last!.headersSent, last!.writableEnded]).toEqual([false, true, true]);
  });

  test("throws in the handler what Node throws there: at a second writeHead(), and at an invalid status", async () => {
    const thrown: unknown[] = [];
    const attempt = (call: () => unknown): void => {
      try {
        call();
      } catch (error) {
        thrown.push(error instanceof Error && "code" in error && error.code);
      }
    };
    const visit = await serve(
      async (request, response) => {
        await sessionOf(request).update("visits", (n = 0) => n + 1);
        attempt(() => response.writeHead(Number("none")));
        attempt(() => response.writeHead(99));
        attempt(() => response.writeHead(1000));
        response.writeHead(201).end("body");
        attempt(() => response.writeHead(500).end("failed"));
      },
      { store: open() },
    );
    const answer = await visit("/");
    expect([answer.status, answer.text, answer.cookies.length]).toEqual([201, "body", 1]);
    const status = "ERR_HTTP_INVALID_STATUS_CODE";
    expect(thrown).toEqual([status, status, status, "ERR_HTTP_HEADERS_SENT"]);
  });

  test("lets a middleware begin the response with each write, as one that compresses may do", async () => {
    const visit = await serve(
      (request, response) => {
        sessionOf(request).set("user", "Ada");
        response.statusCode = 201;
        const { write } = response;
        response.write = (...args: unknown[]) => {
          // `compression` before 1.8 does not look at `headersSent`.
          if (!Reflect.get(response, "_header")) Reflect.apply(Reflect.get(response, "_implicitHeader"), response, []);
          return Reflect.apply(write, response, args);
        };
        try {
          response.write("bo");
          response.write("dy");
          response.end();
        } catch (error) {
          response.destroy(error as Error);
        }
      },
      { store: open() },
    );
    const answer = await visit("/");
    expect([answer.status, answer.text, answer.cookies.length]).toEqual([201, "body", 1]);
  });

  test("sends a stream's first part before the last one is there", async () => {
    const middleware = nodeSession<Data>({ store: open() });
    const origin = await listen((request, response) =>
      middleware(request, response, () => {
        sessionOf(request).set("user", "Ada");
        response.write("first");
        response.on("finished", () => {});
        request.socket.once("go", () => response.end("last"));
        sockets.push(request);
      }),
    );
    const sockets: IncomingMessage[] = [];
    const response = await fetch(origin);
    const reader = response.body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("first");
    sockets[0]!.socket.emit("go");
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("last");
    expect(response.headers.getSetCookie()).toHaveLength(1);
  });
});

describe("nodeSession() on node:http", () => {
  test("commits update() at once and a late set() too when the response is sent, and refuses to begin a session then", async () => {
    const late: unknown[] = [];
    const events: string[] = [];
    const visit = await serve(
      async (request, response) => {
        const session = sessionOf(request);
        if (request.url === "/read") return response.end(JSON.stringify(await session.all()));
        if (request.url === "/begin") await session.update("visits", () => 1);
        response.end("sent");
        await once(response, "finish");
        await session
          .update("visits", (n = 0) => n + 1)
          .catch((error: Error & { code: string }) => late.push(error.code));
        await (async () => {
          session.set("user", "late");
          await session.save();
        })().catch((error: Error & { code: string }) => late.push(error.code));
        return late.push("done");
      },
      { onEvent: (event: SessionEvent) => void events.push(event.type), store: slowStore() },
    );
    await visit("/begin");
    await expect.poll(() => late).toEqual(["done"]);
    expect(JSON.parse((await visit("/read")).text)).toEqual({ visits: 2, user: "late" });
    expect(events).toContain("late");
    late.length = 0;
    const nobody = await serve(async (request, response) => {
      response.end("sent");
      await once(response, "finish");
      await sessionOf(request)
        .update("visits", () => 1)
        .catch((error: Error & { code: string }) => late.push(error.code));
    });
    await nobody("/");
    await expect.poll(() => late).toEqual(["ERR_RESPONSE_SENT"]);
  });

  test("waits for calls that nobody awaited", async () => {
    const visit = await serve(
      (request, response) => {
        if (request.url === "/") void sessionOf(request).update("visits", (n = 0) => n + 1);
        if (request.url === "/") return response.end("x");
        return sessionOf(request)
          .get("visits", 0)
          .then((n) => response.end(String(n)));
      },
      { store: slowStore() },
    );
    expect((await visit("/")).cookies).toHaveLength(1);
    expect((await visit("/read")).text).toBe("1");
  });

  test("stores nothing when the client has gone before there was an answer, and goes on with the next one", async () => {
    const saves: string[] = [];
    const store = altered(memoryStore(), { save: (save, ...args) => (saves.push(args[0]), save(...args)) });
    const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
    const { promise: closed, resolve: close } = Promise.withResolvers<void>();
    const middleware = nodeSession<Data>({ store });
    const origin = await listen((request, response) =>
      middleware(request, response, () => {
        sessionOf(request).set("user", "Ada");
        if (request.url !== "/hang") return response.end("fine");
        response.on("close", close);
        return reach();
      }),
    );
    const hanging = get(`${origin}/hang`);
    hanging.on("error", () => {});
    await reached;
    hanging.destroy();
    await closed;
    expect(saves).toEqual([]);
    expect((await browser(origin)("/")).text).toBe("fine");
    expect(saves).toHaveLength(1);
  });

  test("puts back the session of a client that goes while its new id is being stored", async () => {
    const inner = memoryStore();
    const { promise: stored, resolve: go } = Promise.withResolvers<void>();
    const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
    const { promise: closed, resolve: close } = Promise.withResolvers<void>();
    let isHeld = false;
    const store = altered(inner, {
      save: async (save, ...args) => {
        if (isHeld) {
          reach();
          await stored;
        }
        return save(...args);
      },
    });
    const middleware = nodeSession<Data>({ store, storeTimeout: 3600 });
    const origin = await listen((request, response) =>
      middleware(request, response, async () => {
        const session = sessionOf(request);
        if (request.url === "/begin") session.set("user", "Ada");
        if (request.url === "/renew") {
          isHeld = true;
          response.on("close", close);
          await session.regenerate();
          return response.end("renewed");
        }
        return response.end(await session.get("user"));
      }),
    );
    const visit = browser(origin);
    const { cookies } = await visit("/begin");
    const leaving = get(`${origin}/renew`, { headers: { Cookie: cookies[0]?.split(";")[0] ?? "" } });
    leaving.on("error", () => {});
    await reached;
    leaving.destroy();
    await closed;
    isHeld = false;
    go();
    await expect.poll(async () => (await visit("/")).text, { timeout: 20_000 }).toBe("Ada");
  });

  test("survives a client that goes while the session is being stored", async () => {
    const { promise: stored, resolve: go } = Promise.withResolvers<void>();
    const store = altered(memoryStore(), { save: async (save, ...args) => (await stored, save(...args)) });
    const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
    const { promise: closed, resolve: close } = Promise.withResolvers<void>();
    const middleware = nodeSession<Data>({ store });
    const origin = await listen((request, response) =>
      middleware(request, response, () => {
        sessionOf(request).set("user", "Ada");
        response.on("close", close);
        response.end("x".repeat(100));
        reach();
      }),
    );
    const leaving = send(origin).end();
    leaving.on("error", () => {});
    await reached;
    leaving.destroy();
    await closed;
    go();
    expect((await browser(origin)("/")).status).toBe(200);
  });

  test("answers 500 without the handler's body when the session cannot be stored and next takes no error", async () => {
    const visit = await serve(
      (request, response) => {
        sessionOf(request).set("user", "Ada");
        response.writeHead(200, { "Content-Type": "text/html", "Content-Length": "5", "Location": "/x" }).end("saved");
      },
      { store: brokenStore() },
    );
    const answer = await visit("/");
    expect([answer.status, answer.text, answer.cookies, answer.headers.get("Location")]).toEqual([
      500,
      "Internal Server Error\n",
      [],
      null,
    ]);
  });

  test("keeps the connection when the session cannot be stored", async () => {
    const middleware = nodeSession<Data>({ store: brokenStore() });
    const origin = await listen((request, response) =>
      middleware(request, response, () => {
        sessionOf(request).set("user", "Ada");
        response.end("saved");
      }),
    );
    const socket = connectTcp(Number(new URL(origin).port), "127.0.0.1");
    let received = "";
    socket.on("data", (part) => (received += String(part)));
    // Both on one connection.
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2));
    await expect.poll(() => received.match(/HTTP\/1.1 500/g)?.length).toBe(2);
    expect(received.match(/Content-Length: 22/g)).toHaveLength(2);
    socket.destroy();
  });

  test("gives the error to next, so that the program answers, when the session cannot be stored", async () => {
    const middleware = nodeSession<Data>({ store: brokenStore() });
    const codes: unknown[] = [];
    const origin = await listen((request, response) =>
      middleware(request, response, (error) => {
        if (error !== undefined) {
          codes.push((error as { code: string }).code, response.headersSent);
          response.statusCode = 503;
          return response.end("later");
        }
        sessionOf(request).set("user", "Ada");
        response.end("saved");
      }),
    );
    const answer = await browser(origin)("/");
    expect([answer.status, answer.text, answer.cookies]).toEqual([503, "later", []]);
    expect(codes).toEqual(["ERR_STORE", false]);
  });

  test("answers without next too", async () => {
    const middleware = nodeSession<Data>();
    const origin = await listen(async (request, response) => {
      middleware(request, response);
      response.end(String(await sessionOf(request).update("visits", (n = 0) => n + 1)));
    });
    const visit = browser(origin);
    await visit("/");
    expect((await visit("/")).text).toBe("2");
  });

  test("shares one session when the same manager is used twice on a request", async () => {
    const sessions = new SessionManager<Data>();
    const [one, two] = [nodeSession<Data>(sessions), nodeSession<Data>(sessions)];
    const origin = await listen((request, response) =>
      one(request, response, () => {
        sessionOf(request).set("user", "Ada");
        two(request, response, async () => {
          const visits = await sessionOf(request).update("visits", (n = 0) => n + 1);
          response.end(`${visits} ${await sessionOf(request).get("user")}`);
        });
      }),
    );
    const visit = browser(origin);
    expect((await visit("/")).cookies).toHaveLength(1);
    expect((await visit("/")).text).toBe("2 Ada");
  });

  test("passes the request and the response to functions among the options", async () => {
    const seen: unknown[] = [];
    const visit = await serve((request, response) => (sessionOf(request).set("user", "Ada"), response.end()), {
      store: (request, response) => (seen.push(request.url, response.statusCode), memoryStore()),
    });
    await visit("/path");
    expect(seen).toEqual(["/path", 200]);
  });

  test("uses the __Host- cookie when a proxy says that the client came over https", async () => {
    const visit = await serve((request, response) => (sessionOf(request).set("user", "Ada"), response.end()));
    const answer = await visit("/", { headers: { "X-Forwarded-Proto": "https" } });
    expect(answer.cookies).toEqual([expect.stringMatching(/^__Host-session=[\w-]+; .*Secure/)]);
  });

  test.each(["//evil", "*", "http://other.example/path", "/%", "/\\x"])(
    "answers a request whose path is %j",
    async (path) => {
      const middleware = nodeSession<Data>();
      const origin = await listen((request, response) =>
        middleware(request, response, () => (sessionOf(request).set("user", "Ada"), response.end("fine"))),
      );
      const { hostname, port } = new URL(origin);
      const request = send({ hostname, port, path, method: path === "*" ? "OPTIONS" : "GET" }).end();
      const [response] = (await once(request, "response")) as [IncomingMessage];
      response.resume();
      expect([response.statusCode, response.headers["set-cookie"]?.length]).toEqual([200, 1]);
    },
  );

  test("works over HTTP/2", async () => {
    const middleware = nodeSession<Data>({ store: slowStore() });
    const server = createHttp2Server((request, response) =>
      middleware(request as never, response as never, async () => {
        response.end(`${await sessionOf(request as never).update("visits", (n = 0) => n + 1)}`);
      }),
    ).listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    onTestFinished(() => {
      client.close();
      server.close();
    });
    const ask = async (cookie: string | undefined): Promise<readonly [Record<string, unknown>, string]> => {
      const stream = client.request({ ":path": "/", ...(cookie === undefined ? {} : { cookie }) });
      const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
      let text = "";
      for await (const part of stream.setEncoding("utf8")) text += part;
      return [headers, text];
    };
    const [first] = await ask(undefined);
    const [line] = first["set-cookie"] as string[];
    expect((await ask(line?.split(";")[0]))[1]).toBe("2");
  });

  test("answers in place of the handler what a plugin answers, and stores what the plugin has changed", async () => {
    const plugin = {
      name: "door",
      answer: (request: Request, session: object) => {
        if (!request.url.endsWith("/door")) return undefined;
        (session as ReturnType<typeof sessionOf>).set("user", "guest");
        return new Response("door", { status: 201, headers: { "X-Own": "1", "Set-Cookie": "mine=1" } });
      },
    };
    const visit = await serve(
      async (request, response) => response.end(await sessionOf(request).get("user", "nobody")),
      {
        plugins: [plugin],
        store: slowStore(),
      },
    );
    expect((await visit("/")).text).toBe("nobody");
    const door = await visit("/door");
    expect([door.status, door.text, door.headers.get("X-Own"), door.cookies.length]).toEqual([201, "door", "1", 2]);
    expect((await visit("/")).text).toBe("guest");
  });

  test("lets no value be assigned to the session, where it would be lost", async () => {
    const visit = await serve(async (request, response) => {
      try {
        Object.assign(sessionOf(request), { user: "ada" });
        response.end("assigned");
      } catch (error) {
        response.end(Object(error).name);
      }
    });
    expect((await visit("/")).text).toBe("TypeError");
  });

  test("throws a TypeError that says what to pass when it gets Koa's context", () => {
    expect(() => nodeSession()({ headers: {}, req: {} } as never, (() => {}) as never)).toThrow(
      /ctx\.req and ctx\.res in Koa/,
    );
  });

  test("breaks the connection off when the handler fails in the middle of its response", async () => {
    const middleware = nodeSession<Data>({ load: "eager" });
    const origin = await listen((request, response) =>
      middleware(request, response, () => {
        response.writeHead(200, { "Content-Length": "100" });
        response.write("first");
        throw new Error("no");
      }),
    );
    // Otherwise the client would wait for the rest.
    await expect(fetch(origin).then((response) => response.text())).rejects.toThrow();
  });

  test("exposes the header of the id to another origin that the handler lets in, and to no other", async () => {
    const visit = await serve(
      (request, response) => {
        sessionOf(request).set("user", "Ada");
        if (request.url === "/shared") response.setHeader("Access-Control-Allow-Origin", "https://app.example");
        response.end();
      },
      { header: "X-Session-Id", cookie: false },
    );
    expect((await visit("/shared")).headers.get("Access-Control-Expose-Headers")).toBe("X-Session-Id");
    expect((await visit("/own")).headers.has("Access-Control-Expose-Headers")).toBe(false);
  });

  test("loads the session before the handler with load: 'eager', and gives an error to next", async () => {
    const down = altered(memoryStore(), { load: async () => Promise.reject(new Error("down")) });
    const middleware = nodeSession<Data>({ store: down, load: "eager" });
    const origin = await listen((request, response) =>
      middleware(request, response, (error) =>
        response.end(error === undefined ? "handler" : (error as { code: string }).code),
      ),
    );
    const answer = await fetch(origin, { headers: { Cookie: `session=${"A".repeat(32)}` } });
    expect(await answer.text()).toBe("ERR_STORE");
  });
});
