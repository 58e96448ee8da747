import { describe, expect, test } from "vitest";
import {
  assertRecordSize,
  memoryStore,
  type Plugin,
  serializeRecord,
  type Session,
  type SessionEvent,
  SessionManager,
  type UntypedData,
  withSession,
  wrapRepository,
} from "../../mod.ts";
import { type UserSessions, userSessions, type UserSessionsOptions } from "../../src/user_sessions.ts";
import { fakeClock } from "../../src/testing.ts";
import {
  altered,
  bare,
  codeOf,
  errorOf,
  gate,
  keyOf,
  openStore,
  SHOP,
  type Visitor,
  visitor,
} from "../setup/sessions.ts";
import { ADA, type Devices, devices, entriesOf, isPage, logInOn, losePages, userOn } from "./devices.ts";
import { unlisted } from "./invariant.ts";

describe('limit with onLimit: "revoke-oldest"', () => {
  test("bind() ends the session that was bound first when there are too many", async () => {
    const events: SessionEvent[] = [];
    const { users, logIn } = devices({ onEvent: (event) => events.push(event) }, { limit: 2 });
    const browsers: Visitor<Record<string, unknown>>[] = [];
    for (let n = 0; n < 4; n++) browsers.push(await logIn(n));
    // A session that is used is not protected from the limit, and binding the same session again adds no entry.
    await browsers[3]!((session) => users.bind(session, ADA, 3));
    expect((await users.list(ADA)).map(({ metadata }) => metadata).toSorted()).toEqual([2, 3]);
    expect(await Promise.all(browsers.map(userOn))).toEqual([undefined, undefined, ADA, ADA]);
    expect(bare(events.filter(({ type }) => type === "revoked"))).toEqual([
      { type: "revoked", sessions: 1, reason: "limit" },
      { type: "revoked", sessions: 1, reason: "limit" },
    ]);
  });

  test("bind() never ends the new login, whatever the clocks of its server and of the others say", async () => {
    for (const skew of [-300, -1, 0, 1, 300]) {
      const store = memoryStore();
      const now = Date.now();
      const [right, wrong] = [fakeClock(now), fakeClock(now + skew * 1000)];
      const first = devices({ store, now: right.now }, { limit: 1 });
      const second = devices({ store, now: wrong.now }, { limit: 1 });
      for (let n = 0; n < 6; n++) {
        const server = n % 2 === 0 ? first : second;
        const phone = await server.logIn(n);
        expect(await userOn(phone), `${skew} ${n}`).toBe(ADA);
        expect((await server.users.list(ADA)).map(({ metadata }) => metadata)).toEqual([n]);
      }
    }
  });

  test("bind() ends the oldest in the order of logins, also where these regenerate ids and bind again", async () => {
    const clock = fakeClock();
    const { users, logIn } = devices({ now: clock.now }, { limit: 3 });
    const [a, b, c] = [await logIn("a"), await logIn("b"), await logIn("c")];
    await a((session) => session.regenerate());
    await b((session) => users.bind(session, ADA, "b again"));
    clock.advance(10_000);
    await userOn(c);
    await logIn("d");
    expect((await users.list(ADA)).map(({ metadata }) => metadata).toSorted()).toEqual(["b again", "c", "d"]);
    await logIn("e");
    expect((await users.list(ADA)).map(({ metadata }) => metadata).toSorted()).toEqual(["c", "d", "e"]);
    expect(await userOn(a)).toBeUndefined();
  });

  test("bind() ends the oldest also when the session was there before and keeps its id", async () => {
    const { users, browser, logIn } = devices({}, { limit: 1 });
    const phone = await logIn("phone");
    const laptop = browser();
    await laptop((session) => session.create());
    await laptop((session) => users.bind(session, ADA, "laptop"));
    expect((await users.list(ADA)).map(({ metadata }) => metadata)).toEqual(["laptop"]);
    expect(await userOn(phone)).toBeUndefined();
  });

  test("bind() ends the oldest also beside another request that renews the id with a grace, and whose id this one keeps", async () => {
    const { users, sessions, browser, logIn } = devices({}, { limit: 1 });
    const phone = await logIn("phone");
    const laptop = browser();
    const { result: id } = await laptop((session) => session.create());
    await laptop(async (session) => {
      await session.get("n");
      const other = sessions.open(String(id));
      await other.regenerate({ grace: 60 });
      await other.save();
      await session.regenerate({ grace: 60 });
      session.set("user", ADA);
      await users.bind(session, ADA, "laptop");
    });
    expect((await users.list(ADA)).map(({ metadata }) => metadata)).toEqual(["laptop"]);
    expect([await userOn(phone), await userOn(laptop)]).toEqual([undefined, ADA]);
  });

  test("bind() ends the oldest also when the id is due by age, and another request renews it first", async () => {
    for (const isOvertaken of [false, true]) {
      const clock = fakeClock();
      const { users, browser, logIn } = devices({ now: clock.now, rotateEvery: 600 }, { limit: 1 });
      const phone = await logIn("phone");
      const laptop = browser();
      await laptop((session) => session.set("n", 1));
      clock.advance(600);
      await laptop(async (session) => {
        await session.get("n");
        if (isOvertaken) await laptop((other) => other.get("n"));
        await users.bind(session, ADA, "laptop");
      });
      expect((await users.list(ADA)).map(({ metadata }) => metadata)).toEqual(["laptop"]);
      expect(await userOn(phone)).toBeUndefined();
    }
  });

  test("bind() never ends the new login where the list has several pages, which a server whose clock is ahead has filled", async () => {
    const now = Date.now();
    const { store: inner } = openStore();
    const store = { ...inner, traits: { ...inner.traits, maxBytes: 3840 } };
    const clock = fakeClock(now + 240_000);
    const ahead = devices({ store, now: clock.now });
    for (let n = 0; n < 24; n++) {
      clock.advance(1);
      await ahead.logIn(n);
    }
    const { users, logIn } = devices({ store, now: fakeClock(now).now }, { limit: 3 });
    const phone = await logIn("new");
    expect(await userOn(phone)).toBe(ADA);
    expect((await users.list(ADA)).map(({ metadata }) => metadata).toSorted()).toEqual([22, 23, "new"]);
  });

  test("bind() ends the same one of two sessions whose places are equal, whoever decides", async () => {
    for (let round = 0; round < 8; round++) {
      const { store, records } = openStore();
      const { users, logIn } = devices({ store });
      for (const name of ["a", "b"]) await logIn(name);
      for (const [key, record] of records) {
        if (!isPage(record)) continue;
        const fields = [...record.fields].map(
          ([name, text]) => [name, name === "@" ? text : text.replace(/^\d+/, "7")] as const,
        );
        records.set(key, { ...record, fields: new Map(fields) });
      }
      const tokens = (await users.list(ADA)).map(({ handle }) => String(handle.split(".")[1])).toSorted();
      await devices({ store }, { limit: 2 }).logIn("c");
      const left = (await users.list(ADA)).map(({ handle }) => String(handle.split(".")[1]));
      expect(left).toContain(tokens[0]);
      expect(left).not.toContain(tokens[1]);
    }
  });

  test("bind() at login does not end another session when another request overtakes the login, which then fails", async () => {
    let isOvertaken = false;
    let retirements = 0;
    const { store: inner } = openStore();
    const store = altered(inner, {
      save: async (save, key, write) => {
        if (!isOvertaken || write.record.fields.get("@")?.includes("successor") !== true) return await save(key, write);
        if (++retirements > 1) throw new Error("down");
        const other = anywhere.sessions.open(id);
        await other.update("n", () => 1);
        return await save(key, write);
      },
    });
    const anywhere = devices({ store: inner });
    const { users, sessions, logIn } = devices({ store }, { limit: 1 });
    const phone = await logIn("phone");
    const first = sessions.open("");
    await first.create();
    await first.save();
    const id = String(await first.id());
    const laptop = sessions.open(id);
    await laptop.regenerate();
    await users.bind(laptop, ADA, "laptop");
    isOvertaken = true;
    expect(await codeOf(() => laptop.save())).toBe("ERR_STORE");
    isOvertaken = false;
    expect(retirements).toBeGreaterThan(1);
    expect(await userOn(phone)).toBe(ADA);
  });

  test("bind() at login does not end another session when the login itself fails", async () => {
    let fails = false;
    const store = memoryStore();
    const { users, sessions, logIn } = devices(
      {
        store: {
          ...store,
          save: (key, write) =>
            fails && write.record.fields.get("@")?.includes("successor")
              ? Promise.reject(new Error("down"))
              : store.save(key, write),
        },
      },
      { limit: 1 },
    );
    const phone = await logIn("phone");
    const laptop = sessions.open("");
    await laptop.create();
    await laptop.save();
    await laptop.regenerate();
    await users.bind(laptop, ADA, "laptop");
    fails = true;
    expect(await codeOf(() => laptop.save())).toBe("ERR_STORE");
    fails = false;
    await sessions.discard(laptop);
    expect(await userOn(phone)).toBe(ADA);
    expect((await users.list(ADA)).map(({ metadata }) => metadata)).toEqual(["phone"]);
  });

  test("bind() at login ends the oldest also where the old id was retired and the answer was lost", async () => {
    let isDown = false;
    const down = (): Promise<never> => Promise.reject(new Error("down"));
    const { store: inner } = openStore();
    const store = altered(inner, {
      load: (load, key) => (isDown ? down() : load(key)),
      save: async (save, key, write) => {
        if (isDown) return await down();
        const answer = await save(key, write);
        isDown = answer !== "conflict" && write.record.fields.get("@")?.includes("successor") === true;
        return isDown ? await down() : answer;
      },
    });
    const { users, sessions, logIn } = devices({ store }, { limit: 1 });
    const phone = await logIn("phone");
    isDown = false;
    const laptop = sessions.open("");
    await laptop.create();
    await laptop.save();
    await laptop.regenerate();
    await users.bind(laptop, ADA, "laptop");
    expect(await codeOf(() => laptop.save())).toBe("ERR_STORE");
    isDown = false;
    expect(await userOn(phone)).toBe(ADA);
    await laptop.save();
    expect((await users.list(ADA)).map(({ metadata }) => metadata)).toEqual(["laptop"]);
    expect(await userOn(phone)).toBeUndefined();
  });

  test("eight logins at once leave as many as may be", async () => {
    for (let round = 0; round < 10; round++) {
      const { users, logIn } = devices({}, { limit: 3 });
      await Promise.all(Array.from({ length: 8 }, () => logIn()));
      expect(await users.list(ADA)).toHaveLength(3);
    }
  });

  test("a list that was lost is built anew in the order of the logins", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const { users, logIn } = devices({ store, now: clock.now, touchInterval: 0 }, { limit: 3 });
    const browsers = [];
    for (const name of ["a", "b", "c"]) {
      clock.advance(1);
      browsers.push(await logIn(name));
    }
    losePages(records);
    for (const browser of browsers.toReversed()) {
      clock.advance(1);
      await userOn(browser);
    }
    await logIn("d");
    expect((await users.list(ADA)).map(({ metadata }) => metadata).toSorted()).toEqual(["b", "c", "d"]);
  });

  test.each<[string, NonNullable<UserSessionsOptions["onLimit"]>, { grace?: number }]>([
    ["the oldest session ends", "revoke-oldest", {}],
    ["the oldest session ends, with a grace", "revoke-oldest", { grace: 60 }],
    ["the login is refused", "refuse", {}],
  ])(
    "when another request unbinds the session of a login, and a second login takes its place, %s",
    async (_, onLimit, grace) => {
      const clock = fakeClock();
      const { store: inner } = openStore();
      const { users, sessions, logIn } = devices({ store: inner, now: clock.now }, { limit: 1, onLimit });
      const first = sessions.open("");
      await users.bind(first, ADA);
      await first.save();
      const id = String(await first.id());
      let isMet = false;
      const store = altered(inner, {
        async change(save, key, write) {
          // The login has loaded the session, and lists its successor now.
          if (!isMet) {
            isMet = true;
            const other = sessions.open(id);
            await users.unbind(other);
            await other.save();
            clock.advance(1);
            await logIn("second");
          }
          return await save(key, write);
        },
      });
      const own = devices({ store, now: clock.now }, { limit: 1, onLimit });
      const session = own.sessions.open(id);
      await session.regenerate(grace);
      await own.users.bind(session, ADA, "first");
      if (onLimit === "refuse") expect(await codeOf(() => session.save())).toBe("ERR_SESSION_LIMIT");
      else await session.save();
      expect(await users.list(ADA)).toMatchObject([{ metadata: "second" }]);
    },
  );

  test("Infinity is no limit", async () => {
    for (const limit of [Infinity, () => Infinity]) {
      const { users, logIn } = devices({}, { limit, onLimit: "refuse" });
      for (let n = 0; n < 3; n++) await logIn(n);
      expect(await users.list(ADA)).toHaveLength(3);
    }
  });

  test("limit is a function of the user and of what the runtime passes", async () => {
    const { users, logIn } = devices({}, { limit: (user) => (user === ADA ? 1 : 2) });
    for (const user of [ADA, ADA, "user-2", "user-2", "user-2"]) await logIn(undefined, user);
    expect(await users.list(ADA)).toHaveLength(1);
    expect(await users.list("user-2")).toHaveLength(2);
    const broken = devices({}, { limit: () => 0 });
    await expect(broken.logIn()).rejects.toThrow(RangeError);
  });

  test("limit is called once for a login, also if the session was there before", async () => {
    const asked: string[] = [];
    const { users, browser } = devices({}, { limit: (user) => asked.push(user) });
    const laptop = browser();
    await laptop((session) => session.create());
    await laptop((session) => logInOn(users, session));
    expect(asked).toEqual([ADA]);
  });
});

