import { describe, expect, test } from "vitest";
import type { SessionOptions } from "../../../mod.ts";
import { ActiveSession, type SessionSource } from "../../../src/core/session/active_session.ts";
import type { Metadata } from "../../../src/core/metadata.ts";
import { EMPTY } from "../../../src/core/changes.ts";
import { resolveOptions } from "../../../src/core/options/resolve_options.ts";
import type { Found } from "../../../src/core/repository.ts";
import { isTouchDue, maxAgeOf } from "../../../src/core/commit/touch.ts";

const nothing = (): undefined => undefined;
const LIFECYCLE = { load: nothing, commitAll: nothing, commitKey: nothing, renewByAge: async () => {} };
const NOW = 1_000_000;
const request = new Request("https://shop.example/");

function active(options: SessionOptions, source: Partial<SessionSource> = { request }): ActiveSession {
  const policy = resolveOptions({ idleTimeout: 100, now: () => NOW, ...options });
  return new ActiveSession(policy, {}, { runtimeArguments: [], ...source }, LIFECYCLE);
}

/** A session that was last seen this many milliseconds ago. */
function seen(elapsed: number, timeouts?: Metadata["timeouts"], more: Partial<Found> = {}): Found {
  const metadata = { createdAt: 0, absoluteSince: 0, ...(timeouts !== undefined && { timeouts }) };
  return { id: "id", token: "id", fields: new Map(), metadata, lastSeenAt: NOW - elapsed, version: 1, ...more };
}

describe("isTouchDue()", () => {
  test("is false where there is no session, or nobody has looked for one", () => {
    const asked = active({ touchInterval: 0 });
    asked.copy.touch();
    expect([isTouchDue(asked, null), isTouchDue(asked, undefined)]).toEqual([false, false]);
  });

  test("is true when the request asked for it, or the store has lost a part, whatever counts as use", () => {
    const asked = active({ touch: () => false });
    expect(isTouchDue(asked, seen(0))).toBe(false);
    expect(isTouchDue(asked, seen(0, undefined, { needsStoring: true }))).toBe(true);
    expect(isTouchDue(asked, seen(0), { ...EMPTY, touches: true })).toBe(true);
    asked.copy.touch();
    expect(isTouchDue(asked, seen(0))).toBe(true);
    expect(isTouchDue(asked, seen(0), EMPTY)).toBe(false);
  });

  test.each<[string, SessionOptions, number]>([
    ["a tenth of the idle timeout", {}, 10_000],
    ["the touchInterval", { touchInterval: 20 }, 20_000],
    ["half of the cookie's lifetime", { cookie: { maxAge: 12 } }, 6000],
    ["the touchInterval, where the cookie ends with the browser", { cookie: { maxAge: null } }, 10_000],
    ["the touchInterval, where there is no cookie", { cookie: false, header: "X-Id" }, 10_000],
  ])("is true after %s", (_name, options, due) => {
    expect([due - 1, due].map((elapsed) => isTouchDue(active(options), seen(elapsed)))).toEqual([false, true]);
  });

  test("is false at the same instant and on a clock that was set back, also with a touchInterval of 0", () => {
    const often = active({ touchInterval: 0 });
    expect([-1, 0, 1].map((elapsed) => isTouchDue(often, seen(elapsed)))).toEqual([false, false, true]);
  });

  test("goes by the session's own timeouts, and by those that are about to be its own", () => {
    const due = (elapsed: number, own?: Metadata["timeouts"], next?: Metadata["timeouts"]): boolean =>
      isTouchDue(active({}), seen(elapsed, own), { ...EMPTY, timeouts: next });
    expect([due(1999, { idle: 20 }), due(2000, { idle: 20 })]).toEqual([false, true]);
    expect([due(1999, undefined, { idle: 20 }), due(2000, undefined, { idle: 20 })]).toEqual([false, true]);
    // Other timeouts of the session stay.
    expect([
      due(3999, { cookie: 8, idle: 90 }, { idle: 80 }),
      due(4000, { cookie: 8, idle: 90 }, { idle: 80 }),
    ]).toEqual([false, true]);
    const recorded = active({});
    recorded.copy.setTimeouts({ idle: 20 });
    expect([1999, 2000].map((elapsed) => isTouchDue(recorded, seen(elapsed)))).toEqual([false, true]);
  });

  test("asks what counts as use for a request, and takes the rest for use", () => {
    const asked: Request[] = [];
    const touch = (given: Request): boolean => (asked.push(given), false);
    expect(isTouchDue(active({ touch }), seen(50_000))).toBe(false);
    expect(asked).toEqual([request]);
    expect(isTouchDue(active({ touch }, { token: "id" }), seen(50_000))).toBe(true);
    expect(asked).toHaveLength(1);
  });

  test("is false for a request that does not count as use for a capability", () => {
    const ignored = active({});
    ignored.isUseIgnored = true;
    expect([ignored, active({})].map((each) => isTouchDue(each, seen(50_000)))).toEqual([false, true]);
  });
});

test("isTouchDue() is true for a session that gets another idle timeout, whatever counts as use: it could end at once", () => {
  const asked = active({ touch: () => false });
  expect(isTouchDue(asked, seen(50_000), { ...EMPTY, timeouts: { idle: 40 } })).toBe(true);
  expect(isTouchDue(asked, seen(50_000, { idle: 60 }), { ...EMPTY, timeouts: { idle: 40 } })).toBe(true);
  expect(isTouchDue(asked, seen(3_999), { ...EMPTY, timeouts: { idle: 40 } })).toBe(false);
  // The same once more, or another one, prolongs nothing.
  expect(isTouchDue(asked, seen(30_000, { idle: 40 }), { ...EMPTY, timeouts: { idle: 40 } })).toBe(false);
  expect(isTouchDue(asked, seen(50_000), { ...EMPTY, timeouts: { absolute: 40, cookie: 40 } })).toBe(false);
});

describe("maxAgeOf()", () => {
  test.each<[SessionOptions, Metadata["timeouts"], number | null]>([
    [{}, undefined, 100],
    [{ cookie: { maxAge: 50 } }, undefined, 50],
    [{ cookie: { maxAge: null } }, undefined, null],
    [{ cookie: { maxAge: 50 } }, { absolute: 7 }, 50],
    // What setTimeouts() is not given stays as the options say.
    [{ cookie: { maxAge: 50 } }, { idle: 20 }, 50],
    [{ cookie: { maxAge: null } }, { idle: 20 }, null],
    [{ cookie: { maxAge: 50 } }, { cookie: 30, idle: 20 }, 30],
    [{ cookie: { maxAge: 50 } }, { cookie: null, idle: 20 }, null],
    [{ timeoutLimits: { idle: 150 } }, { idle: 200 }, 150],
    [{ timeoutLimits: { idle: 150 } }, { idle: 120 }, 120],
    [{}, { idle: 200 }, 200],
    [{ cookie: false, header: "X-Id" }, undefined, 100],
  ])("with %j of a session with the timeouts %j is %j", (options, timeouts, expected) => {
    expect(maxAgeOf(active(options), seen(0, timeouts).metadata)).toBe(expected);
  });

  test("without a request is the idle timeout", () => {
    expect(maxAgeOf(active({ cookie: { maxAge: 50 } }, { token: "id" }), seen(0).metadata)).toBe(100);
  });
});
