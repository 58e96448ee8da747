import { randomUUID } from "node:crypto";
import vm from "node:vm";
import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionEvent, SessionManager, type UntypedData } from "../mod.ts";
import { fileStore } from "../src/stores/file.ts";
import { cookieJar, fakeClock } from "../src/testing.ts";
import {
  altered,
  codeOf,
  cookieOf,
  counted,
  errorOf,
  gate,
  idIn,
  keyOf,
  openStore,
  SHOP,
  temporaryDirectory,
  visitor,
  type Visitor,
} from "./setup/sessions.ts";

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
      expect(await session.info()).toEqual({ isNew: true, createdAt: null, lastSeenAt: null, expiresAt: null });
    });
  });
});

describe("writing", () => {
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
      expect(await codeOf(() => session.set({ a: 2, bad: () => 0 }))).toBe("ERR_VALUE");
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

describe("objects changed in place", () => {
  test("get() hands out an object whose changes are saved", async () => {
    const visit = visitor();
    await visit((session) => session.set("cart", { items: [{ n: 1 }], tags: new Set(["a"]) }));
    await visit(async (session) => {
      const cart = await session.get("cart");
      cart.items[0].n = 2;
      cart.items.push({ n: 3 });
      cart.tags.add("b");
      expect(await session.get("cart")).toBe(cart);
      expect((await session.all())["cart"]).toEqual(cart);
    });
    const expected = { items: [{ n: 2 }, { n: 3 }], tags: new Set(["a", "b"]) };
    expect((await visit((session) => session.get("cart"))).result).toEqual(expected);
  });

  test("set() keeps an object whose later changes are saved", async () => {
    const visit = visitor();
    await visit(async (session) => {
      const cart = { items: [1] };
      session.set("cart", cart);
      cart.items.push(2);
      await session.save();
      cart.items.push(3);
    });
    expect((await visit((session) => session.get("cart"))).result).toEqual({ items: [1, 2, 3] });
  });

  test("update() gives an object whose later changes are saved", async () => {
    const visit = visitor();
    await visit(async (session) => {
      const list = await session.update("list", (list = []) => [...list, 1]);
      list.push(2);
    });
    expect((await visit((session) => session.get("list"))).result).toEqual([1, 2]);
  });

  test("update() sees what was changed in place before it", async () => {
    const visit = visitor();
    await visit((session) => session.set("list", [1]));
    await visit(async (session) => {
      (await session.get("list")).push(2);
      await session.update("list", (list) => [...list, 3]);
    });
    expect((await visit((session) => session.get("list"))).result).toEqual([1, 2, 3]);
  });

  test("set() and delete() win over changes of the object that was there before", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: [1], b: [1] }));
    await visit(async (session) => {
      const [a, b] = [await session.get("a"), await session.get("b")];
      session.set("a", [2]);
      session.delete("b");
      a.push(3);
      b.push(3);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: [2] });
  });

  test("save() refuses, naming the key and no value, when an object was changed into what cannot be stored", async () => {
    const visit = visitor();
    await visit((session) => session.set("cart", { note: "secret" }));
    await visit(async (session) => {
      const cart = await session.get("cart");
      cart.total = () => 0;
      const error = await errorOf(() => session.save());
      expect(error.code).toBe("ERR_VALUE");
      expect(error.message).toContain("cart");
      expect(error.message).not.toContain("secret");
      delete cart.total;
    });
  });

  test("memoryStore() shows nobody an object before it is saved", async () => {
    const visit = visitor();
    await visit((session) => session.set("list", [1]));
    await visit(async (session) => {
      (await session.get("list")).push(2);
      expect((await visit((other) => other.get("list"))).result).toEqual([1]);
    });
  });

  test("get() shows what another request stored when the save was replayed on it", async () => {
    const visit = visitor();
    await visit((session) => session.set({ list: [1], n: 0 }));
    await visit(async (session) => {
      expect(await session.get("list")).toEqual([1]);
      await visit((other) => other.set("list", [9]));
      session.set("n", 1);
      await session.save();
      expect(await session.get("list")).toEqual([9]);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ list: [9], n: 1 });
  });
});

