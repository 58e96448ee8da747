import { describe, expect, test } from "vitest";
import { type Session, SessionManager, type SessionOptions, withSession } from "../../../mod.ts";
import { cookieJar, fakeClock } from "../../../src/testing.ts";
import { withCookie } from "../../setup/established.ts";
import { altered, codeOf, cookieOf, gate, idIn, living, openStore, SHOP, soon, visitor } from "../../setup/sessions.ts";
import { sweepingStore } from "../../setup/sweeping_store.ts";

/** How far apart the clocks of two servers are, in seconds. */
const SKEWS = [-300, -4, -1, 0, 1, 4, 300];

/** Servers with different clocks on one store. */
function servers(store: SessionOptions["store"] & object = openStore().store, more: SessionOptions = {}) {
  const clock = fakeClock();
  const server = (skew: number): SessionManager =>
    new SessionManager({ store, now: () => clock.now() + skew * 1000, ...more });
  return { clock, server };
}

describe("a planted id", () => {
  test.each(SKEWS)(
    "never opens the session that a login has renewed, on a server whose clock is %i s off",
    async (skew) => {
      const { clock, server } = servers();
      const planted = cookieOf(await visitor(server(0))((session) => session.set("basket", ["cake"])));
      const login = await visitor(server(0))(
        async (session) => {
          await session.regenerate({ reauthenticated: true });
          session.set("user", "ada");
        },
        { headers: { Cookie: planted } },
      );
      const thief = { headers: { Cookie: planted } };
      for (const pause of [0, 0.5, 1, 5, 59, 61, 600]) {
        clock.advance(pause);
        const seen = await visitor(server(skew))(
          async (session) => [await session.id(), { ...(await session.all()) }],
          thief,
        );
        expect(seen.result).toEqual([null, {}]);
        expect(idIn(seen.cookies)).toBe(null);
      }
      expect(
        (await visitor(server(skew))((session) => session.get("user"), { headers: { Cookie: cookieOf(login) } }))
          .result,
      ).toBe("ada");
    },
  );

  test("does not open the renewed session by a load that was under way when the login came", async () => {
    const { store } = openStore();
    const [reached, open] = [gate(), gate()];
    let isHeld = false;
    const slow = altered(store, {
      load: async (load, ...args) => {
        const found = await load(...args);
        if (isHeld) {
          isHeld = false;
          reached.open();
          await open.opened;
        }
        return found;
      },
    });
    const planted = cookieOf(await visitor({ store })((session) => session.set("basket", ["cake"])));
    isHeld = true;
    const reading = visitor({ store: slow })(
      async (session) => {
        const before = { ...(await session.all()) };
        session.set("mine", true);
        return before;
      },
      { headers: { Cookie: planted } },
    );
    await reached.opened;
    const login = await visitor({ store })(
      async (session) => {
        await session.regenerate();
        session.set("user", "ada");
      },
      { headers: { Cookie: planted } },
    );
    open.open();
    const seen = await reading;
    expect([seen.result, seen.cookies]).toEqual([{ basket: ["cake"] }, []]);
    const now = await visitor({ store })((session) => session.all(), { headers: { Cookie: cookieOf(login) } });
    expect({ ...now.result }).toEqual({ basket: ["cake"], user: "ada" });
  });
});

describe("a beacon with the old id, beside the login that renews it", () => {
  const login = async (session: Session): Promise<void> => {
    await session.regenerate();
    session.set("user", "ada");
  };

  test.each<[string, (session: Session) => unknown]>([
    ["reads", (session) => session.get("user")],
    ["sets", (session) => session.set("beacon", 1)],
    ["updates", (session) => session.update("beacon", (n = 0) => n + 1).catch(() => {})],
    ["flashes", (session) => session.flash("beacon", 1)],
    ["creates", (session) => session.create().catch(() => {})],
    ["touches", (session) => session.touch()],
  ])("leaves the login alone when it %s, before it or after it", async (_, beacon) => {
    for (const comesFirst of [true, false]) {
      const { server } = servers();
      const jar = cookieJar();
      const manager = server(0);
      const old = cookieOf(await visitor(manager, { jar })((session) => session.set("basket", 1)));
      const late = { headers: { Cookie: old } };
      const sent = cookieJar();
      const sendBeacon = () => visitor(manager, { jar: sent })(beacon, late);
      if (comesFirst) await sendBeacon();
      await visitor(manager, { jar })(login);
      const told = comesFirst ? [] : (await sendBeacon()).cookies;
      // A browser keeps the cookie that it receives last.
      expect(told).toEqual([]);
      expect((await visitor(manager, { jar })((session) => session.get("user"))).result).toBe("ada");
    }
  });

  test("may begin a session when it is a login itself", async () => {
    const { server } = servers();
    const manager = server(0);
    const old = cookieOf(await visitor(manager)((session) => session.set("basket", 1)));
    await visitor(manager)(login, { headers: { Cookie: old } });
    const second = await visitor(manager)(login, { headers: { Cookie: old } });
    expect(idIn(second.cookies)).toMatch(/^[\w-]{32}$/);
    const { result } = await visitor(manager)((session) => session.all(), { headers: { Cookie: cookieOf(second) } });
    expect({ ...result }).toEqual({ user: "ada" });
  });
});

