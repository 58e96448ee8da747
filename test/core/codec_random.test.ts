import { parse, stringify } from "devalue";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { structuredCodec } from "../../src/core/codec.ts";
import { runsOf } from "../setup/random.ts";
import { isSameGraph, scalars } from "./graphs.ts";

const { encode, decode } = structuredCodec;
const copyOf = (value: unknown): unknown => decode(encode(value));

test("decode() never makes anything but the values that encode() takes", () => {
  const index = fc.integer({ min: -6, max: 6 });
  const name = fc.constantFrom(
    "Map",
    "Set",
    "Date",
    "RegExp",
    "URL",
    "sparse",
    "null",
    "BigInt",
    "ArrayBuffer",
    "Uint8Array",
    "DataView",
    "Proxy",
  );
  const part = fc.oneof(
    fc.array(index, { maxLength: 4 }),
    fc.dictionary(fc.constantFrom("a", "b", "__proto__", "constructor"), index),
    fc.tuple(name, fc.oneof(index, fc.constant("AAAA")), index, index),
    fc.tuple(name),
    fc.constantFrom("text", 1, null, true),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 7 }), (table) => {
      let value: unknown;
      try {
        value = decode(`!${JSON.stringify(table)}`);
      } catch {
        return;
      }
      expect(isSameGraph(copyOf(value), value)).toBe(true);
    }),
    runsOf(3000),
  );
});

describe("with devalue as the oracle", () => {
  /** Values of all kinds with repeated parts: each node may refer to earlier nodes, and is later changed to refer to itself. */
  const key = fc.oneof(fc.string(), fc.constantFrom("a", "b", "0", "10", "constructor", "toJSON", "length"));
  const scalar = fc.oneof(
    fc.constantFrom(...scalars.slice(0, 19)),
    fc.double(),
    fc.string({ unit: "binary" }),
    fc.bigInt(),
    fc.date({ noInvalidDate: false }),
    fc.uint8Array({ maxLength: 9 }),
    fc.float64Array({ maxLength: 3 }),
    fc.constantFrom(/a/g, new URL("https://shop.example/")),
  );
  const kind = fc.constantFrom("object", "null", "list", "sparse", "map", "set");
  const node = fc.tuple(kind, fc.array(fc.tuple(key, fc.nat({ max: 40 })), { maxLength: 5 }));
  const graph = fc
    .tuple(fc.array(scalar, { minLength: 1, maxLength: 8 }), fc.array(node, { minLength: 1, maxLength: 8 }))
    .map(([leaves, nodes]) => {
      const made = nodes.map(([what]): unknown => {
        if (what === "map") return new Map();
        if (what === "set") return new Set();
        if (what === "null") return Object.create(null);
        return what === "object" ? {} : [];
      });
      const pool: unknown[] = [...leaves, ...made];
      for (const [at, [what, parts]] of nodes.entries()) {
        const target: unknown = made[at];
        for (const [name, choice] of parts) {
          const value = pool[choice % pool.length];
          if (target instanceof Map) target.set(choice % 2 === 0 ? name : value, value);
          else if (target instanceof Set) target.add(value);
          else if (Array.isArray(target))
            target[what === "sparse" ? target.length + (choice % 3) : target.length] = value;
          else if (name !== "__proto__") Reflect.set(target as object, name, value);
        }
      }
      return made[0];
    });

  test("gives the same values of graphs of all kinds, and a text that is the same the second time", () => {
    fc.assert(
      fc.property(graph, (value) => {
        const text = encode(value);
        const copy = decode(text);
        expect(isSameGraph(copy, value)).toBe(true);
        expect(isSameGraph(copy, parse(stringify(value)))).toBe(true);
        expect(encode(copy)).toBe(text);
      }),
      runsOf(5000),
    );
  });

  test("gives the same values of trees", () => {
    fc.assert(
      fc.property(
        fc.anything({
          withNullPrototype: true,
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withSparseArray: true,
          withTypedArray: true,
        }),
        (value) => {
          let expected: unknown;
          try {
            expected = parse(stringify(value));
          } catch {
            expect(() => encode(value)).toThrow(TypeError);
            return;
          }
          expect(isSameGraph(copyOf(value), expected)).toBe(true);
        },
      ),
      runsOf(3000),
    );
  });

  test("gives the same values of JSON", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        if (JSON.stringify(value).includes("__proto__")) return;
        expect(isSameGraph(copyOf(value), parse(stringify(value)))).toBe(true);
      }),
      runsOf(2000),
    );
  });
});
