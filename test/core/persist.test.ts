import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionEvent, type SessionStore, withSession } from "../../mod.ts";
import { cookieJar, fakeClock, faultyStore } from "../../src/testing.ts";
import { altered, cookieOf, gate, SHOP, visitor } from "../setup/sessions.ts";

const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");
const destroy = (session: Session): Promise<void> => session.destroy();

describe("persist", () => {
  /** A store whose writes wait, and a runtime with `waitUntil`. */
  function slow(): {
    store: SessionStore;
    ctx: { waitUntil(promise: Promise<unknown>): void };
    waiting: Promise<unknown>[];
    open: () => void;
    hold: () => void;
  } {
    let writing = Promise.resolve();
    let release = (): void => {};
    const waiting: Promise<unknown>[] = [];
    const store = altered(memoryStore(), {
      create: async (create, ...args) => (await writing, await create(...args)),
      change: async (change, ...args) => (await writing, await change(...args)),
      touch: async (touch, ...args) => (await writing, await touch(...args)),
      delete: async (remove, ...args) => (await writing, await remove(...args)),
    });
    return {
      store,
      waiting,
      ctx: {
        waitUntil(promise) {
          // Like the platforms' own, it must be called as a method.
          expect(this.waitUntil).toBeDefined();
          waiting.push(promise);
        },
      },
      hold: () => {
        const held = gate();
        [writing, release] = [held.opened, held.open];
      },
      open: () => release(),
    };
  }

  /** Whether a promise settles before the writes are released. */
  async function isFirst(promise: Promise<unknown>): Promise<boolean> {
    const ticks = (async () => {
      for (let n = 0; n < 5; n++) await new Promise((resolve) => setImmediate(resolve));
      return false;
    })();
    return await Promise.race([promise.then(() => true), ticks]);
  }

  test.each([
    ["a change", (session) => session.set("a", 2), true],
    ["a touch", (session) => session.touch(), false],
    ["a change after a read", async (session) => session.set("a", (await session.get("a")) + 1), true],
    ["an update, which was stored before", (session) => session.update("a", () => 2), false],
    ["a regenerated session", (session) => session.regenerate(), false],
    ["a destroyed session", destroy, false],
    ["a redirect", (session) => (session.set("a", 2), Response.redirect(SHOP, 303)), false],
  ] as [string, (session: Session) => unknown, boolean][])(
    "[37] after-response: the response to %s goes out first: %s",
    async (_, use, first) => {
      const { store, ctx, waiting, hold, open } = slow();
      const handle = withSession(
        async (_request, session: Session, _env: unknown, _ctx: unknown) => {
          const result = await use(session);
          return result instanceof Response ? result : new Response("Hello");
        },
        { store, persist: "after-response" },
      );
      const { cookies } = await visitor({ store })(set);
      hold();
      const answered = handle(new Request(SHOP, { headers: { Cookie: cookieOf({ cookies }) } }), {}, ctx);
      expect(await isFirst(answered)).toBe(first);
      open();
      await answered;
      await Promise.all(waiting);
      expect(waiting).toHaveLength(first ? 1 : 0);
    },
  );

  test("[37] after-response: waitUntil gets a promise also from a store that answers at once", async () => {
    const store = memoryStore();
    const { cookies } = await visitor({ store })(set);
    const waiting: Promise<unknown>[] = [];
    const handle = withSession((_request, session: Session) => (session.set("a", 2), new Response("Hello")), {
      store,
      persist: "after-response",
      waitUntil: (promise) => void waiting.push(promise),
    });
    await handle(new Request(SHOP, { headers: { Cookie: cookieOf({ cookies }) } }));
    expect(waiting).toHaveLength(1);
    await Promise.all(waiting);
    expect((await visitor({ store })(get, { headers: { Cookie: cookieOf({ cookies }) } })).result).toBe(2);
  });

  test("[37] after-response: a new session is awaited", async () => {
    const { store, ctx, waiting, hold, open } = slow();
    const handle = withSession((_request, session: Session, _ctx: unknown) => (set(session), new Response("Hello")), {
      store,
      persist: "after-response",
    });
    hold();
    const answered = handle(new Request(SHOP), ctx);
    expect(await isFirst(answered)).toBe(false);
    open();
    expect((await answered).headers.getSetCookie()).toHaveLength(1);
    expect(waiting).toEqual([]);
  });

  test("[37] after-response: without a waitUntil it is awaited", async () => {
    const { store, hold, open } = slow();
    const jar = cookieJar();
    const visit = visitor({ store, persist: "after-response" }, { jar });
    await visit(set);
    hold();
    const answered = visit((session) => session.set("a", 2));
    expect(await isFirst(answered)).toBe(false);
    open();
    await answered;
    expect((await visit(get)).result).toBe(2);
  });

  test("[37] after-response: what was stored late is there, with the cookie of its touch, and a failure is told to onEvent", async () => {
    const waiting: Promise<unknown>[] = [];
    const ctx = { waitUntil: (promise: Promise<unknown>) => void waiting.push(promise) };
    const events: SessionEvent[] = [];
    const clock = fakeClock();
    let fails = false;
    const store = altered(memoryStore(), {
      change: (change, ...args) => (fails ? Promise.reject(new Error("down")) : change(...args)),
    });
    const options = {
      store,
      now: clock.now,
      persist: "after-response",
      onEvent: (event: SessionEvent) => events.push(event),
    } as const;
    const handle = withSession(
      (_request, session: Session, _ctx: unknown) => (session.set("a", 2), new Response("Hello")),
      options,
    );
    const headers = { Cookie: cookieOf(await visitor(options)(set)) };
    clock.advance(10_000);
    const response = await handle(new Request(SHOP, { headers }), ctx);
    expect(response.headers.getSetCookie()).toHaveLength(1);
    await Promise.all(waiting);
    expect((await visitor(options)(get, { headers })).result).toBe(2);
    fails = true;
    events.length = 0;
    const failed = await withSession(
      (_request, session: Session, _ctx: unknown) => (session.set("a", 3), new Response("Hello")),
      options,
    )(new Request(SHOP, { headers }), ctx);
    expect(failed.status).toBe(200);
    await Promise.all(waiting);
    expect(events.at(-1)).toMatchObject({ type: "failed", during: "store", error: { code: "ERR_STORE" } });
    expect((await visitor(options)(get, { headers })).result).toBe(2);
  });

  test("after-response: a request with the cookie of its touch does not replace the cookie of a login meanwhile", async () => {
    const clock = fakeClock();
    const { store, ctx, waiting } = slow();
    const begun = await visitor({ store, now: clock.now })(set);
    const headers = { Cookie: cookieOf(begun) };
    clock.advance(10_000);
    const handle = withSession(
      async (_request, session: Session, _ctx: unknown) => {
        session.set("a", await session.get("a"));
        await session.get("a");
        session.set("b", 1);
        await visitor({ store, now: clock.now })((login) => login.regenerate(), { headers });
        return new Response("Hello");
      },
      { store, now: clock.now, persist: "after-response" },
    );
    const response = await handle(new Request(SHOP, { headers }), ctx);
    await Promise.all(waiting);
    expect(response.headers.getSetCookie()).toEqual([]);
  });

  test.each([
    ["a new id", ["none", "does it but rejects", "rejects"], (session: Session) => session.regenerate()],
    ["a new id, which was not stored", ["none", "rejects"], (session: Session) => session.regenerate()],
    ["other timeouts", ["rejects"], (session: Session) => session.setTimeouts({ idle: 3600 })],
  ] as const)(
    "after-response waits for what the client must be told after a save without an answer: %s",
    async (_what, save, use) => {
      const { ctx, waiting } = slow();
      const store = faultyStore(memoryStore());
      const options = { store, persist: "after-response" } as const;
      const headers = { Cookie: cookieOf(await visitor({ store })(set)) };
      const handle = withSession(async (_request, session: Session, _ctx: unknown) => {
        await session.get("a");
        await use(session);
        store.plan({ save });
        await session.save().catch(() => {});
        store.plan({});
        return new Response("Hello");
      }, options);
      const response = await handle(new Request(SHOP, { headers }), ctx);
      await Promise.all(waiting);
      const cookies = response.headers.getSetCookie();
      expect(cookies).toHaveLength(1);
      expect((await visitor({ store })(get, { headers: { Cookie: cookieOf({ cookies }) } })).result).toBe(1);
    },
  );

  test("[37] before-response leaves waitUntil alone", async () => {
    const { store, ctx, waiting } = slow();
    const handle = withSession((_request, session: Session, _ctx: unknown) => (set(session), new Response("Hello")), {
      store,
    });
    const cookie = (await handle(new Request(SHOP), ctx)).headers.getSetCookie();
    await handle(new Request(SHOP, { headers: { Cookie: cookieOf({ cookies: cookie }) } }), ctx);
    expect(waiting).toEqual([]);
  });
});
