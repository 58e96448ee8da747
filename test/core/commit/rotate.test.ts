import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  memoryStore,
  type Plugin,
  type Session,
  SessionError,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  withSession,
} from "../../../mod.ts";
import { cookieSessions } from "../../../src/cookie_sessions.ts";
import { csrfToken } from "../../../src/csrf.ts";
import { signedIds } from "../../../src/signed_ids.ts";
import { cookieJar, fakeClock, faultyStore } from "../../../src/testing.ts";
import {
  altered,
  bare,
  codeOf,
  cookieOf,
  counted,
  idIn,
  keyOf,
  kindOf,
  living,
  openStore,
  type SaveKind,
  SHOP,
  visitor,
} from "../../setup/sessions.ts";

interface Numbers {
  n?: number;
  other?: number;
}

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

  test("gives each login its own instant, also if several come in one millisecond", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.set("a", 1));
    const login = async (): Promise<unknown> => {
      await visit((session) => session.regenerate({ reauthenticated: true }));
      return (await visit((session) => session.info())).result.authenticatedAt;
    };
    const now = clock.now();
    expect([await login(), await login(), await login()]).toEqual([now, now + 1, now + 2]);
    // The clock of another server may have been ahead: by less than a second, or by so much that it is not followed.
    clock.advance(-0.5);
    expect(await login()).toBe(now + 3);
    clock.advance(-0.497);
    expect(await login()).toBe(now - 997);
    clock.advance(-60);
    expect(await login()).toBe(now - 60_997);
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

  test("puts the old id back although a plugin wraps only the methods that each repository has", async () => {
    const { store, records } = openStore();
    const plugin: Plugin = {
      name: "six",
      wrap: (next) => ({
        open: (token, op) => next.open(token, op),
        refresh: (current, op) => next.refresh(current, op),
        create: (id, contents, op, replaces) => next.create(id, contents, op, replaces),
        update: (current, contents, op) => next.update(current, contents, op),
        retire: (current, successor, graceUntil, op) => next.retire(current, successor, graceUntil, op),
        end: (session, op) => next.end(session, op),
      }),
    };
    const jar = cookieJar();
    const visit = visitor({ store, plugins: [plugin] }, { jar });
    await visit((session) => session.set("user", "ada"));
    const failing = visit(async (session) => {
      await session.regenerate();
      await session.save();
      throw new Error("The handler fails");
    });
    await expect(failing).rejects.toThrow("The handler fails");
    expect((await visit((session) => session.get("user"))).result).toBe("ada");
    expect(living(records)).toHaveLength(1);
  });

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
    // The library makes no touch to find out what was stored, because the store has said that it stored nothing.
    expect(calls).not.toContain("touch");
    refuses = false;
    expect((await visit((session) => session.get("a"))).result).toBe(1);
  });

  test("ends nothing when the store refuses the new record for what it is", async () => {
    let refuses = false;
    const store = altered(memoryStore(), {
      create(create, ...args) {
        if (refuses) throw new SessionError("ERR_RECORD_TOO_LARGE", "Cannot store the session: it is too large");
        return create(...args);
      },
    });
    const { store: watched, calls } = counted(store);
    const visit = visitor({ store: watched });
    await visit((session) => session.set("a", 1));
    refuses = true;
    calls.length = 0;
    expect(await codeOf(() => visit((session) => session.regenerate()))).toBe("ERR_RECORD_TOO_LARGE");
    expect(calls).toEqual(["load", "create"]);
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
    // The successor is gone; no client has received its id.
    expect([...records.keys()]).toEqual([keyOf(idIn(cookies) ?? "")]);
  });
});

