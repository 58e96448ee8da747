import { describe, expect, test } from "vitest";
import { EMPTY } from "../../src/core/changes.ts";
import type { ActiveSession } from "../../src/core/session/active_session.ts";
import { CLOCK_SKEW, endOf, followedUntil, maySweep, sweptAt, timeoutsOf, touched } from "../../src/core/expiry.ts";
import type { OwnTimeouts } from "../../src/core/metadata.ts";
import type { Found, Operation } from "../../src/core/repository.ts";
import { isTouchDue } from "../../src/core/commit/touch.ts";

const timeouts = { idle: 100, absolute: 1000, touchInterval: 10 };

describe("endOf()", () => {
  test("is the idle timeout after the last use when that comes first", () => {
    expect(endOf(5_000, 50_000, timeouts)).toBe(150_000);
  });

  test("is the absolute timeout after the beginning when that comes first", () => {
    expect(endOf(5_000, 950_000, timeouts)).toBe(1_005_000);
  });

  test("is the idle timeout alone when there is no absolute one", () => {
    expect(endOf(5_000, 9_950_000, { ...timeouts, absolute: false })).toBe(10_050_000);
  });
});

test("CLOCK_SKEW is ten minutes: one clock may be five minutes behind, and another one five minutes ahead", () => {
  expect(CLOCK_SKEW).toBe(600_000);
});

describe("a session that was seen last at 50 000", () => {
  const metadata = { createdAt: 0, absoluteSince: 0 };
  const session: Found = { id: "id", token: "id", fields: new Map(), metadata, lastSeenAt: 50_000, version: 1 };
  const at = (now: number): Operation =>
    ({ now, endsAt: ({ lastSeenAt }) => lastSeenAt + 100_000 }) as Partial<Operation> as Operation;

  test("may be swept ten minutes after its end, and not before", () => {
    const end = sweptAt(session, at(0));
    expect(end).toBe(150_000 + CLOCK_SKEW);
    expect([end - 1, end].map((now) => maySweep(session, at(now)))).toEqual([false, true]);
  });

  test("was seen last when it is used, or when it was on a clock that is ahead", () => {
    const { fields, lastSeenAt } = session;
    expect([49_000, 51_000].map((now) => touched(session, now))).toEqual([
      { fields, metadata, lastSeenAt },
      { fields, metadata, lastSeenAt: 51_000 },
    ]);
  });
});

describe("timeoutsOf()", () => {
  const of = (own: OwnTimeouts | undefined, limits = {}) =>
    timeoutsOf({ createdAt: 0, absoluteSince: 0, timeouts: own }, { timeouts, limits });

  test("are those of the options when the session has none of its own", () => {
    expect(of(undefined)).toBe(timeouts);
    expect(of({})).toEqual(timeouts);
  });

  test("are the session's own where it has some, with a touch interval that follows", () => {
    expect(of({ idle: 50 })).toEqual({ idle: 50, absolute: 1000, touchInterval: 5 });
    expect(of({ absolute: false })).toEqual({ ...timeouts, absolute: false });
    expect(of({ cookie: null })).toEqual(timeouts);
  });

  test("let the cookie be sent again before it ends", () => {
    expect(of({ cookie: 10 })).toEqual({ ...timeouts, touchInterval: 5 });
    expect(of({ cookie: 1000 })).toEqual(timeouts);
  });

  test("are no longer than the limits", () => {
    const limits = { idle: 60, absolute: 500 };
    expect(of({ idle: 90, absolute: 900 }, limits)).toEqual({ idle: 60, absolute: 500, touchInterval: 6 });
    expect(of({ absolute: false }, limits).absolute).toBe(500);
    expect(of({ idle: 50, absolute: 400 }, limits)).toMatchObject({ idle: 50, absolute: 400 });
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
  const metadata = { createdAt: 0, absoluteSince: 0 };
  const current = { metadata, fields: new Map(), lastSeenAt: 50_000, id: "", token: "", version: 1 };
  const policy = { now: () => 50_000 + age, timeouts: { ...timeouts, touchInterval }, limits: {} };
  const active = { policy, copy: {} } as unknown as ActiveSession;
  expect(isTouchDue(active, current, EMPTY)).toBe(expected);
  expect(isTouchDue(active, current, { ...EMPTY, touches: true })).toBe(true);
  expect(isTouchDue(active, null, { ...EMPTY, touches: true })).toBe(false);
});

test("the touch interval of the options holds for a session whose own timeouts do not name the idle one", () => {
  const metadata = { createdAt: 0, absoluteSince: 0, timeouts: { absolute: 500 } };
  expect(timeoutsOf(metadata, { timeouts: { idle: 100, absolute: 1000, touchInterval: 3 }, limits: {} })).toEqual({
    idle: 100,
    absolute: 500,
    touchInterval: 3,
  });
});

test.each([
  [undefined, 1_200_000],
  [{ id: "x", until: 1 + 10_000 }, 1_200_000],
  [{ id: "x", until: 1 + 3_600_000 }, 4_200_000],
])(
  "a logout with a retired id ends the new session for ten minutes or the grace, and ten more for clocks: %j",
  (grace, life) => {
    expect(followedUntil({ key: "k", retiredAt: 1, ...(grace && { grace }) }) - 1).toBe(life);
  },
);
