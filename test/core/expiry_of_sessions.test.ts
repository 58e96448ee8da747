import { describe, expect, onTestFinished, test, vi } from "vitest";
import { memoryStore, type Session, SessionManager } from "../../mod.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import { cookieOf, SHOP, visitor } from "../setup/sessions.ts";

const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");

describe("timeouts", () => {
  test("[16] [43] a session that is used, if only read, lives on; one that is not ends at idleTimeout", async () => {
    const clock = fakeClock();
    const jar = cookieJar({ now: clock.now });
    const visit = visitor({ now: clock.now, idleTimeout: 100, absoluteTimeout: false }, { jar });
    await visit(set);
    for (let n = 0; n < 20; n++) {
      clock.advance(90);
      expect((await visit(get)).result).toBe(1);
    }
    clock.advance(100);
    expect((await visit(get)).result).toBe(undefined);
  });

  test("a clock that a test runner fakes after the manager was made counts for the manager and the jar", async () => {
    onTestFinished(() => void vi.useRealTimers());
    const options = { store: memoryStore(), idleTimeout: 100, touchInterval: 50 };
    const jar = cookieJar();
    const begun = await visitor(options)(set);
    jar.store(SHOP, begun.response);
    const manager = new SessionManager(options);
    vi.useFakeTimers({ toFake: ["Date"] });
    const headers = { Cookie: cookieOf(begun) };
    vi.setSystemTime(Date.now() + 40_000);
    expect((await visitor(manager)(get, { headers })).result).toBe(1);
    expect(jar.header(SHOP)).toBe(headers.Cookie);
    vi.setSystemTime(Date.now() + 60_000);
    expect((await visitor(manager)(get, { headers })).result).toBe(undefined);
    expect(jar.header(SHOP)).toBe(null);
  });

  test("idle: alive one instant before the end, over at it", async () => {
    const clock = fakeClock();
    const options = { now: clock.now, store: memoryStore(), idleTimeout: 100 };
    const headers = { Cookie: cookieOf(await visitor(options)(set)) };
    const open = (at: number): Promise<unknown> =>
      visitor({ ...options, now: () => clock.now() + at })((session) => session.has("a"), { headers }).then(
        ({ result }) => result,
      );
    expect(await open(100_000)).toBe(false);
    expect(await open(99_999)).toBe(true);
  });

  test("touchInterval: within it last seen is left, by writing requests too, so that a session ends between idle − touchInterval and idle", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 100 });
    await visit(set);
    clock.advance(9);
    expect((await visit((session) => session.set("a", 2))).cookies).toEqual([]);
    clock.advance(90);
    expect((await visit((session) => session.has("a"))).result).toBe(true);
    clock.advance(99);
    expect((await visit((session) => session.has("a"))).result).toBe(true);
  });

  test("touchInterval: a session last used within it ends idleTimeout after it was last seen", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 100 });
    await visit(set);
    clock.advance(9);
    await visit((session) => session.set("a", 2));
    clock.advance(91);
    expect((await visit((session) => session.has("a"))).result).toBe(false);
  });

  test("touchInterval: with 0 a session ends exactly at idle after its last use", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 100, touchInterval: 0 });
    await visit(set);
    clock.advance(9);
    expect((await visit(get)).cookies).toHaveLength(1);
    clock.advance(99.999);
    expect((await visit(get)).result).toBe(1);
    clock.advance(100);
    expect((await visit(get)).result).toBe(undefined);
  });

  test("absolute: so long after it began it is over, whatever happens", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 100, absoluteTimeout: 250, touchInterval: 0 });
    await visit(set);
    for (const expected of [1, 1, 1, 1, undefined]) {
      clock.advance(50);
      await visit((session) => session.regenerate());
      expect((await visit(get)).result).toBe(expected);
    }
  });

  test("absolute: 30 days unless given, false for none", async () => {
    const clock = fakeClock();
    const [usual, never] = [visitor({ now: clock.now }), visitor({ now: clock.now, absoluteTimeout: false })];
    await usual(set);
    await never(set);
    for (let day = 1; day <= 61; day++) {
      clock.advance(43_200);
      expect((await usual((session) => session.has("a"))).result).toBe(day < 60);
      expect((await never((session) => session.has("a"))).result).toBe(true);
    }
  });

  test("durations may be fractions of a second", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 0.5, touchInterval: 0.1 });
    await visit(set);
    clock.advance(0.4);
    expect((await visit(get)).result).toBe(1);
    clock.advance(0.6);
    expect((await visit(get)).result).toBe(undefined);
  });

  test("a clock that is set back ends no session, and fails nobody", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit(set);
    clock.advance(-86_400);
    expect((await visit((session) => session.update("a", (a) => a + 1))).result).toBe(2);
  });
});