describe('limit with onLimit: "refuse"', () => {
  const refusing: UserSessionsOptions = { limit: 2, onLimit: "refuse" };

  test("bind() is refused when there are too many, and nobody is logged in", async () => {
    const { users, logIn, browser } = devices({}, refusing);
    const phone = await logIn();
    await logIn();
    const visit = browser();
    await visit((session) => session.set("basket", 1));
    const { result } = await visit(async (session) => {
      await session.regenerate();
      session.set("user", ADA);
      await users.bind(session, ADA);
      return await errorOf(() => session.save());
    });
    expect(result.code).toBe("ERR_SESSION_LIMIT");
    expect(result.message).toContain("2");
    expect((await visit((session) => session.all())).result).toEqual({ basket: 1 });
    expect(await users.list(ADA)).toHaveLength(2);
    // The same session may be bound again and get another id. An ended session makes room.
    await phone(async (session) => (await session.regenerate(), await users.bind(session, ADA, "again")));
    await phone((session) => session.destroy());
    await logIn();
    expect(await users.list(ADA)).toHaveLength(2);
  });

  test("bind() of a session that was there before stores nothing if it is refused", async () => {
    const { store: inner } = openStore();
    let isFull = false;
    let stored = 0;
    const store = altered(inner, {
      async save(save, key, write) {
        if (isFull && !isPage(write.record)) stored++;
        return await save(key, write);
      },
    });
    const { users, browser, logIn } = devices({ store }, { limit: 1, onLimit: "refuse" });
    const laptop = browser();
    await laptop((session) => session.create());
    await logIn("phone");
    isFull = true;
    expect(await codeOf(() => laptop((session) => logInOn(users, session)))).toBe("ERR_SESSION_LIMIT");
    expect(stored).toBe(0);
  });

  test("bind() is refused the last place while another login is under way that has taken it", async () => {
    const [begun, go] = [gate(), gate()];
    let isHeld = true;
    const store = altered(openStore().store, {
      async create(create, key, write) {
        if (!isPage(write.record) && isHeld) {
          isHeld = false;
          begun.open();
          await go.opened;
        }
        return await create(key, write);
      },
    });
    const { users, sessions } = devices({ store }, { limit: 1, onLimit: "refuse" });
    const [one, other] = [sessions.open(""), sessions.open("")];
    await users.bind(one, ADA, "one");
    await users.bind(other, ADA, "other");
    const saving = one.save();
    await begun.opened;
    expect(await codeOf(() => other.save())).toBe("ERR_SESSION_LIMIT");
    go.open();
    await saving;
    expect(await users.list(ADA)).toMatchObject([{ metadata: "one" }]);
  });

  test("a session that is there gets another id although the limit is lower by now", async () => {
    let limit = 2;
    const { users, logIn } = devices({}, { limit: () => limit, onLimit: "refuse" });
    const phone = await logIn("phone");
    await logIn("laptop");
    limit = 1;
    await phone((session) => session.regenerate());
    await phone((session) => users.bind(session, ADA, "phone again"));
    expect(await users.list(ADA)).toHaveLength(2);
  });

  test("bind() is refused before the response goes out when it could be stored after it", async () => {
    const users = userSessions({ limit: 1, onLimit: "refuse" });
    const sessions = new SessionManager({ persist: "after-response", plugins: [users] });
    const begin = async (): Promise<string> => {
      const session = sessions.open("");
      await session.create();
      await session.save();
      return (await session.id()) ?? "";
    };
    const handle = withSession(async (_request, session, ..._rest: object[]) => {
      await users.bind(session, ADA);
      return new Response();
    }, sessions);
    const logIn = async (): Promise<Response> =>
      handle(new Request(SHOP, { headers: { Cookie: `__Host-session=${await begin()}` } }), { waitUntil: () => {} });
    await logIn();
    expect(await codeOf(logIn)).toBe("ERR_SESSION_LIMIT");
  });

  test("bind() lets as many of many logins at once in as there are places, exactly", async () => {
    for (let round = 0; round < 10; round++) {
      const { users, logIn } = devices({ store: openStore().store }, { limit: 3, onLimit: "refuse" });
      const answers = await Promise.allSettled(Array.from({ length: 8 }, () => logIn()));
      expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
      expect(await users.list(ADA)).toHaveLength(3);
    }
  });

  test("bind() lets 60 of 61 in where the list has several pages", async () => {
    const { store, records } = openStore();
    // A page of this store has room for twelve entries.
    const small = { ...store, traits: { ...store.traits, maxBytes: 4000 } };
    const free = devices({ store: small });
    for (let n = 0; n < 30; n++) await free.logIn(n);
    expect([...records.values()].filter(({ fields }) => fields.get("@")?.startsWith("list ")).length).toBeGreaterThan(
      2,
    );
    for (let round = 0; round < 5; round++) {
      const { users, logIn } = devices({ store: small, storeTimeout: 60 }, { limit: 60, onLimit: "refuse" });
      const places = 60 - (await users.list(ADA)).length;
      const answers = await Promise.allSettled(Array.from({ length: places + 6 }, (_, n) => logIn(n)));
      const refused = answers.filter(({ status }) => status === "rejected");
      expect(refused).toHaveLength(6);
      const listed = await users.list(ADA);
      expect(listed).toHaveLength(60);
      for (const { handle } of listed.slice(0, 3 + 2 * round)) await users.revoke(handle);
    }
  });

  test("bind() lets two logins at once in where both find the list full of sessions that are over", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const both = gate();
    let writes = 0;
    // The first write of the list waits for the first write of the other login.
    const meeting = altered(store, {
      async change(save, key, write) {
        if (isOver && isPage(write.record)) {
          if (++writes === 2) both.open();
          await both.opened;
        }
        return await save(key, write);
      },
    });
    const small = { ...meeting, traits: { ...store.traits, maxBytes: 4000 } };
    const { users, logIn } = devices({ store: small, now: clock.now });
    let isOver = false;
    for (let n = 0; n < 12; n++) await logIn(n);
    expect(entriesOf(records)).toEqual([12]);
    clock.advance(3600);
    const [kept, ...over] = [...records].filter(([, record]) => !isPage(record)).map(([key]) => key);
    expect(kept).toBeDefined();
    for (const key of over) records.delete(key);
    isOver = true;
    await Promise.all([logIn("one"), logIn("other")]);
    const listed = await users.list(ADA);
    expect(listed.map(({ metadata }) => metadata)).toEqual(expect.arrayContaining(["one", "other"]));
    expect(listed).toHaveLength(3);
    expect(entriesOf(records).reduce((sum, entries) => sum + entries)).toBe(3);
  });

  test.each([false, true])(
    "a login whose handler fails after it has stored it takes no place, also where it was bound after the id was renewed (twice: %s)",
    async (isTwice) => {
      const { users, browser } = devices({}, { limit: 1, onLimit: "refuse" });
      const phone = browser();
      await phone((session) => session.set("basket", 1));
      const logIn = (fails: boolean): Promise<unknown> =>
        phone(async (session) => {
          await session.regenerate();
          await session.save();
          if (isTwice) await session.regenerate();
          await users.bind(session, ADA);
          await session.save();
          if (fails) throw new Error("The handler fails");
        });
      await expect(logIn(true)).rejects.toThrow("The handler fails");
      expect(await users.list(ADA)).toEqual([]);
      await logIn(false);
      expect(await users.list(ADA)).toHaveLength(1);
    },
  );

  test("bind() counts no session of other credentials, and none that is over", async () => {
    let version = 1;
    const clock = fakeClock();
    const { users, logIn } = devices(
      { now: clock.now },
      { credentialVersion: () => version, limit: 1, onLimit: "refuse" },
    );
    await logIn();
    expect(await codeOf(logIn)).toBe("ERR_SESSION_LIMIT");
    version = 2;
    const phone = await logIn();
    expect(await userOn(phone)).toBe(ADA);
    expect(await users.list(ADA)).toHaveLength(1);
    expect(await codeOf(logIn)).toBe("ERR_SESSION_LIMIT");
    clock.advance(86_400);
    await logIn();
    expect(await users.list(ADA)).toHaveLength(1);
  });

  test.each(["refuse", "revoke-oldest"] as const)(
    "bind() keeps the session of a password's change beside a login that came first, with %s",
    async (onLimit) => {
      let version = 1;
      const { users, logIn } = devices({}, { credentialVersion: () => version, limit: 1, onLimit });
      const laptop = await logIn();
      await laptop(async (session) => {
        await session.get("user");
        version = 2;
        await logIn();
        await session.regenerate();
        await users.bind(session, ADA);
      });
      expect(await userOn(laptop)).toBe(ADA);
      expect(await users.list(ADA)).toHaveLength(2);
      if (onLimit === "refuse") return expect(await codeOf(logIn)).toBe("ERR_SESSION_LIMIT");
      await logIn();
      expect(await users.list(ADA)).toHaveLength(1);
    },
  );

  type Use = (session: Session<UntypedData>, users: UserSessions) => unknown;
  test.each<[string, { isBound: boolean; overtakenAt: "load" | "save"; does: Use; other: Use }]>([
    [
      "binds a session that another one ends",
      {
        isBound: false,
        overtakenAt: "save",
        does: (session, users) => users.bind(session, ADA),
        other: (session) => session.destroy(),
      },
    ],
    [
      "uses a session that another one ends",
      {
        isBound: true,
        overtakenAt: "load",
        does: (session) => session.touch(),
        other: (session) => session.destroy(),
      },
    ],
    [
      "uses a session that another one unbinds",
      {
        isBound: true,
        overtakenAt: "load",
        does: (session) => session.touch(),
        other: (session, users) => users.unbind(session),
      },
    ],
  ])("a request takes no place if it %s", async (_, { isBound, overtakenAt, does, other }) => {
    const { store: inner } = openStore();
    const { users, sessions, logIn } = devices({ store: inner }, { limit: 1, onLimit: "refuse" });
    const first = sessions.open("");
    await first.create();
    if (isBound) await users.bind(first, ADA);
    await first.save();
    const id = String(await first.id());
    let isOvertaken = true;
    const overtake = async (): Promise<void> => {
      if (!isOvertaken) return;
      isOvertaken = false;
      const another = sessions.open(id);
      await other(another, users);
      await another.save();
    };
    const store = altered(inner, {
      async load(load, key) {
        // The request has loaded the session, and looks at the list now.
        if (overtakenAt === "load" && key !== keyOf(id)) await overtake();
        return await load(key);
      },
      async save(save, key, write) {
        // The request has listed the session, and stores it now.
        if (overtakenAt === "save" && key === keyOf(id)) await overtake();
        return await save(key, write);
      },
    });
    const own = devices({ store }, { limit: 1, onLimit: "refuse" });
    const session = own.sessions.open(id);
    await does(session, own.users);
    await session.save().catch((error: unknown) => expect(error).toHaveProperty("code", "ERR_SESSION_GONE"));
    expect(isOvertaken).toBe(false);
    await logIn();
    expect(await users.list(ADA)).toHaveLength(1);
  });

  test.each([1, Infinity])(
    "a login does not count against itself if another request unbinds the session meanwhile: %d",
    async (limit) => {
      const { store: inner } = openStore();
      const { users, sessions } = devices({ store: inner }, { limit, onLimit: "refuse" });
      const first = sessions.open("");
      await users.bind(first, ADA);
      await first.save();
      const id = String(await first.id());
      let isMet = false;
      const store = altered(inner, {
        async change(save, key, write) {
          // The login has loaded the session, and lists its successor now.
          if (!isMet) {
            isMet = true;
            const other = sessions.open(id);
            await users.unbind(other);
            await other.save();
          }
          return await save(key, write);
        },
      });
      const own = devices({ store }, { limit, onLimit: "refuse" });
      const session = own.sessions.open(id);
      await session.regenerate();
      await own.users.bind(session, ADA, "again");
      await session.save();
      expect(isMet).toBe(true);
      expect(await users.list(ADA)).toMatchObject([{ metadata: "again" }]);
    },
  );

  test("a request takes no place if it binds a session that another one ends, and the store has lost the list", async () => {
    const { store: inner, records } = openStore();
    const { users, sessions, logIn } = devices({ store: inner }, { limit: 1, onLimit: "refuse" });
    const first = sessions.open("");
    await first.create();
    await first.save();
    const id = String(await first.id());
    let lost = 0;
    const store = altered(inner, {
      async change(save, key, write) {
        await first.destroy();
        await first.save();
        lost += losePages(records);
        return await save(key, write);
      },
    });
    const own = devices({ store }, { limit: 1, onLimit: "refuse" });
    const session = own.sessions.open(id);
    await own.users.bind(session, ADA);
    expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
    expect(lost).toBe(1);
    await logIn();
    expect(await users.list(ADA)).toHaveLength(1);
  });

  test("a request takes no place if it binds a session that another one ends, beside a login that changes the list", async () => {
    const { store: inner } = openStore();
    const { users, sessions, logIn } = devices({ store: inner }, { limit: 2, onLimit: "refuse" });
    const first = sessions.open("");
    await first.create();
    await first.save();
    const id = String(await first.id());
    let isMet = false;
    const store = altered(inner, {
      async change(save, key, write) {
        await first.destroy();
        await first.save();
        return await save(key, write);
      },
      // The request removes its entry, which is the only one.
      async delete(remove, ...args) {
        if (!isMet) await logIn();
        isMet = true;
        return await remove(...args);
      },
    });
    const own = devices({ store }, { limit: 2, onLimit: "refuse" });
    const session = own.sessions.open(id);
    await own.users.bind(session, ADA);
    expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
    expect(isMet).toBe(true);
    await logIn();
    expect(await users.list(ADA)).toHaveLength(2);
  });

  let version = 1;
  /** A user's session in a browser, and what another request does to it. */
  interface Logout {
    readonly id: string;
    readonly all: Devices;
    readonly change: (id: string, use: (session: Session<UntypedData>) => unknown) => Promise<string>;
  }
  test.each<[string, (logout: Logout) => Promise<unknown>]>([
    [
      "whose id was regenerated after the request had loaded it",
      async ({ id, all: { sessions }, change }) => {
        const session = sessions.open(id);
        await session.get("n");
        await change(id, (other) => other.regenerate());
        await session.destroy();
        await session.save();
      },
    ],
    [
      "by an id that was regenerated twice",
      async ({ id, change }) => {
        const second = await change(id, (session) => session.regenerate());
        await change(second, (session) => session.regenerate());
        await change(id, (session) => session.destroy());
      },
    ],
    [
      "that was bound after the request had loaded it",
      async ({ id, all: { sessions, users }, change }) => {
        await change(id, (session) => users.unbind(session));
        const session = sessions.open(id);
        await session.get("n");
        await change(id, (other) => users.bind(other, ADA));
        await session.destroy();
        await session.save();
      },
    ],
    [
      "that was revoked before",
      async ({ id, all: { users }, change }) => {
        await users.revokeBy("sid", "one");
        await change(id, (session) => session.destroy());
      },
    ],
    [
      "whose credentials have changed",
      async ({ id, change }) => {
        version++;
        await change(id, (session) => session.destroy());
      },
    ],
  ])("a logout makes room for a login: of a session %s", async (_, logOut) => {
    const { store, records } = openStore();
    const all = devices(
      { store },
      {
        limit: 1,
        onLimit: "refuse",
        indexes: { sid: ({ sid }) => sid },
        credentialVersion: () => version,
      },
    );
    const change: Logout["change"] = async (id, use) => {
      const session = all.sessions.open(id);
      await use(session);
      await session.save();
      return (await session.id()) ?? "";
    };
    const id = await change("", (session) => all.users.bind(session, ADA, { sid: "one" }));
    await logOut({ id, all, change });
    await all.logIn();
    expect(await all.users.list(ADA)).toHaveLength(1);
    expect(unlisted(records)).toEqual([]);
  });

  test("a session that ended because its retired id was used again makes room for a login", async () => {
    const clock = fakeClock();
    const rotateEvery = { seconds: 600, onReuse: "destroy" } as const;
    const { users, browser, logIn } = devices({ now: clock.now, rotateEvery }, { limit: 1, onLimit: "refuse" });
    const phone = await logIn();
    const stolen = (await phone((session) => session.id())).result;
    clock.advance(600);
    for (let use = 0; use < 2; use++) await userOn(phone);
    clock.advance(120);
    await browser()((session) => session.get("user"), { headers: { Cookie: `__Host-session=${stolen}` } });
    expect(await userOn(phone)).toBeUndefined();
    await logIn();
    expect(await users.list(ADA)).toHaveLength(1);
  });

  test.each<[string, (session: Session<UntypedData>, users: UserSessions) => Promise<void>]>([
    ["logs in as another user", (session, users) => logInOn(users, session, undefined, "user-2")],
    ["unbinds it under a new id", async (session, users) => (await session.regenerate(), await users.unbind(session))],
  ])("a session that a request ends makes room for a login, although another one %s meanwhile", async (_, other) => {
    const { store } = openStore();
    const { users, sessions, logIn } = devices({ store }, { limit: 1, onLimit: "refuse" });
    const first = sessions.open("");
    await users.bind(first, ADA);
    await first.save();
    const id = String(await first.id());
    const ending = sessions.open(id);
    await ending.get("user");
    const another = sessions.open(id);
    await other(another, users);
    await another.save();
    await ending.destroy();
    await logIn();
    expect(await users.list(ADA)).toHaveLength(1);
  });

  test("a login that lists its session for its user, and not for an index, takes no place", async () => {
    const { store: inner } = openStore();
    let isFull = true;
    let pages = 0;
    const store = altered(inner, {
      async save(save, key, write) {
        // The list of the user is stored first.
        if (isFull && isPage(write.record) && ++pages > 1) assertRecordSize("Toy", 801, 800);
        return await save(key, write);
      },
    });
    const { users, logIn } = devices({ store }, { limit: 1, onLimit: "refuse", indexes: { sid: ({ sid }) => sid } });
    expect(await codeOf(() => logIn({ sid: "one" }))).toBe("ERR_RECORD_TOO_LARGE");
    isFull = false;
    await logIn({ sid: "one" });
    expect(await users.list(ADA)).toHaveLength(1);
  });

  test("a session whose list was lost is not refused its place", async () => {
    const { store, records } = openStore();
    const clock = fakeClock();
    const { users, logIn } = devices({ store, now: clock.now, touchInterval: 60 }, { limit: 1, onLimit: "refuse" });
    const phone = await logIn("phone");
    losePages(records);
    await logIn("laptop");
    clock.advance(61);
    expect(await userOn(phone)).toBe(ADA);
    expect(await users.list(ADA)).toHaveLength(2);
  });
});

