import { describe, expect, onTestFinished, test, vi } from "vitest";
import {
  memoryStore,
  type Session,
  type SessionError,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type UntypedData,
} from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { csrfToken, verifyCsrfToken } from "../../src/csrf.ts";
import { fakeClock, faultyStore } from "../../src/testing.ts";
import {
  altered,
  bare,
  codeOf,
  counted,
  FAKED,
  gate,
  openStore,
  soon,
  soonest,
  visitor,
  type Visitor,
} from "../setup/sessions.ts";

describe("a session that is kept until long after its timeout", () => {
  const kinds: [string, () => NonNullable<SessionOptions["store"]>][] = [
    ["a store that still has its record", () => openStore().store],
    ["a cookie", () => cookieSessions({ secrets: ["a secret of at least thirty-two bytes"] })],
  ];
  const changes: [string, (session: Session) => unknown][] = [
    ["update()", (session) => session.update("a", () => 2)],
    ["touch()", (session) => session.touch()],
    ["regenerate()", (session) => session.regenerate()],
  ];

  test.each(
    kinds.flatMap(([where, storeOf]) => changes.map(([call, change]) => [where, call, storeOf, change] as const)),
  )("in %s is not changed by %s", async (_where, _call, storeOf, change) => {
    const clock = fakeClock();
    const sessions = new SessionManager({ store: storeOf(), now: clock.now, idleTimeout: 1800 });
    const { cookies } = await visitor(sessions)((session) => session.set("a", 1));
    const kept = sessions.open(/=([^;]+)/.exec(cookies[0] ?? "")?.[1] ?? "");
    expect(await kept.get("a")).toBe(1);
    clock.advance(1800 + 600);
    expect(
      await codeOf(async () => {
        await change(kept);
        await kept.save();
      }),
    ).toBe("ERR_SESSION_GONE");
  });

  test("costs no more than two loads", async () => {
    const clock = fakeClock();
    const { store, calls } = counted(openStore().store);
    const sessions = new SessionManager({ store, now: clock.now, idleTimeout: 1800 });
    for (const [, change] of changes) {
      const { cookies } = await visitor(sessions)((session) => session.set("a", 1));
      const kept = sessions.open(/=([^;]+)/.exec(cookies[0] ?? "")?.[1] ?? "");
      await kept.get("a");
      clock.advance(1800 + 600);
      calls.length = 0;
      await codeOf(async () => {
        await change(kept);
        await kept.save();
      });
      expect(calls).toEqual(["load", "load"]);
    }
  });

  test.each<[string, { grace: number | false; isTold: boolean; keeps: boolean }]>([
    ["keeps the new id of another request if both leave a grace", { grace: 60, isTold: false, keeps: true }],
    ["gets another new id if it leaves no grace", { grace: false, isTold: false, keeps: false }],
    ["gets the new id that was told", { grace: 60, isTold: true, keeps: false }],
  ])("%s", async (_, { grace, isTold, keeps }) => {
    const clock = fakeClock();
    const sessions = new SessionManager({ store: openStore().store, now: clock.now, idleTimeout: 1800 });
    const { result: old } = await visitor(sessions)((session) => session.create());
    const [kept, other] = [sessions.open(String(old)), sessions.open(String(old))];
    await kept.get("a");
    clock.advance(1700);
    await other.regenerate({ grace: 3600 });
    other.set("a", 1);
    await other.save();
    clock.advance(700);
    await kept.regenerate(grace === false ? {} : { grace });
    const told = isTold ? await kept.id() : undefined;
    await kept.save();
    const id = await kept.id();
    expect(id).toBe(told ?? id);
    expect(id === (await other.id())).toBe(keeps);
    expect(await sessions.open(String(id)).get("a")).toBe(1);
  });

  test("is changed if another request has used it meanwhile", async () => {
    const clock = fakeClock();
    const visit = visitor({ store: openStore().store, now: clock.now, idleTimeout: 1800 });
    const { result } = await visit((session) => (session.set("a", 1), { session }));
    clock.advance(1700);
    await visit((session) => session.get("a"));
    clock.advance(700);
    expect(await result.session.update("a", () => 2)).toBe(2);
  });
});

