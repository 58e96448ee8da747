import { describe, expect, test } from "vitest";
import { expiryOf, isTouchDue } from "../src/expiry.ts";

const timeouts = { idle: 100, absolute: 1000, touchInterval: 10 };

describe("expiryOf()", () => {
  test("is the idle timeout after the last use when that comes first", () => {
    expect(expiryOf({ since: 5_000, lastSeenAt: 50_000 }, timeouts)).toBe(150_000);
  });

  test("is the absolute timeout after the beginning when that comes first", () => {
    expect(expiryOf({ since: 5_000, lastSeenAt: 950_000 }, timeouts)).toBe(1_005_000);
  });

  test("is the idle timeout alone when there is no absolute one", () => {
    expect(expiryOf({ since: 5_000, lastSeenAt: 9_950_000 }, { ...timeouts, absolute: false })).toBe(10_050_000);
  });
});

test.each([
  ["now", 0, 10, false],
  ["a millisecond less than the interval ago", 9_999, 10, false],
  ["the interval ago", 10_000, 10, true],
  ["long ago", 99_999, 10, true],
  ["a millisecond ago, without an interval", 1, 0, true],
  ["in this millisecond, without an interval", 0, 0, false],
  ["in the future, by another server's clock", -1, 0, false],
])("isTouchDue() when the session was last seen %s", (_name, age, touchInterval, expected) => {
  const times = { since: 0, lastSeenAt: 50_000 };
  expect(isTouchDue(times, { ...timeouts, touchInterval }, 50_000 + age)).toBe(expected);
});
