import type { ServerResponse } from "node:http";
import express from "express";
import { describe, expect, test } from "vitest";
import { nodeSession } from "../../src/node.ts";
import { brokenStore, browser, type Data, listen, sendLines, sessionOf, STORES } from "./setup.ts";

/** Answers with a trailer, in two orders. */
const WAYS: readonly (readonly [string, (response: ServerResponse) => void])[] = [
  [
    "writeHead() and addTrailers() at the end",
    (response) => {
      response.writeHead(200, { Trailer: "X-Sum" });
      response.write("saved");
      response.addTrailers({ "X-Sum": "1" });
      response.end();
    },
  ],
  [
    "setHeader() and addTrailers() at the beginning",
    (response) => {
      response.setHeader("Trailer", "X-Sum");
      response.addTrailers({ "X-Sum": "1" });
      response.end("saved");
    },
  ],
];
const REQUEST = ["GET / HTTP/1.1", "Host: localhost"];

describe.each(WAYS)("nodeSession(), with trailers by %s,", (_way, answer) => {
  test.each(STORES)("sends them with %s", async (_name, open) => {
    const middleware = nodeSession<Data>({ store: open() });
    const origin = await listen((request, response) =>
      middleware(request, response, () => {
        sessionOf(request).set("user", "Ada");
        answer(response);
      }),
    );
    expect(await sendLines(origin, REQUEST)).toMatch(
      /^HTTP\/1\.1 200 [^]*Trailer: X-Sum\r\n[^]*saved\r\n0\r\nX-Sum: 1/,
    );
  });

  test("answers 500 without them when the session cannot be stored", async () => {
    const middleware = nodeSession<Data>({ store: brokenStore() });
    const origin = await listen((request, response) =>
      middleware(request, response, (error) => {
        if (error === undefined) {
          sessionOf(request).set("user", "Ada");
          return answer(response);
        }
        response.write("sor");
        return response.end("ry");
      }),
    );
    const sent = await sendLines(origin, REQUEST);
    // Newer versions of Node send both parts in one chunk.
    expect(sent).toMatch(/^HTTP\/1\.1 500 [^]*(?:3\r\nsor\r\n2\r\nry|5\r\nsorry)\r\n0\r\n\r\n$/);
    expect(sent).not.toMatch(/Trailer|X-Sum/i);
  });

  test("lets Express answer with a length when the session cannot be stored", async () => {
    const app = express();
    app.use(nodeSession<Data>({ store: brokenStore() }));
    app.get("/", (request, response) => {
      sessionOf(request).set("user", "Ada");
      answer(response);
    });
    // Express knows such a handler by its four parameters.
    const onError: express.ErrorRequestHandler = (_error, _request, response, _next) =>
      void response.status(503).send("later");
    app.use(onError);
    expect(await sendLines(await listen(app), REQUEST)).toMatch(/^HTTP\/1\.1 503 [^]*Content-Length: 5\r\n[^]*later$/);
  });
});

test.each(STORES)("nodeSession() lets no header be changed after end() with %s, as Node does", async (_name, open) => {
  const middleware = nodeSession<Data>({ store: open() });
  const codes: unknown[] = [];
  const origin = await listen((request, response) =>
    middleware(request, response, () => {
      sessionOf(request).set("user", "Ada");
      response.setHeader("X-Own", "1").end("body");
      for (const change of [
        () => response.setHeader("X-Own", "2"),
        () => response.appendHeader("X-Own", "2"),
        () => response.setHeaders(new Headers({ "X-Own": "2" })),
        () => response.removeHeader("X-Own"),
      ]) {
        try {
          change();
        } catch (error) {
          codes.push((error as { code: unknown }).code);
        }
      }
      response.statusCode = 404;
    }),
  );
  const answer = await browser(origin)("/");
  expect(codes).toEqual(Array(4).fill("ERR_HTTP_HEADERS_SENT"));
  expect([answer.status, answer.headers.get("X-Own"), answer.cookies.length, answer.text]).toEqual([
    200,
    "1",
    1,
    "body",
  ]);
});
