import { runInNewContext } from "node:vm";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type Codec, SessionManager } from "../../mod.ts";
import { structuredCodec } from "../../src/core/codec.ts";
import { isSameGraph, scalars } from "./graphs.ts";

test("a codec of the program that answers with a promise is refused, before anything is recorded", async () => {
  const codec = { encode: async (value: unknown) => JSON.stringify(value), decode: JSON.parse } as unknown as Codec;
  const session = new SessionManager({ codec }).open("");
  expect(() => session.set("n", 1)).toThrow("codec.encode must return a text at once; it returned a promise");
  expect(await session.size()).toBe(0);
});

const { encode, decode } = structuredCodec;
const copyOf = (value: unknown): unknown => decode(encode(value));

describe("encode() and decode()", () => {
  test.each(scalars.map((value) => [value]))("give %o as it was, alone and within others", (value) => {
    const within = { a: value, b: [value, [value]], c: new Map([[value, value]]), d: new Set([value]) };
    for (const whole of [value, [value], within]) expect(isSameGraph(copyOf(whole), whole), encode(whole)).toBe(true);
  });

  test.each<[string, unknown]>([
    ["an empty object", {}],
    ["an empty list", []],
    [
      "an object with odd keys",
      { "": 1, "0": 2, "constructor": 3, "toString": 4, "toJSON": 5, "a\nb": 6, "\uD800": 7 },
    ],
    ["an object without a prototype", Object.assign(Object.create(null), { a: 1, constructor: 2 })],
    ["a list with undefined", [undefined, 1, undefined]],
    // oxlint-disable-next-line no-sparse-arrays
    ["a list with holes", [1, , undefined, ,]],
    ["nested maps and sets", new Map<unknown, unknown>([[new Set([1]), new Map([[{ a: 1 }, new Date(1)]])]])],
    ["undefined in an object", { a: undefined }],
    ["a list in a list", [[], [[]]]],
  ])("give %s as it was", (_name, value) => {
    expect(isSameGraph(copyOf(value), value), encode(value)).toBe(true);
  });

  test("keep repeated and cyclic references", () => {
    const shared = { n: 1 };
    const cycle: Record<string, unknown> = { shared, again: [shared, shared] };
    cycle.self = cycle;
    cycle.map = new Map<unknown, unknown>([[cycle, new Set([cycle, shared])]]);
    const list: unknown[] = [];
    list.push(list, cycle);
    const buffer = new ArrayBuffer(8);
    for (const value of [cycle, list, [shared, shared], [new Uint8Array(buffer, 1), new Uint8Array(buffer, 2, 3)]]) {
      expect(isSameGraph(copyOf(value), value), encode(value)).toBe(true);
    }
  });

  test("keep a list that is nearly all holes small", () => {
    const list: unknown[] = [];
    list[4_000_000_000] = "last";
    expect(encode(list).length).toBeLessThan(100);
    expect(isSameGraph(copyOf(list), list)).toBe(true);
  });

  test.each([new URL("https://shop.example/"), new URLSearchParams("a=1")])(
    "give %s as it was with symbols in it, where Deno keeps its own data",
    (value) => {
      const copy = copyOf(Object.assign(value, { [Symbol("list")]: [] }));
      expect(isSameGraph(copy, value), String(copy)).toBe(true);
    },
  );

  test("keep the place at which a regular expression goes on", () => {
    const pattern = /a/g;
    pattern.test("aa");
    const copy = copyOf([pattern, pattern]) as RegExp[];
    expect([copy[0]?.lastIndex, copy[1] === copy[0], copy[0]?.test("aa"), copy[0]?.test("aa")]).toEqual([
      1,
      true,
      true,
      false,
    ]);
  });

  test.each([[{ a: 1 }], [[1]], [{ a: NaN }], [[NaN]], [new Map([[1, 2]])]])(
    "ignore properties of %o that are not enumerable, and call no hidden toJSON",
    (value) => {
      const given = Object.defineProperty(structuredClone(value), "toJSON", { value: () => "hidden" });
      expect(isSameGraph(copyOf(given), value), encode(given)).toBe(true);
      expect(isSameGraph(copyOf([{ given }]), [{ given: value }])).toBe(true);
    },
  );

  test.each<[string, unknown, string]>([
    ["a full list", [NaN, ["a"], "a"], '![[-2,1,2],[2],"a"]'],
    // oxlint-disable-next-line no-sparse-arrays
    ["a list with holes", [, undefined, ,], '![["sparse",3,1,-1]]'],
    ["an object", { a: -0, b: { a: undefined } }, '![{"a":-5,"b":1},{"a":-1}]'],
    ["an object without a prototype", Object.assign(Object.create(null), { a: 1 }), '![["null",{"a":1}],1]'],
    ["a map", new Map([[1, Infinity]]), '![["Map",1,-3],1]'],
    ["a set", new Set([-Infinity, null]), '![["Set",-4,1],null]'],
    ["a date", [new Date(5), new Date(NaN)], '![[1,2],["Date",5],["Date",null]]'],
    ["a bigint", -5n, '![["BigInt","-5"]]'],
    ["a regular expression", /a\/b/gi, '![["RegExp","a\\\\/b","gi"]]'],
    ["one that goes on at a place", Object.assign(/a/g, { lastIndex: 7 }), '![["RegExp","a","g",1],7]'],
    ["an address", new URL("https://shop.example/"), '![["URL","https://shop.example/"]]'],
    ["a query", new URLSearchParams("a=1"), '![["URLSearchParams","a=1"]]'],
    ["bytes", new Uint8Array([9, 255]).subarray(1), '![["Uint8Array",1,1,1],["ArrayBuffer","Cf8"]]'],
    ["undefined", undefined, "!-1"],
  ])("write %s as every version does, whose records others read", (_name, value, text) => {
    expect(encode(value)).toBe(text);
  });

  test("give values of another realm as values of this one", () => {
    const foreign: unknown = runInNewContext(
      "({ list: [1, [2]], map: new Map([[1, new Set([2])]]), date: new Date(5), bytes: new Uint8Array([1]), re: /a/g, und: undefined })",
    );
    const expected = {
      list: [1, [2]],
      map: new Map([[1, new Set([2])]]),
      date: new Date(5),
      bytes: new Uint8Array([1]),
      re: /a/g,
      und: undefined,
    };
    expect(isSameGraph(copyOf(foreign), expected)).toBe(true);
    expect(encode(runInNewContext("({ a: [1] })"))).toBe('{"a":[1]}');
  });

  test("give what JSON gives back as it was as JSON, and nothing else", () => {
    for (const value of [null, true, 1, "a", [], {}, [1, { a: [null] }], { "a b": "c" }])
      expect(encode(value)).toBe(JSON.stringify(value));
    for (const value of [undefined, NaN, -0, [undefined], { a: NaN }, new Date(0), [-0], 1n, Object.create(null)])
      expect(encode(value)[0]).toBe("!");
  });

  test("give lines of text that cannot be taken for the name of a field", () => {
    for (const value of scalars) {
      for (const text of [encode(value), encode([value]), encode({ "\n": value, "\uD800": value })]) {
        expect(text).not.toMatch(/^[=~%@*]|\n/);
        expect(text.isWellFormed()).toBe(true);
      }
    }
  });
});

