import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  memoryStore,
  type Session,
  SessionError,
  SessionManager,
  type SessionStore,
  type Transport,
} from "../../../mod.ts";
import { internalsOf } from "../../../src/core/session_internals.ts";
import { cookieJar, type FaultPlan, faultyStore } from "../../../src/testing.ts";
import { altered, codeOf, cookieOf, counted, failing, idIn, openStore, SHOP, visitor } from "../../setup/sessions.ts";

describe("create() and id()", () => {
  test("[34] create() makes an empty session exist, answers its id, and is idempotent", async () => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    const { result, cookies } = await visit(async (session) => [
      await session.create(),
      await session.create(),
      await session.id(),
    ]);
    expect(new Set(result)).toEqual(new Set([idIn(cookies)]));
    expect(calls).toEqual(["create"]);
    const again = await visit((session) => session.create());
    expect([again.result, again.cookies]).toEqual([result[0], []]);
    expect(calls).toEqual(["create", "load"]);
  });

  test("[50] id() is null while there is no session, and does not begin one", async () => {
    const { store, calls } = counted(memoryStore());
    const { result, cookies } = await visitor({ store })((session) => session.id());
    expect([result, cookies, calls]).toEqual([null, [], []]);
  });

  test("[50] id() tells the id under which the session will be stored", async () => {
    const visit = visitor();
    const { result, cookies } = await visit((session) => {
      session.set("a", 1);
      return session.id();
    });
    expect(result).toBe(idIn(cookies));
    const next = await visit(async (session) => {
      const before = await session.id();
      await session.regenerate();
      return [before, await session.id()];
    });
    expect(next.result).toEqual([result, idIn(next.cookies)]);
    expect(next.result[0]).not.toBe(next.result[1]);
  });

  test.each(["throw", "anonymous"] as const)(
    "id() tells no id for a client that comes with a replaced id, for no session will be stored (onStoreError: %s)",
    async (onStoreError) => {
      const store = memoryStore();
      const old = { headers: { Cookie: cookieOf(await visitor({ store })((session) => session.set("n", 1))) } };
      await visitor({ store })((session) => session.regenerate(), old);
      const { result, cookies } = await visitor({ store, onStoreError })(async (session) => {
        expect(await session.id()).toBeNull();
        session.set("n", 2);
        return { session, code: await codeOf(() => session.id()) };
      }, old);
      expect([result.code, cookies]).toEqual(["ERR_SESSION_GONE", []]);
      expect(await result.session.id()).toBeNull();
    },
  );

  test("id() tells the id of the new session at any moment while another call stores it", async () => {
    for (let turns = 0; turns < 20; turns++) {
      const store = altered(openStore().store, { save: async (save, ...args) => await save(...args) });
      const { result: id, cookies } = await visitor({ store })(async (session) => {
        session.set("a", 1);
        const saving = session.save();
        for (let turn = 0; turn < turns; turn++) await undefined;
        const id = await session.id();
        await saving;
        return id;
      });
      expect(id).toBe(idIn(cookies));
    }
  });

  test("[60] ids are 32 characters of 64 kinds, and all different", async () => {
    const ids = await Promise.all(
      Array.from({ length: 200 }, async () => (await visitor()((session) => session.create())).result ?? ""),
    );
    expect(ids.filter((id) => !/^[\w-]{32}$/.test(id))).toEqual([]);
    expect(new Set(ids).size).toBe(200);
    // A missing character among 6 400 would be a chance of 1 in 10^41.
    expect(new Set(ids.join("")).size).toBe(64);
  });

  test("[50] [61] generateId is told the request, and may be async", async () => {
    const jar = cookieJar();
    const generateId = async (request?: Request): Promise<string> =>
      `${request === undefined ? "none" : new URL(request.url).searchParams.get("tenant")}_${randomUUID()}`;
    const sessions = new SessionManager({ generateId });
    const { cookies } = await visitor(sessions, { jar })((session) => session.set("a", 1), {
      url: `${SHOP}?tenant=acme`,
    });
    expect(idIn(cookies)).toMatch(/^acme_/);
    expect(await sessions.open("").create()).toMatch(/^none_/);
    expect((await visitor(sessions, { jar })((session) => session.get("a"))).result).toBe(1);
  });

  test.each([
    "",
    "a".repeat(21),
    `${"a".repeat(30)}.`,
    `${"a".repeat(30)} b`,
    `${"a".repeat(30)}\n`,
    "é".repeat(30),
    12,
    null,
    undefined,
  ])("[50] generateId that gives %j is refused with a TypeError", async (id) => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store, generateId: () => id as string });
    await expect(visit((session) => session.set("a", 1))).rejects.toThrow(TypeError);
    expect(calls).toEqual([]);
  });

  test.each([22, 64, 300])("[50] generateId may give ids of %i characters", async (length) => {
    const visit = visitor({ generateId: () => "aZ09-_".repeat(50).slice(0, length) });
    await visit((session) => session.set("a", 1));
    expect((await visit((session) => session.get("a"))).result).toBe(1);
  });

  test("[50] a taken id is replaced by the next one, and the record under it left alone", async () => {
    const ids = ["a".repeat(22), "a".repeat(22), "b".repeat(22)];
    const options = { store: memoryStore(), generateId: () => ids.shift() ?? "" };
    const first = visitor(options);
    await first((session) => session.set("who", "first"));
    const { cookies } = await visitor(options)((session) => session.set("who", "second"));
    expect(idIn(cookies)).toBe("b".repeat(22));
    expect((await first((session) => session.get("who"))).result).toBe("first");
  });

  test("[50] a generator that always collides ends in ERR_CONFLICT after a few tries", async () => {
    const { store, calls } = counted(memoryStore());
    const options = { store, generateId: () => "a".repeat(22) };
    await visitor(options)((session) => session.set("who", "first"));
    calls.length = 0;
    expect(await codeOf(() => visitor(options)((session) => session.set("who", "second")))).toBe("ERR_CONFLICT");
    expect(calls.length).toBeGreaterThan(1);
    expect(calls.length).toBeLessThan(20);
    // After each attempt, a load tells whether the existing record comes from the same write, sent twice.
    expect(new Set(calls)).toEqual(new Set(["create", "load"]));
  });

  test("[50] an id that was told is never exchanged: if it is taken, that is ERR_CONFLICT", async () => {
    const ids = ["a".repeat(22), "a".repeat(22), "b".repeat(22)];
    const options = { store: memoryStore(), generateId: () => ids.shift() ?? "" };
    await visitor(options)((session) => session.set("who", "first"));
    expect(await codeOf(() => visitor(options)((session) => session.create()))).toBe("ERR_CONFLICT");
  });

  test("[50] Session has no way to choose an id", async () => {
    await visitor()((session) => {
      expect(() => Object.assign(session, { id: "a".repeat(32) })).not.toThrow(SyntaxError);
      expect("setId" in session).toBe(false);
    });
  });
});

