import { afterEach, describe, expect, test, vi } from "vitest";
import {
  memoryStore,
  type Session,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  type UntypedData,
  withSession,
} from "../../mod.ts";
import { type UserSessions, userSessions, type UserSessionsOptions } from "../../src/user_sessions.ts";
import { fakeClock, faultyStore } from "../../src/testing.ts";
import { altered, codeOf, counted, FAKED, gate, keyOf, openStore, SHOP, soonest } from "../setup/sessions.ts";
import { ADA, entriesOf, isPage } from "./devices.ts";
import { factsIn, pageKey, unlisted } from "./invariant.ts";

interface Program {
  readonly users: UserSessions;
  readonly sessions: SessionManager<UntypedData>;
  readonly logIn: (metadata?: unknown) => Promise<string>;
}

function program(options: SessionOptions<UntypedData>, about: UserSessionsOptions = {}): Program {
  const users = userSessions(about);
  const sessions = new SessionManager<UntypedData>({ ...options, plugins: [users] });
  return {
    users,
    sessions,
    async logIn(metadata) {
      const session = sessions.open("");
      await users.bind(session, ADA, metadata);
      await session.save();
      return String(await session.id());
    },
  };
}

function down(): never {
  throw new Error("down");
}

test("revokeAll() fails only when no session can be ended by it any more", async () => {
  const inner = memoryStore();
  const { opened, open } = gate();
  let failing: string | undefined;
  let slow: string | undefined;
  const store: SessionStore = {
    ...inner,
    load: (key) => {
      if (key === failing) throw new Error("down");
      return key === slow ? opened.then(() => inner.load(key)) : inner.load(key);
    },
  };
  const { users, sessions, logIn } = program({ store });
  const [first, second] = [await logIn(), await logIn()];
  failing = keyOf(first);
  slow = keyOf(second);
  const revoking = codeOf(() => users.revokeAll(ADA));
  expect(await soonest(revoking)).toBe("is pending");
  open();
  expect(await revoking).toBe("ERR_STORE");
  slow = undefined;
  expect(await users.handle(sessions.open(second))).toBeNull();
});

describe("answers of a store that have no meaning", () => {
  const answers: readonly unknown[] = [null, {}, "ok", "OK", undefined, true, [], "wrong type"];

  test.each(answers.map((answer) => ({ answer })))(
    "save() that answers $answer counts for no success",
    async ({ answer }) => {
      let lies = false;
      const inner = memoryStore();
      const store: SessionStore = {
        ...inner,
        save: (key, write) => (lies ? (answer as never) : inner.save(key, write)),
      };
      const { users, sessions, logIn } = program({ store });
      const id = await logIn();
      lies = true;
      const isString = typeof answer === "string" && !/^ok$/i.test(answer);
      if (!isString) {
        expect(await codeOf(() => users.revokeAll(ADA))).toBe("ERR_STORE");
        expect(await codeOf(() => logIn())).toBe("ERR_STORE");
      }
      lies = false;
      expect(await users.handle(sessions.open(id))).not.toBeNull();
      expect(await users.revokeAll(ADA)).toBe(1);
      expect(await users.handle(sessions.open(id))).toBeNull();
    },
  );

  test("load() of a list that answers no record, and delete() of one, are failures", async () => {
    const store = faultyStore(memoryStore());
    const { users, sessions, logIn } = program({ store });
    const id = await logIn();
    for (const call of [() => users.revokeAll(ADA), () => users.list(ADA), () => logIn()]) {
      store.plan({ load: ["wrong type"] });
      expect(await codeOf(call)).toBe("ERR_STORE");
    }
    store.plan({ delete: "wrong type" });
    expect(await codeOf(() => users.revokeAll(ADA))).toBe("ERR_STORE");
    store.plan({});
    expect(await users.handle(sessions.open(id))).toBeNull();
  });
});