const STATE = Symbol("state");

/** Like the Response of Node 22. */
class Platform {
  readonly [STATE] = 1;
  readonly [Symbol.toStringTag]: string = "Platform";
}

/** As some platforms have it. */
class URLPattern {
  get [Symbol.toStringTag](): string {
    return "URLPattern";
  }
}

describe("encode() refuses", () => {
  class Point {
    x = 1;
  }
  class Extended extends Map<string, number> {}
  class NullBased {
    x = 1;
  }
  Object.setPrototypeOf(NullBased.prototype, null);
  const deceiving = Object.create({ constructor: { name: "Date" }, [Symbol.toStringTag]: "Date" });

  const more = <Value extends object>(value: Value): Value => Object.assign(value, { note: 1 });
  const lost = 'its property "note" would be lost';
  const longest = Object.assign([], { length: 4_294_967_295 });

  const cases: [string, unknown, string][] = [
    ["a list with a property", more([1]), lost],
    ["a list with a property and a hole", more(Object.assign([1], { length: 3 })), lost],
    ["a list with a property and as many holes", more(Object.assign([], { 1: 1 })), lost],
    ["a list with a property and NaN", more([NaN]), lost],
    ["an empty list with a property", more([]), lost],
    ["a match of a regular expression", /a/.exec("a"), 'its property "groups" would be lost'],
    ["a list with a symbol as a key", Object.assign([1], { [Symbol("key")]: 1 }), "it has a key that is a symbol"],
    ["a map with a symbol as a key", Object.assign(new Map(), { [Symbol("key")]: 1 }), "it has a key that is a symbol"],
    ...["01", "-1", "1.5", "4294967295", "1e0", "toJSON"].map((key): [string, unknown, string] => [
      `a list with the key ${key}`,
      Object.assign([1, 2, 3], { [key]: () => 1 }),
      `its property "${key}" would be lost`,
    ]),
    [
      "a list of the greatest length with a property",
      Object.assign(longest, { "4294967295": 3 }),
      'its property "4294967295" would be lost',
    ],
    ["a Date with a property", more(new Date()), lost],
    ["a Map with a property", more(new Map([[1, 2]])), lost],
    ["a Set with a property", more(new Set([1])), lost],
    ["a RegExp with a property", more(/a/), lost],
    ["a URL with a property", more(new URL("https://shop.example/")), lost],
    ["a query with a property", more(new URLSearchParams("a=1")), lost],
    ["an ArrayBuffer with a property", more(new ArrayBuffer(1)), lost],
    [
      "a view of shared memory",
      new Uint8Array(new SharedArrayBuffer(1)),
      "it is an instance of the class SharedArrayBuffer",
    ],
    ["a function", () => 1, "it is a function"],
    ["a class", Point, "it is a function"],
    ["a symbol", Symbol("secret"), "it is a symbol"],
    ["an instance of a class", new Point(), "it is an instance of the class Point"],
    ["an instance of a class that extends Map", new Extended(), "it is an instance of the class Extended"],
    ["an instance of a class that extends Array", new (class extends Array {})(), "it is an instance of a class"],
    ["an instance of a class that extends Date", new (class extends Date {})(), "it is an instance of a class"],
    ["an instance of a class that extends nothing", new NullBased(), "it is an instance of the class NullBased"],
    ["an object that inherits", Object.create({ inherited: 1 }), "it is an instance of a class"],
    ["an object that inherits from nothing known", Object.create(Object.create(null)), "it is an instance of a class"],
    [
      "an object whose class has a text for a name",
      Object.create({ constructor: { name: "two words" } }),
      "it is an instance of a class",
    ],
    ["Node's Buffer", Buffer.from("a"), "it is an instance of the class Buffer"],
    ["an error", new Error("a"), "it is an instance of the class Error"],
    ["a promise", Promise.resolve(1), "it is a promise that was not awaited"],
    ["a WeakMap", new WeakMap(), "it is an instance of the class WeakMap"],
    ["a boxed number", Object(1), "it is an instance of the class Number"],
    ["a response", new Response(), "it is an instance of the class Response"],
    [
      "an object of the platform that keeps its state in symbols",
      new Platform(),
      "it is an instance of the class Platform",
    ],
    [
      "an object whose class is named nearly as one of ours",
      new URLPattern(),
      "it is an instance of the class URLPattern",
    ],
    ["an object with a symbol as a key", { [Symbol("key")]: 1 }, "it has a key that is a symbol"],
    ["an object with the key __proto__", JSON.parse('{"__proto__":1}'), "it has the key __proto__"],
    ["an object with a function named toJSON", { toJSON: () => 1 }, "it is a function"],
  ];

  test.each(cases)("%s, alone or deep inside, and says where", (_name, value, reason) => {
    for (const wrap of [
      (inner: unknown) => inner,
      (inner: unknown) => [{ a: inner }],
      (inner: unknown) => ({ list: [1, new Map([["key", inner]])] }),
      (inner: unknown) => new Set([undefined, inner]),
    ]) {
      expect(() => encode(wrap(value))).toThrow(TypeError);
      expect(() => encode(wrap(value))).toThrow(expect.objectContaining({ reason }));
    }
  });

  test("what only pretends to be a Date", () => {
    expect(() => encode(deceiving)).toThrow(TypeError);
  });

  test.each<[unknown, string]>([
    [() => 1, ""],
    [{ price: () => 1 }, ".price"],
    [[1, 2, { price: () => 1 }], "[2].price"],
    [{ "a b": { $c: () => 1 } }, '["a b"].$c'],
    [new Map([["x", { y: () => 1 }]]), "[0].y"],
    [
      new Map<unknown, unknown>([
        ["w", 1],
        [[2], 3],
        ["x", { y: () => 1 }],
      ]),
      "[2].y",
    ],
    [new Set([1, [() => 1]]), "[1][0]"],
    // oxlint-disable-next-line no-sparse-arrays
    [[, , () => 1], "[2]"],
    [Object.assign(Object.create(null), { a: () => 1 }), ".a"],
    [{ first: { fine: [1] }, second: new Date(), third: [new Date(), Symbol("s")] }, ".third[1]"],
  ])("%o and tells the path", (value, path) => {
    const reason = expect.stringMatching(/^it is a (?:function|symbol)$/);
    expect(() => encode(value)).toThrow(expect.objectContaining({ path, reason }));
  });

  test("what is nested deeper than 1000 levels, and decodes what is not", () => {
    const nested = (levels: number, innermost: unknown): unknown => {
      let value = innermost;
      for (let level = 1; level < levels; level++) value = level % 2 === 0 ? [value] : { a: value };
      return value;
    };
    for (const innermost of [[], [NaN]]) {
      const deepest = nested(1000, innermost);
      expect(isSameGraph(copyOf(deepest), deepest)).toBe(true);
      for (const levels of [1001, 2000, 100_000]) {
        expect(() => encode(nested(levels, innermost))).toThrow(
          expect.objectContaining({ path: "", reason: "it is nested deeper than 1000 levels" }),
        );
      }
    }
  });
});

