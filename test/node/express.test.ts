import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import compression from "compression";
import express, { type Express, type NextFunction, type Request, type Response } from "express";
import { describe, expect, onTestFinished, test } from "vitest";
import { nodeSession } from "../../src/node.ts";
import { brokenStore, browser, type Data, listen, sessionOf, STORES } from "./setup.ts";

/** An application whose routes count a visit, and answer in each of Express's ways. */
function application(
  options: Parameters<typeof nodeSession<Data>>[0],
  before: (app: Express) => unknown = () => {},
): Express {
  const app = express();
  before(app);
  app.use(nodeSession<Data>(options));
  const counting = async (request: Request): Promise<number> =>
    await sessionOf(request).update("visits", (n = 0) => n + 1);
  app.get("/send", async (request, response) => response.send(`Visit ${await counting(request)}`));
  app.get("/json", async (request, response) => response.json({ visits: await counting(request) }));
  app.get("/redirect", async (request, response) => {
    await counting(request);
    response.redirect(303, "/send");
  });
  app.get("/status", async (request, response) => {
    await counting(request);
    response.sendStatus(404);
  });
  app.get("/cookie", async (request, response) => {
    await counting(request);
    response.cookie("mine", "1").send("mine");
  });
  app.get("/file", async (request, response) => {
    await counting(request);
    // A folder above may begin with a dot, such as the one in which mutation runs the tests.
    response.sendFile(import.meta.filename, { dotfiles: "allow" });
  });
  app.get("/stream", async (request, response) => {
    await counting(request);
    response.type("text/plain");
    await pipeline(Readable.from(Array.from({ length: 40 }, () => "line of text\n".repeat(500))), response);
  });
  app.get("/throws", (request) => {
    sessionOf(request).set("user", "Eve");
    throw new Error("failed");
  });
  app.get("/rejects", async (request) => {
    sessionOf(request).set("user", "Eve");
    await Promise.reject(new Error("failed"));
  });
  app.get("/user", async (request, response) => response.send(await sessionOf(request).get("user", "nobody")));
  app.get("/untouched", (_request, response) => response.send("untouched"));
  return app;
}

describe.each(STORES)("nodeSession() in Express with %s", (_name, open) => {
  test.each([
    ["/send", 200],
    ["/json", 200],
    ["/redirect", 303],
    ["/status", 404],
    ["/cookie", 200],
    ["/file", 200],
    ["/stream", 200],
  ])("sets the cookie on %s, which answers %i", async (path, status) => {
    const visit = browser(await listen(application({ store: open() })));
    const first = await visit(path);
    expect(first.status).toBe(status);
    expect(first.cookies.filter((line) => line.startsWith("session="))).toHaveLength(1);
    expect(first.cookies.filter((line) => line.startsWith("mine="))).toHaveLength(path === "/cookie" ? 1 : 0);
    expect((await visit("/send")).text).toBe("Visit 2");
  });

  test.each([
    ["in front", (app: Express) => app.use(compression({ threshold: 0 })), undefined],
    ["behind", undefined, (app: Express) => app.use(compression({ threshold: 0 }))],
  ])("works with compression %s", async (_place, before, behind) => {
    const app = express();
    before?.(app);
    app.use(nodeSession<Data>({ store: open() }));
    behind?.(app);
    app.get("/", async (request, response) => {
      response
        .type("text/plain")
        .send("line of text\n".repeat((await sessionOf(request).update("visits", (n = 0) => n + 1)) * 500));
    });
    app.get("/stream", async (request, response) => {
      await sessionOf(request).update("visits", (n = 0) => n + 1);
      response.type("text/plain");
      await pipeline(Readable.from(Array.from({ length: 40 }, () => "line of text\n".repeat(500))), response);
    });
    const visit = browser(await listen(app));
    const first = await visit("/");
    expect([first.headers.get("Content-Encoding"), first.cookies.length]).toEqual(["gzip", 1]);
    expect(first.text).toBe("line of text\n".repeat(500));
    expect((await visit("/")).text).toBe("line of text\n".repeat(1000));
    const stream = await browser(await listen(app))("/stream");
    expect([stream.headers.get("Content-Encoding"), stream.cookies.length]).toEqual(["gzip", 1]);
    expect(stream.text).toBe("line of text\n".repeat(20_000));
  });

  test.each(["/throws", "/rejects"])("stores nothing when a handler fails: %s", async (path) => {
    const app = application({ store: open() });
    app.use((_error: Error, _request: Request, response: Response, _next: NextFunction) =>
      response.status(500).send("sorry"),
    );
    const visit = browser(await listen(app));
    const failed = await visit(path);
    expect([failed.status, failed.text, failed.cookies]).toEqual([500, "sorry", []]);
    expect((await visit("/user")).text).toBe("nobody");
  });

  test("stores what a failed handler has recorded when the error's answer is below 500, such as a counter of failed logins", async () => {
    const app = express();
    app.use(nodeSession<Data>({ store: open() }));
    app.post("/login", async (request) => {
      sessionOf(request).set("visits", (await sessionOf(request).get("visits", 0)) + 1);
      throw new Error("wrong password");
    });
    app.use(async (_error: Error, request: Request, response: Response, _next: NextFunction) => {
      response.status(401).send(`Attempt ${await sessionOf(request).get("visits")}`);
    });
    const visit = browser(await listen(app));
    await visit("/login", { method: "POST" });
    const second = await visit("/login", { method: "POST" });
    expect([second.status, second.text]).toEqual([401, "Attempt 2"]);
  });

  test("answers HEAD and a conditional GET", async () => {
    const app = application({ store: open() });
    app.get("/fixed", async (request, response) => {
      await sessionOf(request).get("visits");
      response.send("always the same");
    });
    const visit = browser(await listen(app));
    const head = await visit("/send", { method: "HEAD" });
    expect([head.status, head.text, head.cookies.length]).toEqual([200, "", 1]);
    const etag = (await visit("/fixed")).headers.get("ETag") ?? "";
    const again = await visit("/fixed", { headers: { "If-None-Match": etag, "Cache-Control": "max-age=0" } });
    expect([again.status, again.text]).toEqual([304, ""]);
  });

  test("counts 20 requests at once", async () => {
    const visit = browser(await listen(application({ store: open() })));
    await visit("/send");
    await Promise.all(Array.from({ length: 20 }, () => visit("/send")));
    expect((await visit("/send")).text).toBe("Visit 22");
  });

  test("leaves a response alone whose handler did not use the session", async () => {
    const answer = await browser(await listen(application({ store: open() })))("/untouched");
    expect([answer.cookies, answer.headers.get("Vary"), answer.headers.get("Cache-Control")]).toEqual([[], null, null]);
  });
});

