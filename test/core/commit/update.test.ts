import { describe, expect, test } from "vitest";
import { z } from "zod";
import { memoryStore, type Session, SessionError, type SessionEvent, SessionManager } from "../../../mod.ts";
import { fileStore } from "../../../src/stores/file.ts";
import { cookieJar, fakeClock, faultyStore } from "../../../src/testing.ts";
import {
  altered,
  bare,
  codeOf,
  counted,
  failing,
  gate,
  idIn,
  openStore,
  soon,
  temporaryDirectory,
  visitor,
} from "../../setup/sessions.ts";

/** The request of a client that holds this session's id before a response has carried it. */
async function cookieFor(session: Session): Promise<RequestInit> {
  return { headers: { Cookie: `__Host-session=${await session.id()}` } };
}

const increment = (session: Session): Promise<number> => session.update("n", (n = 0) => n + 1);

describe("update() on a session that exists", () => {
  test("commits at once, its key alone", async () => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    await visit((session) => session.set({ n: 1, other: 1 }));
    calls.length = 0;
    await visit(async (session) => {
      session.set("other", 2);
      expect(await increment(session)).toBe(2);
      expect(calls).toEqual(["load", "change"]);
      expect({ ...(await visit((other) => other.all())).result }).toEqual({ n: 2, other: 1 });
      expect(await session.get("other")).toBe(2);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 2, other: 2 });
  });

  test("stays stored when the handler throws afterwards, and nothing else does", async () => {
    const visit = visitor();
    await visit((session) => session.set({ n: 1, other: 1 }));
    const failure = new Error("after the update");
    const failing = visit(async (session) => {
      session.set("other", 2);
      await increment(session);
      throw failure;
    });
    await expect(failing).rejects.toBe(failure);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 2, other: 1 });
  });

  test("answers the value that is stored when another request got in between", async () => {
    const events: SessionEvent[] = [];
    const visit = visitor({ onEvent: (event) => events.push(event) });
    await visit((session) => session.set("n", 1));
    const seen: number[] = [];
    const { result } = await visit(async (session) => {
      await session.get("n");
      await visit((other) => other.set("n", 10));
      events.length = 0;
      return await session.update("n", (n) => {
        seen.push(n);
        return n * 2;
      });
    });
    expect([seen, result]).toEqual([[1, 10], 20]);
    expect(bare(events)).toEqual([
      { type: "conflict", attempts: 1 },
      { type: "changed", attempts: 2 },
    ]);
    expect((await visit((session) => session.get("n"))).result).toBe(20);
  });

  test.each(["memory", "open"])(
    "lets three of twenty requests through a %s store when it limits to three",
    async (kind) => {
      const visit = visitor({ store: kind === "memory" ? memoryStore() : openStore().store });
      await visit((session) => session.set("tries", 0));
      const tries = Array.from({ length: 20 }, () => visit((session) => session.update("tries", (n) => n + 1)));
      const values = (await Promise.all(tries)).map(({ result }) => result);
      expect(values.filter((tried) => tried <= 3)).toHaveLength(3);
      expect(new Set(values).size).toBe(20);
    },
  );

  test("sees what this request has recorded for its key, and stores it", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: 1, b: 1 }));
    await visit(async (session) => {
      session.set("a", 5);
      session.delete("b");
      expect(await session.update("a", (a) => a + 1)).toBe(6);
      expect(await session.update("b", (b = 100) => b + 1)).toBe(101);
      expect({ ...(await visit((other) => other.all())).result }).toEqual({ a: 6, b: 101 });
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 6, b: 101 });
  });

  test("stores a clear() of this request as well", async () => {
    const visit = visitor();
    await visit((session) => session.set({ n: 1, other: 1 }));
    await visit(async (session) => {
      session.clear();
      expect(await increment(session)).toBe(1);
      expect({ ...(await visit((other) => other.all())).result }).toEqual({ n: 1 });
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 1 });
  });

  test("leaves a time to live as it is", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.set("n", 1, { ttl: 60 }));
    clock.advance(59);
    await visit(increment);
    expect((await visit((session) => session.get("n"))).result).toBe(2);
    clock.advance(1);
    expect((await visit((session) => session.get("n"))).result).toBe(undefined);
    expect((await visit(increment)).result).toBe(1);
  });

  test.each([false, true])("takes the place of a flash value (gets a new id: %s)", async (rotates) => {
    const visit = visitor();
    await visit((session) => session.flash("n", "later"));
    await visit(async (session) => {
      if (rotates) await session.regenerate();
      expect(await session.get("n")).toBe("later");
      await session.update("n", () => 1);
      expect(await session.get("n")).toBe(1);
    });
    expect((await visit((session) => session.get("n"))).result).toBe(1);
    await visit((session) => session.delete("n"));
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
  });

  test.each([false, true])("leaves a flash value if its function throws (gets a new id: %s)", async (rotates) => {
    const visit = visitor();
    await visit((session) => session.flash("n", "later"));
    await visit(async (session) => {
      if (rotates) await session.regenerate();
      const refused = session.update("n", () => {
        throw new RangeError("refused");
      });
      await expect(refused).rejects.toThrow("refused");
      session.set("other", 1);
    });
    expect((await visit((session) => session.get("n"))).result).toBe("later");
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
  });

  test("leaves a flash value if it could not be stored", async () => {
    let isDown = false;
    const store = failing(memoryStore(), ["change"], () => isDown);
    const visit = visitor({ store });
    await visit((session) => session.flash("n", "later"));
    await visit(async (session) => {
      await session.size();
      isDown = true;
      expect(await codeOf(() => session.update("n", () => 1))).toBe("ERR_STORE");
      isDown = false;
    });
    expect((await visit((session) => session.get("n"))).result).toBe("later");
  });

  test("tells afterwards the object that it has answered, so that a change in place is stored", async () => {
    const visit = visitor<{ list: number[] }>();
    await visit((session) => session.set("list", [1]));
    await visit(async (session) => {
      const told = await session.update("list", (list = []) => [...list, 2]);
      expect(await session.get("list")).toBe(told);
      told.push(3);
    });
    expect((await visit((session) => session.get("list"))).result).toEqual([1, 2, 3]);
  });

  test("writes nothing when it changes nothing", async () => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    await visit((session) => session.set("n", 1));
    calls.length = 0;
    expect((await visit((session) => session.update("n", (n) => n))).result).toBe(1);
    expect(calls).toEqual(["load"]);
  });

  test("does not hide what was set while it was being stored", async () => {
    const visit = visitor<{ box: { n: number } }>({ store: openStore().store });
    await visit((session) => session.set("box", { n: 1 }));
    await visit(async (session) => {
      await session.id();
      const updating = session.update("box", (box) => ({ n: (box?.n ?? 0) + 1 }));
      session.set("box", { n: 100 });
      expect(await updating).toEqual({ n: 2 });
      expect(await session.get("box")).toEqual({ n: 100 });
    });
    expect((await visit((session) => session.get("box"))).result).toEqual({ n: 100 });
  });

  test("is waited for when nobody awaits it", async () => {
    const visit = visitor();
    await visit((session) => session.set("n", 1));
    await visit((session) => void session.update("n", async (n) => await soon(n + 1)));
    expect((await visit((session) => session.get("n"))).result).toBe(2);
  });
});