describe("a session in two lists that is too large", () => {
  const indexes = { sid: ({ sid }: { sid?: unknown }) => sid };

  test.each<[string, { isBound: boolean; use: (session: Session<UntypedData>, users: UserSessions) => unknown }]>([
    ["which logs in", { isBound: false, use: (session, users) => logInOn(users, session, { sid: "one" }) }],
    [
      "which logs in and keeps its id",
      { isBound: false, use: (session, users) => users.bind(session, ADA, { sid: "one" }) },
    ],
    ["whose id is regenerated", { isBound: true, use: (session) => session.regenerate() }],
  ])("leaves no entry: one %s", async (_, { isBound, use }) => {
    const { store: inner, records } = openStore();
    let isFull = false;
    const store = altered(inner, {
      async save(save, key, write) {
        if (isFull && !isPage(write.record)) assertRecordSize("Toy", 801, 800);
        return await save(key, write);
      },
    });
    const { users, browser } = devices({ store }, { indexes });
    const visit = browser();
    await visit(async (session) => {
      await session.create();
      if (isBound) await users.bind(session, ADA, { sid: "one" });
    });
    const before = entriesOf(records);
    isFull = true;
    expect(await codeOf(() => visit((session) => use(session, users)))).toBe("ERR_RECORD_TOO_LARGE");
    expect(entriesOf(records)).toEqual(before);
  });

  test("leaves the entry of another request that is about to store the session in the same lists", async () => {
    const { store: inner, records } = openStore();
    const { users, sessions } = devices({ store: inner }, { indexes });
    const first = sessions.open("");
    await first.create();
    await users.bind(first, ADA);
    await first.save();
    const id = String(await first.id());
    const [listed, refused] = [gate(), gate()];
    const bindOn = async (save: () => Promise<void>): Promise<void> => {
      const store = altered(inner, {
        async change(change, key, write) {
          if (!isPage(write.record)) await save();
          return await change(key, write);
        },
      });
      const own = devices({ store }, { indexes });
      const session = own.sessions.open(id);
      await own.users.bind(session, ADA, { sid: "one" });
      await session.save();
    };
    const other = bindOn(async () => {
      listed.open();
      await refused.opened;
    });
    await listed.opened;
    const own = bindOn(async () => assertRecordSize("Toy", 801, 800));
    expect(await codeOf(() => own)).toBe("ERR_RECORD_TOO_LARGE");
    refused.open();
    await other;
    expect(entriesOf(records)).toEqual([1, 1]);
    expect(unlisted(records)).toEqual([]);
  });
});