describe("update()", () => {
  test("[51] counts every call when calls run in parallel in one request", async () => {
    const visit = visitor();
    const { result } = await visit((session) =>
      Promise.all([
        ...Array.from({ length: 10 }, () => session.update("n", (n = 0) => n + 1)),
        ...Array.from({ length: 10 }, () => session.update("n", async (n = 0) => await soon(n + 1))),
        ...Array.from({ length: 10 }, async () => {
          await session.has("n");
          await session.update("m", (m = 0) => m + 1);
        }),
      ]),
    );
    expect(result.slice(0, 20).toSorted((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 20, m: 10 });
  });

  test.each(["memory", "file"])("[51] counts every request when fifty run at once on a %s store", async (kind) => {
    const store = kind === "memory" ? memoryStore() : fileStore({ directory: await temporaryDirectory() });
    const visit = visitor({ store });
    await visit((session) => session.set("n", 0));
    await Promise.all(Array.from({ length: 50 }, () => visit((session) => session.update("n", (n) => n + 1))));
    expect((await visit((session) => session.get("n"))).result).toBe(50);
  });

  test("[27] [51] counts both when two stores on one folder serve the same session", async () => {
    const directory = await temporaryDirectory();
    const jar = cookieJar();
    const [one, other] = [0, 1].map(() => visitor({ store: fileStore({ directory }) }, { jar }));
    await one!((session) => session.set("n", 0));
    await one!(async (session) => {
      await session.update("n", (n) => n + 1);
      await other!((session) => session.update("n", (n) => n + 1));
    });
    expect((await other!((session) => session.get("n"))).result).toBe(2);
  });

  test("runs the function again on the fresh value when another request got in between", async () => {
    const events: SessionEvent[] = [];
    const visit = visitor({ observe: (event) => events.push(event) });
    await visit((session) => session.set("n", 1));
    const seen: number[] = [];
    await visit(async (session) => {
      const value = await session.update("n", (n) => {
        seen.push(n);
        return n * 2;
      });
      expect(value).toBe(2);
      await visit((other) => other.set("n", 10));
      events.length = 0;
    });
    expect(seen).toEqual([1, 10]);
    expect(events).toEqual([
      { type: "conflict", attempts: 1 },
      { type: "changed", attempts: 2 },
    ]);
    expect((await visit((session) => session.get("n"))).result).toBe(20);
  });

  test("replays all changes of a request, in their order", async () => {
    const visit = visitor();
    await visit((session) => session.set({ n: 1, gone: 1 }));
    await visit(async (session) => {
      await session.update("n", (n) => n + 1);
      session.set("copy", await session.get("n"));
      await session.update("n", async (n) => await soon(n * 10));
      session.delete("gone");
      await visit((other) => other.set({ n: 5, gone: 2, other: true }));
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 60, copy: 2, other: true });
  });

  test("deletes when the function gives undefined", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: 1, b: 2 }));
    const { result } = await visit((session) => session.update("a", () => undefined));
    expect(result).toBe(undefined);
    expect((await visit((session) => session.keys())).result).toEqual(["b"]);
  });

  test("rejects, and changes nothing, when the function throws or gives what cannot be stored", async () => {
    const visit = visitor();
    await visit((session) => session.set("n", 1));
    await visit(async (session) => {
      const failure = new Error("no");
      await expect(session.update("n", () => Promise.reject(failure))).rejects.toBe(failure);
      expect(await codeOf(() => session.update("n", () => () => 0))).toBe("ERR_VALUE");
      expect(await session.get("n")).toBe(1);
    });
    expect((await visit((session) => session.get("n"))).result).toBe(1);
  });

  test("[51] counts once when it is called while an earlier one is replayed after a save", async () => {
    const [storing, slow] = [gate(), gate()];
    const store = altered(memoryStore(), {
      change: async (change, ...args) => {
        await storing.opened;
        return await change(...args);
      },
    });
    const visit = visitor({ store });
    await visit((session) => session.set({ a: 0, n: 0 }));
    await visit(async (session) => {
      session.set("x", 1);
      const saving = session.save();
      let runs = 0;
      await session.update("a", async (a) => {
        if (++runs > 1) await slow.opened;
        return a + 1;
      });
      storing.open();
      while (runs < 2) await soon(0);
      await session.update("n", (n) => n + 1);
      slow.open();
      await saving;
      expect([await session.get("a"), await session.get("n")]).toEqual([1, 1]);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1, n: 1, x: 1 });
  });
});

