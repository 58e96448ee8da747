import { expect, test } from "vitest";
import { normalizeAddress } from "../../src/dpop/address.ts";

test.each([
  ["https://api.example.com/a", "https://api.example.com/a"],
  ["HTTPS://API.Example.COM:443/a", "https://api.example.com/a"],
  ["http://api.example.com:80", "http://api.example.com/"],
  ["https://api.example.com/a?b=c#d", "https://api.example.com/a"],
  ["https://api.example.com/a/./b/../c", "https://api.example.com/a/c"],
  ["https://api.example.com/%7Euser/%61%2d%5F%2E", "https://api.example.com/~user/a-_."],
  ["https://api.example.com/%c3%a9/%2f", "https://api.example.com/%C3%A9/%2F"],
  ["https://api.example.com/é", "https://api.example.com/%C3%A9"],
  ["https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"],
  ["https://bücher.example/", "https://xn--bcher-kva.example/"],
])("normalizeAddress() writes %s as %s", (address, normal) => {
  expect(normalizeAddress(address)).toBe(normal);
});

test("normalizeAddress() keeps apart what differs", () => {
  const addresses = [
    "https://a.example/b",
    "http://a.example/b",
    "https://a.example:8443/b",
    "https://b.example/b",
    "https://a.example/B",
    "https://a.example/b/",
    "https://a.example/%2Fb",
  ];
  expect(new Set(addresses.map(normalizeAddress)).size).toBe(addresses.length);
});

test.each([
  "",
  "/a",
  "ftp://a.example/",
  "shttp://a.example/",
  "httpss://a.example/",
  "javascript:1",
  "https://",
  "https://user:secret@a.example/",
  "https://user@a.example/",
  "https://:secret@a.example/",
  "data:,a",
])("normalizeAddress() refuses %j", (address) => {
  expect(normalizeAddress(address)).toBe(null);
});