describe("a session that is too large", () => {
  /** A store that refuses sessions of more than 800 characters. */
  const small = () => {
    const { store, records } = openStore();
    const limited = altered(store, {
      save: (save, key, write) => {
        if (!isPage(write.record)) assertRecordSize("Toy", serializeRecord(write.record).length, 800);
        return save(key, write);
      },
    });
    return { store: limited, records };
  };
  const large = "x".repeat(800);

  test.each<[string, { exists: boolean; regenerates: boolean }]>([
    ["that begins", { exists: false, regenerates: false }],
    ["that exists", { exists: true, regenerates: false }],
    ["with a new id", { exists: true, regenerates: true }],
  ])("does not count towards the limit: a login on a session %s", async (_, { exists, regenerates }) => {
    const { store, records } = small();
    const { users, browser } = devices({ store }, { limit: 1, onLimit: "refuse" });
    const visit = browser();
    if (exists) await visit((session) => session.set("basket", 1));
    const logIn = async (value: string): Promise<void> => {
      await visit(async (session) => {
        if (regenerates) await session.regenerate();
        session.set("value", value);
        await users.bind(session, ADA);
      });
    };
    for (let attempt = 0; attempt < 3; attempt++) expect(await codeOf(() => logIn(large))).toBe("ERR_RECORD_TOO_LARGE");
    expect(entriesOf(records)).toEqual([]);
    await logIn("small");
    expect(await users.list(ADA)).toHaveLength(1);
  });

  test("stays listed if a plugin fails after it was stored", async () => {
    const users = userSessions();
    const audit: Plugin = {
      name: "audit",
      wrap: (next) =>
        wrapRepository(next, {
          async update(...args) {
            await next.update(...args);
            throw new Error("the audit log is down");
          },
        }),
    };
    const visit = visitor({ plugins: [audit, users] });
    await visit((session) => session.set("basket", 1));
    await expect(visit((session) => users.bind(session, ADA))).rejects.toThrow("the audit log is down");
    expect(await users.revokeAll(ADA)).toBe(1);
    expect((await visit((session) => session.get("basket"))).result).toBeUndefined();
  });

  test("stays listed when it was bound before, and leaves no entry for each renewal by age that has no room", async () => {
    const { store, records } = small();
    const clock = fakeClock();
    let isFull = false;
    const full = altered(store, {
      create: (save, key, write) => {
        if (isFull && !isPage(write.record)) assertRecordSize("Toy", 801, 800);
        return save(key, write);
      },
    });
    const { users, logIn } = devices({ store: full, now: clock.now, rotateEvery: 60 });
    const visit = await logIn("before");
    expect(
      await codeOf(() =>
        visit(async (session) => {
          session.set("value", large);
          await users.bind(session, ADA, "after");
        }),
      ),
    ).toBe("ERR_RECORD_TOO_LARGE");
    isFull = true;
    for (let use = 0; use < 5; use++) {
      clock.advance(61);
      expect(await userOn(visit)).toBe(ADA);
    }
    expect(entriesOf(records)).toEqual([1]);
    expect((await users.list(ADA)).map(({ metadata }) => metadata)).toEqual(["before"]);
  });
});
