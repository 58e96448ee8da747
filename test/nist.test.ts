import { describe, expect, test } from "vitest";
import { type SessionOptions, withSession } from "../mod.ts";
import { cookieJar, fakeClock } from "../src/testing.ts";
import { openStore, visitor } from "./setup/sessions.ts";

const HOUR = 3600;
const levels = [
  { nist: "aal1", idle: 720 * HOUR, absolute: 720 * HOUR },
  { nist: "aal2", idle: HOUR, absolute: 24 * HOUR },
  { nist: "aal3", idle: HOUR / 4, absolute: 12 * HOUR },
] as const;

const scene = (options: SessionOptions) => {
  const clock = fakeClock();
  const jar = cookieJar({ now: clock.now });
  return { clock, jar, visit: visitor({ ...options, now: clock.now }, { jar }) };
};

describe.each(levels)("nist: $nist", ({ nist, idle, absolute }) => {
  test("ends a session when it was not used for the inactivity timeout", async () => {
    const { clock, visit } = scene({ nist });
    const { cookies } = await visit((session) => session.set("n", 1));
    expect(cookies[0]).toContain(`Max-Age=${idle};`);
    clock.advance(idle - 1);
    expect((await visit((session) => session.get("n"))).result).toBe(1);
    clock.advance(idle);
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
  });

  test("ends a session when the overall timeout is over, however often it was used", async () => {
    const { clock, visit } = scene({ nist });
    await visit((session) => session.set("n", 1));
    let left = absolute - 1;
    while (left > 0) {
      const step = Math.min(left, idle * 0.9);
      clock.advance(step);
      left -= step;
      expect((await visit((session) => session.get("n"))).result).toBe(1);
    }
    clock.advance(1);
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
  });

  test("caps what a session asks for with setTimeouts(), and what it asked for before the preset", async () => {
    const store = openStore().store;
    const clock = fakeClock();
    const jar = cookieJar({ now: clock.now });
    const before = visitor({ store, now: clock.now }, { jar });
    const visit = visitor({ store, now: clock.now, nist }, { jar });
    const use = async (which: typeof visit) => {
      await which((session) => session.set("n", 1));
      const { cookies } = await which((session) => session.setTimeouts({ idle: 9000 * HOUR, absolute: false }));
      return cookies[0];
    };
    await use(before);
    expect((await visit((session) => session.info())).result.expiresAt).toBe(clock.now() + idle * 1000);
    const other = visitor({ store, now: clock.now, nist }, { jar: cookieJar({ now: clock.now }) });
    expect(await use(other)).toContain(`Max-Age=${idle};`);
    clock.advance(idle);
    expect((await other((session) => session.get("n"))).result).toBeUndefined();
  });

  test("caps an absolute timeout that a session asked for with setTimeouts()", async () => {
    const { clock, visit } = scene({ nist });
    await visit((session) => session.set("n", 1));
    for (const own of [absolute * 2, false] as const) {
      await visit((session) => session.setTimeouts({ absolute: own }));
    }
    for (let used = 0; used < absolute - idle / 2; used += idle / 2) {
      expect((await visit((session) => session.get("n"))).result).toBe(1);
      clock.advance(idle / 2);
    }
    expect((await visit((session) => session.get("n"))).result).toBe(1);
    clock.advance(idle / 2);
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
  });

  test("lets the other options be shorter, and throws a TypeError when they are longer", () => {
    const wrap = (options: SessionOptions) => () => withSession(() => new Response(), { nist, ...options });
    expect(wrap({ idleTimeout: idle, absoluteTimeout: absolute })).not.toThrow();
    expect(wrap({ idleTimeout: idle / 2, absoluteTimeout: absolute / 2 })).not.toThrow();
    expect(wrap({ idleTimeout: idle + 1 })).toThrow(TypeError);
    expect(wrap({ absoluteTimeout: absolute + 1 })).toThrow(TypeError);
    expect(wrap({ absoluteTimeout: false })).toThrow(TypeError);
  });
});

test("nist throws a TypeError when it is no level", () => {
  for (const nist of ["aal4", "AAL2", "toString", null]) {
    expect(() => Reflect.apply(withSession, undefined, [() => new Response(), { nist }])).toThrow(TypeError);
  }
});
