import { describe, expect, test } from "vitest";
import { type Session, SessionManager, type SessionStore } from "../../../mod.ts";
import { cookieJar, fakeClock } from "../../../src/testing.ts";
import { SWEEP_MARGIN } from "../../../src/core/expiry.ts";
import { ESTABLISHED, established, withCookie } from "../../setup/established.ts";
import { idIn, keyOf, openStore, visitor } from "../../setup/sessions.ts";

describe("Outages", () => {
  const down = async (): Promise<never> => {
    throw new Error("connection refused");
  };

  test.each(["throw", "anonymous"] as const)(
    "an outage does not log anybody out or overwrite a record, under onStoreError: %s",
    async (onStoreError) => {
      const { settings, send, store, records, id } = await established();
      const before = records.get(keyOf(id));
      const verbs = { load: down, save: down, delete: down };
      const outage = visitor({ ...settings, store: { ...store, ...verbs }, onStoreError });
      const act = async (session: Session): Promise<void> => {
        session.set("basket", []);
        await session.get("kept");
      };
      const answered = await outage(act, withCookie(id)).catch(() => undefined);
      expect(answered?.cookies).toEqual(onStoreError === "throw" ? undefined : []);

      // Only reading fails, so a write could succeed.
      const halfway = visitor({ ...settings, store: { ...store, load: down }, onStoreError });
      await halfway(act, withCookie(id)).catch(() => {});
      expect([records.size, records.get(keyOf(id))]).toEqual([1, before]);
      expect((await send((session) => session.get("kept"))).result).toBe(ESTABLISHED);
    },
  );

  test("corrupt data do not fail every request for ever, and are not overwritten", async () => {
    for (const spoiled of ["", "{", "null", '{"format":1}', "[]"]) {
      const { send, records, id } = await established();
      const key = keyOf(id);
      const record = {
        ...records.get(key)!,
        fields: new Map([
          ["@", spoiled],
          ["=kept", "{"],
        ]),
      };
      records.set(key, record);
      expect((await send((session) => session.get("kept"))).result).toBeUndefined();
      const { cookies } = await send((session) => session.set("kept", "anew"));
      expect(idIn(cookies)).not.toBe(id);
      expect(records.get(key)).toBe(record);
      expect((await send((session) => session.get("kept"))).result).toBe("anew");
    }
  });

  test("seconds are not taken for milliseconds or minutes, nor an instant for a duration", async () => {
    const { store } = openStore();
    const expiries: unknown[] = [];
    const save: SessionStore["save"] = (key, write) => {
      expiries.push(write.expiresAt - SWEEP_MARGIN);
      return store.save(key, write);
    };
    const clock = fakeClock(1_000_000_000_000);
    const jar = cookieJar({ now: clock.now });
    const send = visitor({ store: { ...store, save }, idleTimeout: 60, now: clock.now }, { jar });
    const { cookies, result } = await send(async (session) => {
      session.set("a", 1);
      return session.info();
    });
    expect(cookies[0]).toContain("; Max-Age=60;");
    expect([result.expiresAt, expiries]).toEqual([1_000_000_060_000, [1_000_000_060_000]]);
    clock.advance(59.999);
    const alive = new SessionManager({ store, now: clock.now, idleTimeout: 60 });
    expect(await alive.open(idIn(cookies) ?? "").id()).not.toBeNull();
    clock.advance(0.001);
    expect(await alive.open(idIn(cookies) ?? "").id()).toBeNull();
  });
});
