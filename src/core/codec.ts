import { fromTable, isPlainObject, MOST_LEVELS, PROTO, prototypesOf, toTable } from "./value_table.ts";

/** How one value becomes a text, and back. Equal values must give equal texts. */
export interface Codec {
  /**
   * The text of a value.
   *
   * @throws {TypeError} If the value cannot be stored. `path` says where, such as `[2].price`, and `reason` why: both go into the message of `ERR_NOT_SERIALIZABLE`
   */
  encode(value: unknown): string;
  /** The value of a text that `encode` gave. What it throws for another text is dropped: the value is undefined then. */
  decode(text: string): unknown;
}

/**
 * Structured values: all that JSON has, and undefined, NaN, −0, the infinities, Date, Map, Set, bigint, RegExp, URL, typed arrays and
 * ArrayBuffer, with repeated and cyclic references.
 *
 * A value that JSON gives back as it was is its own JSON, which is several times faster. Any other value is `!` and a table in JSON: each part of the value once,
 * and the numbers of its parts in place of the parts.
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

/** Whether JSON gives an object back as it was: a tree of plain objects, full lists and ordinary scalars. */
function isTree(value: object, seen: Set<object>, level: number): boolean {
  if (seen.has(value) || level === MOST_LEVELS) return false;
  seen.add(value);
  if (Array.isArray(value)) {
    if (prototypesOf(value) !== 2) return false;
    // By number: a hole is undefined, which JSON cannot hold.
    for (let at = 0; at < value.length; at++) if (!isPart(value[at], seen, level)) return false;
    return true;
  }
  if (!isPlainObject(value)) return false;
  const parts: Record<string, unknown> = value;
  // Twice as fast as a list of the keys. An inherited key, if a program has made one for all objects, does no harm.
  for (const key in parts) if (key === PROTO || !isPart(parts[key], seen, level)) return false;
  return true;
}

function isPart(value: unknown, seen: Set<object>, level: number): boolean {
  return isOrdinary(value) || (isObject(value) && isTree(value, seen, level + 1));
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

function isOrdinary(value: unknown): boolean {
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  return typeof value === "string" || typeof value === "boolean" || value === null;
}