describe("a rotation that other requests overtake", () => {
  test("keeps the id that it has made known, also if the store fails when its first successor is ended", async () => {
    let failures = 0;
    const store = altered(openStore().store, {
      delete: async (remove, ...args) => {
        if (failures-- > 0) throw new Error("down");
        return await remove(...args);
      },
    });
    const headers = { Cookie: cookieOf(await visitor({ store })((session) => session.set("n", 1))) };
    const { result, cookies } = await visitor({ store })(
      async (session) => {
        await session.regenerate();
        const id = await session.id();
        await visitor({ store })((other) => other.regenerate({ grace: 60 }), { headers });
        failures = 3;
        expect(await codeOf(() => session.save())).toBe("ERR_STORE");
        return id;
      },
      { headers },
    );
    expect(idIn(cookies)).toBe(result);
  });

  /**
   * A session before a rotation. `interfere` is called before each `save` of the store, with its kind, its key, and a function that changes a
   * record.
   */
  async function overtaken(options: SessionOptions<Numbers> = {}) {
    const { store: inner, records } = openStore();
    const faulty = faultyStore(inner);
    let interfere: (kind: SaveKind, key: string) => unknown = () => {};
    const store: SessionStore = {
      ...faulty,
      async save(key, write, signal) {
        await interfere(kindOf(write), key);
        return await faulty.save(key, write, signal);
      },
    };
    const events: SessionEvent[] = [];
    const manager = new SessionManager<Numbers>({ store, onEvent: (event) => events.push(event), ...options });
    const session = manager.open("");
    session.set("n", 0);
    const old = await session.create();
    await session.save();
    events.length = 0;
    const find = (id: unknown): Session<Numbers> =>
      new SessionManager<Numbers>({ store: inner, now: options.now ?? Date.now }).open(String(id));
    const elsewhere = async (now: () => number = Date.now): Promise<void> => {
      const other = new SessionManager<Numbers>({ store: inner, now }).open(String(old));
      await other.update("other", (count = 0) => count + 1);
      other.touch();
      await other.save();
    };
    return {
      session,
      old,
      find,
      elsewhere,
      records,
      faulty,
      events,
      oldKey: keyOf(String(old)),
      meddle: (by: typeof interfere) => (interfere = by),
    };
  }

  test("takes along what each of them has stored, and counts its attempts", async () => {
    const { session, find, elsewhere, events, oldKey, meddle } = await overtaken();
    await session.regenerate();
    let times = 0;
    meddle(async (kind, key) => {
      if (kind === "change" && key === oldKey && times++ < 2) await elsewhere();
    });
    await session.save();
    expect({ ...(await find(await session.id()).all()) }).toEqual({ n: 0, other: 2 });
    expect(bare(events)).toEqual([
      { type: "conflict", attempts: 1 },
      { type: "conflict", attempts: 2 },
      { type: "regenerated" },
    ]);
  });

  test("takes it along although the client of the store sends each write twice", async () => {
    const { session, old, find, elsewhere, records, faulty } = await overtaken();
    await session.regenerate();
    await elsewhere();
    faulty.plan({ save: "does it twice" });
    await session.save();
    faulty.plan({});
    expect({ ...(await find(await session.id()).all()) }).toEqual({ n: 0, other: 1 });
    expect(await find(old).get("n")).toBeUndefined();
    expect(living(records)).toHaveLength(1);
  });

  test("takes it along although the new session has got another version since it was stored", async () => {
    const { session, find, elsewhere, records, oldKey, meddle } = await overtaken();
    await session.regenerate();
    await elsewhere();
    let times = 0;
    meddle((kind, key) => {
      if (kind === "change" && key !== oldKey && times++ === 0)
        records.set(key, { ...records.get(key)!, version: "another" });
    });
    await session.save();
    expect(times).toBe(2);
    expect({ ...(await find(await session.id()).all()) }).toEqual({ n: 0, other: 1 });
  });

  test("leaves the new session as young as they have seen it, on a server whose clock is behind", async () => {
    const clock = fakeClock();
    const { session, find, elsewhere } = await overtaken({ now: clock.now });
    await session.regenerate();
    const ahead = clock.now() + 100_000;
    await elsewhere(() => ahead);
    await session.save();
    expect((await find(await session.id()).info()).lastSeenAt).toBe(ahead);
  });

  test("leaves the old id alone alive when what they have stored cannot be loaded", async () => {
    const { session, old, find, elsewhere, records, faulty } = await overtaken();
    await session.regenerate();
    await elsewhere();
    // The retirement conflicts. The first load tells that the conflicting write was not the library's own; the second
    // load, of the newest state, fails.
    faulty.plan({ load: ["none", "rejects"] });
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    expect(records.size).toBe(1);
    expect(await find(old).get("other")).toBe(1);
  });

  test.each([true, false])("goes on under the new id when the last answer is missing (retired: %s)", async (done) => {
    const { session, old, find, elsewhere, records, faulty } = await overtaken();
    await session.regenerate();
    await elsewhere();
    // The library creates the successor, the retirement conflicts, and the library adds the other change to the
    // successor. Then the store fails.
    faulty.plan({
      save: ["none", "none", "none", done ? "does it but rejects" : "rejects", "rejects"],
      load: ["none", "none", "rejects"],
    });
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    faulty.plan({});
    await session.save();
    expect({ ...(await find(await session.id()).all()) }).toEqual({ n: 0, other: 1 });
    expect(await find(old).get("n")).toBeUndefined();
    expect(living(records)).toHaveLength(1);
  });

  test("is gone when the new session was ended meanwhile", async () => {
    const { session, old, find, elsewhere, records, oldKey, meddle } = await overtaken();
    await session.regenerate();
    await elsewhere();
    meddle((_kind, key) => {
      if (records.size === 2 && key !== oldKey)
        for (const each of records.keys()) if (each !== oldKey) records.delete(each);
    });
    expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
    expect([records.size, await find(old).get("other")]).toEqual([1, 1]);
  });

  test("is gone when the session was ended meanwhile, and id() stays what the client holds", async () => {
    const { session, old, find } = await overtaken();
    await session.regenerate();
    const other = find(old);
    await other.destroy();
    await other.save();
    expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
    expect(await session.id()).toBe(old);
  });

  test("is gone when somebody writes to the new session, whose id nobody was told", async () => {
    const { session, old, find, elsewhere, records, oldKey, meddle } = await overtaken();
    await session.regenerate();
    await elsewhere();
    meddle((_kind, key) => {
      const record = records.get(key);
      if (key !== oldKey && record !== undefined) records.set(key, { ...record, version: -Number(record.version) });
    });
    expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
    expect(await find(old).get("other")).toBe(1);
    expect(records.size).toBe(1);
  });

  /** A session whose rotation got no answer and was not done. Another request has changed it since. */
  async function doubtful(isTold: boolean) {
    const all = await overtaken();
    const { session, faulty, elsewhere } = all;
    await session.regenerate();
    const promised = isTold ? await session.id() : undefined;
    faulty.plan({ save: ["none", "rejects", "rejects"], load: "rejects" });
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    faulty.plan({});
    await elsewhere();
    return { ...all, promised };
  }

  test.each([true, false])(
    "begins anew after an attempt without an answer, under the id that was told (%s)",
    async (isTold) => {
      const { session, old, find, records, promised } = await doubtful(isTold);
      await session.save();
      const id = await session.id();
      if (isTold) expect(id).toBe(promised);
      expect({ ...(await find(id).all()) }).toEqual({ n: 0, other: 1 });
      expect(await find(old).get("n")).toBeUndefined();
      expect(records.size).toBe(2);
    },
  );

  test("ends the successor of that attempt by a second try when the first one fails", async () => {
    const { session, faulty, records } = await doubtful(false);
    faulty.plan({ delete: ["rejects"] });
    await session.save();
    // The retired record and the new one.
    expect(records.size).toBe(2);
  });

  test("stores no update() that failed after it", async () => {
    const { session, find, faulty } = await overtaken();
    await session.regenerate();
    faulty.plan({ save: ["none", "rejects", "rejects"], load: "rejects" });
    expect(await codeOf(() => session.update("n", (n = 0) => n + 1))).toBe("ERR_STORE");
    // Now the old id is retired, and the write of the change gets no answer.
    faulty.plan({ save: ["none", "rejects"] });
    expect(await codeOf(() => session.update("n", (n = 0) => n + 10))).toBe("ERR_STORE");
    faulty.plan({});
    await session.save();
    // The first one went with the session to its new id, before the store gave no answer.
    expect(await find(await session.id()).get("n")).toBe(1);
  });

  test("is reported once it is found out that it was done", async () => {
    const { session, faulty, events } = await overtaken();
    await session.regenerate();
    faulty.plan({ save: ["none", "does it but rejects", "rejects"], load: "rejects" });
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    faulty.plan({});
    await session.save();
    expect(bare(events).map((event) => Object(event).type)).toEqual(["failed", "regenerated"]);
  });

  test("lets the next rotation have any id when the handler was told that of the last one, also after a refusal", async () => {
    const ids = ["a", "b", "b", "c"].map((letter) => letter.repeat(32));
    const schema = z.object({ n: z.number().max(10).optional() }) as z.ZodType<Numbers>;
    const { session, faulty } = await overtaken({ generateId: () => ids.shift() ?? "", schema });
    await session.regenerate();
    expect(await session.id()).toBe("b".repeat(32));
    faulty.plan({ save: ["none", "does it but rejects", "rejects"], load: "rejects" });
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    faulty.plan({});
    session.set("n", 11);
    expect(await codeOf(() => session.save())).toBe("ERR_SCHEMA");
    session.set("n", 1);
    await session.regenerate();
    await session.save();
    expect(await session.id()).toBe("c".repeat(32));
  });
});