describe("one time limit for one operation", () => {
  afterEach(() => void vi.useRealTimers());

  test("revokeAll() under endless contention on the list gives up with ERR_CONFLICT", async () => {
    const { store: inner, records } = openStore();
    const store = altered(inner, {
      // Another writer is always first.
      save: (save, key, write) => (isPage(records.get(key) ?? { fields: new Map() }) ? "conflict" : save(key, write)),
      delete: (remove, key, version) =>
        isPage(records.get(key) ?? { fields: new Map() }) ? "conflict" : remove(key, version),
    });
    const { users, logIn } = program({ store, storeTimeout: 0.3 });
    await logIn();
    // On the real clock, because the pause after a conflict depends on the duration of the attempt. Without a time limit, the operation
    // would never end.
    expect(await codeOf(() => users.revokeAll(ADA))).toBe("ERR_CONFLICT");
  });

  test("revoke() under endless contention on the session gives up, also on a store that answers at once", async () => {
    const inner = memoryStore();
    let isBusy = false;
    const store: SessionStore = {
      ...inner,
      save: (key, write) => (isBusy && write.record.fields.size === 0 ? "conflict" : inner.save(key, write)),
    };
    const { users, sessions, logIn } = program({ store, storeTimeout: 0.2 });
    const id = await logIn();
    const handle = String(await users.handle(sessions.open(id)));
    isBusy = true;
    expect(await codeOf(() => users.revoke(handle))).toBe("ERR_CONFLICT");
    isBusy = false;
    expect(await users.revoke(handle)).toBe(true);
  });

  test("bind() under endless contention on the list gives up, and nobody is logged in", async () => {
    const inner = memoryStore();
    const store: SessionStore = {
      ...inner,
      save: (key, write) => (isPage(write.record) ? "conflict" : inner.save(key, write)),
    };
    const { users, logIn } = program({ store, storeTimeout: 0.2 });
    expect(await codeOf(() => logIn())).toBe("ERR_CONFLICT");
    expect(await users.list(ADA)).toEqual([]);
  });

  test("bind() is tried again after a conflict, although the list could not be changed back", async () => {
    const { store: inner } = openStore();
    const done: string[] = [];
    const store = altered(inner, {
      save: (save, key, write) => {
        if (isPage(write.record) || !write.record.fields.has("=n") || done.length > 0) return save(key, write);
        done.push("conflict");
        return "conflict";
      },
      load: (load, key) => {
        if (done.length !== 1) return load(key);
        done.push("failure");
        return Promise.reject(new Error("Down"));
      },
    });
    const { users, sessions } = program({ store });
    const session = sessions.open("");
    await session.create();
    await session.save();
    session.set("n", 1);
    await users.bind(session, ADA);
    await session.save();
    expect(done).toEqual(["conflict", "failure"]);
    expect(await session.get("n")).toBe(1);
    expect(await users.list(ADA)).toHaveLength(1);
  });

  test("bind() on a store that hangs after a conflict ends with ERR_STORE_TIMEOUT", async () => {
    const { store: inner } = openStore();
    let isOver = false;
    const store = altered(inner, {
      save: (save, key, write) => {
        isOver ||= !isPage(write.record) && write.record.fields.has("=n");
        return isOver ? "conflict" : save(key, write);
      },
      load: (load, key) => (isOver ? new Promise(() => {}) : load(key)),
    });
    const { users, sessions } = program({ store, storeTimeout: 0.2 });
    const session = sessions.open("");
    await session.create();
    await session.save();
    vi.useFakeTimers(FAKED);
    session.set("n", 1);
    await users.bind(session, ADA);
    const saving = codeOf(() => session.save());
    await vi.advanceTimersByTimeAsync(200);
    expect(await soonest(saving)).toBe("ERR_STORE_TIMEOUT");
  });

  test("revokeAll() on a store that hangs in the middle ends with ERR_STORE_TIMEOUT, once", async () => {
    const store = faultyStore(memoryStore());
    const { users, logIn } = program({ store, storeTimeout: 0.2 });
    for (let n = 0; n < 5; n++) await logIn(n);
    store.plan({ save: ["none", "none", "hangs"] });
    vi.useFakeTimers(FAKED);
    const revoking = codeOf(() => users.revokeAll(ADA));
    await vi.advanceTimersByTimeAsync(200);
    expect(await soonest(revoking)).toBe("ERR_STORE_TIMEOUT");
    vi.useRealTimers();
    store.plan({});
    await users.revokeAll(ADA);
    expect(await users.list(ADA)).toEqual([]);
  });
});

