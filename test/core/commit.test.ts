import { describe, expect, test } from "vitest";
import {
  memoryStore,
  type Session,
  type SessionEvent,
  SessionManager,
  type SessionStore,
  type Write,
} from "../../mod.ts";
import { cookieJar } from "../../src/testing.ts";
import { altered, codeOf, counted, gate, idIn, openStore, soon, visitor } from "../setup/sessions.ts";

describe("save()", () => {
  test("[38] stores in mid-handler, for others to see, also when the handler throws afterwards", async () => {
    const sessions = new SessionManager();
    const visit = visitor(sessions);
    await visit((session) => session.set("a", 0));
    const failure = new Error("after the save");
    await expect(
      visit(async (session) => {
        session.set("a", 1);
        await session.save();
        expect((await visit((other) => other.get("a"))).result).toBe(1);
        session.set("a", 2);
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect((await visit((session) => session.get("a"))).result).toBe(1);
  });

  test("[38] shows afterwards what other requests have stored", async () => {
    const visit = visitor();
    await visit((session) => session.set({ n: 1 }));
    await visit(async (session) => {
      session.set("own", 1);
      expect({ ...(await session.all()) }).toEqual({ n: 1, own: 1 });
      await visit((other) => other.set({ n: 10, other: true }));
      await session.save();
      expect({ ...(await session.all()) }).toEqual({ n: 10, own: 1, other: true });
    });
  });

  test("[38] keeps a new session's cookie for the response, once", async () => {
    const { cookies, result } = await visitor()(async (session) => {
      session.set("a", 1);
      await session.save();
      session.set("a", 2);
      await session.save();
      return session.id();
    });
    expect(cookies).toHaveLength(1);
    expect(idIn(cookies)).toBe(result);
  });

  test("[51] stores everything once when several saves run in parallel", async () => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    await visit(async (session) => {
      await Promise.all(
        [1, 2, 3].map(async (n) => {
          session.set(`key ${n}`, n);
          await session.save();
        }),
      );
    });
    expect(calls.filter((call) => call === "create")).toHaveLength(1);
    expect((await visit((session) => session.size())).result).toBe(3);
  });

  test("does nothing when nothing was recorded", async () => {
    const { store, calls } = counted(memoryStore());
    const { cookies } = await visitor({ store })((session) => session.save());
    expect([cookies, calls]).toEqual([[], []]);
  });

  test("stores under the new id when another request has regenerated the session with a grace, and tells that id", async () => {
    const visit = visitor();
    await visit((session) => session.set("n", 1));
    let heir: string | null = null;
    const { cookies } = await visit(async (session) => {
      session.set("n", (await session.get("n")) + 1);
      heir = idIn((await visit((other) => other.regenerate({ grace: 60 }))).cookies);
      await session.save();
    });
    expect(idIn(cookies)).toBe(heir);
    expect((await visit((session) => session.get("n"))).result).toBe(2);
  });

  test.each([
    ["destroyed", (session) => session.destroy()],
    ["regenerated", (session) => session.regenerate()],
  ] as [string, (session: Session) => Promise<void>][])(
    "throws ERR_SESSION_GONE when another request has %s the session, and the response touches no cookie",
    async (_, end) => {
      const events: string[] = [];
      const { store, calls } = counted(memoryStore());
      const options = { store, onEvent: ({ type }: SessionEvent) => events.push(type) };
      const jar = cookieJar();
      const visit = visitor(options, { jar });
      await visit((session) => session.set("n", 1));
      const { cookies, result } = await visit(async (session) => {
        session.set("n", (await session.get("n")) + 1);
        await visit(end);
        events.length = 0;
        calls.length = 0;
        return await codeOf(() => session.save());
      });
      expect(result).toBe("ERR_SESSION_GONE");
      expect(cookies).toEqual([]);
      expect(events).toContain("gone");
      expect(events.filter((type) => type === "gone")).toHaveLength(1);
      expect(calls).not.toContain("create");
    },
  );
});
describe("save() while other calls are under way", () => {
  /** A store whose writes wait, and a client of it. */
  function slowly(kind: "create" | "change") {
    const [reached, stored] = [gate(), gate()];
    let isSlow = false;
    const store = altered(openStore().store, {
      [kind]: async (save: SessionStore["save"], ...args: Parameters<SessionStore["save"]>) => {
        reached.open();
        if (isSlow) await stored.opened;
        return await save(...args);
      },
    });
    return { visit: visitor({ store }), reached, stored, hold: () => (isSlow = true) };
  }

  test("keeps the session that it has stored when an update recorded meanwhile fails to run again", async () => {
    const { visit, reached, stored, hold } = slowly("create");
    hold();
    const { cookies } = await visit(async (session) => {
      session.set("n", 1);
      const saving = session.save();
      await reached.opened;
      let runs = 0;
      const updating = session.update("other", () => {
        if (++runs === 2) throw new Error("mine");
        return runs;
      });
      expect(await updating).toBe(1);
      stored.open();
      await expect(saving).rejects.toThrow("mine");
      session.set("n", 2);
    });
    expect(cookies).toHaveLength(1);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 2 });
  });

  test("lets an update() wait for a rotation that is being stored", async () => {
    const { visit, reached, stored, hold } = slowly("change");
    await visit((session) => session.set("n", 1));
    hold();
    const { cookies } = await visit(async (session) => {
      await session.regenerate();
      const saving = session.save();
      await reached.opened;
      const updating = session.update("n", (n) => n + 1);
      stored.open();
      expect(await Promise.all([updating, saving])).toEqual([2, undefined]);
    });
    expect(cookies).toHaveLength(1);
    expect((await visit((session) => session.get("n"))).result).toBe(2);
  });

  test("gives the store plain writes: an object with a getter of its own gets a hidden class of its own, which outlives young garbage", async () => {
    const writes: Write[] = [];
    const inner = memoryStore();
    const visit = visitor({
      store: {
        ...inner,
        save(key, write) {
          writes.push(write);
          return inner.save(key, write);
        },
      },
    });
    await visit((session) => session.set("n", 1));
    await visit((session) => session.update("n", (n) => n + 1));
    await visit((session) => session.regenerate());
    await visit((session) => session.destroy());
    const accessors = writes.flatMap((write) =>
      Object.entries(Object.getOwnPropertyDescriptors(write)).filter(([, property]) => property.get !== undefined),
    );
    expect([writes.length >= 4, accessors]).toEqual([true, []]);
  });

  test("is waited for when nobody awaits it", async () => {
    const { visit, reached, stored, hold } = slowly("change");
    await visit((session) => session.set("n", 1));
    hold();
    const visiting = visit((session) => {
      session.set("n", 2);
      void session.save();
    });
    await reached.opened;
    let isAnswered = false;
    const answered = visiting.then(() => (isAnswered = true));
    await soon(0);
    expect(isAnswered).toBe(false);
    stored.open();
    await answered;
    expect((await visit((session) => session.get("n"))).result).toBe(2);
  });
});
