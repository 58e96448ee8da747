import { Readable } from "node:stream";
import Koa, { type Context, type Next } from "koa";
import { describe, expect, test } from "vitest";
import { nodeSession } from "../../src/node.ts";
import { brokenStore, browser, type Data, listen, sessionOf, STORES } from "./setup.ts";

/** The middleware as in the documentation of `nodeSession`. */
function koaSession(options: Parameters<typeof nodeSession<Data>>[0]): (ctx: Context, next: Next) => Promise<unknown> {
  const withSession = nodeSession<Data>(options);
  return (ctx, next) =>
    new Promise((resolve) => {
      withSession(ctx.req, ctx.res, (error) => resolve(error === undefined ? next() : ctx.onerror(error as Error)));
    });
}

function application(options: Parameters<typeof nodeSession<Data>>[0]): Koa {
  const app = new Koa();
  app.silent = true;
  app.use(koaSession(options));
  app.use(async (ctx) => {
    const session = sessionOf(ctx.req);
    if (ctx.path === "/untouched") return void (ctx.body = "untouched");
    if (ctx.path === "/user") return void (ctx.body = await session.get("user", "nobody"));
    if (ctx.path === "/throws") {
      session.set("user", "Eve");
      throw new Error("failed");
    }
    if (ctx.path === "/refuses") {
      session.set("user", "counted");
      ctx.throw(401, "wrong password");
    }
    const visits = await session.update("visits", (n = 0) => n + 1);
    if (ctx.path === "/text") ctx.body = `Visit ${visits}`;
    if (ctx.path === "/json") ctx.body = { visits };
    if (ctx.path === "/stream") ctx.body = Readable.from(["one ", "two"]);
    if (ctx.path === "/redirect") ctx.redirect("/text");
    if (ctx.path === "/empty") ctx.status = 204;
    if (ctx.path === "/cookie") {
      ctx.cookies.set("mine", "1");
      ctx.body = "cookies";
    }
  });
  return app;
}

describe.each(STORES)("nodeSession() in Koa with %s", (_name, open) => {
  test.each([
    ["/text", 200],
    ["/json", 200],
    ["/stream", 200],
    ["/redirect", 302],
    ["/empty", 204],
    ["/cookie", 200],
    ["/missing", 404],
  ])("sets the cookie on %s, which answers %i", async (path, status) => {
    const visit = browser(await listen(application({ store: open() }).callback()));
    const first = await visit(path);
    expect([first.status, first.cookies.filter((line) => line.startsWith("session=")).length]).toEqual([status, 1]);
    expect(first.cookies).toHaveLength(path === "/cookie" ? 2 : 1);
    expect((await visit("/text")).text).toBe("Visit 2");
  });

  test("stores nothing when a handler fails", async () => {
    const visit = browser(await listen(application({ store: open() }).callback()));
    const failed = await visit("/throws");
    expect([failed.status, failed.cookies]).toEqual([500, []]);
    expect((await visit("/user")).text).toBe("nobody");
  });

  test("stores what was recorded when a handler refuses with a status below 500", async () => {
    const visit = browser(await listen(application({ store: open() }).callback()));
    const refused = await visit("/refuses");
    expect([refused.status, refused.cookies.length]).toEqual([401, 1]);
    expect((await visit("/user")).text).toBe("counted");
  });

  test("leaves a response alone whose handler did not use the session", async () => {
    const answer = await browser(await listen(application({ store: open() }).callback()))("/untouched");
    expect([answer.cookies, answer.headers.get("Vary")]).toEqual([[], null]);
  });

  test("answers HEAD", async () => {
    const head = await browser(await listen(application({ store: open() }).callback()))("/text", { method: "HEAD" });
    expect([head.status, head.text, head.cookies.length]).toEqual([200, "", 1]);
  });
});

test("nodeSession() lets Koa answer 500 and report the error when the session cannot be stored", async () => {
  const app = application({ store: brokenStore() });
  const codes: unknown[] = [];
  app.silent = false;
  app.on("error", (error: { code: string }) => {
    // Koa also reports the stream that it closed early.
    if (error.code !== "ERR_STREAM_PREMATURE_CLOSE") codes.push(error.code);
  });
  const visit = browser(await listen(app.callback()));
  for (const path of ["/text", "/stream", "/redirect"]) {
    const answer = await visit(path);
    expect([answer.status, answer.text, answer.cookies, answer.headers.get("Location")]).toEqual([
      500,
      "Internal Server Error",
      [],
      null,
    ]);
  }
  await expect.poll(() => codes).toEqual(["ERR_STORE", "ERR_STORE", "ERR_STORE"]);
});
