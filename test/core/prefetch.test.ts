import { expect, test } from "vitest";
import { isPrefetch } from "../../src/core/prefetch.ts";

test.each<[string | undefined, boolean]>([
  ["prefetch", true],
  ["Prefetch;prerender", true],
  ["prefetch;anonymous-client-ip", true],
  [undefined, false],
  ["", false],
  ["x-prefetch", false],
  ["pre", false],
])("a request whose Sec-Purpose is %j is a prefetch: %j", (purpose, expected) => {
  const headers = purpose === undefined ? {} : { "Sec-Purpose": purpose };
  expect(isPrefetch(new Request("https://shop.example/", { headers }))).toBe(expected);
});

test.each([
  ["Purpose", true],
  ["X-Moz", true],
  ["X-Other", false],
])("a request whose %s is prefetch, as older browsers say, is a prefetch: %j", (name, expected) => {
  expect(isPrefetch(new Request("https://shop.example/", { headers: { [name]: "prefetch" } }))).toBe(expected);
});
