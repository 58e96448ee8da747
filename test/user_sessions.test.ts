import { describe, expect, expectTypeOf, test } from "vitest";
import { memoryStore, type Session, type SessionEvent, SessionManager, type UntypedData } from "../mod.ts";
import { type UserSession, userSessions } from "../src/user_sessions.ts";
import { cookieJar, fakeClock, faultyStore } from "../src/testing.ts";
import { altered, bare, codeOf, errorOf, gate, keyOf, openStore, living, SHOP, visitor } from "./setup/sessions.ts";
import { ADA, devices, entriesOf, handleOn, logInOn, userOn } from "./user_sessions/devices.ts";
import { unlisted } from "./user_sessions/invariant.ts";

describe("list()", () => {
  test("list() shows each bound session with its metadata and times, the last seen first", async () => {
    const clock = fakeClock();
    const { users, logIn } = devices({ now: clock.now, touchInterval: 0 });
    const phone = await logIn({ browser: "Firefox", place: "Paris" });
    const began = clock.now();
    clock.advance(60);
    await logIn({ browser: "Chromium", since: new Date(0) });
    await logIn("elsewhere", "user-2");
    clock.advance(60);
    await userOn(phone);
    const listed = await users.list(ADA);
    expect(listed.map(({ metadata }) => metadata)).toEqual([
      { browser: "Firefox", place: "Paris" },
      { browser: "Chromium", since: new Date(0) },
    ]);
    expect(listed[0]).toMatchObject({ createdAt: began, lastSeenAt: clock.now() });
    expect(await users.list("nobody")).toEqual([]);
  });

  test("list() gives handles of which one is the browser's own, and none is an id or names a record", async () => {
    const { store, records } = openStore();
    const { users, sessions, logIn } = devices({ store });
    const phone = await logIn();
    await logIn();
    const { result } = await phone(async (session) => ({
      id: await session.id(),
      handle: await users.handle(session),
    }));
    const handles = (await users.list(ADA)).map(({ handle }) => handle);
    expect(new Set(handles).size).toBe(2);
    expect(handles).toContain(result.handle);
    expect(handles.join()).not.toContain(result.id);
    expect(handles.join()).not.toContain(keyOf(String(result.id)));
    expect(records.has(keyOf(String(result.id)))).toBe(true);
    for (const handle of handles) {
      const headers = { Cookie: `__Host-session=${handle}` };
      expect((await visitor(sessions)((session) => session.get("user"), { headers })).result).toBeUndefined();
    }
  });

  test("list() leaves out a session that has expired, been destroyed or been unbound", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const { users, logIn } = devices({ store, now: clock.now });
    await logIn("expired");
    clock.advance(86_400);
    const destroyed = await logIn("destroyed");
    const unbound = await logIn("unbound");
    await logIn("live");
    expect(await users.list(ADA)).toHaveLength(3);
    await destroyed((session) => session.destroy());
    await unbound((session) => users.unbind(session));
    expect(await userOn(unbound)).toBe(ADA);
    expect((await users.list(ADA)).map(({ metadata }) => metadata)).toEqual(["live"]);
    // By another clock, a session that has just expired may still exist, and a request that came in time may still run.
    expect(entriesOf(records)).toEqual([2]);
    clock.advance(1199);
    await users.list(ADA);
    expect(entriesOf(records)).toEqual([2]);
    clock.advance(1);
    await users.list(ADA);
    expect(entriesOf(records)).toEqual([1]);
  });

  test("list() shows the last login first of those that were last seen at one instant", async () => {
    const { users, logIn } = devices({ now: fakeClock().now });
    for (let n = 0; n < 4; n++) await logIn(n);
    expect((await users.list(ADA)).map(({ metadata }) => metadata)).toEqual([3, 2, 1, 0]);
  });

  test("list() shows all of a hundred logins at once", async () => {
    const { users, logIn } = devices();
    await Promise.all(Array.from({ length: 100 }, (_, n) => logIn(n)));
    const listed = (await users.list(ADA)).map(({ metadata }) => Number(metadata));
    expect(listed.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, n) => n));
  });

  test("list(), revokeAll() and bind() refuse what names no user, so that nobody takes nothing for done", async () => {
    const { users, logIn, browser } = devices();
    await logIn("fine", "�");
    for (const user of ["", "\ud800", undefined, 1815, null, {}]) {
      // @ts-expect-error -- from JavaScript
      await expect(users.revokeAll(user)).rejects.toThrow(TypeError);
      // @ts-expect-error -- from JavaScript
      await expect(users.list(user)).rejects.toThrow(TypeError);
      // @ts-expect-error -- from JavaScript
      await browser()((session) => expect(users.bind(session, user)).rejects.toThrow(TypeError));
    }
    expect(await users.list("�")).toHaveLength(1);
  });

  test("list() has the type of the metadata, which bind() then demands", async () => {
    const users = userSessions<{ browser: string }>({ indexes: { sid: (metadata) => metadata["sid"] } });
    const sessions = new SessionManager({ plugins: [users] });
    const session = sessions.open("");
    await users.bind(session, ADA, { browser: "Firefox" });
    // @ts-expect-error -- without the metadata
    const without = (): Promise<void> => users.bind(session, ADA);
    expect(without).toBeTypeOf("function");
    await session.save();
    const listed = await users.list(ADA);
    expectTypeOf(listed).toEqualTypeOf<UserSession<{ browser: string }>[]>();
    expect(listed[0]?.metadata.browser).toBe("Firefox");
  });
});