describe("values", () => {
  const shared = { name: "shared" };
  const cyclic: Record<string, unknown> = { name: "cyclic" };
  cyclic["self"] = cyclic;
  const sparse = [1, , 3]; // oxlint-disable-line no-sparse-arrays
  const buffer = new Uint8Array([9, 1, 2, 3, 9]).buffer;
  const values: Record<string, unknown> = {
    "an empty string": "",
    "a string": "Zoë \u{1F36A} \u0000 \u2028 </script>",
    "a lone surrogate": "\ud800",
    "strings that look like something else": ["null", "1", '{"a":1}', "[1]", "undefined", "-1"],
    "a string that looks like a number": "007",
    "a string that looks like JSON": '[{"a":1}]',
    "a string that looks like the codec's own": "-1",
    "numbers": [0, 1.5, -1.5, 1e300, Number.MIN_VALUE, Number.MAX_SAFE_INTEGER],
    "a large number": 1e21,
    "a small number": 5e-324,
    "a negative number": -7,
    "NaN": NaN,
    "-0": -0,
    "Infinity": Infinity,
    "-Infinity": -Infinity,
    "true": true,
    "false": false,
    "null": null,
    "a bigint": -12345678901234567890n,
    "undefined inside": { a: undefined, b: [undefined, null] },
    "a nested object": { "a": { b: [{ c: [] }] }, "": 1, "with space": 2 },
    "an object without a prototype": Object.assign(Object.create(null), { a: 1 }),
    "an array with holes": sparse,
    "a date": new Date(1_234_567_890_123),
    "an invalid date": new Date(NaN),
    "a Map": new Map<unknown, unknown>([
      [{ key: 1 }, new Set([1, "1"])],
      [NaN, undefined],
    ]),
    "an empty Map": new Map(),
    "a Set": new Set([1, "1", { a: 1 }]),
    "a RegExp": /a\/b"c/giu,
    "a URL": new URL("https://shop.example/?q=1#top"),
    "an ArrayBuffer": buffer.slice(0),
    "a view of a part of a buffer": new Uint8Array(buffer, 1, 3),
    "typed arrays": [
      new Int8Array([-1]),
      new Uint8Array([0, 255]),
      new Uint8ClampedArray([255]),
      new Int16Array([-2]),
      new Uint16Array([65_535]),
      new Int32Array([-3]),
      new Uint32Array([4_294_967_295]),
      new Float32Array([0.5]),
      new Float64Array([0.1, -0, NaN]),
      new BigInt64Array([-5n]),
      new BigUint64Array([6n]),
    ],
    "bytes in plenty": Uint8Array.from({ length: 100_000 }, (_, i) => i % 251),
    "repeated references": [shared, { again: shared }],
    "cyclic references": cyclic,
    "a cyclic Map": cyclicMap(),
  };

  test.each(Object.entries(values))("[52] set() keeps %s through a file", async (_, value) => {
    const directory = await temporaryDirectory();
    const jar = cookieJar();
    await visitor({ store: fileStore({ directory }) }, { jar })((session) => session.set("value", value));
    const { result } = await visitor({ store: fileStore({ directory }) }, { jar })((session) => session.get("value"));
    expect(result).toStrictEqual(value);
  });

  test("[52] get() keeps two references to one object, and a cycle, what they are", async () => {
    const visit = visitor({ store: fileStore({ directory: await temporaryDirectory() }) });
    await visit((session) => session.set({ twice: [shared, shared], cyclic }));
    await visit(async (session) => {
      const [one, other] = await session.get("twice");
      expect(one).toBe(other);
      const found = await session.get("cyclic");
      expect(found.self).toBe(found);
    });
  });

  class Point {
    x = 1;
  }
  class Tree extends Map<number, number> {}
  class Bag extends Set {}
  class List extends Array {}
  class Day extends Date {}
  class Link extends URL {
    constructor() {
      super(SHOP);
    }
  }
  class Bytes extends Uint8Array {}
  class Pattern extends RegExp {}
  const refused: Record<string, unknown> = {
    "a function": () => 0,
    "a class": Point,
    "a symbol": Symbol("s"),
    "a class instance": new Point(),
    "an instance of a class that extends Map": new Tree([[1, 2]]),
    "an instance of a class that extends Set": new Bag(),
    "an instance of a class that extends Array": new List(),
    "an instance of a class that extends Date": new Day(),
    "an instance of a class that extends URL": new Link(),
    "an instance of a class that extends Uint8Array": new Bytes(),
    "an instance of a class that extends RegExp": new Pattern("a"),
    "an instance of a class that is called Map as well": new (class Map extends globalThis.Map {})(),
    "an object with a prototype of its own": Object.create({ inherited: 1 }),
    "a promise": Promise.resolve(1),
    "a WeakMap": new WeakMap(),
    "an Error": new Error("no"),
    "a Request": new Request(SHOP),
    "an object with a method": { method() {} },
    "an object with a symbol as a key": { [Symbol("s")]: 1 },
  };

  const nestings: [string, (value: unknown) => unknown][] = [
    ["itself", (value) => value],
    ["in an object", (value) => ({ a: [value] })],
    ["in a Map", (value) => new Map([["a", value]])],
    ["as a key of a Map", (value) => new Map([[value, 1]])],
    ["in a Set", (value) => new Set([value])],
  ];

  test.each(Object.entries(refused))("[52] set() refuses %s at the call, and names the key", async (_, value) => {
    const visit = visitor();
    await visit(async (session) => {
      for (const [, nest] of nestings) {
        const error = await errorOf(() => session.set("the key", nest(value)));
        expect(error.code).toBe("ERR_VALUE");
        expect(error.message).toContain('"the key"');
        expect(error.cause).toBe(undefined);
        expect(await codeOf(() => session.flash("the key", nest(value)))).toBe("ERR_VALUE");
      }
      expect(await session.size()).toBe(0);
    });
  });

  test("[52] set() takes values of another realm", async () => {
    const visit = visitor();
    const value: unknown = vm.runInNewContext("({ map: new Map([[1, [2]]]), date: new Date(0) })");
    await visit((session) => session.set("value", value));
    expect((await visit((session) => session.get("value"))).result).toEqual({
      map: new Map([[1, [2]]]),
      date: new Date(0),
    });
  });

  const keys = [
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "",
    " ",
    "0",
    "-1",
    "@",
    "=",
    "~",
    "*",
    "=a",
    "~a",
    "a.b",
    "\u0000",
    "\n",
    "ключ",
    "\u{1F36A}",
    "\ud800",
    "null",
    "length",
  ];

  test.each(["memory", "file"])("[52] set() takes any string as a key on a %s store", async (kind) => {
    const visit = visitor({
      store: kind === "memory" ? memoryStore() : fileStore({ directory: await temporaryDirectory() }),
    });
    await visit(async (session) => {
      for (const key of keys) {
        expect(await session.get(key)).toBe(undefined);
        expect(await session.has(key)).toBe(false);
        session.set(key, { key });
        session.flash(`flash ${key}`, key);
      }
    });
    await visit(async (session) => {
      for (const key of keys) {
        expect(await session.get(key)).toEqual({ key });
        expect(await session.get(`flash ${key}`)).toBe(key);
      }
      const all = await session.all();
      expect(Object.keys(all).toSorted()).toEqual([...keys, ...keys.map((key) => `flash ${key}`)].toSorted());
      expect(Object.getOwnPropertyDescriptor(all, "__proto__")?.value).toEqual({ key: "__proto__" });
      expect((await session.keys()).toSorted()).toEqual(Object.keys(all).toSorted());
      for (const key of keys) await session.update(key, (value) => ({ ...value, updated: true }));
    });
    await visit(async (session) => {
      for (const key of keys) expect(await session.pull(key)).toEqual({ key, updated: true });
      expect(await session.size()).toBe(0);
    });
    expect(Object.hasOwn(Object.prototype, "key")).toBe(false);
  });

  test("set() takes __proto__ as one of several keys", async () => {
    const visit = visitor();
    await visit((session) => session.set(JSON.parse('{"__proto__":{"polluted":1},"a":2}')));
    const { result } = await visit((session) => session.get("__proto__"));
    expect(result).toEqual({ polluted: 1 });
    expect(Object.getPrototypeOf({}).polluted).toBe(undefined);
  });

  test("a codec of one's own is used for every value, and what it cannot encode is ERR_VALUE", async () => {
    const { store, records } = openStore();
    const codec = {
      encode: (value: unknown) => `<${JSON.stringify(value)}>`,
      decode: (text: string) => JSON.parse(text.slice(1, -1)),
    };
    const visit = visitor({ store, codec });
    await visit(async (session) => {
      session.set("a", { b: 1 });
      session.flash("notice", "hello");
      expect(await codeOf(() => session.set("big", 1n))).toBe("ERR_VALUE");
    });
    const [record] = records.values();
    expect([...record!.fields.values()]).toEqual(expect.arrayContaining(['<{"b":1}>', '<"hello">']));
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: { b: 1 }, notice: "hello" });
  });
});

