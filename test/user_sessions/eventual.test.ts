import { describe, expect, test } from "vitest";
import { type Session, SessionManager, type SessionStore, type StoredRecord } from "../../mod.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { type UserSessions, userSessions, type UserSessionsOptions } from "../../src/user_sessions.ts";
import { cookieJar, type CookieJar, fakeClock, type FakeClock, kvSimulator } from "../../src/testing.ts";
import { altered, keyOf, openStore, type Visitor, visitor } from "../setup/sessions.ts";
import { ADA, devices, entriesOf, isPage, logInOn, userOn } from "./devices.ts";

const SECRETS = ["a secret of at least thirty-two bytes"];

interface Place {
  readonly users: UserSessions;
  readonly sessions: SessionManager<Record<string, unknown>>;
  readonly visit: (jar: CookieJar) => Visitor<Record<string, unknown>>;
}

/** Places of Workers KV. Each shows the writes of others a minute late. */
function world(
  about: UserSessionsOptions = {},
  order: "first" | "last" | "without" = "without",
): { readonly clock: FakeClock; readonly at: (place: string) => Place } {
  const clock = fakeClock();
  const kv = kvSimulator({ now: clock.now, writeInterval: 0, delay: 60 });
  return {
    clock,
    at(place) {
      const users = userSessions(about);
      const recent = order === "without" ? [] : [readYourWrites({ secrets: SECRETS })];
      const plugins = order === "first" ? [...recent, users] : [users, ...recent];
      const sessions = new SessionManager<Record<string, unknown>>({
        store: cloudflareKvStore(kv.at(place)),
        now: clock.now,
        plugins,
        touchInterval: 60,
      });
      return { users, sessions, visit: (jar) => visitor(sessions, { jar }) };
    },
  };
}

const logIn = (users: UserSessions, metadata: unknown) => (session: Session<Record<string, unknown>>) =>
  logInOn(users, session, metadata);
const shown = async (place: Place): Promise<unknown[]> => (await place.users.list(ADA)).map(({ metadata }) => metadata);

interface LateStore {
  readonly store: SessionStore;
  readonly records: Map<string, StoredRecord>;
  /** The key of the record that is not shown. */
  hidden: string;
}

/** A store of a place that does not show one record yet, and in which the last write wins. */
function lateStore(): LateStore {
  const { store, records } = openStore();
  const traits = { consistency: "eventual", compareAndSet: false, maxBytes: Infinity } as const;
  const place: LateStore = {
    hidden: "",
    records,
    store: altered(
      { ...store, traits },
      {
        load: (load, key) => (key === place.hidden ? null : load(key)),
        save: (save, key, write) => save(key, { ...write, expected: records.get(key)?.version ?? null }),
      },
    ),
  };
  return place;
}

