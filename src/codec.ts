import { parse, stringify } from "devalue";

/** How one value becomes a text, and back. Equal values must give equal texts. */
export interface Codec {
  /** The text of a value. Throws if the value cannot be told. */
  encode(value: unknown): string;
  /** The value of a text that `encode` gave. */
  decode(text: string): unknown;
}

/**
 * Structured values: all that JSON has, and undefined, NaN, −0, the infinities, Date, Map, Set, bigint, RegExp,
 * URL, typed arrays and ArrayBuffer, with repeated and cyclic references.
 *
 * Strings, booleans, null and ordinary numbers are their own JSON, which is several times faster; everything
 * else is devalue's text, which begins with `[` or `-` and so cannot be mistaken for them.
 */
export const structuredCodec: Codec = {
  encode(value) {
    if (typeof value === "string" || typeof value === "boolean" || value === null) {
      return JSON.stringify(value);
    }
    return isOrdinary(value) ? String(value) : stringify(value, refuseInstances);
  },
  decode(text) {
    const first = text.charCodeAt(0);
    return first === BRACKET || first === MINUS ? parse(text) : JSON.parse(text);
  },
};

const BRACKET = 0x5b;
const MINUS = 0x2d;

function isOrdinary(value: unknown): boolean {
  return typeof value === "number" && Number.isFinite(value) && (value > 0 || Object.is(value, 0));
}

/** Whether a built-in object is more than one step, or two for a view, away from what all objects are. */
function hasOwnClass(value: object): boolean {
  let steps = ArrayBuffer.isView(value) ? 3 : 2;
  for (let each: unknown = Object.getPrototypeOf(value); each !== null; each = Object.getPrototypeOf(each)) steps--;
  return steps < 0;
}

/** devalue refuses instances of a class, but takes one that extends Map, say, for the Map: data would be lost. */
const refuseInstances: Record<string, (value: unknown) => boolean> = {
  instance(value) {
    if (typeof value !== "object" || value === null) return false;
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === Array.prototype || prototype === null) return false;
    const tag = Object.prototype.toString.call(value).slice(8, -1);
    if (tag === "Object" || (value.constructor?.name === tag && !hasOwnClass(value))) return false;
    throw new TypeError(`Cannot encode an instance of a class that extends ${tag}`);
  },
};