describe("flash", () => {
  test("[55] flash() is invisible in its own request, seen once in a later one, and then gone", async () => {
    const visit = visitor();
    await visit(async (session) => {
      session.flash("notice", "hello");
      expect(await session.get("notice")).toBe(undefined);
      expect(await session.has("notice")).toBe(false);
      expect(await session.keys()).toEqual([]);
      expect({ ...(await session.all()) }).toEqual({});
    });
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("hello");
      expect(await session.get("notice")).toBe("hello");
    });
    expect((await visit((session) => session.get("notice"))).result).toBe(undefined);
  });

  test("[55] flash() waits when requests in between do not read it", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "hello"));
    await visit(() => 0);
    await visit((session) => session.get("other"));
    await visit((session) => session.set("other", 1));
    await visit(async (session) => {
      expect(await session.has("notice")).toBe(true);
      expect(await session.keys()).toEqual(["other", "notice"]);
      expect(await session.size()).toBe(2);
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("hello");
  });

  test.each([
    ["get()", (session) => session.get("notice")],
    ["pull()", (session) => session.pull("notice")],
    ["all()", async (session) => (await session.all())["notice"]],
  ] as [string, (session: Session) => Promise<unknown>][])("[55] %s consumes a flash value", async (_, use) => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "hello"));
    expect((await visit(use)).result).toBe("hello");
    expect((await visit(use)).result).toBe(undefined);
  });

  test("[55] pull() leaves nothing for the rest of the request", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "hello"));
    await visit(async (session) => {
      expect(await session.pull("notice")).toBe("hello");
      expect(await session.get("notice")).toBe(undefined);
    });
  });

  test.each([
    ["keepFlash(key) before it is read", (session) => (session.keepFlash("notice"), session.get("notice"))],
    ["keepFlash(key) after it was read", async (session) => (await session.get("notice"), session.keepFlash("notice"))],
    ["keepFlash() before it is read", (session) => (session.keepFlash(), session.get("notice"))],
    ["keepFlash() after it was read", async (session) => (await session.get("notice"), session.keepFlash())],
    [
      "keepFlash(key) after it was read and saved",
      async (session) => {
        await session.get("notice");
        await session.save();
        session.keepFlash("notice");
      },
    ],
  ] as [string, (session: Session) => unknown][])(
    "[55] %s keeps a flash value for one more request",
    async (_, use) => {
      const visit = visitor();
      await visit((session) => session.flash("notice", "hello"));
      await visit(use);
      expect((await visit((session) => session.get("notice"))).result).toBe("hello");
      expect((await visit((session) => session.get("notice"))).result).toBe(undefined);
    },
  );

  test("[55] keepFlash(key) keeps that one only", async () => {
    const visit = visitor();
    await visit((session) => (session.flash("a", 1), session.flash("b", 2)));
    await visit(async (session) => (await session.all(), session.keepFlash("a")));
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1 });
  });

  test("[55] flash() again, in the request that shows it, is for the request after", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "one"));
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("one");
      session.flash("notice", "two");
      expect(await session.get("notice")).toBe("one");
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("two");
    expect((await visit((session) => session.get("notice"))).result).toBe(undefined);
  });

  test("[55] flash() of another request is not lost when this one consumes the value before it", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "one"));
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("one");
      await visit((other) => other.flash("notice", "two"));
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("two");
  });

  test("[55] flash() survives regenerate(), and a save() in mid-handler", async () => {
    const visit = visitor();
    await visit(async (session) => {
      session.flash("notice", "hello");
      await session.save();
      expect(await session.get("notice")).toBe(undefined);
    });
    await visit((session) => session.regenerate());
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("hello");
      await session.save();
      expect(await session.get("notice")).toBe("hello");
    });
    expect((await visit((session) => session.get("notice"))).result).toBe(undefined);
  });

  test("[55] delete() drops a flash value, waiting or just recorded", async () => {
    const visit = visitor();
    await visit((session) => (session.flash("a", 1), session.flash("b", 2), session.delete("b")));
    await visit((session) => session.delete("a"));
    expect((await visit((session) => session.size())).result).toBe(0);
  });

  test("[55] set() in the request of a flash() is seen at once, the flash value in the next", async () => {
    const visit = visitor();
    await visit(async (session) => {
      session.flash("notice", "later");
      session.set("notice", "now");
      expect(await session.get("notice")).toBe("now");
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("later");
    expect((await visit((session) => session.get("notice"))).result).toBe("now");
  });

  test("[55] flash() after destroy() is shown by the new session", async () => {
    const visit = visitor();
    await visit((session) => session.set("user", "ada"));
    await visit(async (session) => {
      await session.destroy();
      session.flash("notice", "bye");
    });
    await visit(async (session) => {
      expect(await session.get("user")).toBe(undefined);
      expect(await session.get("notice")).toBe("bye");
    });
  });
});