describe("bind()", () => {
  test("bind() begins a session when there is none", async () => {
    const { users, browser } = devices();
    const { cookies } = await browser()((session) => users.bind(session, ADA));
    expect(cookies).toHaveLength(1);
    expect(await users.list(ADA)).toMatchObject([{ metadata: undefined }]);
  });

  test("bind() is stored although nobody awaits it", async () => {
    for (const credentialVersion of [undefined, async () => 1]) {
      const { users, browser } = devices({ store: openStore().store }, credentialVersion ? { credentialVersion } : {});
      const phone = browser();
      await phone((session) => void users.bind(session, ADA, "first"));
      expect(await users.list(ADA)).toMatchObject([{ metadata: "first" }]);
      await phone((session) => void users.bind(session, ADA, "second"));
      expect(await users.list(ADA)).toMatchObject([{ metadata: "second" }]);
      await phone((session) => void users.unbind(session));
      expect(await users.list(ADA)).toEqual([]);
    }
  });

  test("bind() records at once what needs no answer, and a later change of the metadata is not stored", async () => {
    const { users, logIn } = devices();
    const phone = await logIn();
    await phone(async (session) => {
      await session.get("user");
      const metadata = { browser: "Firefox" };
      const binding = users.bind(session, ADA, metadata);
      metadata.browser = "Netscape";
      await session.save();
      expect(await users.list(ADA)).toMatchObject([{ metadata: { browser: "Firefox" } }]);
      await binding;
    });
  });

  test("bind() keeps the handle, and takes the new metadata, when the user is the same", async () => {
    const { users, logIn } = devices();
    const phone = await logIn("before");
    const handle = await handleOn(users, phone);
    await phone((session) => users.bind(session, ADA, "after"));
    expect(await users.list(ADA)).toMatchObject([{ handle, metadata: "after" }]);
    await phone(async (session) => (await session.regenerate(), await users.bind(session, ADA, "later")));
    expect(await users.list(ADA)).toMatchObject([{ handle, metadata: "later" }]);
    await phone(async (session) => {
      await users.bind(session, ADA, "earlier in the same request");
      await users.bind(session, ADA, "last");
    });
    expect(await users.list(ADA)).toMatchObject([{ handle, metadata: "last" }]);
  });

  test("bind() moves the session to another user", async () => {
    const { store, records } = openStore();
    const { users, logIn } = devices({ store }, { indexes: { sid: () => "the same" } });
    const phone = await logIn("before");
    const handle = await handleOn(users, phone);
    await phone((session) => users.bind(session, "user-2", "after"));
    // One entry in the user's list, and one in the list of the index.
    expect(entriesOf(records)).toEqual([1, 1]);
    expect(await users.list(ADA)).toEqual([]);
    expect(await users.list("user-2")).toHaveLength(1);
    expect(await handleOn(users, phone)).not.toBe(handle);
    expect(await users.revokeAll(ADA)).toBe(0);
    expect(await users.revoke(handle)).toBe(false);
    expect(await userOn(phone)).toBe(ADA);
  });

  test("bind() takes a User-Agent of 2 100 letters, and says where metadata is too large or cannot be stored", async () => {
    const { users, browser } = devices({ store: memoryStore() });
    const phone = browser();
    await phone((session) => users.bind(session, ADA, { browser: "M".repeat(2100) }));
    expect(await users.list(ADA)).toMatchObject([{ metadata: { browser: "M".repeat(2100) } }]);
    await phone((session) => users.bind(session, ADA, "M".repeat(16_382)));
    await phone(async (session) => {
      const large = await errorOf(() => users.bind(session, ADA, "é".repeat(8192)));
      expect(large.code).toBe("ERR_NOT_SERIALIZABLE");
      expect(large.message).toMatch(/16386 bytes.*16384/);
      const unfit = await errorOf(() => users.bind(session, ADA, { tabs: [{ close: () => 0 }] }));
      expect(unfit.code).toBe("ERR_NOT_SERIALIZABLE");
      expect(unfit.message).toContain("metadata.tabs[0].close");
    });
    expect(await users.list(ADA)).toMatchObject([{ metadata: "M".repeat(16_382) }]);
  });

  test("bind() lists a session under another id when the first one is in use, and takes one place", async () => {
    for (const onLimit of ["refuse", "revoke-oldest"] as const) {
      const ids = ["a", "a", "b"].map((letter) => letter.repeat(32));
      const { users, sessions } = devices({ generateId: () => ids.shift() ?? "c".repeat(32) }, { limit: 1, onLimit });
      const [anonymous, session] = [sessions.open(""), sessions.open("")];
      await anonymous.create();
      await anonymous.save();
      await users.bind(session, ADA, "phone");
      await session.save();
      expect(await session.id()).toBe("b".repeat(32));
      expect(await users.list(ADA)).toMatchObject([{ metadata: "phone" }]);
    }
  });

  test("bind() works on sessions that are opened by their id", async () => {
    const { users, sessions, browser } = devices();
    const phone = browser();
    const { result: id } = await phone((session) => session.create());
    const session = sessions.open(String(id));
    await users.bind(session, ADA, "by id");
    await session.save();
    expect(await users.handle(session)).toBe(await handleOn(users, phone));
    expect(await users.list(ADA)).toMatchObject([{ metadata: "by id" }]);
  });

  test("revoke() ends nothing for a text that only begins like a handle", async () => {
    const { users, logIn } = devices();
    const phone = await logIn();
    const handle = await handleOn(users, phone);
    const [list = "", token = ""] = handle.split(".");
    for (const other of [`${handle}.`, `${handle}.x`, `${handle} `, `${list}.`, `${list}..${token}`, list, token, ""])
      expect(await users.revoke(other), other).toBe(false);
    expect(await userOn(phone)).toBe(ADA);
    expect(await users.revoke(handle)).toBe(true);
  });

  test("unbind() also unbinds a session that another request has bound meanwhile, as delete() removes what that one has set", async () => {
    const { users, sessions } = devices({ store: openStore().store });
    const jar = cookieJar();
    const visit = visitor(sessions, { jar });
    await visit((session) => session.set("basket", 1));
    await visit(async (session) => {
      session.set("basket", 2);
      session.delete("user");
      await users.unbind(session);
      await visitor(sessions, { jar })(async (other) => {
        other.set("user", ADA);
        await users.bind(other, ADA);
      });
    });
    expect([await userOn(visit), await handleOn(users, visit)]).toEqual([undefined, "none"]);
    expect(await users.list(ADA)).toEqual([]);
  });

  test("unbind() takes back the bind() of a session that begins, and opens no store where there is none", async () => {
    let opened = 0;
    const { store } = openStore();
    const { users, browser } = devices({ store: () => (opened++, store) });
    await browser()((session) => users.unbind(session));
    expect(opened).toBe(0);
    await browser()(async (session) => {
      await users.bind(session, ADA);
      await users.unbind(session);
    });
    expect(await users.list(ADA)).toEqual([]);
  });

  test("handle() is the handle that list() will show, from bind() on, and null from unbind() on", async () => {
    const { users, browser } = devices();
    const phone = browser();
    const handleAfter = async (call: (session: Session<UntypedData>) => unknown): Promise<unknown> =>
      (
        await phone(async (session) => {
          await call(session);
          return await users.handle(session);
        })
      ).result;
    const listed = async (user: string): Promise<unknown> => (await users.list(user)).map(({ handle }) => handle);

    const first = await handleAfter((session) => logInOn(users, session));
    expect(await listed(ADA)).toEqual([first]);
    expect(await handleAfter((session) => users.bind(session, ADA, "again"))).toBe(first);
    expect(await listed(ADA)).toEqual([first]);
    const other = await handleAfter((session) => users.bind(session, "user-2"));
    expect(await listed("user-2")).toEqual([other]);
    expect(other).not.toBe(first);
    expect(await handleAfter((session) => users.unbind(session))).toBeNull();
    expect(
      await handleAfter(async (session) => {
        await users.bind(session, ADA);
        await users.unbind(session);
      }),
    ).toBeNull();
  });

  test("bind() refuses a session of a manager that does not have the plugin, and what is no session", async () => {
    const { users, sessions } = devices();
    const stranger = new SessionManager().open("");
    for (const session of [stranger, {}, new Request(SHOP)] as Session[]) {
      expect(() => users.bind(session, ADA)).toThrow(TypeError);
      expect(() => users.unbind(session)).toThrow(TypeError);
      expect(() => users.handle(session)).toThrow(TypeError);
      await expect(users.revokeAll(ADA, { except: session })).rejects.toThrow(TypeError);
    }
    expect(() => users.bind(sessions.open(""), ADA)).not.toThrow();
    expect(() => users.bind(stranger, ADA)).toThrow(/userSessions/);
    await expect(userSessions().list(ADA)).rejects.toThrow(/userSessions.*option plugins/);
  });

  test("bind() lets a request with an id that was just retired begin a session: it has proved who the user is", async () => {
    const clock = fakeClock();
    const { users, sessions } = devices({ now: clock.now });
    const session = sessions.open("");
    await session.create();
    await session.save();
    const old = String(await session.id());
    await session.regenerate();
    await session.save();
    const late = sessions.open(old);
    await users.bind(late, ADA, "late");
    await late.save();
    expect(await users.list(ADA)).toMatchObject([{ metadata: "late" }]);
  });
});