describe("an engine that removes records by itself", () => {
  test.each(SKEWS)(
    "keeps a session in use alive when it was begun by a server whose clock is %i s off",
    async (skew) => {
      const clock = fakeClock();
      const store = sweepingStore(clock.now);
      const server = (ahead: number): SessionManager =>
        new SessionManager({ store, now: () => clock.now() + ahead * 1000, idleTimeout: 400 });
      const begun = await visitor(server(skew))((session) => session.set("user", "ada"));
      const init = { headers: { Cookie: cookieOf(begun) } };
      for (let turn = 0; turn < 20; turn++) {
        clock.advance(90);
        const { result } = await visitor(server(turn % 2 === 0 ? 0 : skew))((session) => session.get("user"), init);
        expect(result).toBe("ada");
      }
    },
  );

  const uses: [string, (session: Session) => unknown][] = [
    ["sets", (session) => session.set("late", true)],
    ["updates", (session) => session.update("late", () => true)],
    ["renews the id", async (session) => (await session.regenerate(), session.set("late", true))],
    ["saves", async (session) => (session.set("late", true), await session.save())],
  ];
  test.each([
    ...uses.map(([name, use]) => [name, use, (session: Session) => session.get("user")] as const),
    ...uses.map(([name, use]) => [`first uses its session and ${name}`, use, () => 0] as const),
  ])("lets a request that came in time finish when it %s after the end of the idle timeout", async (_, use, before) => {
    const clock = fakeClock();
    const options = { store: sweepingStore(clock.now), now: clock.now, idleTimeout: 1.5 };
    const jar = cookieJar();
    const visit = visitor(options, { jar });
    await visit((session) => session.set("user", "ada"));
    clock.advance(1.2);
    const { response } = await visit(async (session) => {
      await before(session);
      clock.advance(0.6);
      await use(session);
    });
    expect(response.status).toBe(200);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ user: "ada", late: true });
  });

  test("is not asked to keep what has ended: expiry is judged here", async () => {
    const clock = fakeClock();
    const options = { store: sweepingStore(clock.now), now: clock.now, idleTimeout: 100 };
    const visit = visitor(options);
    await visit((session) => session.set("user", "ada"));
    clock.advance(100);
    expect((await visit((session) => session.get("user"))).result).toBe(undefined);
  });
});

describe("a cookie that ends before the session does", () => {
  test("is refused when the handler is wrapped and nothing would send it again in time", () => {
    const wrap = (options: SessionOptions) => () => withSession(() => new Response(), options);
    expect(wrap({ cookie: { maxAge: 1800 } })).toThrow(RangeError);
    expect(wrap({ cookie: { maxAge: 1800 }, touchInterval: 900 })).not.toThrow();
    expect(wrap({ cookie: { maxAge: 1800, refresh: "always" } })).not.toThrow();
  });

  test.each<[string, SessionOptions, (session: Session) => unknown]>([
    ["maxAge", { cookie: { maxAge: 1800 }, touchInterval: 900 }, () => 0],
    ["maxAge of a function", { cookie: () => ({ maxAge: 1800 }) }, () => 0],
    ["setTimeouts", {}, (session) => session.setTimeouts({ cookie: 1800 })],
  ])("is sent again to a client that comes every five minutes: %s", async (_, options, use) => {
    const clock = fakeClock();
    const jar = cookieJar({ now: clock.now });
    const visit = visitor({ now: clock.now, ...options }, { jar });
    await visit(async (session) => {
      session.set("user", "ada");
      await use(session);
    });
    for (let minutes = 0; minutes < 120; minutes += 5) {
      clock.advance(300);
      expect((await visit((session) => session.get("user"))).result).toBe("ada");
    }
  });
});

test("two logins that overtake each other leave one session, and the other response touches no cookie", async () => {
  const { store, records } = openStore();
  const manager = new SessionManager({ store });
  const old = withCookie(idIn((await visitor(manager)((session) => session.set("basket", 1))).cookies) ?? "");
  const logins = await Promise.all(
    [1, 2, 3].map((n) =>
      visitor(manager)(async (session) => {
        await session.get("basket");
        await soon(0);
        await session.regenerate();
        session.set("user", n);
        return await codeOf(() => session.save()).catch(() => "stored");
      }, old),
    ),
  );
  const told = logins.flatMap(({ cookies }) => cookies);
  expect(told).toHaveLength(logins.filter(({ result }) => result === "stored").length);
  expect(told).toHaveLength(1);
  expect(living(records)).toHaveLength(1);
  expect(SHOP).toContain("https");
});
