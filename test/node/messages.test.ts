import { expect, test } from "vitest";
import { toRequest } from "../../src/node/messages.ts";
import { nodeSession } from "../../src/node.ts";
import { BareResponse } from "./bare_response.ts";
import { type Data, sessionOf } from "./setup.ts";

test("nodeSession() takes messages that have no more than their types ask for", async () => {
  const middleware = nodeSession<Data>();
  const request = { headers: { host: "localhost" } };
  const response = new BareResponse();
  middleware(request, response, () => {
    sessionOf(request).set("user", "Ada");
    response.end("body");
  });
  await expect.poll(() => response.sent).toEqual(["body"]);
  expect("write" in response).toBe(false);
  expect(response.getHeader("Set-Cookie")).toEqual([expect.stringMatching(/^session=/)]);
});

test("toRequest() keeps each value of a header that came several times, and leaves out what HTTP/2 puts beside", () => {
  const headers = {
    ":authority": "shop.example",
    "x-forwarded-for": ["192.0.2.1", "192.0.2.2"],
    "x-absent": undefined,
  };
  const request = toRequest({ headers });
  expect([...request.headers]).toEqual([["x-forwarded-for", "192.0.2.1, 192.0.2.2"]]);
  expect(request.url).toBe("http://shop.example/");
});

test.each<[string, Parameters<typeof toRequest>[0], string]>([
  ["no more than the types ask for", { headers: {} }, "GET http://localhost/"],
  ["a host and an address", { headers: { host: "shop.example" }, url: "/a?b=c" }, "GET http://shop.example/a?b=c"],
  [
    "both kinds of host",
    { headers: { "host": "shop.example", ":authority": "x.example" } },
    "GET http://shop.example/",
  ],
  ["several authorities", { headers: { ":authority": ["x.example"] } }, "GET http://localhost/"],
  ["an address before a router", { headers: {}, originalUrl: "/app/a", url: "/a" }, "GET http://localhost/app/a"],
  ["a connection with TLS", { headers: {}, socket: { encrypted: true } }, "GET https://localhost/"],
  ["a connection that only seems so", { headers: {}, socket: { encrypted: "yes" } }, "GET http://localhost/"],
  ["a connection without TLS", { headers: {}, socket: {} }, "GET http://localhost/"],
  ["an address with its host", { headers: {}, url: "http://other.example/x" }, "GET http://other.example/x"],
  ["an address that is none", { headers: {}, url: "*" }, "GET http://invalid.invalid/*"],
  ["a host that is none", { headers: { host: "a b" }, url: "/x" }, "GET http://invalid.invalid/x"],
  ["a method", { headers: {}, method: "PURGE" }, "PURGE http://localhost/"],
  ["a method of odd letters", { headers: {}, method: "M-SEARCH" }, "M-SEARCH http://localhost/"],
  ["a method that Request refuses", { headers: {}, method: "CONNECT" }, "GET http://localhost/"],
  ["another one, in small letters", { headers: {}, method: "trace" }, "GET http://localhost/"],
  ["a method that begins like one", { headers: {}, method: "TRACER" }, "TRACER http://localhost/"],
  ["a method that ends like one", { headers: {}, method: "RETRACE" }, "RETRACE http://localhost/"],
  ["a method with a blank", { headers: {}, method: "GET x" }, "GET http://localhost/"],
  ["a method with a blank in front", { headers: {}, method: " POST" }, "GET http://localhost/"],
  ["an empty method", { headers: {}, method: "" }, "GET http://localhost/"],
])("toRequest() takes a request with %s", (_what, given, expected) => {
  const { method, url } = toRequest(given);
  expect(`${method} ${url}`).toBe(expected);
});

test("toRequest() keeps headers as they are", () => {
  const headers = { "host": "localhost", "cookie": "a=1; b=2", "x-list": ["1", "2"], "x-absent": undefined };
  expect(Object.fromEntries(toRequest({ headers }).headers)).toEqual({
    "host": "localhost",
    "cookie": "a=1; b=2",
    "x-list": "1, 2",
  });
});
