import { describe, expect, test } from "vitest";
import { memoryStore, SessionError, type SessionEvent, withSession } from "../../mod.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import {
  altered,
  codeOf,
  cookieOf,
  counted,
  idIn,
  keyOf,
  living,
  openStore,
  SHOP,
  visitor,
} from "../setup/sessions.ts";

describe("regenerate()", () => {
  test("[56] gives a new id, keeps the data, and the old id is dead at once", async () => {
    const store = memoryStore();
    const [before, after] = [cookieJar(), cookieJar()];
    const first = await visitor({ store }, { jar: before })((session) => session.set("basket", ["cake"]));
    const login = await visitor({ store }, { jar: after })(
      async (session) => {
        expect(await session.get("basket")).toEqual(["cake"]);
        await session.regenerate();
        session.set("user", "ada");
      },
      { headers: { Cookie: cookieOf(first) } },
    );
    expect(idIn(login.cookies)).not.toBe(idIn(first.cookies));
    const now = await visitor({ store }, { jar: after })((session) => session.all());
    expect({ ...now.result }).toEqual({ basket: ["cake"], user: "ada" });
    const old = await visitor({ store }, { jar: before })((session) => session.all());
    expect({ ...old.result }).toEqual({});
  });

  test("keeps createdAt, and isNew stays false", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    const begin = clock.now();
    await visit((session) => session.set("a", 1));
    clock.advance(60);
    await visit(async (session) => {
      await session.regenerate();
      expect(await session.info()).toMatchObject({ isNew: false, createdAt: begin });
    });
    expect((await visit((session) => session.info())).result).toMatchObject({ isNew: false, createdAt: begin });
  });

  test("puts the old id back when the handler's response cannot be copied, so that no client is told the new one", async () => {
    const { store, records } = openStore();
    const begun = await visitor({ store })((session) => session.set("user", "ada"));
    const read = new Response("read already");
    await read.text();
    const handler = withSession(
      async (_request, session) => {
        await session.regenerate();
        return read;
      },
      { store },
    );
    const headers = { Cookie: cookieOf(begun) };
    await expect(handler(new Request(SHOP, { headers }))).rejects.toThrow(TypeError);
    const { result } = await visitor({ store })((session) => session.get("user"), { headers });
    expect(result).toBe("ada");
    expect(living(records)).toHaveLength(1);
  });

  test.each(["save", "update"] as const)(
    "puts the old id back when the handler throws while a %s() that nobody awaited gives the session a new one",
    async (call) => {
      const { store, records } = openStore();
      const first = await visitor({ store })((session) => session.set("basket", ["cake"]));
      let storing: Promise<unknown> = Promise.resolve();
      const failing = visitor({ store })(
        async (session) => {
          await session.regenerate();
          storing = call === "save" ? session.save() : session.update("n", (n = 0) => n + 1);
          await Promise.all([storing, Promise.reject(new Error("The handler fails"))]);
        },
        { headers: { Cookie: cookieOf(first) } },
      );
      await expect(failing).rejects.toThrow("The handler fails");
      await storing;
      expect(living(records)).toHaveLength(1);
      const now = await visitor({ store })((session) => session.all(), { headers: { Cookie: cookieOf(first) } });
      expect({ ...now.result }).toEqual({ basket: ["cake"] });
    },
  );

  test("does nothing without a session", async () => {
    const { store, calls } = counted(memoryStore());
    const { cookies } = await visitor({ store })((session) => session.regenerate());
    expect([cookies, calls]).toEqual([[], []]);
  });

  test("lets the old id lead to the session while the grace lasts, and tells the new id", async () => {
    const clock = fakeClock();
    const store = memoryStore();
    const options = { store, now: clock.now };
    const old = cookieOf(await visitor(options)((session) => session.set("n", 1)));
    const login = await visitor(options)((session) => session.regenerate({ grace: 30 }), { headers: { Cookie: old } });
    clock.advance(29);
    const late = await visitor(options)((session) => session.update("n", (n) => n + 1), { headers: { Cookie: old } });
    expect(late.result).toBe(2);
    expect(idIn(late.cookies)).toBe(idIn(login.cookies));
    clock.advance(1);
    const dead = await visitor(options)((session) => session.get("n"), { headers: { Cookie: old } });
    expect(dead.result).toBe(undefined);
    const next = await visitor(options)((session) => session.get("n"), { headers: { Cookie: cookieOf(login) } });
    expect(next.result).toBe(2);
  });

  test.each([-1, NaN, Infinity, "1"])("refuses a grace of %s with a RangeError", async (grace) => {
    await visitor()((session) => expect(session.regenerate({ grace: grace as number })).rejects.toThrow(RangeError));
  });

  test("restarts the absolute timeout when the user has reauthenticated, and only then", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, absoluteTimeout: 1000, idleTimeout: 900 });
    await visit((session) => session.set("a", 1));
    clock.advance(600);
    await visit(async (session) => {
      await session.regenerate();
      expect((await session.info()).expiresAt).toBe(clock.now() + 400_000);
    });
    await visit(async (session) => {
      await session.regenerate({ reauthenticated: true });
      expect((await session.info()).expiresAt).toBe(clock.now() + 900_000);
    });
    clock.advance(800);
    expect((await visit((session) => session.get("a"))).result).toBe(1);
    clock.advance(200);
    expect((await visit((session) => session.get("a"))).result).toBe(undefined);
  });

  test("has one successor when two requests regenerate one id: the other hears gone", async () => {
    const events: string[] = [];
    const { store, records } = openStore();
    const options = { store, onEvent: ({ type }: SessionEvent) => events.push(type) };
    const first = cookieOf(await visitor(options)((session) => session.set("a", 1)));
    const init = { headers: { Cookie: first } };
    const slow = await visitor(options)(async (session) => {
      await session.regenerate();
      const fast = await visitor(options)((other) => other.regenerate(), init);
      expect(fast.cookies).toHaveLength(1);
      events.length = 0;
    }, init);
    expect(slow.cookies).toEqual([]);
    expect(events).toContain("gone");
    const live = [...records.values()].filter(({ fields }) => fields.has("=a"));
    expect(live).toHaveLength(1);
  });

  test("leaves the old id alone alive when the store refuses the retired record for what it is", async () => {
    const { store: base, records } = openStore();
    let refuses = false;
    const store = altered(base, {
      change(change, ...args) {
        if (refuses) throw new SessionError("ERR_RECORD_TOO_LARGE", "Cannot store the session: it is too large");
        return change(...args);
      },
    });
    const { store: watched, calls } = counted(store);
    const visit = visitor({ store: watched });
    await visit((session) => session.set("a", 1));
    refuses = true;
    const code = await codeOf(() => visit((session) => session.regenerate()));
    expect([code, records.size]).toEqual(["ERR_RECORD_TOO_LARGE", 1]);
    // Nothing has to be found out: the store has said that it did not do it.
    expect(calls).not.toContain("touch");
    refuses = false;
    expect((await visit((session) => session.get("a"))).result).toBe(1);
  });

  test.each([
    ["the new record cannot be created", "create", false],
    ["the new record is created, but that is answered with an error", "create", true],
    ["the old record cannot be retired", "change", false],
  ] as const)("leaves the old id alone alive when %s", async (_, verb, done) => {
    const { store: base, records } = openStore();
    let fails = false;
    const fail = async (action: () => unknown): Promise<never> => {
      if (done) await action();
      throw new Error("down");
    };
    const store = altered(base, {
      create: (create, ...args) => (fails && verb === "create" ? fail(() => create(...args)) : create(...args)),
      change: (change, ...args) => (fails && verb === "change" ? fail(() => change(...args)) : change(...args)),
    });
    const jar = cookieJar();
    const visit = visitor({ store }, { jar });
    const { cookies } = await visit((session) => session.set("a", 1));
    fails = true;
    expect(await codeOf(() => visit((session) => session.regenerate()))).toBe("ERR_STORE");
    fails = false;
    expect((await visit((session) => session.get("a"))).result).toBe(1);
    expect((await visit((session) => session.id())).result).toBe(idIn(cookies));
    // Nothing is left of the successor, whose id no client was told.
    expect([...records.keys()]).toEqual([keyOf(idIn(cookies) ?? "")]);
  });
});
