import { describe, expect, test } from "vitest";
import { memoryStore, type SessionEvent, SessionManager } from "../../mod.ts";
import { type CredentialVersion, userSessions } from "../../src/user_sessions.ts";
import { encryption } from "../../src/encryption.ts";
import { bare, counted, openStore } from "../setup/sessions.ts";
import { ADA, devices, losePages, userOn } from "./devices.ts";

describe("credentialVersion", () => {
  test("a session ends when the user's credentials have changed, without a call of the store more", async () => {
    let version: CredentialVersion = 1;
    const { store, calls } = counted(memoryStore());
    const events: SessionEvent[] = [];
    const { users, logIn, browser } = devices(
      { store, onEvent: (event) => events.push(event) },
      { credentialVersion: async () => await Promise.resolve(version) },
    );
    const phone = await logIn();
    calls.length = 0;
    expect(await userOn(phone)).toBe(ADA);
    expect(calls).toEqual(["load"]);
    version = 2;
    const { result } = await phone(async (session) => ({
      user: await session.get("user"),
      ended: (await session.info()).ended,
    }));
    expect(result).toEqual({ user: undefined, ended: "credentials" });
    expect(bare(events.filter(({ type }) => type === "rejected"))).toEqual([
      { type: "rejected", reason: "credentials" },
    ]);
    expect(await users.list(ADA)).toEqual([]);
    const laptop = await logIn();
    expect(await userOn(laptop)).toBe(ADA);
    expect(await users.list(ADA)).toHaveLength(1);
    const anonymous = browser();
    await anonymous((session) => session.set("basket", 1));
    version = 3;
    expect((await anonymous((session) => session.get("basket"))).result).toBe(1);
  });

  test("a session that was bound without a version is not compared, and one with a version ends when the user has none", async () => {
    const versions: Record<string, CredentialVersion | null | undefined> = {};
    const { users, logIn } = devices({}, { credentialVersion: (user) => versions[user] });
    versions[ADA] = null;
    const without = await logIn("without");
    versions[ADA] = 7;
    expect(await userOn(without)).toBe(ADA);
    // As with a user who was deleted, or whose password was removed.
    for (const none of [null, undefined, 8]) {
      versions[ADA] = 7;
      const bound = await logIn("with");
      expect(await userOn(bound)).toBe(ADA);
      versions[ADA] = none;
      expect(await userOn(bound)).toBeUndefined();
      expect(await userOn(without)).toBe(ADA);
      expect((await users.list(ADA)).map(({ metadata }) => metadata)).toEqual(["without"]);
    }
  });

  test("a session that ended because the user has no version does not count against the limit", async () => {
    let version: number | null = 7;
    const { logIn } = devices({}, { credentialVersion: () => version, limit: 1, onLimit: "refuse" });
    const before = await logIn();
    version = null;
    const phone = await logIn();
    expect(await userOn(before)).toBeUndefined();
    expect(await userOn(phone)).toBe(ADA);
    await expect(logIn()).rejects.toMatchObject({ code: "ERR_SESSION_LIMIT" });
  });

  test.each([[NaN], [Infinity], [7n], [new Date(0)], [true], [{}]])(
    "a version that cannot be compared, such as %s, is refused at bind() and lets nobody in",
    async (wrong) => {
      let version: unknown = 1;
      const { users, logIn } = devices({}, { credentialVersion: () => version as number });
      const phone = await logIn();
      version = wrong;
      await expect(userOn(phone)).rejects.toThrow("credentialVersion must return");
      await expect(users.list(ADA)).rejects.toThrow(TypeError);
      await expect(logIn()).rejects.toThrow("credentialVersion must return");
    },
  );

  test('0 and the empty string are versions, and 1 is another one than "1"', async () => {
    let version: CredentialVersion = 0;
    const { logIn } = devices({}, { credentialVersion: () => version });
    for (const [before, after] of [
      [0, 1],
      ["", "x"],
      [1, "1"],
    ] as const) {
      version = before;
      const phone = await logIn();
      expect(await userOn(phone)).toBe(ADA);
      version = after;
      expect(await userOn(phone)).toBeUndefined();
    }
  });

  test("the version is noted when bind() is called, not when it is stored: what was proved is the old password", async () => {
    let version = 1;
    const { users, browser } = devices({}, { credentialVersion: () => version });
    const phone = browser();
    await phone(async (session) => {
      session.set("user", ADA);
      await users.bind(session, ADA);
      version = 2;
    });
    expect(await userOn(phone)).toBeUndefined();
  });

  test("the version is compared under a regenerated id, and one of a rotation that met other writes", async () => {
    let version = 1;
    const store = memoryStore();
    const { users, sessions, logIn } = devices({ store }, { credentialVersion: () => version });
    const phone = await logIn();
    for (let i = 0; i < 3; i++) await phone((session) => session.regenerate({ grace: 60 }));
    const { result: id } = await phone((session) => session.id());
    const rotating = sessions.open(String(id));
    await rotating.get("user");
    await rotating.regenerate();
    const writing = sessions.open(String(id));
    writing.set("note", 1);
    await writing.save();
    await rotating.save();
    const after = String(await rotating.id());
    expect(after).not.toBe(id);
    expect(await sessions.open(after).get("note")).toBe(1);
    expect(await users.list(ADA)).toHaveLength(1);
    version = 2;
    expect(await sessions.open(after).get("user")).toBeUndefined();
    expect((await sessions.open(after).info()).ended).toBe("credentials");
  });

  test("sessions of a list that an engine has lost end all the same", async () => {
    let version = 1;
    const { store, records } = openStore();
    const { users, logIn } = devices({ store }, { credentialVersion: () => version });
    const phone = await logIn();
    losePages(records);
    expect(await users.revokeAll(ADA)).toBe(0);
    version = 2;
    expect(await userOn(phone)).toBeUndefined();
  });

  test("without credentialVersion nothing is compared, also if the user of a session cannot be revealed", async () => {
    const store = memoryStore();
    const { sessions, logIn } = devices({ store }, { credentialVersion: () => 1 });
    const phone = await logIn();
    // A manager without the plugin, such as one of an older deployment, gives the session a new id.
    const older = new SessionManager({ store }).open(String((await phone((session) => session.id())).result));
    await older.regenerate();
    await older.save();
    const id = String(await older.id());
    expect((await sessions.open(id).info()).ended).toBe("credentials");
    expect(await devices({ store }).sessions.open(id).get("user")).toBe(ADA);
  });

  test("without credentialVersion a session that was bound with a version counts against the limit", async () => {
    const store = memoryStore();
    const phone = await devices({ store }, { credentialVersion: () => 1 }).logIn();
    const { logIn } = devices({ store }, { limit: 1, onLimit: "refuse" });
    await expect(logIn()).rejects.toMatchObject({ code: "ERR_SESSION_LIMIT" });
    expect(await userOn(phone)).toBe(ADA);
  });

  test("a user who cannot be revealed stays unknown under the next id, so the session ends all the same", async () => {
    const store = memoryStore();
    const asked: string[] = [];
    const credentialVersion = (user: string): number => (asked.push(user), 1);
    const { sessions, logIn } = devices({ store }, { credentialVersion });
    const phone = await logIn();
    let id = String((await phone((session) => session.id())).result);
    asked.length = 0;
    // A manager without the plugin gives the session a new id, and then one that compares no credentials.
    for (const older of [new SessionManager({ store }), devices({ store }).sessions]) {
      const session = older.open(id);
      await session.regenerate();
      await session.save();
      id = String(await session.id());
    }
    expect((await sessions.open(id).info()).ended).toBe("credentials");
    expect(asked).toEqual([]);
  });

  test("what credentialVersion throws is thrown, and lets nobody in", async () => {
    let fails = false;
    const { logIn } = devices(
      {},
      {
        credentialVersion() {
          if (fails) throw new TypeError("no database");
          return 1;
        },
      },
    );
    const phone = await logIn();
    fails = true;
    await expect(userOn(phone)).rejects.toThrow("no database");
    await expect(logIn()).rejects.toThrow("no database");
  });
});

