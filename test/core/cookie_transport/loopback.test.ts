import { expect, test } from "vitest";
import { isPlainLoopback } from "../../../src/core/cookie_transport/loopback.ts";

/** A request as adapters and test runners make it, with a URL in any spelling. */
function request(url: string, headers: Record<string, string> = {}): Request {
  return { url, headers: new Headers(headers) } as Request;
}

test.each([
  "http://localhost",
  "http://localhost/",
  "http://localhost:3000/a",
  "http://localhost?a",
  "http://localhost#a",
  "HTTP://LOCALHOST/",
  "http://shop.localhost/",
  "http://a.b.localhost:80/",
  "http://127.0.0.1/",
  "http://127.10.200.255:8000/",
  "http://[::1]/",
  "http://[::1]:8000/",
])("plain http to %s is loopback", (url) => {
  expect(isPlainLoopback(request(url))).toBe(true);
});

test.each([
  "https://localhost/",
  "ws://localhost/",
  "localhost/",
  "http://shop.example/",
  "http://localhost.shop.example/",
  "http://notlocalhost/",
  "http://.localhost/",
  "http://shop.example/.localhost/",
  "http://shop.example?.localhost",
  "http://shop.example#.localhost",
  "http://shop.example:80.localhost",
  "http://localhost@shop.example/",
  "http://a@b.localhost/",
  "http://127.0.0.1.shop.example/",
  "http://127.0.0/",
  "http://127.0.0.x/",
  "http://127.a0.0.1/",
  "http://127x0.0.1/",
  "http://127.0x0.1/",
  "http://127.0.0x1/",
  "http://128.0.0.1/",
  "http://1127.0.0.1/",
  "http://[::2]/",
  "http://[::1].shop.example/",
  "x-http://localhost/",
  "wxyz://localhost/?http://",
])("%s is not", (url) => {
  expect(isPlainLoopback(request(url))).toBe(false);
});

test.each<[Record<string, string>, boolean]>([
  [{ Host: "localhost:3000" }, true],
  [{ Host: "shop.localhost" }, true],
  // The request that an adapter makes of an upgrade whose address it does not know.
  [{ Host: "shop.example" }, false],
  [{ Host: "shop.example:3000" }, false],
  [{ "Host": "shop.example", "X-Forwarded-Host": "localhost" }, false],
  [{ "X-Forwarded-Proto": ' "http" , ws ' }, true],
  [{ "X-Forwarded-Proto": 'ht"tp' }, false],
  [{ "X-Forwarded-Proto": "http,https,http" }, false],
  [{ "X-Forwarded-Host": '"shop.localhost"' }, true],
  [{ "X-Forwarded-Host": "localhost,shop.example,localhost" }, false],
  [{ "X-Forwarded-Proto": "http", "X-Forwarded-Host": "shop.example" }, false],
  [{ "X-Forwarded-Proto": "https", "X-Forwarded-Host": "localhost" }, false],
  [{ "X-Forwarded-Proto": "http", "X-Forwarded-Host": "localhost", "Forwarded": "proto=https" }, false],
  [{ Forwarded: "" }, true],
  [{ Forwarded: "proto" }, false],
  [{ Forwarded: "host" }, false],
  [{ Forwarded: "by=proxy;for=192.0.2.1;host=localhost;proto=ws" }, true],
  [{ Forwarded: "HOST = shop.example" }, false],
  [{ Forwarded: "host=localhost;proto=http, host=shop.example" }, false],
  [{ Forwarded: "proto=http;host=localhost;proto=https" }, false],
  [{ Forwarded: "for=localhost;by=https" }, true],
])("a proxy in front is believed when it says that the client came otherwise: %j", (headers, expected) => {
  expect(isPlainLoopback(request("http://localhost/", headers))).toBe(expected);
});