describe("start() and id()", () => {
  test("[34] start() makes an empty session exist, answers its id, and is idempotent", async () => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    const { result, cookies } = await visit(async (session) => [
      await session.start(),
      await session.start(),
      await session.id(),
    ]);
    expect(new Set(result)).toEqual(new Set([idIn(cookies)]));
    expect(calls).toEqual(["create"]);
    const again = await visit((session) => session.start());
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

  test("[60] ids are 32 characters of 64 kinds, and all different", async () => {
    const ids = await Promise.all(
      Array.from({ length: 200 }, async () => (await visitor()((session) => session.start())).result),
    );
    expect(ids.filter((id) => !/^[\w-]{32}$/.test(id))).toEqual([]);
    expect(new Set(ids).size).toBe(200);
    // Each of the 64 characters turns up among 6 400, but for one time in 10^41.
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
    expect(await sessions.open("").start()).toMatch(/^none_/);
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
    expect(new Set(calls)).toEqual(new Set(["create"]));
  });

  test("[50] an id that was told is never exchanged: if it is taken, that is ERR_CONFLICT", async () => {
    const ids = ["a".repeat(22), "a".repeat(22), "b".repeat(22)];
    const options = { store: memoryStore(), generateId: () => ids.shift() ?? "" };
    await visitor(options)((session) => session.set("who", "first"));
    expect(await codeOf(() => visitor(options)((session) => session.start()))).toBe("ERR_CONFLICT");
  });

  test("[50] Session has no way to choose an id", async () => {
    await visitor()((session) => {
      expect(() => Object.assign(session, { id: "a".repeat(32) })).not.toThrow(SyntaxError);
      expect("setId" in session).toBe(false);
    });
  });
});

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
      await session.update("n", (n) => n + 1);
      await visit((other) => other.set({ n: 10, other: true }));
      expect({ ...(await session.all()) }).toEqual({ n: 2 });
      await session.save();
      expect({ ...(await session.all()) }).toEqual({ n: 11, other: true });
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

  test.each([
    ["destroyed", (session) => session.destroy()],
    ["regenerated", (session) => session.regenerate()],
    ["regenerated with grace", (session) => session.regenerate({ grace: 60 })],
  ] as [string, (session: Session) => Promise<void>][])(
    "throws ERR_SESSION_GONE when another request has %s the session, and the response touches no cookie",
    async (_, end) => {
      const events: string[] = [];
      const { store, calls } = counted(memoryStore());
      const options = { store, observe: ({ type }: SessionEvent) => events.push(type) };
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

describe("regenerate()", () => {
  test("[56] gives a new id, keeps the data, and the old id is dead at once", async () => {
    const store = memoryStore();
    const [before, after] = [cookieJar(), cookieJar()];
    const first = await visitor({ store }, { jar: before })((session) => session.set("basket", ["cake"]));
    const login = await visitor({ store }, { jar: after })(
      async (session) => {
        expect(await session.get("basket")).toEqual(["cake"]);
        await session.regenerate();
        session.set("user", "ada");
      },
      { headers: { Cookie: cookieOf(first) } },
    );
    expect(idIn(login.cookies)).not.toBe(idIn(first.cookies));
    const now = await visitor({ store }, { jar: after })((session) => session.all());
    expect({ ...now.result }).toEqual({ basket: ["cake"], user: "ada" });
    const old = await visitor({ store }, { jar: before })((session) => session.all());
    expect({ ...old.result }).toEqual({});
  });

  test("keeps createdAt, and isNew stays false", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    const begin = clock.now();
    await visit((session) => session.set("a", 1));
    clock.advance(60);
    await visit(async (session) => {
      await session.regenerate();
      expect(await session.info()).toMatchObject({ isNew: false, createdAt: begin });
    });
    expect((await visit((session) => session.info())).result).toMatchObject({ isNew: false, createdAt: begin });
  });

  test("does nothing without a session", async () => {
    const { store, calls } = counted(memoryStore());
    const { cookies } = await visitor({ store })((session) => session.regenerate());
    expect([cookies, calls]).toEqual([[], []]);
  });

  test("lets the old id lead to the session while the grace lasts, and tells the new id", async () => {
    const clock = fakeClock();
    const store = memoryStore();
    const options = { store, now: clock.now };
    const old = cookieOf(await visitor(options)((session) => session.set("n", 1)));
    const login = await visitor(options)((session) => session.regenerate({ grace: 30 }), { headers: { Cookie: old } });
    clock.advance(29);
    const late = await visitor(options)((session) => session.update("n", (n) => n + 1), { headers: { Cookie: old } });
    expect(late.result).toBe(2);
    expect(idIn(late.cookies)).toBe(idIn(login.cookies));
    clock.advance(1);
    const dead = await visitor(options)((session) => session.get("n"), { headers: { Cookie: old } });
    expect(dead.result).toBe(undefined);
    const heir = await visitor(options)((session) => session.get("n"), { headers: { Cookie: cookieOf(login) } });
    expect(heir.result).toBe(2);
  });

  test.each([-1, NaN, Infinity, "1"])("refuses a grace of %s with a RangeError", async (grace) => {
    await visitor()((session) => expect(session.regenerate({ grace: grace as number })).rejects.toThrow(RangeError));
  });

  test("restarts the absolute timeout when the user has reauthenticated, and only then", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, absoluteTimeout: 1000, idleTimeout: 900 });
    await visit((session) => session.set("a", 1));
    clock.advance(600);
    await visit(async (session) => {
      await session.regenerate();
      expect((await session.info()).expiresAt).toBe(clock.now() + 400_000);
    });
    await visit(async (session) => {
      await session.regenerate({ reauthenticated: true });
      expect((await session.info()).expiresAt).toBe(clock.now() + 900_000);
    });
    clock.advance(800);
    expect((await visit((session) => session.get("a"))).result).toBe(1);
    clock.advance(200);
    expect((await visit((session) => session.get("a"))).result).toBe(undefined);
  });

  test("has one heir when two requests regenerate one id: the other hears gone", async () => {
    const events: string[] = [];
    const { store, records } = openStore();
    const options = { store, observe: ({ type }: SessionEvent) => events.push(type) };
    const first = cookieOf(await visitor(options)((session) => session.set("a", 1)));
    const init = { headers: { Cookie: first } };
    const slow = await visitor(options)(async (session) => {
      await session.regenerate();
      const fast = await visitor(options)((other) => other.regenerate(), init);
      expect(fast.cookies).toHaveLength(1);
      events.length = 0;
    }, init);
    expect(slow.cookies).toEqual([]);
    expect(events).toContain("gone");
    const live = [...records.values()].filter(({ fields }) => fields.has("=a"));
    expect(live).toHaveLength(1);
  });

  test.each([
    ["the new record cannot be created", "create", false],
    ["the new record is created, but that is answered with an error", "create", true],
    ["the old record cannot be retired", "change", false],
  ] as const)("leaves the old id alone alive when %s", async (_, verb, done) => {
    const { store: base, records } = openStore();
    let fails = false;
    const fail = async (action: () => Promise<unknown>): Promise<never> => {
      if (done) await action();
      throw new Error("down");
    };
    const store = altered(base, {
      create: (create, ...args) => (fails && verb === "create" ? fail(() => create(...args)) : create(...args)),
      change: (change, ...args) => (fails && verb === "change" ? fail(() => change(...args)) : change(...args)),
    });
    const jar = cookieJar();
    const visit = visitor({ store }, { jar });
    const { cookies } = await visit((session) => session.set("a", 1));
    fails = true;
    expect(await codeOf(() => visit((session) => session.regenerate()))).toBe("ERR_STORE");
    fails = false;
    expect((await visit((session) => session.get("a"))).result).toBe(1);
    expect((await visit((session) => session.id())).result).toBe(idIn(cookies));
    // Of what else may lie in the store, no client was told the id.
    expect(records.has(keyOf(idIn(cookies) ?? ""))).toBe(true);
  });
});

