import { describe, expect, test } from "vitest";
import { memoryStore, type Session } from "../../mod.ts";
import { fakeClock } from "../../src/testing.ts";
import { cookieOf, counted, idIn, SHOP, visitor } from "../setup/sessions.ts";

describe("times", () => {
  test("info() tells when the session began, was last seen and ends", async () => {
    const clock = fakeClock(1_000_000);
    const visit = visitor({ now: clock.now });
    const none = {
      isNew: true,
      createdAt: null,
      lastSeenAt: null,
      expiresAt: null,
      authenticatedAt: null,
      ended: null,
    };
    expect((await visit((session) => session.info())).result).toEqual(none);
    const begin = clock.now();
    const { result } = await visit((session) => (session.set("a", 1), session.info()));
    const begun = { isNew: true, createdAt: begin, lastSeenAt: begin, authenticatedAt: null, ended: null };
    expect(result).toEqual({ ...begun, expiresAt: begin + 86_400_000 });
    clock.advance(60);
    expect((await visit((session) => session.info())).result).toEqual({ ...result, isNew: false });
    clock.advance(8640);
    const touched = clock.now();
    const late = await visit((session) => session.info());
    expect(late.result).toEqual({ ...begun, isNew: false, expiresAt: touched + 86_400_000 });
    expect((await visit((session) => session.info())).result.lastSeenAt).toBe(touched);
  });

  test("an idleTimeout longer than absoluteTimeout never ends a session", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 1000, absoluteTimeout: 60 });
    const begin = clock.now();
    const { result } = await visit((session) => (session.set("a", 1), session.info()));
    expect(result.expiresAt).toBe(begin + 60_000);
    clock.advance(59);
    expect((await visit((session) => session.get("a"))).result).toBe(1);
    clock.advance(1);
    expect((await visit((session) => session.info())).result.ended).toBe("expired");
  });

  test("info() says isNew for an id that leads to no session, and why", async () => {
    const { result } = await visitor()((session) => session.info(), {
      headers: { Cookie: `__Host-session=${"a".repeat(32)}` },
    });
    expect(result).toMatchObject({ isNew: true, ended: "unknown" });
  });

  test("info() tells why a session has ended", async () => {
    const clock = fakeClock();
    const options = { now: clock.now, store: memoryStore() };
    const ended = async (cookie: string): Promise<string | null> =>
      (await visitor(options)((session) => session.info(), { headers: { Cookie: cookie } })).result.ended;
    const visit = visitor(options);
    const first = cookieOf(await visit((session) => session.set("a", 1)));
    expect(await ended(first)).toBe(null);
    expect((await visitor(options)((session) => session.info())).result.ended).toBe(null);
    const second = cookieOf(await visit((session) => session.regenerate()));
    expect(await ended(first)).toBe("retired");
    clock.advance(61);
    expect(await ended(first)).toBe("retired");
    clock.advance(86_400 - 61);
    expect(await ended(second)).toBe("expired");
    const third = cookieOf(await visitor(options)((session) => session.set("a", 1)));
    await visitor(options)((session) => session.destroy(), { headers: { Cookie: third } });
    expect(await ended(third)).toBe("unknown");
    expect(await ended("__Host-session=junk")).toBe("malformed");
  });

  test("info() tells when the user last proved who they are", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    const authenticatedAt = async (use: (session: Session) => unknown): Promise<number | null> =>
      (await visit(async (session) => (await use(session), await session.info()))).result.authenticatedAt;
    expect(await authenticatedAt((session) => session.set("a", 1))).toBe(null);
    expect(await authenticatedAt((session) => session.regenerate())).toBe(null);
    clock.advance(60);
    const login = clock.now();
    expect(await authenticatedAt((session) => session.regenerate({ reauthenticated: true }))).toBe(login);
    clock.advance(60);
    expect(await authenticatedAt(() => 0)).toBe(login);
    expect(await authenticatedAt((session) => session.regenerate())).toBe(login);
    expect(await authenticatedAt(() => 0)).toBe(login);
  });

  test("info() tells a login in the request that begins the session", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit(async (session) => {
      await session.regenerate({ reauthenticated: true });
      session.set("user", "ada");
    });
    expect((await visit((session) => session.info())).result.authenticatedAt).toBe(clock.now());
  });

  test("info() tells no login in the request that begins the session when regenerate() was called without one", async () => {
    const visit = visitor();
    await visit(async (session) => {
      await session.regenerate();
      session.set("a", 1);
      expect((await session.info()).authenticatedAt).toBe(null);
    });
    expect((await visit((session) => session.info())).result.authenticatedAt).toBe(null);
  });

  test("info() tells the absolute end when that comes first", async () => {
    const clock = fakeClock();
    const { result } = await visitor({ now: clock.now, absoluteTimeout: 60 })(
      (session) => (session.set("a", 1), session.info()),
    );
    expect(result.expiresAt).toBe(clock.now() + 60_000);
  });

  test("[43] touch() pushes the idle deadline out now, without waiting for the touch interval", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.set("a", 1));
    clock.advance(10);
    const { cookies, result } = await visit((session) => (session.touch(), session.info()));
    expect(cookies[0]).toContain("Max-Age=86400");
    expect(result.expiresAt).toBe(clock.now() + 86_400_000);
    expect((await visit((session) => session.info())).result.lastSeenAt).toBe(clock.now());
  });

  test.each<[string, (session: Session) => unknown]>([
    ["touch()", (session) => session.touch()],
    ["regenerate()", (session) => session.regenerate()],
    ["regenerate({ grace })", (session) => session.regenerate({ grace: 60 })],
  ])("info() after %s tells the end that the session has when it is stored", async (_call, use) => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.set("a", 1));
    clock.advance(10);
    const { result } = await visit(async (session) => (await use(session), await session.info()));
    expect(result.expiresAt).toBe(clock.now() + 86_400_000);
    expect((await visit((session) => session.info())).result.expiresAt).toBe(result.expiresAt);
  });

  test("info() tells when the session was last used before the request, also after touch()", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.set("a", 1));
    const begun = clock.now();
    clock.advance(10);
    const { result } = await visit((session) => (session.touch(), session.info()));
    expect(result.lastSeenAt).toBe(begun);
    expect((await visit((session) => session.info())).result.lastSeenAt).toBe(clock.now());
  });

  test("touch() keeps what another request wrote meanwhile", async () => {
    const visit = visitor();
    await visit((session) => session.set("a", 1));
    await visit(async (session) => {
      await session.get("a");
      session.touch();
      await visit((other) => other.set("a", 2));
    });
    expect((await visit((session) => session.get("a"))).result).toBe(2);
  });

  test("[54] setTimeouts() holds for this session alone, with its cookie, and for later requests", async () => {
    const clock = fakeClock();
    const store = memoryStore();
    const options = { store, now: clock.now };
    const [remembered, other] = [visitor(options), visitor(options)];
    await other((session) => session.set("a", 1));
    const month = 30 * 86_400;
    const { cookies } = await remembered(async (session) => {
      session.set("a", 1);
      session.setTimeouts({ idle: month, absolute: 2 * month });
      expect((await session.info()).expiresAt).toBe(clock.now() + month * 1000);
    });
    expect(cookies[0]).toContain(`Max-Age=${month};`);
    clock.advance(month - 1);
    expect((await other((session) => session.get("a"))).result).toBe(undefined);
    const late = await remembered((session) => session.get("a"));
    expect(late.result).toBe(1);
    expect(late.cookies[0]).toContain(`Max-Age=${month};`);
    clock.advance(month + 1);
    expect((await remembered((session) => session.get("a"))).result).toBe(undefined);
  });

  test("[54] setTimeouts() on a live session sends the cookie again, with the same id, once", async () => {
    const visit = visitor();
    const first = await visit((session) => session.set("a", 1));
    const second = await visit((session) => session.setTimeouts({ cookie: 3600 }));
    expect(idIn(second.cookies)).toBe(idIn(first.cookies));
    expect(second.cookies[0]).toContain("Max-Age=3600;");
    expect((await visit((session) => session.setTimeouts({ cookie: 3600 }))).cookies).toEqual([]);
    const third = await visit((session) => session.setTimeouts({ cookie: null }));
    expect(third.cookies[0]).not.toContain("Max-Age");
    expect(third.cookies[0]).not.toContain("Expires");
  });

  test("[54] setTimeouts({ idle }) brings a touch interval of a tenth", async () => {
    const clock = fakeClock();
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store, now: clock.now });
    await visit((session) => (session.set("a", 1), session.setTimeouts({ idle: 100 })));
    calls.length = 0;
    clock.advance(9);
    await visit((session) => session.get("a"));
    clock.advance(1);
    await visit((session) => session.get("a"));
    expect(calls).toEqual(["load", "load", "touch"]);
  });

  test("[54] setTimeouts({ idle }) leaves the session that long from now when it was last seen before", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.set("a", 1));
    clock.advance(3600);
    await visit((session) => session.setTimeouts({ idle: 1800 }));
    clock.advance(1600);
    expect((await visit((session) => session.get("a"))).result).toBe(1);
  });

  test("[54] setTimeouts({ idle }) leaves it that long also in a request that does not count as use", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, touch: ({ url }) => !url.endsWith("/poll") });
    await visit((session) => session.set("a", 1));
    clock.advance(3600);
    await visit((session) => session.setTimeouts({ idle: 1800 }), { url: `${SHOP}poll` });
    clock.advance(1600);
    expect((await visit((session) => session.get("a"))).result).toBe(1);
  });

  test("setTimeouts() leaves a timeout as it is that is undefined", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => (session.set("a", 1), session.setTimeouts({ idle: 1000, cookie: 60 })));
    const remembers = false;
    const { cookies, result } = await visit((session) => {
      session.setTimeouts({ idle: remembers ? 1 : undefined, absolute: undefined, cookie: 90 } as object);
      return session.info();
    });
    expect(cookies[0]).toContain("Max-Age=90;");
    expect(result.expiresAt).toBe(clock.now() + 1_000_000);
    expect((await visit((session) => session.info())).result.expiresAt).toBe(clock.now() + 1_000_000);
  });

  test("[54] setTimeouts({ absolute: false }) lets a session in use live for ever", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 100, absoluteTimeout: 200 });
    await visit((session) => (session.set("a", 1), session.setTimeouts({ absolute: false })));
    for (let n = 0; n < 10; n++) {
      clock.advance(90);
      expect((await visit((session) => session.get("a"))).result).toBe(1);
    }
  });

  test.each([
    [null, undefined],
    [600, "600"],
  ])("setTimeouts({ idle }) leaves a cookie.maxAge of %j as the options say", async (maxAge, expected) => {
    const visit = visitor({ cookie: { maxAge }, touchInterval: 60 });
    const { cookies } = await visit((session) => (session.set("a", 1), session.setTimeouts({ idle: 3600 })));
    expect(/Max-Age=(\d+)/.exec(cookies[0] ?? "")?.[1]).toBe(expected);
  });

  test("setTimeouts() survives regenerate()", async () => {
    const visit = visitor();
    await visit((session) => (session.set("a", 1), session.setTimeouts({ idle: 1000 })));
    expect((await visit((session) => session.regenerate())).cookies[0]).toContain("Max-Age=1000;");
  });

  test("setTimeouts() waits for the session when a save() finds none to store it in", async () => {
    const { cookies } = await visitor()(async (session) => {
      session.setTimeouts({ idle: 1000 });
      await session.save();
      session.set("a", 1);
    });
    expect(cookies[0]).toContain("Max-Age=1000;");
  });

  test("setTimeouts() alone begins no session", async () => {
    const { store, calls } = counted(memoryStore());
    const { cookies } = await visitor({ store })((session) => session.setTimeouts({ idle: 100 }));
    expect([cookies, calls]).toEqual([[], []]);
  });

  test.each([
    { idle: 0 },
    { idle: -1 },
    { idle: NaN },
    { idle: Infinity },
    { absolute: 0 },
    { absolute: -5 },
    { cookie: 0 },
    { cookie: NaN },
  ])("setTimeouts(%j) is refused with a RangeError", async (timeouts) => {
    await visitor()((session) => expect(() => session.setTimeouts(timeouts)).toThrow(RangeError));
  });
});