/** A store that answers later, and takes only the first record. */
function failingLater(): SessionStore {
  let isFirst = true;
  return altered(memoryStore(), {
    save: async (save, ...args) => {
      await Promise.resolve();
      if (!isFirst) throw new Error("down");
      isFirst = false;
      return await save(...args);
    },
  });
}

describe("create() where a store that is down is tolerated", () => {
  test.each(["rejects", "does it but rejects"] as const)(
    "answers null when nothing is presented and the store %s, and the request goes on without a session",
    async (fault) => {
      const store = faultyStore(memoryStore(), { save: [fault] });
      const visit = visitor({ store, onStoreError: "anonymous" });
      const { result, cookies, response } = await visit(async (session) => {
        const first = await session.create();
        session.set("a", 1);
        return [first, await session.create()];
      });
      expect([result, cookies, response.status, store.calls.save]).toEqual([[null, null], [], 200, 1]);
    },
  );

  test.each(["load", "save"] as const)(
    "id() is null as well when the %s has failed, whatever was set",
    async (verb) => {
      const store = faultyStore(memoryStore(), { [verb]: "rejects" });
      const headers = verb === "load" ? { Cookie: `__Host-session=${"a".repeat(32)}` } : {};
      const { result } = await visitor({ store, onStoreError: "anonymous" })(
        async (session) => {
          if (verb === "load") await session.get("a");
          session.set("a", 1);
          return await session.id();
        },
        { headers },
      );
      expect(result).toBeNull();
    },
  );

  describe.each(["create", "id"] as const)("after regenerate(), %s()", (call) => {
    const setUp = async (faults: FaultPlan) => {
      const store = faultyStore(memoryStore());
      const visit = visitor({ store, onStoreError: "anonymous" });
      const old = { headers: { Cookie: cookieOf(await visit((session) => session.set("a", 1))) } };
      const { result, cookies } = await visit(async (session) => {
        await session.regenerate();
        session.set("a", 2);
        store.plan(faults);
        const id = await session[call]();
        store.plan({});
        return [id, await session.get("a")];
      }, old);
      const presented = cookies.length === 0 ? old : { headers: { Cookie: cookies[0]?.split(";")[0] ?? "" } };
      return { result, cookies, kept: (await visit((session) => session.get("a"), presented)).result };
    };

    test("answers the id that the client gets", async () => {
      const { result, cookies, kept } = await setUp({});
      expect([result, kept]).toEqual([[idIn(cookies), 2], 2]);
    });

    test.each<[string, FaultPlan]>([
      ["the session cannot be stored under the new id", { save: ["rejects"] }],
      ["the store hides whether the old id was retired", { save: ["none", "does it but rejects"], load: "rejects" }],
    ])("answers null if %s, and the end of the request tries again", async (_when, faults) => {
      const { result, cookies, kept } = await setUp(faults);
      expect([result, cookies.length, kept]).toEqual([[null, 2], 1, 2]);
    });

    test("answers null if a call that nobody has awaited could not store the new id, and neither can this one", async () => {
      const visit = visitor({ store: failingLater(), onStoreError: "anonymous" });
      const old = { headers: { Cookie: cookieOf(await visit((session) => session.set("a", 1))) } };
      const { result, cookies } = await visit(async (session) => {
        await session.regenerate();
        const updating = session.update("a", () => 2).catch(() => {});
        const id = await session[call]();
        await updating;
        return id;
      }, old);
      expect([result, cookies]).toEqual([null, []]);
    });

    test("answers null if another request has ended the session", async () => {
      const store = memoryStore();
      const visit = visitor({ store, onStoreError: "anonymous" });
      const old = { headers: { Cookie: cookieOf(await visit((session) => session.set("a", 1))) } };
      const { result, cookies } = await visit(async (session) => {
        await session.regenerate();
        await visit((other) => other.destroy(), old);
        return await session[call]();
      }, old);
      expect([result, cookies]).toEqual([null, []]);
    });
  });

  test("stores the session once, and answers the id that the client gets", async () => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store, onStoreError: "anonymous" });
    const { result, cookies } = await visit(async (session) => [await session.create(), await session.create()]);
    expect(result).toEqual([idIn(cookies), idIn(cookies)]);
    expect(calls).toEqual(["create"]);
    expect((await visit((session) => session.create())).result).toBe(idIn(cookies));
    expect(calls).toEqual(["create", "load"]);
  });

  test("stores what was changed in place together with the session", async () => {
    const { store, calls } = counted(memoryStore());
    await visitor({ store, onStoreError: "anonymous" })(async (session) => {
      const list = await session.get("list", [] as number[]);
      session.set("a", 1);
      list.push(1);
      await session.id();
    });
    expect(calls).toEqual(["create"]);
  });

  test("answers the id in the function of an update(), which cannot wait for its own commit", async () => {
    const visit = visitor({ onStoreError: "anonymous" });
    const { cookies } = await visit((session) => session.set("a", 1));
    const { result } = await visit((session) => session.update("a", () => session.id()));
    expect(result).toBe(idIn(cookies));
  });
});