test("a rotation that failed is not tried again after the response, which has told the client nothing of it", async () => {
  const { store: inner, records } = openStore();
  const faulty = faultyStore(inner);
  const jar = cookieJar();
  const visit = visitor({ store: faulty, onStoreError: "anonymous" }, { jar });
  await visit((session) => session.set("n", 1));
  const before = jar.header(SHOP);
  let kept: Session | undefined;
  await visit(async (session) => {
    await session.regenerate();
    faulty.plan({ save: ["rejects"] });
    kept = session;
  });
  // The id, too, stays the one that the client holds.
  expect(`__Host-session=${await kept?.id()}`).toBe(before);
  expect(await codeOf(() => kept?.save())).toBe("ERR_RESPONSE_SENT");
  expect([jar.header(SHOP), records.size]).toEqual([before, 1]);
  expect((await visit((session) => session.get("n"))).result).toBe(1);
});

describe("rotateEvery", () => {
  test.each([
    ["set", (session: Session, key: string): unknown => session.set(key, 1)],
    ["update", (session: Session, key: string): unknown => session.update(key, () => 1)],
  ] as const)(
    "keeps what %s() changes in each of two requests that overlap and would both give a new id",
    async (_how, change) => {
      const clock = fakeClock();
      const { store, records } = openStore();
      const options = { store, now: clock.now, rotateEvery: 600 };
      const old = { headers: { Cookie: cookieOf(await visitor(options)((session) => session.set("n", 1))) } };
      clock.advance(600);
      const { result, cookies } = await visitor(options)(async (session) => {
        await session.get("n");
        const other = await visitor(options)((same) => change(same, "a"), old);
        await change(session, "b");
        return idIn(other.cookies);
      }, old);
      expect(idIn(cookies)).toBe(result);
      const again = { headers: { Cookie: cookieOf({ cookies }) } };
      expect({ ...(await visitor(options)((session) => session.all(), again)).result }).toEqual({ n: 1, a: 1, b: 1 });
      expect(living(records)).toHaveLength(1);
    },
  );

  test.each([
    ["a store", { n: 1, a: 1, b: 1 }, () => openStore().store],
    [
      "cookieSessions()",
      { n: 1, b: 1 },
      () => cookieSessions({ secrets: ["a secret of at least thirty-two bytes"], revocation: openStore().store }),
    ],
  ])(
    "keeps what a request changes that made a token for its forms, when another renewed the id first: %s",
    async (...args) => {
      const [, expected, open] = args;
      const clock = fakeClock();
      const options = { store: open(), now: clock.now, rotateEvery: 600 };
      const old = { headers: { Cookie: cookieOf(await visitor(options)((session) => session.set("n", 1))) } };
      clock.advance(600);
      const { cookies } = await visitor(options)(async (session) => {
        await csrfToken(session);
        await visitor(options)((same) => same.set("a", 1), old);
        session.set("b", 1);
      }, old);
      const again = { headers: { Cookie: cookieOf({ cookies }) } };
      expect({ ...(await visitor(options)((session) => session.all(), again)).result }).toEqual(expected);
    },
  );

  test("lets the old id lead to the session until the client has used the new one, and no longer", async () => {
    const clock = fakeClock();
    const jar = cookieJar();
    const options = { store: memoryStore(), now: clock.now, rotateEvery: 600 };
    const visit = visitor(options, { jar });
    const old = { headers: { Cookie: cookieOf(await visit((session) => session.set("n", 1))) } };
    clock.advance(600);
    // The response of this request is lost.
    const lost = await visitor(options)((session) => session.get("n"), old);
    expect(idIn(lost.cookies)).not.toBeNull();
    clock.advance(3000);
    const late = await visit((session) => session.get("n"), old);
    expect([late.result, idIn(late.cookies)]).toEqual([1, idIn(lost.cookies)]);
    expect((await visit((session) => session.get("n"))).result).toBe(1);
    clock.advance(61);
    expect((await visitor(options)((session) => session.get("n"), old)).result).toBeUndefined();
    expect((await visit((session) => session.get("n"))).result).toBe(1);
  });

  test.each([
    { waits: "handler", result: 2 },
    { waits: "client", result: "reuse" },
  ])("leaves the browser its new id when a $waits with the old one takes long", async ({ waits, result }) => {
    const clock = fakeClock();
    const options = { store: memoryStore(), now: clock.now, rotateEvery: 600 };
    const visit = visitor(options);
    const old = { headers: { Cookie: cookieOf(await visit((session) => session.set("n", 1))) } };
    clock.advance(600);
    const { promise: uploaded, resolve } = Promise.withResolvers<void>();
    const upload = async () =>
      visitor(options)(async (session) => {
        await uploaded;
        const { ended } = await session.info();
        return ended ?? (await session.update("n", (n = 0) => n + 1));
      }, old);
    const uploading = waits === "handler" ? upload() : uploaded.then(upload);
    const newest = idIn((await visit((session) => session.get("n"))).cookies);
    await visit((session) => session.get("n"));
    clock.advance(61);
    resolve();
    const answer = await uploading;
    expect([answer.result, idIn(answer.cookies)]).toEqual([result, waits === "handler" ? newest : null]);
    expect((await visit((session) => session.get("n"))).result).toBe(waits === "handler" ? 2 : 1);
  });
});

