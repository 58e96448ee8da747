import { expect, test } from "vitest";
import { cookieTransport } from "../../src/core/cookie_transport.ts";
import { headerTransport } from "../../src/core/header_transport.ts";
import { isCookieTransport } from "../../src/core/transport.ts";

test("isCookieTransport() tells the transport that can carry a cookie beside the token from all others", () => {
  expect(isCookieTransport(cookieTransport({}))).toBe(true);
  for (const other of [undefined, headerTransport("X-Session-Id"), { read: () => null, write() {}, clear() {} }])
    expect(isCookieTransport(other)).toBe(false);
});
