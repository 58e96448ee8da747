import vm from "node:vm";
import { describe, expect, test } from "vitest";
import { memoryStore } from "../../mod.ts";
import { fileStore } from "../../src/stores/file.ts";
import { cookieJar } from "../../src/testing.ts";
import { codeOf, errorOf, openStore, SHOP, temporaryDirectory, visitor } from "../setup/sessions.ts";

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
        expect(error.code).toBe("ERR_NOT_SERIALIZABLE");
        expect(error.message).toContain('"the key"');
        expect(error.cause).toBe(undefined);
        expect(await codeOf(() => session.flash("the key", nest(value)))).toBe("ERR_NOT_SERIALIZABLE");
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

  test("a codec of one's own is used for every value, and what it cannot encode is ERR_NOT_SERIALIZABLE", async () => {
    const { store, records } = openStore();
    const codec = {
      encode: (value: unknown) => `<${JSON.stringify(value)}>`,
      decode: (text: string) => JSON.parse(text.slice(1, -1)),
    };
    const visit = visitor({ store, codec });
    await visit(async (session) => {
      session.set("a", { b: 1 });
      session.flash("notice", "hello");
      expect(await codeOf(() => session.set("big", 1n))).toBe("ERR_NOT_SERIALIZABLE");
    });
    const [record] = records.values();
    const stored = [...record!.fields.values()].join("\n");
    for (const text of ['<{"b":1}>', '<"hello">']) expect(stored).toContain(JSON.stringify(text));
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: { b: 1 }, notice: "hello" });
  });
});
function cyclicMap(): Map<string, unknown> {
  const map = new Map<string, unknown>();
  map.set("self", { map });
  return map;
}