describe("after the response", () => {
  /** Returns the session of a request whose response is finished. */
  async function sessionAfter(
    use: (session: Session) => unknown,
    live: boolean,
  ): Promise<{ late: Session; visit: Visitor<UntypedData>; calls: string[] }> {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    if (live) await visit((session) => session.set("a", 1));
    const { result } = await visit(async (session) => {
      await use(session);
      return { session };
    });
    calls.length = 0;
    return { late: result.session, visit, calls };
  }

  const writes: [string, (session: Session) => unknown][] = [
    ["set()", (session) => session.set("a", 2)],
    ["set() of several", (session) => session.set({ a: 2 })],
    ["update()", (session) => session.update("a", () => 2)],
    ["flash()", (session) => session.flash("a", 2)],
    ["keepFlash()", (session) => session.keepFlash("a")],
    ["pull()", (session) => session.pull("a")],
    ["create()", (session) => session.create()],
  ];

  for (const [used, use] of [
    ["used", (session) => session.get("a")],
    ["not touched", () => 0],
  ] as [string, (session: Session) => unknown][]) {
    test.each(writes)(`%s throws ERR_RESPONSE_SENT when there is no session, which was ${used}`, async (_, write) => {
      const { late, calls } = await sessionAfter(use, false);
      expect(await codeOf(() => write(late))).toBe("ERR_RESPONSE_SENT");
      expect(calls).toEqual([]);
    });

    test.each([
      ["set()", (session) => session.set("a", 2), 2],
      ["set() of several", (session) => session.set({ a: 2 }), 2],
      ["delete()", (session) => session.delete("a"), undefined],
      ["clear()", (session) => session.clear(), undefined],
      ["flash()", (session) => session.flash("a", 2), 2],
      ["pull()", (session) => session.pull("a"), undefined],
      ["update()", (session) => session.update("a", () => 2), 2],
    ] as [string, (session: Session) => unknown, unknown][])(
      `%s is stored at once when there is a session, which was ${used}`,
      async (_, write, expected) => {
        const { late, visit } = await sessionAfter(use, true);
        await write(late);
        await soon(0);
        expect((await visit((session) => session.get("a"))).result).toBe(expected);
      },
    );

    test(`setTimeouts() and touch() are stored at once when there is a session, which was ${used}`, async () => {
      const { late, visit, calls } = await sessionAfter(use, true);
      late.setTimeouts({ idle: 99 });
      await soon(0);
      late.touch();
      await soon(0);
      expect(calls.filter((call) => call !== "load")).toEqual(["change", "touch"]);
      const { lastSeenAt, expiresAt } = (await visit((session) => session.info())).result;
      expect(Number(expiresAt) - Number(lastSeenAt)).toBe(99_000);
    });

    test(`a value that was set at once can be awaited by save(), which was ${used}`, async () => {
      const { late, visit } = await sessionAfter(use, true);
      late.set("a", 2);
      late.set("b", 3);
      expect(await late.get("a")).toBe(2);
      await late.save();
      expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 2, b: 3 });
    });

    test.each([
      ["create()", (session) => session.create()],
      ["regenerate()", (session) => session.regenerate()],
      ["destroy()", (session) => session.destroy()],
    ] as [string, (session: Session) => Promise<unknown>][])(
      `%s throws ERR_RESPONSE_SENT, and the session lives on, which was ${used}`,
      async (_, end) => {
        const { late, visit, calls } = await sessionAfter(use, true);
        expect(await codeOf(() => end(late))).toBe("ERR_RESPONSE_SENT");
        expect(calls.filter((call) => call !== "load")).toEqual([]);
        expect((await visit((session) => session.get("a"))).result).toBe(1);
      },
    );
  }

  test.each(["withSession", "Hono"] as const)(
    "set() throws ERR_RESPONSE_SENT when the handler has thrown in %s",
    async (through) => {
      const late: Session[] = [];
      const visiting = visitor(
        {},
        { through },
      )((session) => {
        late.push(session);
        throw new Error("mine");
      });
      await expect(visiting).rejects.toThrow("mine");
      expect(await codeOf(() => late[0]!.set("a", 1))).toBe("ERR_RESPONSE_SENT");
    },
  );

  test("a session is not found when it was first used then, and had expired meanwhile", async () => {
    const clock = fakeClock();
    const visit = visitor({ idleTimeout: 60, now: clock.now });
    await visit((session) => session.set("a", 1));
    const { result } = await visit((session) => ({ session }));
    clock.advance(60);
    expect(await result.session.get("a")).toBeUndefined();
  });

  test("save() throws ERR_RESPONSE_SENT when the id that was presented turns out to be no session", async () => {
    const { store, calls } = counted(memoryStore());
    const { result } = await visitor({ store })((session) => ({ session }), {
      headers: { Cookie: `__Host-session=${"a".repeat(32)}` },
    });
    expect(
      await codeOf(async () => {
        result.session.set("a", 1);
        await result.session.save();
      }),
    ).toBe("ERR_RESPONSE_SENT");
    expect(calls).not.toContain("create");
  });

  test.each(writes)(
    "%s throws ERR_RESPONSE_SENT when the id that was presented had turned out to be no session",
    async (_, write) => {
      const { store, calls } = counted(memoryStore());
      const { result } = await visitor({ store })(async (session) => (await session.get("a"), { session }), {
        headers: { Cookie: `__Host-session=${"a".repeat(32)}` },
      });
      expect(await codeOf(() => write(result.session))).toBe("ERR_RESPONSE_SENT");
      expect(calls).toEqual(["load"]);
    },
  );

  test("set() is stored in a session that was opened by its id", async () => {
    const sessions = new SessionManager();
    const first = sessions.open("");
    const id = String(await first.create());
    await first.save();
    const late = sessions.open(id);
    await sessions.commit(late);
    late.set("a", 2);
    await late.save();
    expect(await sessions.open(id).get("a")).toBe(2);
  });

  test("keepFlash() is stored at once", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "saved"));
    const { result } = await visit(async (session) => (await session.get("notice"), { session }));
    result.session.keepFlash("notice");
    await soon(0);
    expect((await visit((session) => session.get("notice"))).result).toBe("saved");
  });

  test("save() and update() throw ERR_SESSION_GONE when the session was ended since", async () => {
    const { late, visit } = await sessionAfter((session) => session.get("a"), true);
    await visit((session) => session.destroy());
    late.set("a", 2);
    expect(await codeOf(() => late.save())).toBe("ERR_SESSION_GONE");
    expect(await codeOf(() => late.update("a", () => 3))).toBe("ERR_SESSION_GONE");
  });

  test("update() counts each call, whatever was read before", async () => {
    const { late, visit } = await sessionAfter((session) => session.get("a"), true);
    await visit((session) => session.update("a", (a) => a + 10));
    expect(await Promise.all([1, 2, 3].map(() => late.update("a", (a) => a + 1)))).toEqual([12, 13, 14]);
    expect((await visit((session) => session.get("a"))).result).toBe(14);
  });

  test("a failure of a late write is told to onEvent, and to whoever awaits save()", async () => {
    const events: SessionEvent[] = [];
    let fails = false;
    const store = altered(openStore().store, {
      save: (save, ...args) => (fails ? Promise.reject(new Error("down")) : save(...args)),
    });
    const visit = visitor({ store, onEvent: (event) => events.push(event) });
    await visit((session) => session.set("a", 1));
    const { result } = await visit(async (session) => (await session.get("a"), { session }));
    fails = true;
    events.length = 0;
    result.session.set("a", 2);
    expect(await codeOf(() => result.session.save())).toBe("ERR_STORE");
    expect(bare(events)).toContainEqual({ type: "late" });
    expect(events).toContainEqual(expect.objectContaining({ type: "failed", during: "store" }));
    fails = false;
    await result.session.save();
    expect((await visit((session) => session.get("a"))).result).toBe(2);
  });

  test("a failure of what the function of an update() changes reaches whoever awaits save(), and nobody else", async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): unknown => unhandled.push(error);
    process.on("unhandledRejection", note);
    onTestFinished(() => void process.off("unhandledRejection", note));
    const store = faultyStore(memoryStore());
    const visit = visitor({ store });
    await visit((session) => session.set("a", 1));
    const { result } = await visit(async (session) => (await session.get("a"), { session }));
    store.plan({ save: "rejects" });
    const updating = result.session.update("a", (a) => {
      result.session.set("b", 2);
      return a + 1;
    });
    expect(await codeOf(() => updating)).toBe("ERR_STORE");
    expect(await codeOf(() => result.session.save())).toBe("ERR_STORE");
    await soon(0);
    expect(unhandled).toEqual([]);
  });

  test("an object changed in place is stored by save()", async () => {
    const visit = visitor();
    await visit((session) => session.set("list", [1]));
    const { result } = await visit(async (session) => ({ session, list: await session.get("list") }));
    result.list.push(2);
    await result.session.save();
    expect((await visit((session) => session.get("list"))).result).toEqual([1, 2]);
  });

  test("get() still reads", async () => {
    const { late } = await sessionAfter(() => 0, true);
    expect(await late.get("a")).toBe(1);
  });
});

