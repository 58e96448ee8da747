import { describe, expect, test } from "vitest";
import { SessionManager, type StoredRecord } from "../../mod.ts";
import { userSessions } from "../../src/user_sessions.ts";
import { altered, codeOf, openStore } from "../setup/sessions.ts";
import { ADA, devices, entriesOf } from "./devices.ts";
import { factsIn, unlisted } from "./invariant.ts";

describe("a list with very many entries", () => {
  test("150 sessions of one user, each bound again with longer metadata and regenerated, fit into an engine with 64 KB a value", async () => {
    const { store: inner, records } = openStore();
    const store = altered(
      { ...inner, traits: { ...inner.traits, maxBytes: 65_536 } },
      { save: (save, key, write) => (assertFits(write.record), save(key, write)) },
    );
    const { users, logIn } = devices({ store });
    const browsers = [];
    for (let n = 0; n < 150; n++) browsers.push(await logIn(n));
    for (const length of [500, 2100, 16_000]) {
      for (const browser of browsers) await browser((session) => users.bind(session, ADA, "M".repeat(length)));
    }
    for (const browser of browsers) await browser((session) => session.regenerate());
    expect(await users.list(ADA)).toHaveLength(150);
    expect(unlisted(records)).toEqual([]);
    expect(await users.revokeAll(ADA)).toBe(150);
  });

  test("a thousand sessions of one user fit, and are all reached", async () => {
    const { store: inner, records } = openStore();
    const store = altered(
      { ...inner, traits: { ...inner.traits, maxBytes: 65_536 } },
      { save: (save, key, write) => (assertFits(write.record), save(key, write)) },
    );
    const { users, logIn } = devices({ store });
    for (let n = 0; n < 1000; n++) await logIn(n);
    const pages = entriesOf(records);
    expect(pages.length).toBeLessThan(20);
    expect(pages.reduce((all, each) => all + each, 0)).toBe(1000);
    expect(await users.revokeAll(ADA)).toBe(1000);
    expect(unlisted(records)).toEqual([]);
  });

  test.each(["create", "retire"] as const)(
    "a thousand rotations that fail at %s do not make a session impossible to rotate",
    async (where) => {
      const { store: inner, records } = openStore();
      let fails = false;
      const store = altered(
        { ...inner, traits: { ...inner.traits, maxBytes: 65_536 } },
        {
          save: (save, key, write) => {
            assertFits(write.record);
            const isRetirement = write.record.fields.get("@")?.includes("successor") === true;
            const isCreation = write.expected === null && write.record.fields.get("@")?.includes("+users") === true;
            return fails && (where === "create" ? isCreation : isRetirement)
              ? Promise.reject(new Error("down"))
              : save(key, write);
          },
          // The successor cannot be deleted either, as if the process had crashed.
          delete: (remove, ...args) => (fails ? Promise.reject(new Error("down")) : remove(...args)),
        },
      );
      const users = userSessions();
      const sessions = new SessionManager({ store, plugins: [users] });
      const first = sessions.open("");
      await users.bind(first, ADA, "phone");
      await first.save();
      const id = String(await first.id());
      fails = true;
      for (let attempt = 0; attempt < 1000; attempt++) {
        const session = sessions.open(id);
        await session.regenerate();
        expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      }
      fails = false;
      const session = sessions.open(id);
      await session.regenerate();
      await session.save();
      expect(await users.list(ADA)).toMatchObject([{ metadata: "phone" }]);
      expect(unlisted(records)).toEqual([]);
      await users.revokeAll(ADA);
      expect([...records.values()].filter((record) => factsIn(record) !== undefined)).toEqual([]);
    },
  );
});

function assertFits({ fields }: Pick<StoredRecord, "fields">): void {
  const size = [...fields].reduce(
    (sum, [name, text]) => sum + Buffer.byteLength(name) + Buffer.byteLength(text) + 2,
    14,
  );
  expect(size).toBeLessThan(65_536);
}