/** Records a change that works the first time only. */
async function updateThatFailsWhenReplayed(session: Session): Promise<void> {
  let runs = 0;
  await session.update("other", () => {
    if (++runs === 2) throw new Error("mine");
    return runs;
  });
}

describe("save()", () => {
  test("counts once what it has stored when a change recorded meanwhile fails on what others have written", async () => {
    const store = memoryStore();
    const reached = gate();
    const stored = gate();
    let isSlow = false;
    const slow = altered(store, {
      change: async (change, ...args) => {
        reached.open();
        if (isSlow) await stored.opened;
        return await change(...args);
      },
    });
    const visit = visitor({ store: slow });
    await visit((session) => session.set("n", 1));
    isSlow = true;
    await visit(async (session) => {
      await session.update("n", (n) => n + 1);
      const saving = session.save();
      await reached.opened;
      await updateThatFailsWhenReplayed(session);
      stored.open();
      await expect(saving).rejects.toThrow("mine");
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 2 });
  });

  test("keeps the new id that it has stored when a change recorded meanwhile fails to be replayed", async () => {
    const reached = gate();
    const stored = gate();
    const slow = altered(memoryStore(), {
      change: async (change, ...args) => {
        reached.open();
        await stored.opened;
        return await change(...args);
      },
    });
    const visit = visitor({ store: slow });
    await visit((session) => session.set("n", 1));
    await visit(async (session) => {
      await session.regenerate();
      const saving = session.save();
      await reached.opened;
      await updateThatFailsWhenReplayed(session);
      stored.open();
      await expect(saving).rejects.toThrow("mine");
      session.set("n", 2);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 2 });
  });
});

describe("destroy()", () => {
  test("ends the session and expires its cookie when a save() was still under way and another one is called", async () => {
    const stored = gate();
    const slow = altered(memoryStore(), {
      change: async (change, ...args) => {
        await stored.opened;
        return await change(...args);
      },
    });
    const visit = visitor({ store: slow });
    await visit((session) => session.set("n", 1));
    const { cookies } = await visit(async (session) => {
      await session.get("n");
      session.set("n", 2);
      const saving = session.save();
      const ending = session.destroy();
      await new Promise(setImmediate);
      session.set("n", 3);
      const savingAgain = session.save();
      stored.open();
      await Promise.all([saving, ending, savingAgain]);
    });
    expect(idIn(cookies)).toBeNull();
    expect(cookies.join()).toContain("Max-Age=0");
  });

  test("[42] deletes the record, expires the cookie, and the id is dead", async () => {
    const { store, records } = openStore();
    const jar = cookieJar();
    const visit = visitor({ store }, { jar });
    const old = cookieOf(await visit((session) => session.set("a", 1)));
    const { cookies } = await visit((session) => session.destroy());
    expect(records.size).toBe(0);
    expect(cookies).toHaveLength(1);
    expect(cookies[0]).toMatch(/^__Host-session=; Max-Age=0; .*Path=\/; Secure; HttpOnly; SameSite=Lax/);
    expect(jar.header(SHOP)).toBe(null);
    const again = await visitor({ store })((session) => session.get("a"), { headers: { Cookie: old } });
    expect(again.result).toBe(undefined);
  });

  test("deletes the record when nothing was read before", async () => {
    const { store, records } = openStore();
    const sessions = new SessionManager({ store });
    const visit = visitor(sessions);
    await visit((session) => session.set("a", 1));
    await visit((session) => session.destroy());
    expect(records.size).toBe(0);
  });

  test("expires the cookie of an id that is no session any more", async () => {
    const { cookies } = await visitor()((session) => session.destroy(), {
      headers: { Cookie: `__Host-session=${"a".repeat(32)}` },
    });
    expect(cookies[0]).toContain("Max-Age=0");
  });

  test("set() after it begins a new session under a new id, with one Set-Cookie", async () => {
    const { store, records } = openStore();
    const visit = visitor({ store });
    const first = await visit((session) => session.set({ a: 1, b: 2 }));
    const second = await visit(async (session) => {
      await session.destroy();
      session.set("c", 3);
      expect((await session.info()).isNew).toBe(true);
    });
    expect(second.cookies).toHaveLength(1);
    expect(idIn(second.cookies)).not.toBe(idIn(first.cookies));
    expect(records.size).toBe(1);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ c: 3 });
  });

  test("after regenerate(), saved or not, leaves no live id", async () => {
    for (const saves of [false, true]) {
      const { store, records } = openStore();
      const jar = cookieJar();
      const visit = visitor({ store }, { jar });
      const old = cookieOf(await visit((session) => session.set("a", 1)));
      await visit(async (session) => {
        await session.regenerate();
        if (saves) await session.save();
        await session.destroy();
      });
      expect([...records.values()].filter(({ fields }) => fields.has("=a"))).toEqual([]);
      expect((await visitor({ store })((session) => session.get("a"), { headers: { Cookie: old } })).result).toBe(
        undefined,
      );
      expect(jar.header(SHOP)).toBe(null);
    }
  });

  test("ends the heir as well, and expires the cookie, when another request has regenerated meanwhile", async () => {
    for (const saves of [false, true]) {
      const { store, records } = openStore();
      const first = await visitor({ store })((session) => session.set("a", 1));
      const init = { headers: { Cookie: cookieOf(first) } };
      const { cookies } = await visitor({ store })(async (session) => {
        await session.update("a", (a) => a + 1);
        await visitor({ store })((other) => other.regenerate(), init);
        if (saves) expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
        await session.destroy();
      }, init);
      expect([...records.values()].filter(({ fields }) => fields.has("=a"))).toEqual([]);
      expect(cookies[0]).toContain("Max-Age=0");
    }
  });

  test("ends the session and expires the cookie when a save() is still under way", async () => {
    const storing = gate();
    const { store: base, records } = openStore();
    const store = altered(base, {
      change: async (change, ...args) => {
        await storing.opened;
        return await change(...args);
      },
    });
    const visit = visitor({ store });
    await visit((session) => session.set("a", 1));
    const { cookies } = await visit(async (session) => {
      await session.update("a", (a) => a + 1);
      const saving = session.save();
      await soon(0);
      const ending = session.destroy();
      await soon(0);
      storing.open();
      await Promise.all([saving, ending]);
      expect(await session.get("a")).toBe(undefined);
      expect(await session.id()).toBe(null);
    });
    expect(records.size).toBe(0);
    expect(cookies).toHaveLength(1);
    expect(cookies[0]).toContain("Max-Age=0");
  });

  test("begins no session again when a request in flight writes, touches or reads on", async () => {
    for (const use of [
      (session: Session) => session.set("a", 2),
      (session: Session) => session.touch(),
      (session: Session) => session.flash("notice", 1),
      (session: Session) => session.setTimeouts({ idle: 99 }),
      (session: Session) => session.regenerate(),
      (session: Session) => session.start(),
    ]) {
      const { store, records } = openStore();
      const init = { headers: { Cookie: cookieOf(await visitor({ store })((session) => session.set("a", 1))) } };
      const { response, cookies } = await visitor({ store })(async (session) => {
        await session.get("a");
        await use(session);
        await visitor({ store })((other) => other.destroy(), init);
      }, init);
      expect([response.status, cookies, records.size]).toEqual([200, [], 0]);
    }
  });
});

