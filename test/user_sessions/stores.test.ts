import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SessionManager, type SessionOptions, type SessionStore, type UntypedData } from "../../mod.ts";
import { type UserSessions, userSessions, type UserSessionsOptions } from "../../src/user_sessions.ts";
import { fakeClock, type FakeClock } from "../../src/testing.ts";
import { PATIENCE } from "../setup/sessions.ts";
import { type Engine, engines } from "./engines.ts";

interface Scene {
  readonly sessions: SessionManager<UntypedData>;
  readonly users: UserSessions;
  readonly user: string;
  readonly clock: FakeClock;
  readonly store: SessionStore;
  /** Logs in on a new device, and returns its id. */
  readonly logIn: (metadata?: unknown) => Promise<string>;
  /** The user that the device's session belongs to. */
  readonly who: (id: string) => Promise<unknown>;
  readonly handleOf: (id: string) => Promise<string>;
}

function scene(store: SessionStore, about: UserSessionsOptions = {}, options: SessionOptions<UntypedData> = {}): Scene {
  const clock = fakeClock(Date.now());
  const users = userSessions(about);
  const sessions = new SessionManager<UntypedData>({
    store,
    now: clock.now,
    storeTimeout: PATIENCE,
    touchInterval: 0,
    plugins: [users],
    ...options,
  });
  const user = crypto.randomUUID();
  return {
    sessions,
    users,
    user,
    clock,
    store,
    async logIn(metadata) {
      const session = sessions.open("");
      session.set("user", user);
      await users.bind(session, user, metadata);
      await session.save();
      return (await session.id()) ?? "";
    },
    who: (id) => sessions.open(id).get("user"),
    handleOf: async (id) => (await users.handle(sessions.open(id))) ?? "",
  };
}

