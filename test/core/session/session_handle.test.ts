import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionEvent, SessionManager } from "../../../mod.ts";
import { SessionHandle } from "../../../src/core/session/session_handle.ts";
import { codeOf, counted, idIn, openStore, visitor } from "../../setup/sessions.ts";

function tree(): Record<string, unknown> {
  return { list: [1, new Date(0), new Map([["a", { b: -0 }]])], bytes: new Uint8Array([1]) };
}

describe("reading", () => {
  test("[46] get() answers what was set, in this request and in the next", async () => {
    const visit = visitor();
    const { result } = await visit((session) => {
      session.set("name", "ada");
      return session.get("name");
    });
    expect(result).toBe("ada");
    expect((await visit((session) => session.get("name"))).result).toBe("ada");
  });

  test("[47] get() answers the fallback only when there is no value", async () => {
    const visit = visitor();
    const values = { nothing: null, zero: 0, empty: "", no: false };
    await visit((session) => session.set(values));
    await visit(async (session) => {
      expect(await session.get("missing")).toBe(undefined);
      expect(await session.get("missing", "fallback")).toBe("fallback");
      for (const [key, value] of Object.entries(values)) expect(await session.get(key, "fallback")).toBe(value);
      expect(await session.has("missing")).toBe(false);
    });
  });

  test("[46] [49] has(), all(), keys() and size() tell of the whole session, changes of this request included", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: 1, b: null, c: 3 }));
    await visit(async (session) => {
      session.set("d", 4);
      session.delete("c");
      expect(await session.has("b")).toBe(true);
      expect(await session.has("c")).toBe(false);
      expect(await session.has("d")).toBe(true);
      expect(await session.keys()).toEqual(["a", "b", "d"]);
      expect(await session.size()).toBe(3);
      expect({ ...(await session.all()) }).toEqual({ a: 1, b: null, d: 4 });
    });
  });

  test("all() gives a plain object without a prototype, which is a copy", async () => {
    const visit = visitor();
    await visit((session) => session.set("list", [1]));
    await visit(async (session) => {
      const all = await session.all();
      expect(Object.getPrototypeOf(all)).toBe(null);
      expect(all["toString"]).toBe(undefined);
      all["list"].push(2);
      all["other"] = 3;
      expect(await session.get("list")).toEqual([1]);
      expect(await session.has("other")).toBe(false);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ list: [1] });
  });

  test("all() leaves out what cannot be read", async () => {
    const { store, records } = openStore();
    const visit = visitor({ store });
    await visit((session) => session.set({ a: 1, b: 2 }));
    for (const [key, record] of records) records.set(key, { ...record, fields: new Map(record.fields).set("=a", "{") });
    expect(Object.entries((await visit((session) => session.all())).result)).toEqual([["b", 2]]);
  });

  test("all() takes what ends while it reads for nothing that could not be read", async () => {
    for (let ttl = 1; ttl < 20; ttl++) {
      let seconds = 0;
      const events: SessionEvent[] = [];
      const visit = visitor({ now: () => ++seconds * 1000, onEvent: (event) => events.push(event) });
      await visit(async (session) => {
        session.set("a", 1, { ttl });
        expect([[], [["a", 1]]]).toContainEqual(Object.entries(await session.all()));
      });
      expect(events.map(({ type }) => type)).not.toContain("rejected");
    }
  });

  test("get() answers nothing, and has() false, when the session has just been destroyed", async () => {
    const visit = visitor();
    await visit((session) => session.set("a", 1));
    await visit(async (session) => {
      expect(await session.get("a")).toBe(1);
      await session.destroy();
      expect(await session.get("a")).toBe(undefined);
      expect(await session.has("a")).toBe(false);
      expect(await session.keys()).toEqual([]);
      expect(await session.id()).toBe(null);
      expect(await session.info()).toEqual({
        isNew: true,
        createdAt: null,
        lastSeenAt: null,
        expiresAt: null,
        authenticatedAt: null,
        ended: null,
      });
    });
  });
});

