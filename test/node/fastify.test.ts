import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import fastify, { type FastifyInstance } from "fastify";
import { describe, expect, onTestFinished, test } from "vitest";
import { nodeSession } from "../../src/node.ts";
import { brokenStore, browser, type Data, sessionOf, STORES } from "./setup.ts";

/** A Fastify server whose routes count a visit. */
async function serve(
  options: Parameters<typeof nodeSession<Data>>[0],
  prepare: (app: FastifyInstance) => void = () => {},
): Promise<ReturnType<typeof browser>> {
  const app = fastify();
  const middleware = nodeSession<Data>(options);
  // The code of the documentation, to check that it compiles.
  app.addHook("onRequest", (request, reply, done) => middleware(request.raw, reply.raw, done));
  app.get("/returns", async (request) => `Visit ${await sessionOf(request.raw).update("visits", (n = 0) => n + 1)}`);
  app.get("/json", async (request) => ({ visits: await sessionOf(request.raw).update("visits", (n = 0) => n + 1) }));
  app.get("/sends", async (request, reply) => {
    reply.send(`Visit ${await sessionOf(request.raw).update("visits", (n = 0) => n + 1)}`);
  });
  app.get("/redirect", async (request, reply) => {
    await sessionOf(request.raw).update("visits", (n = 0) => n + 1);
    return reply.redirect("/returns", 303);
  });
  app.get("/cookie", async (request, reply) => {
    await sessionOf(request.raw).update("visits", (n = 0) => n + 1);
    return reply.header("Set-Cookie", ["mine=1", "other=2"]).send("cookies");
  });
  app.get("/stream", async (request, reply) => {
    await sessionOf(request.raw).update("visits", (n = 0) => n + 1);
    return reply.type("text/plain").send(Readable.from(["one ", "two"]));
  });
  app.get("/throws", async (request) => {
    sessionOf(request.raw).set("user", "Eve");
    throw new Error("failed");
  });
  app.get("/user", async (request) => await sessionOf(request.raw).get("user", "nobody"));
  app.get("/untouched", async () => "untouched");
  app.setNotFoundHandler(async (request, reply) => {
    await sessionOf(request.raw).update("visits", (n = 0) => n + 1);
    return reply.code(404).send("missing");
  });
  prepare(app);
  const origin = await app.listen({ port: 0, host: "127.0.0.1" });
  onTestFinished(() => app.close());
  return browser(origin);
}

describe.each(STORES)("nodeSession() in Fastify with %s", (_name, open) => {
  test.each([
    ["/returns", 200],
    ["/json", 200],
    ["/sends", 200],
    ["/redirect", 303],
    ["/cookie", 200],
    ["/stream", 200],
    ["/missing", 404],
  ])("sets the cookie on %s, which answers %i", async (path, status) => {
    const visit = await serve({ store: open() });
    const first = await visit(path);
    expect([first.status, first.cookies.filter((line) => line.startsWith("session=")).length]).toEqual([status, 1]);
    expect(first.cookies).toHaveLength(path === "/cookie" ? 3 : 1);
    expect(first.headers.get("Cache-Control")).toBe("no-store");
    expect((await visit("/returns")).text).toBe("Visit 2");
  });

  test("stores nothing when a handler fails", async () => {
    const visit = await serve({ store: open() });
    const failed = await visit("/throws");
    expect([failed.status, failed.cookies]).toEqual([500, []]);
    expect((await visit("/user")).text).toBe("nobody");
  });

  test("leaves a response alone whose handler did not use the session", async () => {
    const answer = await (await serve({ store: open() }))("/untouched");
    expect([answer.cookies, answer.headers.get("Vary")]).toEqual([[], null]);
  });

  test("answers HEAD", async () => {
    const head = await (await serve({ store: open() }))("/returns", { method: "HEAD" });
    expect([head.status, head.text, head.cookies.length]).toEqual([200, "", 1]);
  });
});

describe("nodeSession() in Fastify", () => {
  test.each(["/returns", "/sends", "/redirect", "/json"])(
    "calls the application's error handler when the session cannot be stored: %s",
    async (path) => {
      const visit = await serve({ store: brokenStore() }, (app) =>
        app.setErrorHandler(async (error: { code: string }, _request, reply) =>
          reply.code(503).send({ code: error.code }),
        ),
      );
      const answer = await visit(path);
      expect([answer.status, answer.text, answer.cookies]).toEqual([503, '{"code":"ERR_STORE"}', []]);
    },
  );

  test("answers 500 with the hook of the documentation after reply.hijack(), and without headers of the response that was dropped", async () => {
    const app = fastify();
    const middleware = nodeSession<Data>({ store: brokenStore() });
    app.addHook("onRequest", (request, reply, done) =>
      middleware(request.raw, reply.raw, (error) => {
        if (error === undefined) return done();
        if (reply.sent) return reply.raw.end("Internal Server Error\n");
        for (const name of ["cache-control", "content-encoding", "etag", "location"]) reply.removeHeader(name);
        return done(error as Error);
      }),
    );
    app.get("/hijack", (request, reply) => {
      sessionOf(request.raw).set("user", "Ada");
      reply.hijack();
      Readable.from(["one ", "two"]).pipe(reply.raw);
    });
    app.get("/gzip", (request, reply) => {
      sessionOf(request.raw).set("user", "Ada");
      reply.headers({ "Content-Encoding": "gzip", "Cache-Control": "public", "ETag": "1" }).send(gzipSync("body"));
    });
    const visit = browser(await app.listen({ port: 0, host: "127.0.0.1" }));
    onTestFinished(() => app.close());
    const hijacked = await visit("/hijack");
    expect([hijacked.status, hijacked.text, hijacked.cookies]).toEqual([500, "Internal Server Error\n", []]);
    const zipped = await visit("/gzip");
    expect([zipped.status, JSON.parse(zipped.text).code, zipped.headers.get("Cache-Control")]).toEqual([
      500,
      "ERR_STORE",
      null,
    ]);
  });

  test("answers 500 when the application has no error handler", async () => {
    const answer = await (await serve({ store: brokenStore() }))("/returns");
    expect([answer.status, answer.cookies]).toEqual([500, []]);
  });
});