const cases: Record<string, (store: SessionStore) => Promise<void>> = {
  async "list() shows each session, the last seen first"(store) {
    const { sessions, users, user, logIn, clock } = scene(store);
    const phone = await logIn({ browser: "Firefox", 漢字: new Set([1n]) });
    clock.advance(60);
    await logIn("laptop");
    clock.advance(60);
    const session = sessions.open(phone);
    session.touch();
    await session.save();
    const listed = await users.list(user);
    expect(listed.map(({ metadata }) => metadata)).toEqual([{ browser: "Firefox", 漢字: new Set([1n]) }, "laptop"]);
    expect(listed[0]).toMatchObject({ lastSeenAt: clock.now(), createdAt: clock.now() - 120_000 });
    expect(await users.list(crypto.randomUUID())).toEqual([]);
  },

  async "revoke() ends one session, whose id then opens nothing and is told so"(store) {
    const { sessions, users, user, logIn, who, handleOf } = scene(store);
    const phone = await logIn();
    const laptop = await logIn();
    const handle = await handleOf(phone);
    expect(await users.revoke(handle)).toBe(true);
    expect(await who(phone)).toBeUndefined();
    expect((await sessions.open(phone).info()).ended).toBe("revoked");
    expect(await who(laptop)).toBe(user);
    expect(await users.list(user)).toHaveLength(1);
    expect(await users.revoke(handle)).toBe(false);
  },

  async "revokeAll() ends every session but the excepted one"(store) {
    const { sessions, users, user, logIn, who } = scene(store);
    const ids = [await logIn(), await logIn(), await logIn(), await logIn()];
    expect(await users.revokeAll(user, { except: sessions.open(ids[2]!) })).toBe(3);
    expect(await Promise.all(ids.map(who))).toEqual([undefined, undefined, user, undefined]);
    expect(await users.list(user)).toHaveLength(1);
    expect(await users.revokeAll(user)).toBe(1);
    expect(await Promise.all(ids.map(who))).toEqual([undefined, undefined, undefined, undefined]);
    expect(await users.list(user)).toEqual([]);
  },

  async "revokeBy() ends the sessions with one value of an index"(store) {
    const { users, user, logIn, who } = scene(store, { indexes: { sid: ({ sid }) => sid } });
    const sid = crypto.randomUUID();
    const ids = [await logIn({ sid }), await logIn({ sid: "another" }), await logIn({ sid })];
    expect(await users.revokeBy("sid", sid)).toBe(2);
    expect(await Promise.all(ids.map(who))).toEqual([undefined, user, undefined]);
    expect(await users.list(user)).toHaveLength(1);
  },

  async "list() shows all of twelve logins at once, where the engine compares"(store) {
    const { users, user, logIn, who } = scene(store);
    const ids = await Promise.all(Array.from({ length: 12 }, (_, device) => logIn(device)));
    const listed = await users.list(user);
    expect(new Set(listed.map(({ metadata }) => metadata)).size).toBe(listed.length);
    if (store.traits.compareAndSet) expect(listed).toHaveLength(12);
    else expect(listed.length).toBeGreaterThan(0);
    const ended = await users.revokeAll(user);
    expect(ended).toBe(listed.length);
    // Without compare-and-set, sessions that are missing in the list stay alive. Those in the list have ended.
    const alive = (await Promise.all(ids.map(who))).filter((found) => found !== undefined);
    expect(alive).toHaveLength(12 - ended);
  },

  async "the limit is exact, also of logins at once, where the engine compares"(store) {
    for (const onLimit of ["revoke-oldest", "refuse"] as const) {
      const { users, user, logIn } = scene(store, { limit: 2, onLimit });
      const answers = await Promise.allSettled(Array.from({ length: 4 }, () => logIn()));
      const listed = await users.list(user);
      if (!store.traits.compareAndSet) continue;
      expect(listed).toHaveLength(2);
      expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(onLimit === "refuse" ? 2 : 4);
    }
  },

  // Together they are larger than the maximum value of the smallest engine.
  async "ten sessions with 7 000 letters each are listed, and all but one end"(store) {
    const { sessions, users, user, logIn, who } = scene(store);
    const ids: string[] = [];
    for (let device = 0; device < 10; device++) ids.push(await logIn(`${device} ${"x".repeat(7000)}`));
    const handles = (await users.list(user)).map(({ handle }) => handle);
    expect(handles).toHaveLength(10);
    const spared = sessions.open(ids[0]!);
    const own = await users.handle(spared);
    expect(await users.revoke(handles.find((handle) => handle !== own)!)).toBe(true);
    expect(await users.revokeAll(user, { except: spared })).toBe(8);
    expect((await Promise.all(ids.map(who))).filter((found) => found !== undefined)).toHaveLength(1);
  },

  async "regenerate() keeps the handle, and both ids end with it"(store) {
    const { sessions, users, user, logIn, who, handleOf } = scene(store);
    const before = await logIn("phone");
    const handle = await handleOf(before);
    const session = sessions.open(before);
    await session.regenerate({ grace: 60 });
    await session.save();
    const after = (await session.id()) ?? "";
    expect(after).not.toBe(before);
    expect(await handleOf(after)).toBe(handle);
    expect((await users.list(user)).map(({ metadata }) => metadata)).toEqual(["phone"]);
    expect(await who(before)).toBe(user);
    expect(await users.revokeAll(user)).toBe(1);
    expect([await who(before), await who(after)]).toEqual([undefined, undefined]);
  },

  async "destroy() and unbind() take a session from the list"(store) {
    const { sessions, users, user, logIn, who } = scene(store);
    const phone = await logIn();
    const laptop = await logIn();
    const gone = sessions.open(phone);
    await gone.destroy();
    await gone.save();
    expect(await users.list(user)).toHaveLength(1);
    const free = sessions.open(laptop);
    await users.unbind(free);
    await free.save();
    expect(await users.list(user)).toEqual([]);
    expect(await users.revokeAll(user)).toBe(0);
    expect(await who(laptop)).toBe(user);
  },

  async "credentials that have changed end a session"(store) {
    let version = 1;
    const { sessions, users, user, logIn, who } = scene(store, { credentialVersion: async () => version });
    const phone = await logIn();
    expect(await who(phone)).toBe(user);
    version = 2;
    expect((await sessions.open(phone).info()).ended).toBe("credentials");
    expect(await users.list(user)).toEqual([]);
  },
};

describe.each(Object.keys(engines))("users' sessions, in %s:", (name) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await engines[name]!();
  });
  afterAll(() => engine.stop());
  for (const [title, check] of Object.entries(cases)) test(title, () => check(engine.store));
});