describe("writing", () => {
  test.each([0, -1, Number.NaN, Infinity, "60"])("set() and flash() refuse a time to live of %j", async (ttl) => {
    await visitor()((session) => {
      for (const call of [
        () => session.set("a", 1, { ttl: ttl as number }),
        () => session.flash("a", 1, { ttl: ttl as number }),
      ])
        expect(call).toThrow(RangeError);
      expect(() => session.set("a", 1, { til: 60 } as never)).toThrow(/ttl/);
    });
  });

  test("set() refuses what is neither a key nor an object of values, and destroy() what no browser clears", async () => {
    await visitor()(async (session) => {
      for (const key of [undefined, null, 7, Symbol("a")])
        expect(() => session.set(key as never, 1 as never)).toThrow("session.set takes a key and a value");
      for (const clearSiteData of ["cookies", ["cookie"], [7]])
        await expect(session.destroy({ clearSiteData: clearSiteData as never })).rejects.toThrow(
          /clearSiteData must be true, or a list of "cache", "cookies"/,
        );
      expect(await session.size()).toBe(0);
    });
  });

  test("set() and flash() refuse a key alone, as flash() of connect-flash reads, and delete nothing", async () => {
    await visitor()(async (session) => {
      session.set("a", 1);
      const only = session as unknown as Record<"set" | "flash", (key: string) => void>;
      expect(() => only.set("a")).toThrow(TypeError);
      expect(() => only.flash("a")).toThrow("to read use session.get");
      expect(await session.get("a")).toBe(1);
    });
  });

  test("[48] set() records several values when it gets an object", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: 1, b: 2 }));
    await visit((session) => session.set({ b: 3, c: 4 }));
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1, b: 3, c: 4 });
  });

  test("set() records none of several values when one of them is refused", async () => {
    const visit = visitor();
    await visit(async (session) => {
      session.set("a", 1);
      expect(await codeOf(() => session.set({ a: 2, bad: () => 0 }))).toBe("ERR_NOT_SERIALIZABLE");
      expect({ ...(await session.all()) }).toEqual({ a: 1 });
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1 });
  });

  test("set() deletes when the value is undefined, alone or among several", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: 1, b: 2, c: 3 }));
    await visit((session) => {
      session.set("a", undefined);
      session.set({ b: undefined, c: 4 });
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ c: 4 });
  });

  test("set() deletes when the value is undefined: a flash value too, whatever the codec and the time to live", async () => {
    const codec = { encode: (value: unknown) => String(value), decode: (text: string) => text };
    const visit = visitor({ codec });
    await visit((session) => {
      session.set("a", 1);
      session.flash("b", 2);
      session.set("a", undefined, { ttl: 60 });
      session.set({ b: undefined, c: 3 });
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ c: "3" });
  });

  test.each([undefined, 7, "value", {}])("update() refuses %j in place of a function", async (change) => {
    await visitor()(async (session) => {
      const message = "session.update takes a key and a function of its value";
      await expect(session.update("a", change as never)).rejects.toThrow(new TypeError(message));
      expect(await session.size()).toBe(0);
    });
  });

  test("update() refuses options, whose ttl would be lost", async () => {
    await visitor()(async (session) => {
      const called = (options: unknown) =>
        Reflect.apply(session.update, session, ["a", () => 1, options]) as Promise<unknown>;
      await expect(called({ ttl: 60 })).rejects.toThrow(
        new TypeError("session.update takes no options: a ttl that session.set has given is kept"),
      );
      expect(await session.size()).toBe(0);
      expect(await called(undefined)).toBe(1);
    });
  });

  test("[46] delete() drops the keys that it gets, and those only", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: 1, b: 2, c: 3 }));
    await visit((session) => session.delete("a", "b", "missing"));
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ c: 3 });
  });

  test("clear() drops every key and flash value, and the session lives on under its id", async () => {
    const visit = visitor();
    const { cookies } = await visit((session) => {
      session.set({ a: 1, b: 2 });
      session.flash("notice", "hello");
    });
    const cleared = await visit((session) => session.clear());
    expect(cleared.cookies).toEqual([]);
    await visit(async (session) => {
      expect(await session.size()).toBe(0);
      expect(await session.id()).toBe(idIn(cookies));
      expect((await session.info()).isNew).toBe(false);
    });
  });

  test("set() after clear() is all that is left", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: 1, b: 2 }));
    await visit((session) => {
      session.clear();
      session.set("c", 3);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ c: 3 });
  });

  test("a method cannot be written on, so that what a middleware keeps there is not shown to other clients", async () => {
    const methods: unknown[] = [];
    await visitor()((session) => {
      const { prototype } = session.constructor as { prototype: object };
      for (const { value } of Object.values(Object.getOwnPropertyDescriptors(prototype))) methods.push(value);
      // connect-flash makes this assignment in sloppy mode, where it does not even throw.
      expect(Reflect.set(session.flash, "error", ["Wrong password"])).toBe(false);
      expect(session.flash).not.toHaveProperty("error");
    });
    expect(methods.length).toBeGreaterThan(18);
    expect(methods.filter((method) => !Object.isFrozen(method))).toEqual([]);
  });

  test.each(["save", "regenerate", "destroy"] as const)(
    "%s() rejects when it is given a callback, as sessions of Express take one",
    async (name) => {
      const visit = visitor();
      await visit(async (session) => {
        const called = Reflect.apply(session[name], session, [() => {}]) as Promise<void>;
        await expect(called).rejects.toThrow(new TypeError(`session.${name} takes no callback: await it`));
      });
    },
  );

  test("set() keeps what another request wrote when both change different keys", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: 0, b: 0 }));
    await visit(async (session) => {
      session.set("a", 1);
      expect(await session.get("b")).toBe(0);
      await visit((other) => other.set("b", 2));
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1, b: 2 });
  });

  test("clear() drops also what another request wrote meanwhile", async () => {
    const visit = visitor();
    await visit((session) => session.set("a", 1));
    await visit(async (session) => {
      session.clear();
      await session.get("a");
      await visit((other) => other.set("b", 2));
    });
    expect((await visit((session) => session.keys())).result).toEqual([]);
  });

  test("[46] pull() reads and deletes", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: 1, b: 2 }));
    await visit(async (session) => {
      expect(await session.pull("a")).toBe(1);
      expect(await session.pull("a")).toBe(undefined);
      expect(await session.pull("missing")).toBe(undefined);
    });
    expect((await visit((session) => session.keys())).result).toEqual(["b"]);
  });

  test.each([
    ["set() with an equal value", (session) => session.set("tree", tree())],
    ["set() with equal values", (session) => session.set({ tree: tree(), n: NaN })],
    ["set() to another value and back", (session) => (session.set("n", 2), session.set("n", NaN))],
    ["update() to an equal value", (session) => session.update("tree", tree)],
    ["delete() of a missing key", (session) => session.delete("missing")],
    [
      "an object changed in place and changed back",
      async (session) => {
        const found = await session.get("tree");
        found.list.push(1);
        found.list.pop();
      },
    ],
  ] as [string, (session: Session) => unknown][])("%s is no change", async (_, use) => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    await visit((session) => session.set({ tree: tree(), n: NaN }));
    calls.length = 0;
    await visit(use);
    expect(calls).toEqual(["load"]);
  });

  test("set() tells 0 from -0", async () => {
    const visit = visitor();
    await visit((session) => session.set("n", 0));
    await visit((session) => session.set("n", -0));
    expect((await visit((session) => session.get("n"))).result).toBe(-0);
  });
});

test.each([undefined, null, 7, "session", {}, () => 0])("%j is not taken for a session", (value) => {
  expect(() => SessionHandle.lazyOf(value as object)).toThrow(TypeError);
  expect(SessionHandle.lazyOf(new SessionManager().open("")).active).toBeUndefined();
});
