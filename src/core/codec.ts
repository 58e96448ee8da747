import { fromTable, hasSymbols, isPlainObject, MAX_DEPTH, PROTO, prototypesOf, toTable } from "./value_table.ts";
import { isObject } from "./kind_of.ts";

/** How one value becomes a text, and back. Equal values must give equal texts. */
export interface Codec {
  /**
   * The text of a value.
   *
   * @throws {TypeError} If the value cannot be stored. Its property `path` says where, such as `[2].price`, and its
   * property `reason` says why. Both go into the message of `ERR_NOT_SERIALIZABLE`
   */
  encode(value: unknown): string;
  /**
   * The value of a text that `encode` returned. If it throws for any
   * other text, the error is dropped and the value is undefined.
   */
  decode(text: string): unknown;
}

/**
 * Structured values: all that JSON has, and undefined, NaN, −0, the infinities, Date, Map, Set, bigint, RegExp, URL, typed arrays and
 * ArrayBuffer, with repeated and cyclic references.
 *
 * A value that JSON can restore exactly is encoded as JSON, which is several times
 * faster. Any other value is encoded as `!` and a table in JSON. The table holds each
 * part of the value once; a part refers to other parts by their numbers.
 */
export const structuredCodec: Codec = {
  encode(value) {
    const isJson = isOrdinary(value) || (isObject(value) && isTree(value, new Set(), 0));
    return isJson ? JSON.stringify(value) : `${MARK}${JSON.stringify(toTable(value))}`;
  },
  decode(text) {
    return text.startsWith(MARK) ? fromTable(JSON.parse(text.slice(MARK.length))) : JSON.parse(text);
  },
};

const MARK = "!";

/** Whether JSON can restore an object exactly: a tree of plain objects, arrays without holes, and ordinary scalars. */
function isTree(value: object, seen: Set<object>, level: number): boolean {
  const { size } = seen;
  // One lookup in place of two.
  if (seen.add(value).size === size || level === MAX_DEPTH) return false;
  // JSON would call it, also if it is not enumerable.
  if ("toJSON" in value) return false;
  if (Array.isArray(value)) {
    if (Object.getPrototypeOf(value) !== Array.prototype && prototypesOf(value) !== 2) return false;
    // A hole, or a key that is no index. In a long list, the values are counted several times faster than the keys.
    if (Object.values(value).length !== value.length || hasSymbols(value)) return false;
    // A loop over the indexes also visits holes: they read as undefined, which JSON cannot hold.
    for (let at = 0; at < value.length; at++) if (!isPart(value[at], seen, level)) return false;
    return true;
  }
  if (!isPlainObject(value)) return false;
  const parts: Record<string, unknown> = value;
  // `for in` is twice as fast as a list of the keys. It also visits a key
  // that a program has added to all objects, which does no harm.
  for (const key in parts) if (key === PROTO || !isPart(parts[key], seen, level)) return false;
  return true;
}

function isPart(value: unknown, seen: Set<object>, level: number): boolean {
  return isOrdinary(value) || (isObject(value) && isTree(value, seen, level + 1));
}

function isOrdinary(value: unknown): boolean {
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  return typeof value === "string" || typeof value === "boolean" || value === null;
}
