import { describe, expect, expectTypeOf, test } from "vitest";
import { memoryStore, SessionManager, type SessionStore, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { type UserSession, userSessions } from "../../src/user_sessions.ts";
import { altered, codeOf, counted, openStore, SHOP } from "../setup/sessions.ts";
import { ADA, devices, handleOn, isPage, userOn } from "./devices.ts";

describe("userSessions() as a plugin", () => {
  test("cookie sessions are refused, for no list of them can be kept", () => {
    const store = cookieSessions({ secrets: ["a secret of at least thirty-two bytes"] });
    expect(() => devices({ store })).toThrow(/store.*cookieSessions/);
  });

  test("two managers may share the plugin with one store, and not with two", async () => {
    const users = userSessions();
    const store = memoryStore();
    const [first, second] = [
      new SessionManager({ store, plugins: [users] }),
      new SessionManager({ store, plugins: [users], header: "X-Id" }),
    ];
    for (const sessions of [first, second]) {
      const session = sessions.open("");
      await users.bind(session, ADA);
      await session.save();
    }
    expect(await users.list(ADA)).toHaveLength(2);
    expect(() => new SessionManager({ store: memoryStore(), plugins: [users] })).toThrow(TypeError);
    expect(() => new SessionManager({ plugins: [users] })).toThrow(TypeError);
  });

  test("a request is answered by its handler, although the plugin has a function of that name", async () => {
    const { users } = devices();
    const handle = withSession(() => new Response("Hello"), { plugins: [userSessions()] });
    expect(await (await handle(new Request(SHOP))).text()).toBe("Hello");
    expect(users.name).toBe("users");
  });

  test("options that are wrong are refused, and the message names the nearest known one", () => {
    // @ts-expect-error -- from JavaScript
    expect(() => userSessions({ limits: 1 })).toThrow(/limit/);
    for (const limit of [0, -1, 1.5, NaN, -Infinity, "5", null]) {
      // @ts-expect-error -- from JavaScript
      expect(() => userSessions({ limit })).toThrow(RangeError);
    }
    // @ts-expect-error -- from JavaScript
    expect(() => userSessions({ limit: 1, onLimit: "ask" })).toThrow(/userSessions: onLimit/);
    expect(() => userSessions({ limit: 1, onLimit: "revoke-oldest" })).not.toThrow();
    // @ts-expect-error -- from JavaScript
    expect(() => userSessions({ credentialVersion: 1 })).toThrow(TypeError);
    // @ts-expect-error -- from JavaScript
    expect(() => userSessions({ indexes: { sid: "sid" } })).toThrow(TypeError);
  });

  test("functions get what the runtime passes beside the request, and so do those of list() and revoke()", async () => {
    const told: unknown[][] = [];
    const note = (...args: unknown[]): undefined => void told.push(args);
    const { store } = openStore();
    const users = userSessions({
      credentialVersion: (...args) => note("version", ...args),
      limit: (...args) => (note("limit", ...args), 5),
    });
    const sessions = new SessionManager({ store: (env: string) => (note("store", env), store), plugins: [users] });
    const handle = withSession(async (_request, session, ..._rest: string[]) => {
      await users.bind(session, ADA);
      return new Response();
    }, sessions);
    await handle(new Request(SHOP), "env", "ctx");
    await users.list(ADA, "env", "ctx");
    await users.revokeAll(ADA, {}, "other", "ctx");
    expect(new Set(told.map((each) => each.join(" ")))).toEqual(
      new Set([`version ${ADA} env ctx`, `limit ${ADA} env ctx`, "store env", "store other"]),
    );
  });

  test("a session that is not bound costs no call, and a read of a bound one costs none more", async () => {
    const { store, calls } = counted(openStore().store);
    const callsOf = async (task: () => Promise<unknown>): Promise<string[]> => {
      calls.length = 0;
      await task();
      return [...calls];
    };
    const { users, browser, logIn } = devices({ store });
    const anonymous = browser();
    expect(await callsOf(() => anonymous((session) => session.set("n", 1)))).toEqual(["create"]);
    expect(await callsOf(() => anonymous((session) => session.get("n")))).toEqual(["load"]);
    const phone = await logIn();
    expect(await callsOf(() => userOn(phone))).toEqual(["load"]);
    expect(await callsOf(() => phone((session) => session.set("n", 1)))).toEqual(["load", "change"]);
    expect(await callsOf(() => phone((session) => session.touch()))).toEqual(["load", "load", "touch"]);
    expect(await callsOf(() => browser()((session) => users.bind(session, "new")))).toEqual([
      "load",
      "create",
      "create",
    ]);
    expect(await callsOf(() => phone((session) => users.handle(session)))).toEqual(["load"]);
    expect(await callsOf(() => anonymous((session) => users.unbind(session)))).toEqual(["load"]);
    expect(await callsOf(() => anonymous((session) => session.destroy()))).toEqual(["load", "delete"]);
    // Other sessions in the list cause no calls.
    const laptop = await logIn();
    expect(await callsOf(() => phone((session) => session.touch()))).toEqual(["load", "load", "touch"]);
    expect(await callsOf(() => laptop((session) => session.destroy()))).toEqual(["load", "delete", "load", "change"]);
    expect(await callsOf(() => users.revokeAll(ADA))).toEqual(["load", "load", "change", "delete"]);
  });

  test("a session that is bound again costs a look at its lists, and at that in which it is no more", async () => {
    const { store, calls } = counted(openStore().store);
    const { users, logIn } = devices({ store }, { indexes: { sid: ({ sid }) => sid } });
    const phone = await logIn({ sid: "one" });
    const callsOf = async (sid: string): Promise<string[]> => {
      calls.length = 0;
      await phone((session) => users.bind(session, ADA, { sid }));
      return [...calls];
    };
    expect(await callsOf("one")).toEqual(["load", "load", "load", "change"]);
    // The new list is read and written, and then the old list is read, with the session that it names.
    expect(await callsOf("two")).toEqual(["load", "load", "load", "create", "change", "load", "load"]);
  });

  test("a limit costs a login the look at the user's other sessions, once", async () => {
    const { store, calls } = counted(openStore().store);
    const { users, browser, logIn } = devices({ store }, { limit: 3 });
    await logIn();
    const phone = browser();
    calls.length = 0;
    await phone(async (session) => {
      await users.bind(session, ADA);
      await session.save();
      // The page is read and written and the session is created. Then the page and its two sessions are read.
      expect(calls).toEqual(["load", "change", "create", "load", "load", "load"]);
      calls.length = 0;
      await session.regenerate();
      await session.save();
      expect(calls).toEqual(["load", "change", "create", "change"]);
    });
  });

  test("functions among the options may say what the runtime passes", () => {
    interface Env {
      readonly most: number;
      version(user: string): Promise<number>;
    }
    const users = userSessions({
      limit: (_user, env: Env) => env.most,
      credentialVersion: (user, env: Env) => env.version(user),
    });
    expectTypeOf(users.list).returns.resolves.toEqualTypeOf<UserSession[]>();
    expect(() => new SessionManager({ plugins: [users] })).not.toThrow();
  });

  test("metadata that the codec cannot read do not hide the session", async () => {
    const store = memoryStore();
    const first = devices({
      store,
      codec: { encode: (value) => `1${JSON.stringify(value)}`, decode: (text) => JSON.parse(text.slice(1)) },
    });
    await first.logIn("phone");
    expect(await first.users.list(ADA)).toMatchObject([{ metadata: "phone" }]);
    const second = devices({
      store,
      codec: {
        encode: JSON.stringify,
        decode() {
          throw new TypeError("another format");
        },
      },
    });
    expect(await second.users.list(ADA)).toMatchObject([{ metadata: undefined }]);
    expect(await second.users.revokeAll(ADA)).toBe(1);
  });

  test("bind() after the response was sent is stored at once on a session that exists, and refused on one that does not", async () => {
    const { users, sessions, logIn, browser } = devices();
    const phone = await logIn("phone");
    const { result: id } = await phone((session) => session.id());
    const session = sessions.start(new Request(SHOP, { headers: { Cookie: `__Host-session=${id}` } }));
    await session.get("user");
    await sessions.commit(session);
    await users.bind(session, ADA, "later");
    await session.save();
    expect(await users.list(ADA)).toMatchObject([{ metadata: "later" }]);
    const { result: none } = await browser()((late) => late);
    expect(await codeOf(() => users.bind(none, ADA))).toBe("ERR_RESPONSE_SENT");
  });

  test("a store that changes what it has is asked for nothing that is no key", async () => {
    const { store, records } = openStore();
    const asked = new Set<string>();
    const watched: SessionStore = altered(store, { load: (load, key) => (asked.add(key), load(key)) });
    const { users, logIn } = devices({ store: watched });
    const phone = await logIn("fine");
    for (const [key, record] of records) {
      if (!isPage(record)) continue;
      const fields = new Map(record.fields)
        .set("=a", "{")
        .set("=../etc token", "1 1")
        .set(`=${"a".repeat(64)}`, "1 1")
        .set(`=${"b".repeat(64)} token`, "x 1e99")
        .set(`=${"c".repeat(64)} token`, "")
        .set("@", "list NaN 1e999 -5");
      records.set(key, { ...record, fields });
    }
    expect(await users.list(ADA)).toMatchObject([{ metadata: "fine" }]);
    expect([...asked].filter((key) => !/^[0-9a-f]{64}$/.test(key))).toEqual([]);
    expect(await users.revokeAll(ADA)).toBe(1);
    expect(await userOn(phone)).toBeUndefined();
  });

  test("a session whose user a store has spoilt has no credentials, and nobody is asked for theirs", async () => {
    const { store, records } = openStore();
    const asked: unknown[] = [];
    const { logIn } = devices({ store }, { credentialVersion: (user) => (asked.push(user), 1) });
    const phone = await logIn();
    expect(await userOn(phone)).toBe(ADA);
    for (const [key, record] of records) {
      const text = (record.fields.get("@") ?? "").replace(/"user":"[^"]+"/, '"user":"AAAA"');
      records.set(key, { ...record, fields: new Map(record.fields).set("@", text) });
    }
    asked.length = 0;
    expect((await phone((session) => session.info())).result.ended).toBe("credentials");
    expect(asked).toEqual([]);
  });

  test("facts that a store has spoilt are those of no user", async () => {
    const { store, records } = openStore();
    const { users, logIn } = devices({ store }, { credentialVersion: () => 1 });
    const phone = await logIn();
    const [key] = [...records].find(([, { fields }]) => (fields.get("@") ?? "").includes("+users")) ?? [];
    const record = records.get(key ?? "");
    const text = record?.fields.get("@") ?? "";
    const facts = text.slice(text.indexOf("{"));
    for (const spoilt of [
      null,
      1,
      "x",
      [],
      {},
      { token: 1 },
      { token: "x", lists: [null] },
      { token: "x", lists: [{ list: "../etc" }] },
    ]) {
      const fields = new Map(record?.fields).set("@", text.replace(facts, JSON.stringify({ "+users": spoilt })));
      records.set(key ?? "", { ...record!, fields });
      expect(await userOn(phone)).toBe(ADA);
      expect(await handleOn(users, phone)).toBe("none");
    }
  });
});