describe("the successor of a rotation that the store refuses", () => {
  /** A session whose old id cannot be retired, because the record would be too large. */
  async function refused(options: SessionOptions<Numbers> = {}) {
    const { store: inner, records } = openStore();
    const faulty = faultyStore(inner);
    let refuses = false;
    const store = altered(faulty, {
      change: (change, ...args) => {
        if (refuses) throw new SessionError("ERR_RECORD_TOO_LARGE", "Cannot store the session: it is too large");
        return change(...args);
      },
    });
    const sessions = new SessionManager<Numbers>({ store, ...options });
    const session = sessions.open("");
    session.set("n", 0);
    await session.save();
    await session.regenerate();
    refuses = true;
    return { session, faulty, records, accept: () => (refuses = false) };
  }

  test("is ended by a second try when the first one fails", async () => {
    const { session, faulty, records } = await refused();
    faulty.plan({ delete: ["rejects"] });
    expect(await codeOf(() => session.save())).toBe("ERR_RECORD_TOO_LARGE");
    expect(records.size).toBe(1);
  });

  test("is left when the second try fails as well, and the first failure is the one that is told", async () => {
    const { session, faulty, records, accept } = await refused();
    faulty.plan({ delete: "rejects" });
    expect(await codeOf(() => session.save())).toBe("ERR_RECORD_TOO_LARGE");
    expect([faulty.calls.delete, records.size]).toEqual([2, 2]);
    faulty.plan({});
    accept();
    await session.save();
    // The next commit has ended the unused successor, so only the retired record and the new one are left.
    expect(records.size).toBe(2);
  });

  test.each(["it is refused", "it may have been created"])("is ended where ids are signed: %s", async (case_) => {
    const ids = signedIds({ secrets: ["a secret of at least thirty-two bytes"] });
    const { session, faulty, records, accept } = await refused({ ids });
    if (case_ === "it may have been created") {
      accept();
      faulty.plan({ save: ["does it but rejects"] });
    }
    await expect(session.save()).rejects.toThrow(SessionError);
    expect(records.size).toBe(1);
  });

  test.each([false, true])("has the id that the handler was told, at the next attempt (told: %s)", async (isTold) => {
    const { session, records, accept } = await refused();
    const promised = isTold ? await session.id() : undefined;
    expect(await codeOf(() => session.save())).toBe("ERR_RECORD_TOO_LARGE");
    accept();
    await session.regenerate();
    await session.save();
    const renewed = await session.id();
    if (isTold) expect(renewed).toBe(promised);
    expect(records.has(keyOf(String(renewed)))).toBe(true);
  });

  test("is not looked for when it was not created, whatever the handler was told", async () => {
    const { session, faulty, records, accept } = await refused();
    accept();
    const promised = await session.id();
    faulty.plan({ save: ["rejects"] });
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    expect(records.size).toBe(1);
    const { load } = faulty.calls;
    await session.save();
    expect(faulty.calls.load).toBe(load);
    expect(await session.id()).toBe(promised);
  });
});