describe("regenerate() and destroy()", () => {
  test("regenerate() keeps handle, place and metadata", async () => {
    const { users, logIn } = devices();
    const phone = await logIn("phone");
    const handle = await handleOn(users, phone);
    for (let i = 0; i < 3; i++) await phone((session) => session.regenerate());
    expect(await handleOn(users, phone)).toBe(handle);
    expect(await users.list(ADA)).toMatchObject([{ handle, metadata: "phone" }]);
    expect(await users.revoke(handle)).toBe(true);
    expect(await userOn(phone)).toBeUndefined();
  });

  test("destroy() removes the entry, and the list with the last one", async () => {
    const { store, records } = openStore();
    const { logIn } = devices({ store });
    const phone = await logIn();
    const laptop = await logIn();
    await phone((session) => session.destroy());
    expect(entriesOf(records)).toEqual([1]);
    await laptop((session) => session.destroy());
    expect(records.size).toBe(0);
  });

  test("destroy() ends a session whose time is over, and which the handler has not seen", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const { sessions, browser } = devices({ store, now: clock.now });
    const phone = browser();
    const { result: id } = await phone((session) => session.create());
    clock.advance(86_400);
    const session = sessions.open(String(id));
    expect((await session.info()).ended).toBe("expired");
    await session.destroy();
    await session.save();
    expect(records.size).toBe(0);
  });

  test("destroy() removes what earlier ids have left in the list, once no request can put them back", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const { logIn } = devices({ store, now: clock.now });
    const phone = await logIn();
    for (let i = 0; i < 3; i++) await phone((session) => session.regenerate());
    // The engine removes the expired records of the retired ids.
    clock.advance(1200);
    const alive = new Set(living(records));
    for (const [key, record] of records) if (!alive.has(record)) records.delete(key);
    await phone((session) => session.destroy());
    expect(entriesOf(records)).toEqual([]);
  });
});