describe("where a place may show an older list", () => {
  for (const use of ["list", "revokeAll"] as const) {
    test(`${use}() does not forget a session that has just been regenerated elsewhere`, async () => {
      const { clock, at } = world();
      const [paris, tokyo] = [at("Paris"), at("Tokyo")];
      const phone = cookieJar();
      await paris.visit(phone)(logIn(paris.users, "phone"));
      clock.advance(3600);
      await tokyo.visit(cookieJar())(logIn(tokyo.users, "laptop"));
      clock.advance(120);
      await paris.visit(phone)((session) => session.regenerate());
      await tokyo.users[use](ADA);
      clock.advance(300);
      // A session that is used adds itself to the list again.
      await userOn(paris.visit(phone));
      expect(await shown(paris)).toContain("phone");
      await paris.users.revokeAll(ADA);
      clock.advance(300);
      expect(await userOn(paris.visit(phone))).toBeUndefined();
    });
  }

  test("two logins at once in two places are both listed, at the latest when each is used a touch interval later", async () => {
    const { clock, at } = world();
    const [paris, tokyo] = [at("Paris"), at("Tokyo")];
    const [phone, laptop] = [cookieJar(), cookieJar()];
    await paris.visit(phone)(logIn(paris.users, "phone"));
    await tokyo.visit(laptop)(logIn(tokyo.users, "laptop"));
    clock.advance(300);
    expect(await shown(paris)).toHaveLength(1);
    await userOn(paris.visit(phone));
    clock.advance(120);
    await userOn(tokyo.visit(laptop));
    clock.advance(300);
    expect((await shown(paris)).toSorted()).toEqual(["laptop", "phone"]);
    expect(await paris.users.revokeAll(ADA)).toBe(2);
    clock.advance(300);
    expect([await userOn(paris.visit(phone)), await userOn(tokyo.visit(laptop))]).toEqual([undefined, undefined]);
  });

  test("revokeAll() ends a session that the place does not show yet, if it shows its entry", async () => {
    const late = lateStore();
    const { users, logIn } = devices({ store: late.store });
    const phone = await logIn("phone");
    const key = keyOf(String((await phone((session) => session.id())).result));
    late.hidden = key;
    expect(await users.list(ADA)).toEqual([]);
    late.hidden = "";
    expect(await userOn(phone)).toBe(ADA);
    late.hidden = key;
    expect(await users.revokeAll(ADA)).toBe(0);
    late.hidden = "";
    expect((await phone((session) => session.info())).result.ended).toBe("revoked");
  });

  test("a new id that no response carries is not listed, although the place does not show its record yet", async () => {
    const late = lateStore();
    const { logIn } = devices({ store: late.store });
    const phone = await logIn("phone");
    const failed = phone(async (session) => {
      await session.regenerate();
      late.hidden = keyOf(String(await session.id()));
      await session.save();
      throw new Error("the handler failed");
    });
    await expect(failed).rejects.toThrow("the handler failed");
    expect(late.records.get(late.hidden)?.fields.size).toBe(0);
    expect(entriesOf(late.records)).toEqual([1]);
  });

  test.each([0, 30])(
    "revokeAll() ends what has taken a session's place with a grace of %s, although the list that it sees does not name it",
    async (grace) => {
      const clock = fakeClock();
      const { store, records } = openStore();
      const { users, logIn } = devices({ store, now: clock.now });
      const phone = await logIn("phone");
      const [key, before] = [...records].find(([, record]) => isPage(record)) ?? [];
      await phone((session) => session.regenerate({ grace }));
      records.set(String(key), { ...before!, version: 1000 });
      expect(await users.list(ADA)).toMatchObject([{ metadata: "phone" }]);
      // A long time passes before the call.
      clock.advance(1200);
      expect(await users.revokeAll(ADA)).toBe(1);
      expect(await userOn(phone)).toBeUndefined();
    },
  );

  test("credentialVersion ends sessions in every place at once", async () => {
    let version = 1;
    const { at } = world({ credentialVersion: () => version });
    const [paris, tokyo] = [at("Paris"), at("Tokyo")];
    const phone = cookieJar();
    await paris.visit(phone)(logIn(paris.users, "phone"));
    version = 2;
    expect(await userOn(paris.visit(phone))).toBeUndefined();
    expect(await userOn(tokyo.visit(phone))).toBeUndefined();
  });
});