describe("nodeSession() in Express", () => {
  test("calls the application's error handler when the session cannot be stored", async () => {
    const app = application({ store: brokenStore() });
    app.use((error: { code: string }, _request: Request, response: Response, _next: NextFunction) => {
      setImmediate(() => response.status(503).json({ code: error.code }));
    });
    const visit = browser(await listen(app));
    for (const path of ["/send", "/redirect", "/stream", "/file"]) {
      const answer = await visit(path);
      expect([answer.status, answer.text, answer.cookies, answer.headers.get("Location")]).toEqual([
        503,
        '{"code":"ERR_STORE"}',
        [],
        null,
      ]);
    }
  });

  test("answers the error, and nothing of a handler that goes on writing, when the session cannot be stored", async () => {
    const failures: unknown[] = [];
    const note = (error: unknown): void => void failures.push(error);
    process.on("uncaughtException", note);
    onTestFinished(() => void process.off("uncaughtException", note));
    for (const hasHandler of [true, false]) {
      const { promise: done, resolve } = Promise.withResolvers<void>();
      const app = express();
      app.set("env", "test");
      app.use(nodeSession<Data>({ store: brokenStore() }));
      app.post("/stream", async (request, response) => {
        sessionOf(request).set("user", "Ada");
        for (const part of ["a", "b", "c"]) {
          response.write(part);
          await sleep(20);
        }
        response.end("d");
        resolve();
      });
      if (hasHandler)
        app.use(async (error: { code: string }, _request: Request, response: Response, _next: NextFunction) => {
          await sleep(30);
          response.status(503).json({ code: error.code });
        });
      // Express's own handler waits for the whole body of the request.
      const body = Readable.from(
        (async function* () {
          yield "begin";
          await done;
          yield "end";
        })(),
      );
      const answer = await fetch(`${await listen(app)}/stream`, {
        method: "POST",
        body: Readable.toWeb(body),
        duplex: "half",
      });
      const text = await answer.text();
      if (hasHandler) expect([answer.status, text]).toEqual([503, '{"code":"ERR_STORE"}']);
      else expect([answer.status, text.includes("<!DOCTYPE html>")]).toEqual([500, true]);
      await done;
    }
    expect(failures).toEqual([]);
  });

  test("answers 500 by Express's own handler when the application has none", async () => {
    const app = application({ store: brokenStore() });
    app.set("env", "test");
    const answer = await browser(await listen(app))("/send");
    expect([answer.status, answer.cookies]).toEqual([500, []]);
  });

  test("takes the path that the client asked for in a mounted router", async () => {
    const seen: string[] = [];
    const app = express();
    const router = express.Router();
    router.use(nodeSession<Data>({ cookie: (request) => (seen.push(new URL(request.url).pathname), {}) }));
    router.get("/inner", async (request, response) =>
      response.send(String(await sessionOf(request).update("visits", (n = 0) => n + 1))),
    );
    app.use("/outer", router);
    const visit = browser(await listen(app));
    await visit("/outer/inner");
    expect((await visit("/outer/inner")).text).toBe("2");
    expect(new Set(seen)).toEqual(new Set(["/outer/inner"]));
  });
});