describe("while the end of the request stores the session", () => {
  /** Makes a change while the store has not answered the last call of its request. */
  async function changeMeanwhile<Result>(
    change: (session: Session) => Result,
    { live = true, inCookie = false } = {},
  ): Promise<{ result: Awaited<Result>; cookies: string[]; visit: Visitor<UntypedData> }> {
    const [asked, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let isSlow = false;
    const slowly = async <Answer>(call: () => Answer): Promise<Awaited<Answer>> => {
      if (isSlow) asked.resolve();
      if (isSlow) await answer.promise;
      return await call();
    };
    const store = altered(openStore().store, {
      load: (load, ...args) => slowly(() => load(...args)),
      save: (save, ...args) => slowly(() => save(...args)),
    });
    const secrets = ["a secret of at least thirty-two bytes"];
    const visit = visitor({ store: inCookie ? cookieSessions({ secrets, revocation: store }) : store });
    if (live) await visit((session) => session.set({ a: 1, b: 1, list: [] }));
    const { promise, resolve } = Promise.withResolvers<Session>();
    const visiting = visit(async (session) => {
      resolve(session);
      await session.get("a");
      session.set("b", 2);
      isSlow = true;
    });
    await asked.promise;
    const session = await promise;
    const changing = (async () => await change(session))();
    await soon(0);
    isSlow = false;
    answer.resolve();
    const { cookies } = await visiting;
    return { result: await changing, cookies, visit };
  }

  describe.each([{ kind: "exists" }, { kind: "begins", live: false }, { kind: "is kept in a cookie", inCookie: true }])(
    "a session that $kind",
    (options) => {
      test.each<[string, (session: Session) => unknown, Record<string, unknown>]>([
        ["set()", (session) => session.set("a", 2), { a: 2, b: 2 }],
        ["delete()", (session) => session.delete("b"), { b: undefined }],
        ["clear()", (session) => session.clear(), { a: undefined, b: undefined }],
        ["flash()", (session) => session.flash("a", 2), { a: 2, b: 2 }],
        ["pull()", (session) => session.pull("b"), { b: undefined }],
        ["update()", (session) => session.update("b", (b: number) => b + 1), { b: 3 }],
      ])("is stored with %s", async (_, change, expected) => {
        const { visit } = await changeMeanwhile(change, options);
        const all = (await visit((session) => session.all())).result;
        for (const [key, value] of Object.entries(expected)) expect(all[key]).toBe(value);
      });

      test("is ended by destroy(), and its cookie is cleared", async () => {
        const { cookies, visit } = await changeMeanwhile((session) => session.destroy(), options);
        expect((await visit((session) => session.size())).result).toBe(0);
        if (options.live !== false) expect(cookies.join()).toContain("Max-Age=0");
      });

      test("is known to create(), and csrfToken() gives a token that is valid", async () => {
        const { result, visit } = await changeMeanwhile(
          async (session) => ({ id: await session.create(), token: await csrfToken(session) }),
          options,
        );
        const valid = await visit(async (session) => [
          await verifyCsrfToken(session, result.token),
          options.inCookie === true || (await session.id()) === result.id,
        ]);
        expect(valid.result).toEqual([true, true]);
      });
    },
  );

  test("regenerate() gives the response a new id", async () => {
    const { cookies, visit } = await changeMeanwhile((session) => session.regenerate());
    expect(cookies).toHaveLength(1);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1, b: 2, list: [] });
  });

  test("an object changed in place is stored by save()", async () => {
    const { visit } = await changeMeanwhile(async (session) => {
      (await session.get("list")).push(1);
      await session.save();
    });
    expect((await visit((session) => session.get("list"))).result).toEqual([1]);
  });

  test.each([{ live: true }, { live: false }])(
    "a change is stored whenever it comes, live: $live",
    async ({ live }) => {
      for (let turns = 0; turns < 30; turns++) {
        const sessions: Session[] = [];
        const setAfter = async (session: Session | undefined): Promise<void> => {
          for (let turn = 0; turn < turns; turn++) await Promise.resolve();
          session?.set("late", turns);
        };
        const store = altered(openStore().store, {
          save: async (save, ...args) => {
            const stored = await save(...args);
            void setAfter(sessions.pop());
            return stored;
          },
        });
        const visit = visitor({ store });
        if (live) await visit((session) => session.set("a", 1));
        await visit(async (session) => {
          session.set("a", 2);
          sessions.push(session);
        });
        await soon(0);
        expect((await visit((session) => session.get("late"))).result).toBe(turns);
      }
    },
  );

  test("a task that changes the session all the time does not hold back the response for ever", async () => {
    const sessions: Session[] = [];
    let changes = 0;
    let isLate = false;
    const store = altered(openStore().store, {
      save: async (save, ...args) => {
        if (changes < 1000 && !isLate) for (const session of sessions) session.set("n", ++changes);
        return await save(...args);
      },
    });
    const visit = visitor({ store, onEvent: ({ type }) => (isLate ||= type === "late") });
    await visit(async (session) => {
      session.set("n", 0);
      sessions.push(session);
    });
    expect(changes).toBeLessThan(1000);
    expect((await visit((session) => session.get("n"))).result).toBe(changes);
  });

  const IN_COOKIE = cookieSessions({ secrets: ["a secret of at least thirty-two bytes"] });

  test.each([
    ["in a store", undefined],
    ["in a cookie", IN_COOKIE],
  ])(
    "tasks that call update() all the time do not hold back the response, and lose nothing: %s",
    async (_, inCookie) => {
      const slow = altered(openStore().store, { save: async (save, ...args) => soon(await save(...args)) });
      const visit = visitor({ store: inCookie ?? slow });
      await visit((session) => session.set("n", 0));
      const results: number[] = [];
      const codes: string[] = [];
      let isAnswered = false;
      const task = async (session: Session): Promise<void> => {
        while (!isAnswered && results.length < 500) results.push(await session.update("n", (n: number) => n + 1));
      };
      const tasks: Promise<unknown>[] = [];
      await visit((session) => {
        for (let count = 0; count < 2; count++)
          tasks.push(task(session).catch((error: unknown) => codes.push((error as SessionError).code)));
      });
      isAnswered = true;
      await Promise.all(tasks);
      expect(results.length).toBeLessThan(20);
      expect((await visit((session) => session.get("n"))).result).toBe(results.length);
      expect(codes).toEqual(inCookie === undefined ? [] : ["ERR_RESPONSE_SENT", "ERR_RESPONSE_SENT"]);
    },
  );

  test("save() has nothing to store in a cookie, also if a touch is due", async () => {
    const clock = fakeClock();
    const visit = visitor({ store: IN_COOKIE, now: clock.now });
    await visit((session) => session.set("a", 1));
    const { result } = await visit(async (session) => ({ session, a: await session.get("a") }));
    clock.advance(40_000);
    await result.session.save();
    expect([result.a, await result.session.get("a")]).toEqual([1, 1]);
  });

  test("a change in a cookie that the response cannot carry any more is reported, and save() throws ERR_RESPONSE_SENT", async () => {
    const sessions: Session[] = [];
    const events: SessionEvent[] = [];
    let changes = 0;
    const revocation = altered(memoryStore(), {
      load: (load, ...args) => {
        if (events.every(({ type }) => type !== "late")) for (const session of sessions) session.set("n", ++changes);
        return load(...args);
      },
    });
    const secrets = ["a secret of at least thirty-two bytes"];
    const visit = visitor({ store: cookieSessions({ secrets, revocation }), onEvent: (event) => events.push(event) });
    await visit((session) => session.set("n", 0));
    await visit(async (session) => {
      session.set("n", 0);
      sessions.push(session);
    });
    expect(bare(events).slice(-2)).toMatchObject([
      { type: "late" },
      { type: "failed", during: "store", error: { code: "ERR_RESPONSE_SENT" } },
    ]);
    expect(await codeOf(() => sessions.pop()?.save())).toBe("ERR_RESPONSE_SENT");
    expect((await visit((session) => session.get("n"))).result).toBe(changes - 1);
  });

  test("a function of update() that takes longer than storeTimeout does not fail the request", async () => {
    onTestFinished(() => void vi.useRealTimers());
    const [reading, computing] = [gate(), gate()];
    const store = altered(openStore().store, {
      load: async (load, ...args) => reading.opened.then(() => load(...args)),
    });
    const visit = visitor({ store, storeTimeout: 600 });
    await visit((session) => session.set("n", 0));
    vi.useFakeTimers(FAKED);
    let updating: Promise<number> | undefined;
    const visiting = visit((session) => {
      void session.get("n").then(() => {
        updating = session.update("n", async (n: number) => computing.opened.then(() => n + 1));
        session.set("a", 1);
      });
    });
    await soon(0);
    reading.open();
    await soon(0);
    await vi.advanceTimersByTimeAsync(700_000);
    expect(await soonest(visiting)).toBe("is pending");
    computing.open();
    await visiting;
    expect(await updating).toBe(1);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1, n: 1 });
  });

  test("regenerate() stays refused while a second commit() stores changes that come meanwhile", async () => {
    for (let steps = 0; steps < 20; steps++) {
      const waiting: (() => void)[] = [];
      const store = altered(memoryStore(), {
        change: async (save, ...args) => {
          await new Promise<void>((resolve) => void waiting.push(resolve));
          return await save(...args);
        },
      });
      const release = (): void => waiting.splice(0).forEach((resolve) => resolve());
      const sessions = new SessionManager({ store });
      const session = sessions.open("");
      await session.create();
      await sessions.commit(session);
      session.set("a", 1);
      const second = sessions.commit(session);
      await soon(0);
      release();
      // The second change comes between two steps of the commit, and the third one while the second is being stored.
      for (let step = 0; step < steps; step++) await undefined;
      session.set("b", 1);
      await soon(0);
      session.set("c", 1);
      release();
      await soon(0);
      const refused = codeOf(() => session.regenerate());
      for (let round = 0; round < 4; round++) {
        release();
        await soon(0);
      }
      await second;
      expect([steps, await refused]).toEqual([steps, "ERR_RESPONSE_SENT"]);
    }
  });
});