describe("with readYourWrites()", () => {
  for (const order of ["first", "last"] as const) {
    test(`a login is seen in another place at once, keeps its handle, and ends when it is revoked; readYourWrites() stands ${order}`, async () => {
      const { clock, at } = world({ credentialVersion: () => 1 }, order);
      const [paris, tokyo] = [at("Paris"), at("Tokyo")];
      const phone = cookieJar();
      await paris.visit(phone)(logIn(paris.users, "phone"));
      expect(await userOn(tokyo.visit(phone))).toBe(ADA);
      const handles = [paris, tokyo].map(
        async (place) => (await place.visit(phone)((session) => place.users.handle(session))).result,
      );
      const [handle, same] = await Promise.all(handles);
      expect(handle).toBe(same);
      await tokyo.visit(phone)((session) => session.set("n", 1));
      await tokyo.visit(phone)((session) => tokyo.users.bind(session, ADA, "phone again"));
      clock.advance(300);
      expect(await paris.users.list(ADA)).toMatchObject([{ handle, metadata: "phone again" }]);
      expect(await paris.users.revoke(String(handle))).toBe(true);
      clock.advance(300);
      for (const place of [paris, tokyo]) expect(await userOn(place.visit(phone))).toBeUndefined();
      await tokyo.visit(phone)((session) => session.set("n", 2));
      expect(await userOn(tokyo.visit(phone))).toBeUndefined();
    });
  }

  test("a logout frees the place under a limit, although the store does not show the session yet", async () => {
    const late = lateStore();
    const recent = readYourWrites({ secrets: SECRETS });
    const { logIn } = devices({ store: late.store, plugins: [recent] }, { limit: 1, onLimit: "refuse" });
    const phone = await logIn("phone");
    late.hidden = keyOf(String((await phone((session) => session.id())).result));
    expect(await userOn(phone)).toBe(ADA);
    await phone((session) => session.destroy());
    expect([...late.records.values()].some(isPage)).toBe(false);
    expect(await userOn(await logIn("laptop"))).toBe(ADA);
  });

  test("one place alone lists and revokes at once", async () => {
    const clock = fakeClock();
    const kv = kvSimulator({ now: clock.now, writeInterval: 0 });
    const { users, logIn } = devices({
      store: cloudflareKvStore(kv.at("Paris")),
      now: clock.now,
      plugins: [readYourWrites({ secrets: SECRETS })],
    });
    const phone = await logIn("phone");
    clock.advance(61);
    expect(await users.list(ADA)).toMatchObject([{ metadata: "phone" }]);
    expect(await users.revokeAll(ADA)).toBe(1);
    clock.advance(61);
    expect(await userOn(phone)).toBeUndefined();
  });
});

test.each(["first", "last"] as const)(
  "limit() of one user ends no session of another whose session the place does not show yet; readYourWrites() stands %s",
  async (order) => {
    const { at, clock } = world({ limit: (userId) => (userId === ADA ? 3 : 1) }, order);
    const [paris, tokyo] = [at("Paris"), at("Tokyo")];
    const [first, second] = [cookieJar({ now: clock.now }), cookieJar({ now: clock.now })];
    for (const jar of [first, second]) await paris.visit(jar)(logIn(paris.users, "phone"));
    clock.advance(120);
    expect(await shown(tokyo)).toHaveLength(2);
    await paris.visit(second)((session) => session.regenerate());
    await tokyo.visit(second)((session) => logInOn(tokyo.users, session, "phone", "eve"));
    expect(await userOn(tokyo.visit(second))).toBe("eve");
    for (const place of [tokyo, paris]) expect(await userOn(place.visit(first))).toBe(ADA);
  },
);

test.each(["first", "last"] as const)(
  "bind() in a place that does not show the session yet ends the oldest session over the limit; readYourWrites() stands %s",
  async (order) => {
    const { at, clock } = world({ limit: 1 }, order);
    const [paris, tokyo] = [at("Paris"), at("Tokyo")];
    const [first, second] = [cookieJar({ now: clock.now }), cookieJar({ now: clock.now })];
    await paris.visit(first)(logIn(paris.users, "phone"));
    clock.advance(120);
    await paris.visit(second)((session) => session.set("basket", 1));
    await tokyo.visit(second)((session) => tokyo.users.bind(session, ADA, "laptop"));
    expect(await shown(tokyo)).toEqual(["laptop"]);
    expect(await userOn(tokyo.visit(first))).toBeUndefined();
  },
);

describe.each(["first", "last"] as const)("readYourWrites() stands %s, and a place shows an older user:", (order) => {
  test.each([true, false])("bind() of the present user keeps the handle (new id: %s)", async (isRenewed) => {
    const { at, clock } = world({}, order);
    const [paris, tokyo] = [at("Paris"), at("Tokyo")];
    const jar = cookieJar({ now: clock.now });
    await paris.visit(jar)((session) => logInOn(paris.users, session, "phone", "eve"));
    clock.advance(120);
    await paris.visit(jar)((session) => paris.users.bind(session, ADA, "phone"));
    const { result: handle } = await tokyo.visit(jar)((session) => tokyo.users.handle(session));
    expect(handle).not.toBeNull();
    await tokyo.visit(jar)(async (session) => {
      if (isRenewed) await session.regenerate();
      await tokyo.users.bind(session, ADA, "laptop");
    });
    expect((await tokyo.visit(jar)((session) => tokyo.users.handle(session))).result).toBe(handle);
  });
});