describe("decode() of a text that encode() did not give", () => {
  const hostile = [
    "",
    "!",
    "{",
    "!{}",
    "![]",
    "!0",
    "!-6",
    "!0.5",
    '!"a"',
    "!null",
    "![[1]]",
    "![[-9]]",
    '![["Unknown"]]',
    '![["constructor"]]',
    '![["Uint8Array",1,0,4000000000],4000000000]',
    '![["Uint8Array",1,0,9],["ArrayBuffer","AAAA"]]',
    '![["ArrayBuffer","%"]]',
    '![["BigInt","x"]]',
    '![["RegExp","(","g"]]',
    '![["URL","no"]]',
    '![{"__proto__":1},{"polluted":2},true]',
    '![["null",{"__proto__":1}],{"polluted":2},true]',
    '![{"a":"constructor"}]',
    '![{"a":"length"}]',
    '![[1,"1"],2]',
    '![["sparse",-1]]',
    '![["sparse",1,-1,-1]]',
    '![["sparse",2,0.5,-1]]',
    '![["sparse",1,1,-1]]',
    '![["Function","return 1"]]',
    '![["eval",1],"1"]',
    `!${"[".repeat(100_000)}${"]".repeat(100_000)}`,
  ];

  test.each(hostile)("throws and makes nothing strange: %s", (text) => {
    expect(() => decode(text)).toThrow();
    expect("polluted" in {}).toBe(false);
  });

  test.each(["OurUint8Array", "DataViewOfOurs"])("calls no class of the program: %s", (name) => {
    const textOf = (view: string): string => `![["${view}",1,0,1],["ArrayBuffer","AA"]]`;
    expect(decode(textOf("Uint8Array"))).toEqual(new Uint8Array(1));
    vi.stubGlobal(name, Uint8Array);
    onTestFinished(() => void vi.unstubAllGlobals());
    expect(() => decode(textOf(name))).toThrow();
  });

  test("makes an own property of __proto__ in plain JSON, and changes no prototype", () => {
    const value = decode('{"__proto__":{"polluted":true}}') as object;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect("polluted" in value).toBe(false);
  });
});
