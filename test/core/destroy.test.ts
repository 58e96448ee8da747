import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionEvent, SessionManager, type SessionOptions } from "../../mod.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { cookieJar, fakeClock, faultyStore, kvSimulator } from "../../src/testing.ts";
import {
  altered,
  bare,
  codeOf,
  cookieOf,
  counted,
  gate,
  idIn,
  openStore,
  SHOP,
  soon,
  visitor,
} from "../setup/sessions.ts";

describe("destroy()", () => {
  // Memory keeps the record of a retired id until it is pruned, as files and databases do.
  test.each([
    ["without a grace", undefined, 1199, true],
    ["without a grace", undefined, 1200, false],
    ["with a grace", 3600, 4199, true],
    ["with a grace", 3600, 4200, false],
  ])(
    "with an id that was regenerated %s (%s s), %i s later, ends the session: %s",
    async (_how, grace, later, ends) => {
      const clock = fakeClock();
      const sessions = new SessionManager({ store: memoryStore(), now: clock.now });
      const old = cookieOf(await visitor(sessions)((session) => session.set("n", 1)));
      const renewed = await visitor(sessions)((session) => session.regenerate(grace === undefined ? {} : { grace }), {
        headers: { Cookie: old },
      });
      clock.advance(later);
      await visitor(sessions)((session) => session.destroy(), { headers: { Cookie: old } });
      const { result } = await visitor(sessions)((session) => session.get("n"), {
        headers: { Cookie: cookieOf(renewed) },
      });
      expect(result).toBe(ends ? undefined : 1);
    },
  );

  test("ends the session when a handler that awaits neither destroy() nor save() fails right after", async () => {
    const sessions = new SessionManager({ store: memoryStore() });
    const old = cookieOf(await visitor(sessions)((session) => session.set("n", 1)));
    const session = sessions.start(new Request(SHOP, { headers: { Cookie: old } }));
    await session.get("n");
    const calls = [session.destroy(), session.save()];
    await sessions.discard(session);
    await Promise.all(calls);
    const { result } = await visitor(sessions)((later) => later.get("n"), { headers: { Cookie: old } });
    expect(result).toBeUndefined();
  });

  test("ends the session and expires its cookie when a save() was still under way and another one is called", async () => {
    const stored = gate();
    const slow = altered(memoryStore(), {
      change: async (change, ...args) => {
        await stored.opened;
        return await change(...args);
      },
    });
    const visit = visitor({ store: slow });
    await visit((session) => session.set("n", 1));
    const { cookies } = await visit(async (session) => {
      await session.get("n");
      session.set("n", 2);
      const saving = session.save();
      const ending = session.destroy();
      await new Promise(setImmediate);
      session.set("n", 3);
      const savingAgain = session.save();
      stored.open();
      await Promise.all([saving, ending, savingAgain]);
    });
    expect(idIn(cookies)).toBeNull();
    expect(cookies.join()).toContain("Max-Age=0");
  });

  test.each([0, 1, 2, 3])("does so when a save() begins beside it, %d turns later", async (turns) => {
    const { store, records } = openStore();
    const visit = visitor({ store });
    await visit((session) => session.set("n", 1));
    const { cookies } = await visit(async (session) => {
      await session.get("n");
      session.set("n", 2);
      const ending = session.destroy();
      for (let turn = 0; turn < turns; turn++) await undefined;
      await Promise.all([ending, session.save()]);
    });
    expect([records.size, cookies.length]).toEqual([0, 1]);
    expect(cookies[0]).toContain("Max-Age=0");
  });

  test("does so when the function of an update() calls it", async () => {
    const { store, records } = openStore();
    const visit = visitor({ store });
    await visit((session) => session.set("n", 1));
    const { result, cookies } = await visit(async (session) => {
      await session.update("n", (n) => (void session.destroy(), n + 1));
      return await session.get("n");
    });
    expect([result, records.size, cookies.length]).toEqual([undefined, 0, 1]);
    expect(cookies[0]).toContain("Max-Age=0");
  });

  test("[42] deletes the record, expires the cookie, and the id is dead", async () => {
    const { store, records } = openStore();
    const jar = cookieJar();
    const visit = visitor({ store }, { jar });
    const old = cookieOf(await visit((session) => session.set("a", 1)));
    const { cookies } = await visit((session) => session.destroy());
    expect(records.size).toBe(0);
    expect(cookies).toHaveLength(1);
    expect(cookies[0]).toMatch(/^__Host-session=; Max-Age=0; .*Path=\/; Secure; HttpOnly; SameSite=Lax/);
    expect(jar.header(SHOP)).toBe(null);
    const again = await visitor({ store })((session) => session.get("a"), { headers: { Cookie: old } });
    expect(again.result).toBe(undefined);
  });

  test("deletes the record when nothing was read before", async () => {
    const { store, records } = openStore();
    const sessions = new SessionManager({ store });
    const visit = visitor(sessions);
    await visit((session) => session.set("a", 1));
    await visit((session) => session.destroy());
    expect(records.size).toBe(0);
  });

  test("expires the cookie of an id that leads to no session", async () => {
    const { cookies } = await visitor()((session) => session.destroy(), {
      headers: { Cookie: `__Host-session=${"a".repeat(32)}` },
    });
    expect(cookies[0]).toContain("Max-Age=0");
  });

  test("set() after it begins a new session under a new id, with one Set-Cookie", async () => {
    const { store, records } = openStore();
    const visit = visitor({ store });
    const first = await visit((session) => session.set({ a: 1, b: 2 }));
    const second = await visit(async (session) => {
      await session.destroy();
      session.set("c", 3);
      expect((await session.info()).isNew).toBe(true);
    });
    expect(second.cookies).toHaveLength(1);
    expect(idIn(second.cookies)).not.toBe(idIn(first.cookies));
    expect(records.size).toBe(1);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ c: 3 });
  });

  test("after regenerate(), saved or not, leaves no live id", async () => {
    for (const saves of [false, true]) {
      const { store, records } = openStore();
      const jar = cookieJar();
      const visit = visitor({ store }, { jar });
      const old = cookieOf(await visit((session) => session.set("a", 1)));
      await visit(async (session) => {
        await session.regenerate();
        if (saves) await session.save();
        await session.destroy();
      });
      expect([...records.values()].filter(({ fields }) => fields.has("=a"))).toEqual([]);
      expect((await visitor({ store })((session) => session.get("a"), { headers: { Cookie: old } })).result).toBe(
        undefined,
      );
      expect(jar.header(SHOP)).toBe(null);
    }
  });

  test("ends the successor as well, and expires the cookie, when another request has regenerated meanwhile", async () => {
    for (const saves of [false, true]) {
      const { store, records } = openStore();
      const first = await visitor({ store })((session) => session.set("a", 1));
      const init = { headers: { Cookie: cookieOf(first) } };
      const { cookies } = await visitor({ store })(async (session) => {
        session.set("a", (await session.get("a")) + 1);
        await visitor({ store })((other) => other.regenerate(), init);
        if (saves) expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
        await session.destroy();
      }, init);
      expect([...records.values()].filter(({ fields }) => fields.has("=a"))).toEqual([]);
      expect(cookies[0]).toContain("Max-Age=0");
    }
  });

  test("ends the session and expires the cookie when a save() is still under way", async () => {
    const storing = gate();
    const { store: base, records } = openStore();
    const store = altered(base, {
      change: async (change, ...args) => {
        await storing.opened;
        return await change(...args);
      },
    });
    const visit = visitor({ store });
    await visit((session) => session.set("a", 1));
    const { cookies } = await visit(async (session) => {
      session.set("a", 2);
      const saving = session.save();
      await soon(0);
      const ending = session.destroy();
      await soon(0);
      storing.open();
      await Promise.all([saving, ending]);
      expect(await session.get("a")).toBe(undefined);
      expect(await session.id()).toBe(null);
    });
    expect(records.size).toBe(0);
    expect(cookies).toHaveLength(1);
    expect(cookies[0]).toContain("Max-Age=0");
  });

  test("is not undone by a request under way that writes, touches or reads on", async () => {
    for (const use of [
      (session: Session) => session.set("a", 2),
      (session: Session) => session.touch(),
      (session: Session) => session.flash("notice", 1),
      (session: Session) => session.setTimeouts({ idle: 99 }),
      (session: Session) => session.regenerate(),
      (session: Session) => session.create(),
    ]) {
      const { store, records } = openStore();
      const init = { headers: { Cookie: cookieOf(await visitor({ store })((session) => session.set("a", 1))) } };
      const { response, cookies } = await visitor({ store })(async (session) => {
        await session.get("a");
        await use(session);
        await visitor({ store })((other) => other.destroy(), init);
      }, init);
      expect([response.status, cookies, records.size]).toEqual([200, [], 0]);
    }
  });
});