describe("update() on a session that begins or gets a new id", () => {
  test("is stored with everything else", async () => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    await visit(async (session) => {
      expect(await increment(session)).toBe(1);
      session.set("other", 1);
      expect(await increment(session)).toBe(2);
      expect(calls).toEqual([]);
    });
    expect(calls).toEqual(["create"]);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 2, other: 1 });
  });

  test("reads no value where there is none, and keeps objects as they are", async () => {
    const events: string[] = [];
    const visit = visitor<{ box: { n: number }; none: number }>({ onEvent: ({ type }) => void events.push(type) });
    await visit(async (session) => {
      expect(await session.update("none", () => undefined)).toBeUndefined();
      expect(await session.keys()).toEqual([]);
      const box = await session.update("box", (before) => ({ n: (before?.n ?? 0) + 1 }));
      expect(await session.get("box")).toBe(box);
    });
    expect(events).toEqual(["created"]);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ box: { n: 1 } });
  });

  test("counts an object that is changed in place while its function was awaited", async () => {
    const visit = visitor<{ box: { n: number } }>();
    const { opened, open } = gate();
    await visit(async (session) => {
      session.set("box", { n: 1 });
      const box = (await session.get("box"))!;
      const updating = session.update("box", async (before) => (await opened, { n: (before?.n ?? 0) + 1 }));
      box.n = 100;
      open();
      expect(await updating).toEqual({ n: 101 });
    });
    expect((await visit((session) => session.get("box"))).result).toEqual({ n: 101 });
  });

  test("stores the new id at once, so that nothing of it lies under the old one", async () => {
    const { store, calls } = counted(openStore().store);
    const visit = visitor({ store });
    const first = await visit((session) => session.set("n", 1));
    const old = { headers: { Cookie: `__Host-session=${idIn(first.cookies)}` } };
    calls.length = 0;
    await visit(async (session) => {
      await session.regenerate();
      await increment(session);
      expect(calls).toEqual(["load", "create", "change"]);
      expect((await visitor({ store })((other) => other.all(), old)).result).toEqual({});
    });
  });

  test("leaves the session as it was, and what else was recorded, when the schema refuses it under a new id", async () => {
    const schema = z.object({ n: z.number().max(10).optional(), other: z.number().optional() });
    const visit = visitor({ schema });
    await visit((session) => session.set({ n: 5, other: 1 }));
    await visit(async (session) => {
      await session.regenerate();
      session.set("other", 2);
      expect(await codeOf(() => session.update("n", (n = 0) => n * 10))).toBe("ERR_SCHEMA");
      expect(await session.get("n")).toBe(5);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 5, other: 2 });
  });

  test("stores the whole session under the new id, and answers what is stored", async () => {
    const visit = visitor({ store: openStore().store });
    const first = await visit((session) => session.set({ n: 1, other: 1 }));
    const { result, cookies } = await visit(async (session) => {
      await session.regenerate();
      session.set("other", 2);
      return await increment(session);
    });
    expect(result).toBe(2);
    expect(idIn(cookies)).not.toBe(idIn(first.cookies));
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 2, other: 2 });
  });

  test("shows afterwards what it has answered when another request got in between, so that a change in place loses nothing", async () => {
    const visit = visitor<{ list: number[] }>();
    await visit((session) => session.set("list", [1]));
    await visit(async (session) => {
      await session.id();
      await visit((other) => other.update("list", (list = []) => [...list, 2]));
      await session.regenerate();
      const told = await session.update("list", (list = []) => [...list, 3]);
      expect(told).toEqual([1, 2, 3]);
      expect(await session.get("list")).toBe(told);
      told.push(4);
    });
    expect((await visit((session) => session.get("list"))).result).toEqual([1, 2, 3, 4]);
  });
});