describe("what the store is told", () => {
  const words = ["user-1815", "user\u00a0of \u6f22\u5b57", "Netscape", "the version", "op-4711"];

  test("neither user, metadata, version nor the value of an index can be read, and the metadata only by who names the user", async () => {
    for (const options of [{}, { encryption: encryption({ secrets: ["a secret of at least thirty-two bytes"] }) }]) {
      const { store, records } = openStore();
      const users = userSessions<{ browser: string; sid: string }>({
        credentialVersion: () => "the version",
        indexes: { sid: ({ sid }) => sid },
      });
      const sessions = new SessionManager({ store, plugins: [users], ...options });
      for (const user of words.slice(0, 2)) {
        const session = sessions.open("");
        await users.bind(session, user, { browser: "Netscape", sid: "op-4711" });
        await session.save();
        await session.regenerate();
        await session.save();
        const dump = JSON.stringify([...records].map(([key, { fields }]) => [key, ...fields]));
        expect(words.filter((word) => dump.includes(word))).toEqual([]);
        for (const word of words) expect(dump).not.toContain(Buffer.from(word).toString("base64url").slice(0, -2));
        expect(await users.list(user)).toMatchObject([{ metadata: { browser: "Netscape", sid: "op-4711" } }]);
      }
      const keys = [...records.keys()];
      expect(keys.every((key) => /^[0-9a-f]{64}$/.test(key))).toBe(true);
      expect(await users.revokeBy("sid", "op-4711")).toBe(2);
    }
  });

  test("two users with the same metadata, and two sessions of one user, have nothing in common that shows it", async () => {
    const { store, records } = openStore();
    const { logIn } = devices({ store });
    await logIn("Netscape", "a");
    await logIn("Netscape", "b");
    await logIn("Netscape", "b");
    const shown = [...records.values()].flatMap(
      ({ fields }) => /"shown":"([^"]+)"/.exec(fields.get("@") ?? "")?.[1] ?? [],
    );
    const hidden = [...records.values()].flatMap(
      ({ fields }) => /"user":"([^"]+)"/.exec(fields.get("@") ?? "")?.[1] ?? [],
    );
    expect(new Set(shown).size).toBe(3);
    expect(new Set(hidden).size).toBe(3);
  });

  test("a user's list is another record than a session with an id of that text", async () => {
    const { store, records } = openStore();
    const { users, sessions } = devices({ store });
    const user = "A".repeat(32);
    const session = sessions.open("");
    await users.bind(session, user);
    await session.save();
    expect(records.size).toBe(2);
    const stranger = sessions.open(user);
    expect(await stranger.info()).toMatchObject({ ended: "unknown" });
    await stranger.destroy();
    await stranger.save();
    expect(await users.list(user)).toHaveLength(1);
  });
});