describe("create()", () => {
  test("waits for the session that the client has, and begins one if that is unknown", async () => {
    const { store, records } = openStore();
    const first = await visitor({ store })((session) => session.set("a", 1));
    const again = await visitor({ store })((session) => session.create(), {
      headers: { Cookie: cookieOf(first) },
    });
    expect([again.result, again.cookies, records.size]).toEqual([idIn(first.cookies), [], 1]);
    const unknown = await visitor({ store })((session) => session.create(), {
      headers: { Cookie: `__Host-session=${"a".repeat(32)}` },
    });
    expect([unknown.result, records.size]).toEqual([idIn(unknown.cookies), 2]);
  });

  test("throws ERR_SESSION_GONE for a client that comes with a replaced id, and so does what a capability begins", async () => {
    const store = memoryStore();
    const old = { headers: { Cookie: cookieOf(await visitor({ store })((session) => session.set("a", 1))) } };
    await visitor({ store })((session) => session.regenerate(), old);
    for (const begin of [(session: Session) => session.create(), (session: Session) => internalsOf(session).begin()])
      await visitor({ store })(
        async (session) => expect(await codeOf(() => begin(session))).toBe("ERR_SESSION_GONE"),
        old,
      );
  });

  test.each([
    ["create()", (session) => session.create()],
    ["update()", (session) => session.update("a", () => 2)],
  ] as [string, (session: Session) => Promise<unknown>][])(
    "%s begins a session after destroy() for a client that comes with a replaced id",
    async (_, begin) => {
      const store = memoryStore();
      const old = { headers: { Cookie: cookieOf(await visitor({ store })((session) => session.set("a", 1))) } };
      await visitor({ store })((session) => session.regenerate(), old);
      const { cookies } = await visitor({ store })(async (session) => {
        await session.destroy();
        await begin(session);
      }, old);
      expect(idIn(cookies)).toMatch(/^[\w-]{32}$/);
    },
  );

  test("and set() begin nothing in place of a session whose id was replaced", async () => {
    const { store, records } = openStore();
    const old = { headers: { Cookie: cookieOf(await visitor({ store })((session) => session.set("a", 1))) } };
    await visitor({ store })((session) => session.regenerate(), old);
    const { cookies } = await visitor({ store })(async (session) => {
      session.set("a", 2);
      expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
    }, old);
    expect([cookies, records.size]).toEqual([[], 2]);
  });

  test("throws what refuses the session, also where a failing store is tolerated", async () => {
    const schema = z.object({ n: z.number().max(10).optional() }) as z.ZodType<{ n?: number }>;
    const visit = visitor<{ n?: number }>({ schema, onStoreError: "anonymous" });
    const refused = async (session: Session<{ n?: number }>): Promise<void> => {
      session.set("n", 11);
      expect(await codeOf(() => session.create())).toBe("ERR_SCHEMA");
    };
    await visit(refused);
    await visit((session) => session.set("n", 1));
    await visit(async (session) => (await session.regenerate(), await refused(session)));
  });

  test("stores nothing whose token the client cannot keep", async () => {
    const { store, calls } = counted(memoryStore());
    const asked: unknown[] = [];
    const transport: Transport = {
      read: () => null,
      write: () => {},
      clear: () => {},
      assertFits: (token, { maxAge }) => {
        asked.push([token, maxAge]);
        throw new SessionError("ERR_COOKIE_TOO_LARGE", "Cannot store the session: its cookie is too large");
      },
    };
    const id = "a".repeat(32);
    await visitor({ store, transports: [transport], generateId: () => id, idleTimeout: 60 })(async (session) => {
      session.set("a", 1);
      expect(await codeOf(() => session.save())).toBe("ERR_COOKIE_TOO_LARGE");
    });
    expect([asked, calls]).toEqual([[[id, 60]], []]);
  });

  test("answers null, and leaves nothing to be stored, when the session could not be loaded", async () => {
    const store = failing(memoryStore(), ["load"]);
    const { result } = await visitor({ store, onStoreError: "anonymous" })(
      async (session) => {
        const id = await session.create();
        await session.save();
        return id;
      },
      { headers: { Cookie: `__Host-session=${"a".repeat(32)}` } },
    );
    expect(result).toBeNull();
  });

  test("makes another attempt after the store has refused the session, without looking for it", async () => {
    const { store, calls } = counted(openStore().store);
    let refuses = true;
    const refusing = altered(store, {
      create: (create, ...args) => {
        if (!refuses) return create(...args);
        throw new SessionError("ERR_RECORD_TOO_LARGE", "Cannot store the session: it is too large");
      },
    });
    await visitor({ store: refusing })(async (session) => {
      session.set("a", 1);
      expect(await codeOf(() => session.save())).toBe("ERR_RECORD_TOO_LARGE");
      refuses = false;
      session.set("a", 2);
    });
    expect(calls).toEqual(["create"]);
  });
});