describe("update()", () => {
  test("[51] counts every call when calls run in parallel in one request", async () => {
    const visit = visitor();
    for (const [sum, isNew] of [
      [20, true],
      [40, false],
    ] as const) {
      const { result } = await visit((session) =>
        Promise.all([
          ...Array.from({ length: 10 }, () => increment(session)),
          ...Array.from({ length: 10 }, () => session.update("n", async (n = 0) => await soon(n + 1))),
          ...Array.from({ length: 10 }, async () => {
            await session.has("n");
            await session.update("m", (m = 0) => m + 1);
          }),
        ]),
      );
      const values = result.slice(0, 20).toSorted((a, b) => Number(a) - Number(b));
      expect(values).toEqual(Array.from({ length: 20 }, (_, i) => sum - 19 + i));
      expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: sum, m: isNew ? 10 : 20 });
    }
  });

  test.each(["memory", "file"])("[51] counts every request when fifty run at once on a %s store", async (kind) => {
    const store = kind === "memory" ? memoryStore() : fileStore({ directory: await temporaryDirectory() });
    const visit = visitor({ store });
    await visit((session) => session.set("n", 0));
    await Promise.all(Array.from({ length: 50 }, () => visit(increment)));
    expect((await visit((session) => session.get("n"))).result).toBe(50);
  });

  test("[27] [51] counts both when two stores on one folder serve the same session", async () => {
    const directory = await temporaryDirectory();
    const jar = cookieJar();
    const [one, other] = [0, 1].map(() => visitor({ store: fileStore({ directory }) }, { jar }));
    await one!((session) => session.set("n", 0));
    await one!(async (session) => {
      await session.get("n");
      await other!(increment);
      expect(await increment(session)).toBe(2);
    });
    expect((await other!((session) => session.get("n"))).result).toBe(2);
  });

  test("deletes when the function gives undefined", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: 1, b: 2 }));
    const { result } = await visit((session) => session.update("a", () => undefined));
    expect(result).toBe(undefined);
    expect((await visit((session) => session.keys())).result).toEqual(["b"]);
  });

  test.each([true, false])(
    "rejects and changes nothing when the function fails (session exists: %s)",
    async (exists) => {
      const visit = visitor();
      if (exists) await visit((session) => session.set("n", 1));
      const before = exists ? 1 : undefined;
      await visit(async (session) => {
        const failure = new Error("no");
        await expect(session.update("n", () => Promise.reject(failure))).rejects.toBe(failure);
        const fail = (): never => {
          throw failure;
        };
        await expect(session.update("n", fail)).rejects.toBe(failure);
        expect(await codeOf(() => session.update("n", () => () => 0))).toBe("ERR_NOT_SERIALIZABLE");
        expect(await session.get("n")).toBe(before);
      });
      expect((await visit((session) => session.get("n"))).result).toBe(before);
    },
  );

  test("goes on with the session that a save() has stored while its function was awaited", async () => {
    const visit = visitor({ store: openStore().store });
    const { opened, open } = gate();
    await visit(async (session) => {
      const counted = session.update("n", async (n = 0) => (await opened, n + 1));
      session.set("other", 1);
      await session.save();
      open();
      expect(await counted).toBe(1);
      expect({ ...(await visit((other) => other.all(), await cookieFor(session))).result }).toEqual({ n: 1, other: 1 });
    });
  });

  test("lets its function call the session, which does that when the function has returned", async () => {
    const visit = visitor();
    await visit((session) => session.set({ n: 0, m: 0 }));
    await visit(async (session) => {
      await session.get("n");
      let within: Promise<number> | undefined;
      const order: string[] = [];
      const n = await session.update("n", (before) => {
        within ??= session.update("m", (m) => (order.push("m"), m + 1));
        order.push("n");
        return before + 1;
      });
      expect([n, await within, order]).toEqual([1, 1, ["n", "m"]]);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 1, m: 1 });
  });

  test("rejects and keeps what else was recorded when the function fails on a newer value", async () => {
    const visit = visitor();
    await visit((session) => session.set({ n: 1, other: 1 }));
    await visit(async (session) => {
      await session.get("n");
      session.set("other", 2);
      await visit((rival) => rival.set("n", 2));
      let runs = 0;
      const updating = session.update("n", (n) => {
        if (++runs === 2) throw new Error(`not on ${n}`);
        return 10;
      });
      await expect(updating).rejects.toThrow("not on 2");
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 2, other: 2 });
  });

  test("keeps timeouts that wait to be stored when the function fails", async () => {
    const visit = visitor();
    await visit((session) => session.set("n", 1));
    await visit(async (session) => {
      session.setTimeouts({ idle: 60 });
      const failing = session.update("n", () => {
        throw new Error("no");
      });
      await expect(failing).rejects.toThrow("no");
    });
    const { expiresAt, lastSeenAt } = (await visit((session) => session.info())).result;
    expect(Number(expiresAt) - Number(lastSeenAt)).toBe(60_000);
  });

  test("[51] counts once when it is called while a save() is being stored", async () => {
    const storing = gate();
    let isSlow = false;
    const store = altered(memoryStore(), {
      change: async (change, ...args) => {
        if (isSlow) await storing.opened;
        return await change(...args);
      },
    });
    const visit = visitor({ store });
    await visit((session) => session.set({ a: 0, n: 0 }));
    isSlow = true;
    await visit(async (session) => {
      session.set("x", 1);
      const saving = session.save();
      const updating = [session.update("a", async (a) => await soon(a + 1)), increment(session)];
      await soon(0);
      storing.open();
      expect(await Promise.all([...updating, saving])).toEqual([1, 1, undefined]);
      expect([await session.get("a"), await session.get("n")]).toEqual([1, 1]);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1, n: 1, x: 1 });
  });

  test.each([true, false])(
    "names the key when its function calls update() of the same key (exists: %s)",
    async (exists) => {
      const visit = visitor({ storeTimeout: 0.2 });
      if (exists) await visit((session) => session.set("n", 1));
      await visit(async (session) => {
        await session.get("n");
        const nested = session.update("n", async () => await increment(session));
        // It fails at once, instead of waiting for itself.
        expect(String(await nested.catch((error) => error))).toMatch(/^TypeError: Cannot update "n": .+update\("n"\)/);
        await expect(
          session.update("n", async (n = 0) => (await soon(0), await increment(session), n)),
        ).rejects.toThrow('"n"');
      });
      if (exists) expect((await visit((session) => session.get("n"))).result).toBe(1);
    },
  );

  test.each(["save", "regenerate", "destroy"] as const)(
    "fails when its function waits for %s(), instead of waiting for ever",
    async (call) => {
      const visit = visitor({ storeTimeout: 0.05 });
      await visit((session) => session.set("n", 1));
      await visit(async (session) => {
        await expect(session.update("n", async () => (await session[call](), 2))).rejects.toThrow("does not return");
      });
      expect((await visit((session) => session.get("n"))).result).toBe(1);
    },
  );

  test("leaves what else was recorded to be stored when the schema refuses it", async () => {
    const schema = z.object({ n: z.number().max(10).optional(), other: z.number().optional() });
    const visit = visitor({ schema });
    await visit((session) => session.set({ n: 1, other: 1 }));
    await visit(async (session) => {
      session.set({ n: 5, other: 2 });
      expect(await codeOf(() => session.update("n", (n = 0) => n * 10))).toBe("ERR_SCHEMA");
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 5, other: 2 });
  });

  test("throws ERR_SESSION_GONE when another request has ended the session", async () => {
    const visit = visitor();
    await visit((session) => session.set("n", 1));
    const { result, cookies } = await visit(async (session) => {
      await session.get("n");
      await visit((other) => other.destroy());
      return await codeOf(() => increment(session));
    });
    expect([result, cookies]).toEqual(["ERR_SESSION_GONE", []]);
  });
});