describe("revoke()", () => {
  test("revoke() ends the one session, says whether there was one, and its browser is told", async () => {
    const events: SessionEvent[] = [];
    const { users, logIn } = devices({ onEvent: (event) => events.push(event) });
    const phone = await logIn();
    const laptop = await logIn();
    const handle = await handleOn(users, phone);
    expect(await users.revoke(handle)).toBe(true);
    expect((await phone((session) => session.info())).result.ended).toBe("revoked");
    expect(await userOn(phone)).toBeUndefined();
    expect(await userOn(laptop)).toBe(ADA);
    expect(await users.list(ADA)).toHaveLength(1);
    expect(await users.revoke(handle)).toBe(false);
    expect(bare(events.filter(({ type }) => type === "revoked"))).toEqual([{ type: "revoked", sessions: 1 }]);
  });

  test("revoke() takes anything for a handle, and throws at nothing", async () => {
    const { users, logIn } = devices();
    const handle = await handleOn(users, await logIn());
    const [list, token] = handle.split(".");
    const made = [
      "",
      "x",
      ".",
      `${handle}x`,
      `${list}.`,
      `${list}`,
      `.${token}`,
      `../etc.${token}`,
      handle.replace(/.{16}$/, "a".repeat(16)),
    ];
    for (const each of made) expect(await users.revoke(each), each).toBe(false);
    // @ts-expect-error -- from a client's JSON
    for (const each of [{ split: 1 }, null, undefined, 1, [handle]]) expect(await users.revoke(each)).toBe(false);
    expect(await users.list(ADA)).toHaveLength(1);
  });

  test("revoke() is not undone by a request that is under way", async () => {
    const { users, logIn } = devices();
    const phone = await logIn();
    const jar = gate();
    const handle = await handleOn(users, phone);
    const slow = phone(async (session) => {
      session.set("note", await session.get("user"));
      await jar.opened;
    });
    await users.revoke(handle);
    jar.open();
    await slow;
    expect(await userOn(phone)).toBeUndefined();
  });
});