describe("times", () => {
  test("info() tells when the session began, was last seen and ends", async () => {
    const clock = fakeClock(1_000_000);
    const visit = visitor({ now: clock.now });
    const none = { isNew: true, createdAt: null, lastSeenAt: null, expiresAt: null };
    expect((await visit((session) => session.info())).result).toEqual(none);
    const begin = clock.now();
    const { result } = await visit((session) => (session.set("a", 1), session.info()));
    expect(result).toEqual({ isNew: true, createdAt: begin, lastSeenAt: begin, expiresAt: begin + 86_400_000 });
    clock.advance(60);
    expect((await visit((session) => session.info())).result).toEqual({ ...result, isNew: false });
    clock.advance(8640);
    const touched = clock.now();
    const late = await visit((session) => session.info());
    expect(late.result).toEqual({ isNew: false, createdAt: begin, lastSeenAt: begin, expiresAt: touched + 86_400_000 });
    expect((await visit((session) => session.info())).result.lastSeenAt).toBe(touched);
  });

  test("info() says isNew for an id that is no session", async () => {
    const { result } = await visitor()((session) => session.info(), {
      headers: { Cookie: `__Host-session=${"a".repeat(32)}` },
    });
    expect(result.isNew).toBe(true);
  });

  test("info() tells the absolute end when that comes first", async () => {
    const clock = fakeClock();
    const { result } = await visitor({ now: clock.now, absoluteTimeout: 60 })(
      (session) => (session.set("a", 1), session.info()),
    );
    expect(result.expiresAt).toBe(clock.now() + 60_000);
  });

  test("[43] touch() pushes the idle deadline out now, without waiting for the touch interval", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.set("a", 1));
    clock.advance(10);
    const { cookies, result } = await visit((session) => (session.touch(), session.info()));
    expect(cookies[0]).toContain("Max-Age=86400");
    expect(result.expiresAt).toBe(clock.now() + 86_400_000);
    expect((await visit((session) => session.info())).result.lastSeenAt).toBe(clock.now());
  });

  test("touch() keeps what another request wrote meanwhile", async () => {
    const visit = visitor();
    await visit((session) => session.set("a", 1));
    await visit(async (session) => {
      await session.get("a");
      session.touch();
      await visit((other) => other.set("a", 2));
    });
    expect((await visit((session) => session.get("a"))).result).toBe(2);
  });

  test("[54] setTimeouts() holds for this session alone, with its cookie, and for later requests", async () => {
    const clock = fakeClock();
    const store = memoryStore();
    const options = { store, now: clock.now };
    const [remembered, other] = [visitor(options), visitor(options)];
    await other((session) => session.set("a", 1));
    const month = 30 * 86_400;
    const { cookies } = await remembered(async (session) => {
      session.set("a", 1);
      session.setTimeouts({ idle: month, absolute: 2 * month });
      expect((await session.info()).expiresAt).toBe(clock.now() + month * 1000);
    });
    expect(cookies[0]).toContain(`Max-Age=${month};`);
    clock.advance(month - 1);
    expect((await other((session) => session.get("a"))).result).toBe(undefined);
    const late = await remembered((session) => session.get("a"));
    expect(late.result).toBe(1);
    expect(late.cookies[0]).toContain(`Max-Age=${month};`);
    clock.advance(month + 1);
    expect((await remembered((session) => session.get("a"))).result).toBe(undefined);
  });

  test("[54] setTimeouts() on a live session sends the cookie again, with the same id, once", async () => {
    const visit = visitor();
    const first = await visit((session) => session.set("a", 1));
    const second = await visit((session) => session.setTimeouts({ cookie: 3600 }));
    expect(idIn(second.cookies)).toBe(idIn(first.cookies));
    expect(second.cookies[0]).toContain("Max-Age=3600;");
    expect((await visit((session) => session.setTimeouts({ cookie: 3600 }))).cookies).toEqual([]);
    const third = await visit((session) => session.setTimeouts({ cookie: null }));
    expect(third.cookies[0]).not.toContain("Max-Age");
    expect(third.cookies[0]).not.toContain("Expires");
  });

  test("[54] setTimeouts({ idle }) brings a touch interval of a tenth", async () => {
    const clock = fakeClock();
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store, now: clock.now });
    await visit((session) => (session.set("a", 1), session.setTimeouts({ idle: 100 })));
    calls.length = 0;
    clock.advance(9);
    await visit((session) => session.get("a"));
    clock.advance(1);
    await visit((session) => session.get("a"));
    expect(calls).toEqual(["load", "load", "touch"]);
  });

  test("[54] setTimeouts({ idle }) leaves the session that long from now when it was last seen before", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.set("a", 1));
    clock.advance(3600);
    await visit((session) => session.setTimeouts({ idle: 1800 }));
    clock.advance(1600);
    expect((await visit((session) => session.get("a"))).result).toBe(1);
  });

  test("[54] setTimeouts({ absolute: false }) lets a session in use live for ever", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, idleTimeout: 100, absoluteTimeout: 200 });
    await visit((session) => (session.set("a", 1), session.setTimeouts({ absolute: false })));
    for (let n = 0; n < 10; n++) {
      clock.advance(90);
      expect((await visit((session) => session.get("a"))).result).toBe(1);
    }
  });

  test("setTimeouts() survives regenerate()", async () => {
    const visit = visitor();
    await visit((session) => (session.set("a", 1), session.setTimeouts({ idle: 1000 })));
    expect((await visit((session) => session.regenerate())).cookies[0]).toContain("Max-Age=1000;");
  });

  test("setTimeouts() waits for the session when a save() finds none to store it in", async () => {
    const { cookies } = await visitor()(async (session) => {
      session.setTimeouts({ idle: 1000 });
      await session.save();
      session.set("a", 1);
    });
    expect(cookies[0]).toContain("Max-Age=1000;");
  });

  test("setTimeouts() alone begins no session", async () => {
    const { store, calls } = counted(memoryStore());
    const { cookies } = await visitor({ store })((session) => session.setTimeouts({ idle: 100 }));
    expect([cookies, calls]).toEqual([[], []]);
  });

  test.each([
    { idle: 0 },
    { idle: -1 },
    { idle: NaN },
    { idle: Infinity },
    { absolute: 0 },
    { absolute: -5 },
    { cookie: 0 },
    { cookie: NaN },
  ])("setTimeouts(%j) is refused with a RangeError", async (timeouts) => {
    await visitor()((session) => expect(() => session.setTimeouts(timeouts)).toThrow(RangeError));
  });
});