describe("a write to a session that exists", () => {
  async function opened() {
    const clock = fakeClock();
    const { store: inner, records } = openStore();
    const { store: watched, calls } = counted(inner);
    const faulty = faultyStore(watched);
    const events: SessionEvent[] = [];
    const options = { store: faulty, now: clock.now, storeTimeout: 0.1 };
    const session = new SessionManager({ ...options, onEvent: (event) => events.push(event) }).open("");
    const id = String(await session.create());
    session.set("short", 1, { ttl: 60 });
    await session.save();
    calls.length = events.length = 0;
    const elsewhere = (): Session => new SessionManager({ store: inner, now: clock.now }).open(id);
    return { clock, records, calls, faulty, events, session, elsewhere };
  }

  test("removes what has outlived its time to live, and a touch does not", async () => {
    const { clock, records, calls, events, session } = await opened();
    const names = (): string[] => [...records.values()].flatMap(({ fields }) => [...fields.keys()]);
    clock.advance(61);
    session.touch();
    await session.save();
    expect([calls, bare(events), names().length]).toEqual([["touch"], [{ type: "touched" }], 2]);
    session.set("n", 1);
    await session.save();
    expect(names().toSorted()).toEqual(["=n", "@"]);
  });

  test("fails while the store is busy, and a touch is left for the next request", async () => {
    const { clock, faulty, events, session } = await opened();
    clock.advance(1);
    faulty.plan({ save: "is busy" });
    session.touch();
    await session.save();
    expect(events).toEqual([]);
    session.set("n", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
  });

  test.each<[string, "is busy" | "does it twice", (session: Session) => void]>([
    ["a touch that a busy store refuses", "is busy", (session) => session.touch()],
    ["timeouts that the store is sent twice", "does it twice", (session) => session.setTimeouts({ idle: 60 })],
  ])("sends the cookie again for %s", async (_name, fault, change) => {
    const clock = fakeClock();
    const faulty = faultyStore(memoryStore());
    const visit = visitor({ store: faulty, now: clock.now, storeTimeout: 0.1 });
    await visit((session) => session.set("n", 1));
    clock.advance(1);
    faulty.plan({ save: fault === "is busy" ? fault : [fault] });
    expect((await visit(change)).cookies).toHaveLength(1);
  });

  test("has to be found out only if there was no answer, and if it is a change", async () => {
    const { calls, faulty, session } = await opened();
    const schema = z.object({ n: z.number().max(10).optional() }) as z.ZodType<{ n?: number }>;
    const watched = counted(openStore().store);
    const store = altered(watched.store, {
      change: (change, ...args) => {
        if (args[1].record.fields.get("=n") !== "7") return change(...args);
        throw new SessionError("ERR_RECORD_TOO_LARGE", "Cannot store the session: it is too large");
      },
    });
    const other = new SessionManager<{ n?: number }>({ store, schema }).open("");
    for (const [n, code] of [[1], [11, "ERR_SCHEMA"], [7, "ERR_RECORD_TOO_LARGE"], [2]] as [number, string?][]) {
      other.set("n", n);
      if (code === undefined) await other.save();
      else expect(await codeOf(() => other.save())).toBe(code);
    }
    expect(watched.calls).toEqual(["create", "change"]);
    faulty.plan({ save: ["rejects"] });
    session.touch();
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    await session.save();
    session.set("n", 1);
    await session.save();
    expect(calls).toEqual(["touch", "change"]);
  });

  test("counts once when the client of the store sends it twice", async () => {
    const { faulty, events, session, elsewhere } = await opened();
    faulty.plan({ save: ["does it twice"] });
    expect(await increment(session)).toBe(1);
    expect(await elsewhere().get("n")).toBe(1);
    expect(bare(events)).toEqual([
      { type: "conflict", attempts: 1 },
      { type: "changed", attempts: 1 },
    ]);
  });

  test("is not repeated when it was sent twice and the store then failed, and leaves what came after it", async () => {
    const { faulty, session, elsewhere } = await opened();
    faulty.plan({ save: ["does it twice"], load: ["rejects"] });
    session.set("n", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    await elsewhere().update("n", () => 5);
    await session.save();
    expect(await elsewhere().get("n")).toBe(5);
  });
});