test("destroy() tries again when Workers KV takes no second write of a key within a second", async () => {
  const clock = fakeClock();
  const namespace = kvSimulator({ now: clock.now }).at("here");
  let puts = 0;
  const store = cloudflareKvStore({
    get: (key, options) => namespace.get(key, options),
    delete: (key) => namespace.delete(key),
    put: async (key, value, options) => {
      // Time passes while the library waits.
      if (++puts === 3) clock.advance(1);
      await namespace.put(key, value, options);
    },
  });
  const visit = visitor({ store, now: clock.now });
  await visit((session) => session.set("n", 1));
  const { cookies } = await visit((session) => session.destroy());
  expect(cookies[0]).toContain("Max-Age=0");
  expect(puts).toBe(3);
});

describe("what is recorded after destroy()", () => {
  test("is under another id than the one that id() has told before", async () => {
    await visitor()(async (session) => {
      session.set("n", 1);
      const told = await session.id();
      await session.destroy();
      session.set("n", 2);
      expect(await session.id()).not.toBe(told);
    });
  });

  test("takes nothing along that was read, changed in place or shown before", async () => {
    const visit = visitor();
    await visit((session) => {
      session.set("list", [1]);
      session.flash("notice", "hello");
    });
    await visit(async (session) => {
      const list = await session.get("list");
      expect(await session.get("notice")).toBe("hello");
      await session.destroy();
      list.push(2);
      expect(await session.get("list")).toBeUndefined();
      expect(await session.get("notice")).toBeUndefined();
      session.set("n", 1);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 1 });
  });
});