describe("after the response was committed", () => {
  /** Hands out the session of a request that is over. */
  async function sessionAfter(
    use: (session: Session) => unknown,
    live: boolean,
  ): Promise<{ late: Session; visit: Visitor<UntypedData>; calls: string[] }> {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    if (live) await visit((session) => session.set("a", 1));
    const { result } = await visit(async (session) => {
      await use(session);
      return { session };
    });
    calls.length = 0;
    return { late: result.session, visit, calls };
  }

  const writes: [string, (session: Session) => unknown][] = [
    ["set()", (session) => session.set("a", 2)],
    ["set() of several", (session) => session.set({ a: 2 })],
    ["update()", (session) => session.update("a", () => 2)],
    ["flash()", (session) => session.flash("a", 2)],
    ["start()", (session) => session.start()],
  ];

  for (const [used, use] of [
    ["used", (session) => session.get("a")],
    ["not touched", () => 0],
  ] as [string, (session: Session) => unknown][]) {
    test.each(writes)(`%s throws ERR_COMMITTED when there is no session, which was ${used}`, async (_, write) => {
      const { late, calls } = await sessionAfter(use, false);
      expect(await codeOf(() => write(late))).toBe("ERR_COMMITTED");
      expect(calls).toEqual([]);
    });

    test(`set() is stored by save() when there is a session, which was ${used}`, async () => {
      const { late, visit } = await sessionAfter(use, true);
      late.set("a", 2);
      await late.update("b", (b = 0) => b + 1);
      expect(await late.get("a")).toBe(2);
      expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1 });
      await late.save();
      expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 2, b: 1 });
    });

    test.each([
      ["regenerate()", (session) => session.regenerate()],
      ["destroy()", (session) => session.destroy()],
    ] as [string, (session: Session) => Promise<void>][])(
      `%s throws ERR_COMMITTED, and the session lives on, which was ${used}`,
      async (_, end) => {
        const { late, visit, calls } = await sessionAfter(use, true);
        expect(await codeOf(() => end(late))).toBe("ERR_COMMITTED");
        expect(calls.filter((call) => call !== "load")).toEqual([]);
        expect((await visit((session) => session.get("a"))).result).toBe(1);
      },
    );
  }

  test.each(["withSession", "Hono"] as const)(
    "set() throws ERR_COMMITTED when the handler has thrown in %s",
    async (through) => {
      const late: Session[] = [];
      const visiting = visitor(
        {},
        { through },
      )((session) => {
        late.push(session);
        throw new Error("mine");
      });
      await expect(visiting).rejects.toThrow("mine");
      expect(await codeOf(() => late[0]!.set("a", 1))).toBe("ERR_COMMITTED");
    },
  );

  test("save() throws ERR_COMMITTED when the id that was presented turns out to be no session", async () => {
    const { store, calls } = counted(memoryStore());
    const { result } = await visitor({ store })((session) => ({ session }), {
      headers: { Cookie: `__Host-session=${"a".repeat(32)}` },
    });
    expect(
      await codeOf(async () => {
        result.session.set("a", 1);
        await result.session.save();
      }),
    ).toBe("ERR_COMMITTED");
    expect(calls).not.toContain("create");
  });

  test("save() throws ERR_SESSION_GONE when the session was ended since", async () => {
    const { late, visit } = await sessionAfter((session) => session.get("a"), true);
    await visit((session) => session.destroy());
    late.set("a", 2);
    expect(await codeOf(() => late.save())).toBe("ERR_SESSION_GONE");
  });

  test("get() still reads", async () => {
    const { late } = await sessionAfter(() => 0, true);
    expect(await late.get("a")).toBe(1);
  });
});

function tree(): Record<string, unknown> {
  return { list: [1, new Date(0), new Map([["a", { b: -0 }]])], bytes: new Uint8Array([1]) };
}

function cyclicMap(): Map<string, unknown> {
  const map = new Map<string, unknown>();
  map.set("self", { map });
  return map;
}

/** A value, after everything that waits for nothing has run. */
async function soon<Value>(value: Value): Promise<Value> {
  await new Promise((resolve) => setImmediate(resolve));
  return value;
}