describe("revokeAll()", () => {
  test("revokeAll() ends every session of the user but the excepted one, and no replayed cookie works", async () => {
    const { users, sessions, browser } = devices();
    const jars = Array.from({ length: 5 }, () => cookieJar());
    for (const jar of jars) {
      await visitor(sessions, { jar })(async (session) => (session.set("user", ADA), await users.bind(session, ADA)));
    }
    const stranger = await devices({}).logIn();
    const replays = jars.map((jar) => ({ Cookie: jar.header(SHOP) ?? "" }));
    const own = visitor(sessions, { jar: jars[0]! });
    const { result: ended } = await own((session) => users.revokeAll(ADA, { except: session }));
    expect(ended).toBe(4);
    expect(await userOn(own)).toBe(ADA);
    for (const headers of replays.slice(1)) {
      expect((await browser()((session) => session.get("user"), { headers })).result).toBeUndefined();
    }
    expect(await users.list(ADA)).toHaveLength(1);
    expect(await users.revokeAll(ADA)).toBe(1);
    expect(await userOn(own)).toBeUndefined();
    expect(await userOn(stranger)).toBe(ADA);
  });

  test("revokeAll() refuses a session in place of the options, which would end that session too", async () => {
    const { users, logIn, browser } = devices();
    await logIn("phone");
    const { result } = await browser()(async (session) => {
      await users.bind(session, ADA);
      await session.save();
      return await Promise.resolve(Reflect.apply(users.revokeAll, users, [ADA, session])).catch(String);
    });
    expect(result).toBe("TypeError: The options of users.revokeAll must be an object, such as { except: … }");
    expect(await users.list(ADA)).toHaveLength(2);
  });

  test("revokeAll() spares a session that this request has bound, also where it was bound before", async () => {
    const { users, logIn } = devices();
    const phone = await logIn("phone");
    await logIn("laptop");
    await phone(async (session) => {
      await session.regenerate();
      await users.bind(session, ADA, "phone again");
      expect(await users.revokeAll(ADA, { except: session })).toBe(1);
    });
    expect(await users.list(ADA)).toMatchObject([{ metadata: "phone again" }]);
    expect(await userOn(phone)).toBe(ADA);
  });

  test("revokeAll() throws when the excepted session could not be loaded, and ends nobody's", async () => {
    const store = faultyStore(memoryStore());
    const { users, logIn } = devices({ store, onStoreError: "anonymous" });
    const phone = await logIn();
    const laptop = await logIn();
    const { result } = await phone(async (session) => {
      store.plan({ load: ["rejects"] });
      return await codeOf(() => users.revokeAll(ADA, { except: session }));
    });
    expect(result).toBe("ERR_STORE");
    expect(await userOn(phone)).toBe(ADA);
    expect(await userOn(laptop)).toBe(ADA);
    expect(await users.list(ADA)).toHaveLength(2);
  });

  test("revokeAll() throws as well when this request has bound the session that could not be loaded", async () => {
    const store = faultyStore(memoryStore());
    const { users, logIn } = devices({ store, onStoreError: "anonymous" });
    const phone = await logIn();
    const laptop = await logIn();
    const { result } = await phone(async (session) => {
      store.plan({ load: ["rejects"] });
      await session.get("user");
      await users.bind(session, ADA);
      return await codeOf(() => users.revokeAll(ADA, { except: session }));
    });
    expect(result).toBe("ERR_STORE");
    expect([await userOn(phone), await userOn(laptop)]).toEqual([ADA, ADA]);
  });

  test("revokeAll() does not count a session whose time was over", async () => {
    const clock = fakeClock();
    const { users, logIn } = devices({ now: clock.now });
    await logIn("over");
    clock.advance(86_400 + 1200);
    await logIn("live");
    expect(await users.revokeAll(ADA)).toBe(1);
  });

  test("revokeAll() notes for as long as the session would have lived that it was revoked", async () => {
    const clock = fakeClock();
    const ends: number[] = [];
    const store = altered(openStore().store, {
      save(save, key, write) {
        if (write.record.fields.size === 0) ends.push(write.expiresAt);
        return save(key, write);
      },
    });
    const { users, logIn } = devices({ store, now: clock.now });
    await logIn();
    const end = clock.now() + 86_400_000;
    clock.advance(60);
    expect(await users.revokeAll(ADA)).toBe(1);
    // The record of the ended session is kept until then, because another clock may show an earlier time.
    expect(ends).toEqual([end + 600_000]);
  });

  test("revokeAll() with a session that is nobody's ends all", async () => {
    const { users, logIn, browser } = devices();
    await logIn();
    const { result } = await browser()((session) => users.revokeAll(ADA, { except: session }));
    expect(result).toBe(1);
  });
});