test("destroy() rejects with ERR_AMBIGUOUS_COOKIE when the request carries two sessions, and both live on", async () => {
  const { store, records } = openStore();
  const cookies = await Promise.all(
    [1, 2].map(async (n) => cookieOf(await visitor({ store })((session) => session.set("n", n)))),
  );
  const { result } = await visitor({ store })((session) => codeOf(() => session.destroy()), {
    headers: { Cookie: cookies.join("; ") },
  });
  expect([result, records.size]).toEqual(["ERR_AMBIGUOUS_COOKIE", 2]);
});

describe("what destroy() has to end", () => {
  const MADE_UP = "a".repeat(32);

  test.each([
    ["unknown", {}, MADE_UP, ["load"]],
    ["malformed", {}, "a", []],
    ["forged", { ids: signedIds({ secrets: ["a secret of at least thirty-two bytes"] }) }, MADE_UP, []],
  ] as [string, SessionOptions, string, string[]][])(
    "is nothing when the id that was presented is %s, and nothing is reported as destroyed",
    async (reason, options, id, expected) => {
      const { store, calls } = counted(openStore().store);
      const events: SessionEvent[] = [];
      const { cookies } = await visitor({ store, onEvent: (event) => events.push(event), ...options })(
        async (session) => {
          await session.get("n");
          await session.destroy();
        },
        { headers: { Cookie: `__Host-session=${id}` } },
      );
      expect(calls).toEqual(expected);
      expect(bare(events)).toEqual([{ type: "rejected", reason }]);
      expect(idIn(cookies)).toBeNull();
    },
  );

  test("is the session alone when it was to get a new id, also if id() has told that one", async () => {
    const { store, calls } = counted(openStore().store);
    const visit = visitor({ store });
    await visit((session) => session.set("n", 1));
    calls.length = 0;
    await visit(async (session) => {
      await session.regenerate();
      await session.id();
      await session.destroy();
    });
    expect(calls).toEqual(["load", "delete"]);
  });

  test("is the session that this request has begun in place of an unknown one", async () => {
    const { store, records } = openStore();
    const events: SessionEvent[] = [];
    await visitor({ store, onEvent: (event) => events.push(event) })(
      async (session) => {
        session.set("n", 1);
        await session.save();
        await session.destroy();
      },
      { headers: { Cookie: `__Host-session=${MADE_UP}` } },
    );
    expect(records.size).toBe(0);
    expect(events.map(({ type }) => type)).toEqual(["rejected", "created", "destroyed"]);
  });

  test("is the record of an expired session, which the store still has", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const visit = visitor({ store, now: clock.now, idleTimeout: 60 });
    await visit((session) => session.set("n", 1));
    clock.advance(60);
    await visit(async (session) => {
      await session.get("n");
      await session.destroy();
    });
    expect(records.size).toBe(0);
  });

  test("is a session that this request has perhaps begun: the store did not say", async () => {
    const { store: inner, records } = openStore();
    const store = faultyStore(inner);
    const { cookies } = await visitor({ store })(async (session) => {
      session.set("n", 1);
      store.plan({ save: ["does it but rejects"] });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      expect(records.size).toBe(1);
      await session.destroy();
    });
    expect([records.size, idIn(cookies)]).toEqual([0, null]);
  });
});