describe("crashes", () => {
  test("list() hides what a crash between the two writes left, and forgets it later", async () => {
    const clock = fakeClock();
    const store = faultyStore(memoryStore());
    const { users, logIn } = program({ store, now: clock.now });
    store.plan({ save: ["none", "rejects"] });
    expect(await codeOf(() => logIn("never stored"))).toBe("ERR_STORE");
    store.plan({});
    expect(await users.list(ADA)).toEqual([]);
    // The session may still be stored, so its entry stays in the list for now.
    expect(store.calls.save + store.calls.delete).toBe(0);
    clock.advance(1199);
    await users.list(ADA);
    expect(store.calls.save + store.calls.delete).toBe(0);
    clock.advance(1);
    await users.list(ADA);
    expect(store.calls.save + store.calls.delete).toBe(1);
  });

  test.each([
    ["strong", true],
    ["strong", false],
    ["eventual", true],
  ] as const)(
    "revokeAll() looks once for a session that never came, where no place hides a write: %s, compares: %s",
    async (consistency, compareAndSet) => {
      const inner = memoryStore();
      const store = faultyStore({ ...inner, traits: { ...inner.traits, consistency, compareAndSet } });
      const { users, logIn } = program({ store });
      store.plan({ save: ["none", "rejects"] });
      expect(await codeOf(() => logIn("never stored"))).toBe("ERR_STORE");
      store.plan({});
      expect(await users.revokeAll(ADA)).toBe(0);
      expect(store.calls).toEqual({ load: 2, save: 0, delete: 0 });
    },
  );

  test("revokeAll() reaches a session whose login was answered with an error", async () => {
    const store = faultyStore(memoryStore());
    const { users, logIn } = program({ store });
    store.plan({ save: ["none", "does it but rejects"] });
    expect(await codeOf(() => logIn())).toBe("ERR_STORE");
    expect(await users.list(ADA)).toHaveLength(1);
    expect(await users.revokeAll(ADA)).toBe(1);
  });

  test("a session whose request fails is put back into the list as well, after a revokeAll() that failed half-way", async () => {
    const { store: inner } = openStore();
    let failsAt = "";
    const store = altered(inner, {
      save: (save, key, write) => (key === failsAt ? Promise.reject(new Error("down")) : save(key, write)),
    });
    const { users, sessions, logIn } = program({ store });
    const id = await logIn();
    const handle = withSession<UntypedData>(async (_request, session) => {
      await session.regenerate();
      await session.save();
      failsAt = keyOf(id);
      expect(await codeOf(() => users.revokeAll(ADA))).toBe("ERR_STORE");
      failsAt = "";
      await users.list(ADA);
      throw new Error("The handler fails");
    }, sessions);
    const request = new Request(SHOP, { headers: { Cookie: `__Host-session=${id}` } });
    await expect(handle(request)).rejects.toThrow("The handler fails");
    expect(await users.handle(sessions.open(id))).not.toBeNull();
    expect(await users.list(ADA)).toHaveLength(1);
    expect(await users.revokeAll(ADA)).toBe(1);
    expect(await users.handle(sessions.open(id))).toBeNull();
  });

  test("a session that returns to a value of an index is listed before it is stored, although the list has an old entry of it", async () => {
    const clock = fakeClock();
    const { store: inner } = openStore();
    const about: UserSessionsOptions = { indexes: { sid: ({ sid }) => sid } };
    const { users, sessions, logIn } = program({ store: inner, now: clock.now }, about);
    const id = await logIn({ sid: "one" });
    let leaves = true;
    const store = altered(inner, {
      save: async (save, key, write) => {
        // Another request reads the list right before the session is stored.
        if (key === keyOf(id) && !leaves) expect(await users.revokeBy("sid", "one")).toBe(0);
        return await save(key, write);
      },
      delete: (remove, ...args) => (leaves ? Promise.reject(new Error("down")) : remove(...args)),
    });
    const other = program({ store, now: clock.now }, about);
    for (const sid of ["two", "one"]) {
      clock.advance(3600);
      const session = other.sessions.open(id);
      await other.users.bind(session, ADA, { sid });
      await session.save();
      leaves = false;
    }
    expect(await users.revokeBy("sid", "one")).toBe(1);
    expect(await users.handle(sessions.open(id))).toBeNull();
  });

  test.each([0, 3600])(
    "of two bind() with other values of an index, the first takes no entry from the second, %d s after the login",
    async (later) => {
      const clock = fakeClock();
      const { store: inner } = openStore();
      const about: UserSessionsOptions = { indexes: { sid: ({ sid }) => sid } };
      const { users, sessions, logIn } = program({ store: inner, now: clock.now }, about);
      const id = await logIn({ sid: "one" });
      clock.advance(later);
      const store = altered(inner, {
        change: async (save, key, write) => {
          const answer = await save(key, write);
          if (key !== keyOf(id)) return answer;
          const second = sessions.open(id);
          await users.bind(second, ADA, { sid: "one" });
          await second.save();
          return answer;
        },
      });
      const other = program({ store, now: clock.now }, about);
      const first = other.sessions.open(id);
      await other.users.bind(first, ADA, { sid: "two" });
      await first.save();
      expect(await users.list(ADA)).toMatchObject([{ metadata: { sid: "one" } }]);
      expect(await users.revokeBy("sid", "one")).toBe(1);
      expect(await users.handle(sessions.open(id))).toBeNull();
    },
  );

  test.each([2, 599])(
    "a session that is used right before its end is listed, although a server whose clock is ten minutes ahead lists it %d s later",
    async (takes) => {
      const clock = fakeClock();
      const { store: inner } = openStore();
      const about: SessionOptions<UntypedData> = { idleTimeout: 3600 };
      const ahead = program({ ...about, store: inner, now: () => clock.now() + 600_000 });
      const { users, sessions, logIn } = program({ ...about, store: inner, now: clock.now });
      const id = await logIn();
      const store = altered(inner, {
        save: async (save, key, write) => {
          if (key === keyOf(id)) await ahead.users.list(ADA);
          return await save(key, write);
        },
      });
      const session = program({ ...about, store, now: clock.now }).sessions.open(id);
      clock.advance(3599);
      session.set("n", ((await session.get("n")) ?? 0) + 1);
      clock.advance(takes);
      await session.save();
      expect(await users.list(ADA)).toHaveLength(1);
      expect(await users.revokeAll(ADA)).toBe(1);
      expect(await users.handle(sessions.open(id))).toBeNull();
    },
  );

  test("a write that was sent twice and heard conflict leaves the session listed, also if the process ends then", async () => {
    for (const crashes of [true, false]) {
      const { store: inner, records } = openStore();
      const { users, sessions } = program({ store: inner });
      const first = sessions.open("");
      await first.create();
      await first.save();
      const id = String(await first.id());
      let isDead = false;
      const store = altered(inner, {
        load: (load, key) => (isDead ? Promise.reject(new Error("dead")) : load(key)),
        save: async (save, key, write) => {
          const answer = await save(key, write);
          if (write.expected === null || isPage(write.record)) return answer;
          isDead = crashes;
          return await save(key, write);
        },
        delete: (remove, ...args) => (isDead ? Promise.reject(new Error("dead")) : remove(...args)),
      });
      const other = program({ store });
      const session = other.sessions.open(id);
      await other.users.bind(session, ADA, "twice");
      const saving = session.save();
      if (crashes) await expect(saving).rejects.toThrow();
      else await saving;
      expect(unlisted(records)).toEqual([]);
      expect(await users.list(ADA)).toMatchObject([{ metadata: "twice" }]);
      expect(await users.revokeAll(ADA)).toBe(1);
    }
  });

  test("an overtaken rotation whose process ends leaves no bound successor that no list knows", async () => {
    const { store, records } = openStore();
    const { users, sessions, logIn } = program({ store });
    const id = await logIn();
    let isDead = false;
    const dying: SessionStore = altered(store, {
      load: (load, key) => (isDead ? Promise.reject(new Error("dead")) : load(key)),
      save: async (save, key, write) => {
        if (isDead) throw new Error("dead");
        const answer = await save(key, write);
        // The process ends right after it has stored the successor. Then the other request comes first.
        isDead = factsIn(write.record) !== undefined && write.expected === null;
        return answer;
      },
      delete: (remove, ...args) => (isDead ? Promise.reject(new Error("dead")) : remove(...args)),
    });
    const dead = program({ store: dying });
    const overtaken = dead.sessions.open(id);
    await overtaken.regenerate();
    await expect(overtaken.save()).rejects.toThrow();
    const overtaking = sessions.open(id);
    await overtaking.regenerate();
    await overtaking.save();
    const after = sessions.open(String(await overtaking.id()));
    after.touch();
    await after.save();
    expect([...records.values()].filter((record) => factsIn(record) !== undefined)).toHaveLength(2);
    expect(unlisted(records)).toEqual([]);
    // One device, although two records have its token.
    expect(await users.list(ADA)).toHaveLength(1);
    await users.revokeAll(ADA);
    expect([...records.values()].filter((record) => factsIn(record) !== undefined)).toEqual([]);
  });

  test("a session that is revoked while a failing request has renewed its id is not put back", async () => {
    const { store } = openStore();
    const { users, sessions, logIn } = program({ store });
    const id = await logIn();
    const failing = sessions.start(
      new Request("https://shop.example/", { headers: { Cookie: `__Host-session=${id}` } }),
    );
    await failing.regenerate();
    await failing.save();
    expect(await users.revokeAll(ADA)).toBe(1);
    await sessions.discard(failing);
    expect(await sessions.open(id).info()).toMatchObject({ ended: "revoked" });
    expect(await users.list(ADA)).toEqual([]);
  });

  describe("a session that a failing request has moved to another user and another id, after revokeAll()", () => {
    async function moved() {
      const { store: inner, records } = openStore();
      const { store, calls } = counted(inner);
      const { users, sessions, logIn } = program({ store });
      const id = await logIn();
      const headers = { Cookie: `__Host-session=${id}` };
      const failing = sessions.start(new Request(SHOP, { headers }));
      await failing.regenerate();
      await users.bind(failing, "user-2");
      await failing.save();
      // This user has no sessions any more.
      expect(await users.revokeAll(ADA)).toBe(0);
      return { users, sessions, records, calls, id, failing, renewed: String(await failing.id()) };
    }

    test("is not put back", async () => {
      const { users, sessions, id, failing } = await moved();
      await sessions.discard(failing);
      expect(await sessions.open(id).id()).toBeNull();
      expect(await users.list(ADA)).toEqual([]);
    });

    test("ends when somebody logs out with the old id", async () => {
      const { users, sessions, id, renewed } = await moved();
      expect(await users.list("user-2")).toHaveLength(1);
      const old = sessions.open(id);
      await old.destroy();
      await old.save();
      expect(await sessions.open(renewed).id()).toBeNull();
      expect(await users.list("user-2")).toEqual([]);
    });

    test("keeps its entry until it has ended, and then loses it", async () => {
      const { users, records, calls } = await moved();
      calls.length = 0;
      expect(await users.revokeAll(ADA)).toBe(0);
      expect(calls.filter((call) => call !== "load")).toEqual([]);
      await users.list(ADA);
      expect([...records.values()].filter(isPage)).toHaveLength(2);
      expect(await users.revokeAll("user-2")).toBe(1);
      await users.list(ADA);
      expect([...records.values()].filter(isPage)).toEqual([]);
    });

    test("is looked for at no key that a store has made up, and not for ever", async () => {
      const { users, records, id } = await moved();
      const key = keyOf(id);
      const record = records.get(key)!;
      for (const made of ["../etc", key]) {
        const text = (record.fields.get("@") ?? "").replace(/[0-9a-f]{64}/, made);
        records.set(key, { ...record, fields: new Map(record.fields).set("@", text) });
        expect(await users.list(ADA)).toEqual([]);
      }
    });
  });

  test.each(["another user", "nobody", "another value of the index"] as const)(
    "a session that belongs to %s by now is neither shown nor ended by an entry that could not be removed, which goes later",
    async (whose) => {
      const clock = fakeClock();
      const { store: inner, records } = openStore();
      let isDown = false;
      const store = altered(inner, {
        // The list of the previous user fails once the session has been stored.
        load: (load, key) => (isDown && isPage(records.get(key) ?? { fields: new Map() }) ? down() : load(key)),
        save: async (save, key, write) => {
          const answer = await save(key, write);
          isDown ||= isArmed && !isPage(write.record);
          return answer;
        },
      });
      let isArmed = false;
      const { users, sessions, logIn } = program({ store, now: clock.now }, { indexes: { sid: ({ sid }) => sid } });
      const id = await logIn({ sid: "before" });
      const session = sessions.open(id);
      if (whose === "another user") await users.bind(session, "user-2", {});
      else if (whose === "nobody") await users.unbind(session);
      else await users.bind(session, ADA, { sid: "after" });
      isArmed = true;
      await session.save();
      isArmed = isDown = false;
      const entries = (): number => entriesOf(records).reduce((sum, each) => sum + each, 0);
      const before = entries();
      if (whose !== "another value of the index") {
        expect(await users.list(ADA)).toEqual([]);
        expect(await users.revokeAll(ADA)).toBe(0);
      }
      expect(await users.revokeBy("sid", "before")).toBe(0);
      expect(await sessions.open(id).id()).toBe(id);
      clock.advance(1200);
      await users.list(ADA);
      await users.revokeBy("sid", "before");
      expect(entries()).toBeLessThan(before);
      expect((await users.handle(sessions.open(id))) === null).toBe(whose === "nobody");
    },
  );

  test("a session that is put back because its request failed is listed all the time", async () => {
    const { store, records } = openStore();
    const clock = fakeClock();
    const { users, sessions, logIn } = program({ store, now: clock.now });
    const id = await logIn("phone");
    const failing = sessions.start(
      new Request("https://shop.example/", { headers: { Cookie: `__Host-session=${id}` } }),
    );
    await failing.regenerate();
    await users.bind(failing, "user-2");
    await failing.save();
    expect(await users.list("user-2")).toHaveLength(1);
    // The request takes a long time.
    clock.advance(1200);
    await users.list(ADA);
    await sessions.discard(failing);
    // The failed login takes no place in the list, even before the list is read.
    expect([...records.values()].filter(isPage)).toHaveLength(1);
    expect(unlisted(records)).toEqual([]);
    expect(await users.list(ADA)).toMatchObject([{ metadata: "phone" }]);
    expect(await users.list("user-2")).toEqual([]);
  });

  test.each<[string, (session: Session<UntypedData>, bind: () => Promise<void>) => Promise<unknown>, string[]]>([
    [
      "of a bound session",
      (session) => session.save(),
      // The retired record is put back, and the successor deleted. Then the list is loaded, and the entry of the old id.
      ["load", "change", "delete", "load", "load", "change"],
    ],
    [
      "of a bound session that has changed since",
      async (session) => {
        await session.save();
        await session.update("n", () => 1);
      },
      ["load", "change", "delete", "load", "delete", "load", "load", "change"],
    ],
    [
      "at login",
      async (session, bind) => {
        await bind();
        await session.save();
      },
      // The list of the other user becomes empty.
      ["load", "change", "delete", "load", "delete"],
    ],
  ])("a failed request looks at nothing twice when it takes a rotation back: %s", async (_, use, expected) => {
    const { store: inner, records } = openStore();
    const { store, calls } = counted(inner);
    const { users, sessions, logIn } = program({ store });
    const id = await logIn("phone");
    const failing = sessions.start(
      new Request("https://shop.example/", { headers: { Cookie: `__Host-session=${id}` } }),
    );
    await failing.regenerate();
    await use(failing, () => users.bind(failing, "user-2"));
    calls.length = 0;
    await sessions.discard(failing);
    expect(calls).toEqual(expected);
    expect(unlisted(records)).toEqual([]);
    expect(await users.list(ADA)).toHaveLength(1);
  });

  test("a session that was bound again together with what other requests of the process have stored is spared, and has its handle", async () => {
    const { store } = openStore();
    const { users, sessions, logIn } = program({ store });
    const id = await logIn("before");
    const handle = await users.handle(sessions.open(id));
    const [first, binding, last] = [sessions.open(id), sessions.open(id), sessions.open(id)];
    for (const session of [first, binding, last]) await session.get("user");
    first.set("n", 1);
    await users.bind(binding, ADA, "after");
    last.set("m", 1);
    await Promise.all([first.save(), binding.save(), last.save()]);
    expect(await users.revokeAll(ADA, { except: binding })).toBe(0);
    expect(await users.handle(binding)).toBe(handle);
    expect(await users.list(ADA)).toMatchObject([{ handle, metadata: "after" }]);
    expect(await sessions.open(id).all()).toEqual({ n: 1, m: 1 });
  });

  describe.each(["does it but rejects", "rejects"] as const)("a binding whose write got no answer: %s", (fault) => {
    /** A session that was bound, and the failure of whose write the handler has caught. */
    async function binding(renews: boolean): Promise<Program & { readonly session: Session<UntypedData> }> {
      const store = faultyStore(memoryStore());
      const opened = program({ store });
      const begun = opened.sessions.open("");
      begun.set("user", "ada");
      await begun.save();
      const session = opened.sessions.open(String(await begun.id()));
      if (renews) await session.regenerate({ grace: 60 });
      await opened.users.bind(session, ADA, "phone");
      // The list and, with a new id, its session are stored. The last write gets no answer.
      store.plan({ save: renews ? ["none", "none", fault] : ["none", fault] });
      await session.save().catch(() => {});
      store.plan({});
      return { ...opened, session };
    }

    test.each([false, true])("is spared by revokeAll(), and has its handle. With a new id: %s", async (renews) => {
      const { users, session } = await binding(renews);
      const handle = await users.handle(session);
      expect(await users.revokeAll(ADA, { except: session })).toBe(0);
      await session.save();
      expect(await users.list(ADA)).toMatchObject([{ handle, metadata: "phone" }]);
    });

    test.each([false, true])("is taken back by unbind(). With a new id: %s", async (renews) => {
      const { users, session } = await binding(renews);
      await users.unbind(session);
      await session.save();
      expect(await users.handle(session)).toBeNull();
      expect(await users.list(ADA)).toEqual([]);
      expect(await session.get("user")).toBe("ada");
    });
  });

  test("a list that is read while a session is put back keeps its entry", async () => {
    const { store: inner, records } = openStore();
    const [begun, go] = [gate(), gate()];
    let puttingBack = "";
    const store = altered(inner, {
      save: async (save, key, write) => {
        if (key === puttingBack && factsIn(write.record) !== undefined) {
          begun.open();
          await go.opened;
        }
        return await save(key, write);
      },
    });
    const { users, sessions, logIn } = program({ store });
    const id = await logIn("phone");
    const failing = sessions.start(
      new Request("https://shop.example/", { headers: { Cookie: `__Host-session=${id}` } }),
    );
    await failing.regenerate();
    await users.bind(failing, "user-2");
    await failing.save();
    puttingBack = keyOf(id);
    const discarding = sessions.discard(failing);
    await begun.opened;
    await users.list(ADA);
    go.open();
    await discarding;
    expect(unlisted(records)).toEqual([]);
    expect(await users.list(ADA)).toMatchObject([{ metadata: "phone" }]);
  });

  test("two requests that bind one session at once leave it in the lists of one user", async () => {
    const { store, records } = openStore();
    const { users, sessions } = program({ store });
    const first = sessions.open("");
    await first.create();
    await first.save();
    const id = String(await first.id());
    const [a, b] = [sessions.open(id), sessions.open(id)];
    await Promise.all([users.bind(a, "a"), users.bind(b, "b")]);
    await Promise.all([a.save(), b.save()]);
    expect(unlisted(records)).toEqual([]);
    expect((await users.list("a")).length + (await users.list("b")).length).toBe(1);
  });

  test("pages lie where a handle's list says", async () => {
    const { store, records } = openStore();
    const { users, sessions, logIn } = program({ store });
    const id = await logIn();
    const [list] = String(await users.handle(sessions.open(id))).split(".");
    expect(records.has(pageKey(String(list), 0))).toBe(true);
  });
});

describe("a session whose record cannot be read", () => {
  test.each(["newer schema", "truncated"] as const)(
    "of %s is ended by revokeAll(), and stays in the list until then",
    async (fault) => {
      const clock = fakeClock();
      const { store: inner, records } = openStore();
      const store = faultyStore(inner);
      const { users, sessions, logIn } = program({ store, now: clock.now });
      const id = await logIn();
      // A server whose clock is ahead must not drop the session as one that was never stored.
      clock.advance(2000);
      store.plan({ load: ["none", fault] });
      expect(await users.list(ADA)).toEqual([]);
      store.plan({});
      expect(await users.list(ADA)).toHaveLength(1);
      store.plan({ load: ["none", fault] });
      expect(await users.revokeAll(ADA)).toBe(1);
      store.plan({});
      expect([...records.values()].filter(isPage)).toEqual([]);
      expect(await sessions.open(id).id()).toBeNull();
      expect(await users.list(ADA)).toEqual([]);
    },
  );
});