describe("revokeBy()", () => {
  const about = {
    indexes: {
      sid: ({ sid }: Record<string, unknown>) => sid,
      tenant: ({ tenant }: Record<string, unknown>) => tenant,
    },
  };

  test("revokeBy() ends the sessions with one value of an index, whoever's they are, and no others", async () => {
    const { users, logIn } = devices({}, about);
    const [first, second, third] = [
      await logIn({ sid: "op-1", tenant: 7 }),
      await logIn({ sid: "op-2", tenant: 7 }, "user-2"),
      await logIn({ sid: "op-3", tenant: 8 }, "user-3"),
    ];
    await logIn({ other: 1 }, "user-4");
    await logIn(undefined, "user-5");
    expect(await users.revokeBy("sid", "op-1")).toBe(1);
    expect(await Promise.all([first, second, third].map(userOn))).toEqual([undefined, "user-2", "user-3"]);
    expect(await users.list(ADA)).toEqual([]);
    expect(await users.revokeBy("tenant", 7)).toBe(1);
    expect(await users.revokeBy("tenant", "8")).toBe(1);
    expect(await users.revokeBy("sid", "op-9")).toBe(0);
    expect(await users.list("user-4")).toHaveLength(1);
  });

  test("revokeBy() follows the value of the last bind(), and a regenerated id", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const { users, logIn } = devices({ store, now: clock.now }, about);
    const phone = await logIn({ sid: "before" });
    for (const sid of ["after", "before", "after"]) {
      await phone((session) => users.bind(session, ADA, { sid }));
      expect(await users.list(ADA)).toMatchObject([{ metadata: { sid } }]);
      expect(unlisted(records)).toEqual([]);
    }
    await phone((session) => session.regenerate());
    expect(await users.revokeBy("sid", "before")).toBe(0);
    expect(await userOn(phone)).toBe(ADA);
    expect(await users.revokeBy("sid", "after")).toBe(1);
    expect(await userOn(phone)).toBeUndefined();
    await users.list(ADA);
    // Until then, another request could have bound the session to the earlier value again.
    clock.advance(1200);
    await users.revokeBy("sid", "before");
    expect(entriesOf(records)).toEqual([]);
  });

  test("revokeBy() refuses an index that is none, and a value that is none", async () => {
    const { users, browser } = devices({}, about);
    await expect(users.revokeBy("toString", "x")).rejects.toThrow(TypeError);
    for (const value of ["", undefined, null, {}]) {
      // @ts-expect-error -- from JavaScript
      await expect(users.revokeBy("sid", value)).rejects.toThrow(TypeError);
    }
    await browser()((session) => expect(users.bind(session, ADA, { sid: {} })).rejects.toThrow(TypeError));
  });
});
