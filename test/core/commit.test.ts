import { describe, expect, test } from "vitest";
import {
  memoryStore,
  type Session,
  SessionError,
  type SessionErrorCode,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  type Write,
} from "../../mod.ts";
import { SessionHandle } from "../../src/core/session/session_handle.ts";
import { cookieJar, faultyStore } from "../../src/testing.ts";
import { altered, codeOf, counted, gate, idIn, openStore, SHOP, soon, visitor } from "../setup/sessions.ts";

describe("save()", () => {
  test("leaves nothing to be stored later when it fails after its request has failed", async () => {
    const { opened, open } = gate();
    let isDown = false;
    const store = altered(openStore().store, {
      change: async (save, ...args) => {
        if (!isDown) return await save(...args);
        await opened;
        throw new Error("down");
      },
    });
    const sessions = new SessionManager({ store });
    const session = sessions.open("");
    session.set("n", 1);
    await session.save();
    isDown = true;
    session.set("n", 2);
    const saving = codeOf(() => session.save());
    await sessions.discard(session);
    open();
    expect(await saving).toBe("ERR_STORE");
    isDown = false;
    session.set("later", 1);
    await session.save();
    expect({ ...(await sessions.open(String(await session.id())).all()) }).toEqual({ n: 1, later: 1 });
  });

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

  test.each<[string, SessionOptions, (session: Session) => void]>([
    ["delete()", {}, (session) => session.delete("a")],
    ["clear()", {}, (session) => session.clear()],
    ["set() of undefined", {}, (session) => session.set("a", undefined)],
    ["delete(), with onStoreError", { onStoreError: "anonymous" }, (session) => session.delete("a")],
  ])(
    "[50] id() tells an id under which a session is stored, also if %s leaves nothing in it",
    async (_, more, empty) => {
      const sessions = new SessionManager({ store: openStore().store, ...more });
      const { cookies, result } = await visitor(sessions)(async (session) => {
        session.set("a", 1);
        const id = await session.id();
        empty(session);
        expect(await session.id()).toBe(id);
        return String(id);
      });
      expect(idIn(cookies)).toBe(result);
      expect(await sessions.open(result).id()).toBe(result);
    },
  );

  test("[50] id() does not try again what was refused", async () => {
    const schema = { "~standard": { version: 1, vendor: "test", validate: () => ({ issues: [{ message: "no" }] }) } };
    const { cookies } = await visitor({ store: openStore().store, schema: schema as never })(async (session) => {
      session.set("a", 1);
      expect(await codeOf(() => session.save())).toBe("ERR_SCHEMA");
      await session.id();
    });
    expect(cookies).toEqual([]);
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

  test("does not open the store when there is no session and nothing to store", async () => {
    let opened = 0;
    const store = (): SessionStore => {
      opened++;
      return memoryStore();
    };
    await visitor({ store })((session) => session.save());
    expect(opened).toBe(0);
    await visitor({ store })((session) => session.set("a", 1));
    expect(opened).toBe(1);
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
  /** A store whose writes wait until the test releases them, and a client of it. */
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

  test("keeps the session that it has stored when a change recorded meanwhile fails to run again", async () => {
    const { visit, reached, stored, hold } = slowly("create");
    hold();
    const { cookies } = await visit(async (session) => {
      session.set("n", 1);
      const saving = session.save();
      await reached.opened;
      recordFailing(session);
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

describe("save() that fails", () => {
  /** A session on a store that can refuse to save, with the events. */
  async function opened(options: SessionOptions = {}) {
    const { store: inner, records } = openStore();
    const faulty = faultyStore(inner);
    let refusal: SessionError | undefined;
    const store = altered(faulty, {
      save: (save, ...args) => {
        if (refusal !== undefined) throw refusal;
        return save(...args);
      },
    });
    const events: SessionEvent[] = [];
    const jar = cookieJar();
    const visit = visitor({ store, onEvent: (event) => events.push(event), ...options }, { jar });
    await visit((session) => session.set("n", 1));
    events.length = 0;
    const read = async (): Promise<object> => ({
      ...(await visitor({ store: inner }, { jar })((session) => session.all())).result,
    });
    const refuse = (code?: SessionErrorCode): void => {
      refusal = code && new SessionError(code, "Cannot store the session");
    };
    return { visit, read, refuse, faulty, records, events, heard: () => events.map(({ type }) => type) };
  }

  const refusals = [
    "ERR_SCHEMA",
    "ERR_SESSION_LIMIT",
    "ERR_RECORD_TOO_LARGE",
    "ERR_COOKIE_TOO_LARGE",
    "ERR_NOT_SERIALIZABLE",
  ] as const;

  test.each(refusals.flatMap((code) => [[code, false] as const, [code, true] as const]))(
    "with %s is not tried again: the handler has got the error (gets a new id: %s)",
    async (code, rotates) => {
      const { visit, read, refuse, heard } = await opened();
      const { cookies } = await visit(async (session) => {
        session.set("n", 2);
        if (rotates) await session.regenerate();
        refuse(code);
        expect(await codeOf(() => session.save())).toBe(code);
        refuse();
      });
      expect([cookies, await read()]).toEqual([[], { n: 1 }]);
      expect(heard()).toEqual(["loaded", "failed"]);
    },
  );

  test("with ERR_STORE is tried again at the end of the request", async () => {
    const { visit, read, refuse } = await opened();
    await visit(async (session) => {
      session.set("n", 2);
      refuse("ERR_STORE");
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      refuse();
    });
    expect(await read()).toEqual({ n: 2 });
  });

  test("does not report as a failure of the store what a function of update() throws, whatever it is", async () => {
    const { visit, heard } = await opened();
    await visit(async (session) => {
      for (const thrown of [new Error("mine"), null, undefined]) {
        const failing = session.update("n", () => {
          throw thrown;
        });
        expect(await failing.catch((error: unknown) => [error])).toEqual([thrown]);
      }
    });
    expect(heard()).toEqual(["loaded"]);
  });

  test("lets no update() go on until it is known what became of it", async () => {
    const { visit, read, faulty, heard } = await opened();
    await visit(async (session) => {
      session.set("other", 1);
      faulty.plan({ save: ["rejects", "rejects"] });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      expect(await codeOf(() => session.update("n", (n) => n + 1))).toBe("ERR_STORE");
      expect(heard()).toEqual(["loaded", "failed", "failed"]);
    });
    expect(await read()).toEqual({ n: 1, other: 1 });
  });

  test("because the session is gone makes each update() fail, also one that changes nothing", async () => {
    const { visit, heard } = await opened();
    await visit(async (session) => {
      session.set("n", 2);
      await session.id();
      await visit((other) => other.destroy());
      expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
      expect(await codeOf(() => session.update("n", (n) => n))).toBe("ERR_SESSION_GONE");
    });
    expect(heard().filter((type) => type === "gone")).toHaveLength(1);
  });

  test("because the store cannot be opened is reported as any other", async () => {
    const events: SessionEvent[] = [];
    const sessions = new SessionManager({
      store: () => Promise.reject(new Error("down")),
      onEvent: (event) => events.push(event),
    });
    const session = sessions.start(new Request(SHOP));
    session.set("n", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    expect(events).toMatchObject([{ type: "failed", during: "store", error: { code: "ERR_STORE" } }]);
  });

  test("because the session could not be loaded fails only if there is something to store", async () => {
    const { visit, faulty } = await opened({ onStoreError: "anonymous" });
    const uses: [(session: Session) => unknown, string][] = [
      [() => 0, "nothing to store"],
      [(session) => session.set("n", 2), "ERR_STORE"],
      [(session) => session.destroy(), "ERR_STORE"],
    ];
    for (const [use, expected] of uses) {
      faulty.plan({ load: ["rejects"] });
      const { result } = await visit(async (session) => {
        expect(await session.get("n")).toBeUndefined();
        await use(session);
        return await session.save().then(
          () => "nothing to store",
          (error: unknown) => (error as SessionError).code,
        );
      });
      expect(result).toBe(expected);
    }
    expect((await visit((session) => session.get("n"))).result).toBe(1);
  });

  test.each([false, true])(
    "after it has begun the session does not store again what it has stored (at the second attempt: %s)",
    async (isSecond) => {
      const { store: inner } = openStore();
      const faulty = faultyStore(inner);
      const [reached, stored] = [gate(), gate()];
      let isSlow = false;
      const store = altered(faulty, {
        create: async (create, ...args) => {
          reached.open();
          if (isSlow) await stored.opened;
          return await create(...args);
        },
      });
      const session = new SessionManager({ store }).open("");
      session.set("n", 1);
      const id = String(await session.id());
      if (isSecond) {
        faulty.plan({ save: ["rejects"] });
        expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      }
      isSlow = true;
      const saving = session.save();
      if (isSecond) await soon(0);
      await reached.opened;
      recordFailing(session);
      stored.open();
      await expect(saving).rejects.toThrow("mine");
      const elsewhere = new SessionManager({ store: inner }).open(id);
      await elsewhere.update("n", () => 5);
      session.set("later", true);
      await session.save();
      expect({ ...(await new SessionManager({ store: inner }).open(id).all()) }).toEqual({ n: 5, later: true });
    },
  );
});

/** Records a change that runs for the request which records it, and fails when it runs on the session that was stored meanwhile. */
function recordFailing(session: object): void {
  let runs = 0;
  const { copy } = SessionHandle.lazyOf(session).activate();
  const run = (): void => {
    if (++runs === 2) throw new Error("mine");
  };
  copy.record({ key: "other", run });
}
