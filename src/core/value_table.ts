/**
 * Structured values as a table that JSON can hold. The table has each part of a value once; a container holds the
 * numbers of its parts. This keeps repeated and cyclic references.
 *
 * @module
 */
import { fromBase64Url, toBase64Url } from "./base64url.ts";
import { isObject } from "./kind_of.ts";

/** A deeper value could be encoded where the stack has room, and then not be decoded where the stack has less. */
export const MAX_DEPTH = 1000;
/** Values that are not in the table: the first one has the number -1. */
const SPECIAL: readonly unknown[] = [undefined, NaN, Infinity, -Infinity, -0];
/** The classes that show the bytes of an ArrayBuffer. A runtime may lack some, and has no others. */
const VIEW = /^(?:(?:(?:Big)?(?:Int|Uint)|Float)\d+(?:Clamped)?Array|DataView)$/;

/** The classes whose instances are values, beside those that show bytes. */
const CLASS = /^(?:Object|Array(?:Buffer)?|Date|Map|Set|RegExp|URL(?:SearchParams)?)$/;

/** A key that is dangerous when an object is copied. */
export const PROTO = "__proto__";

/** Whether an object is a plain object, of any realm, without keys that are symbols. */
export function isPlainObject(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  const isPlain = prototype === Object.prototype || (prototypesOf(value) === 1 && nameOf(value) === "Object");
  return isPlain && !hasSymbols(value);
}

/** Whether an object has keys that are symbols. */
export function hasSymbols(value: object): boolean {
  return Object.getOwnPropertySymbols(value).length > 0;
}

/** How many prototypes an object has. In every realm, a class that a program defines adds one. */
export function prototypesOf(value: object): number {
  let count = 0;
  for (let each: unknown = Object.getPrototypeOf(value); each !== null; each = Object.getPrototypeOf(each)) count++;
  return count;
}

/** The name of an object's class. It is taken from the prototype, because the object may have any property `constructor`. */
function nameOf(value: object): unknown {
  const { constructor } = Object.getPrototypeOf(value) as { readonly constructor?: { readonly name?: unknown } };
  return constructor?.name;
}

/** The words for a class in an error message. An object that inherits from another one has the name `Object`. */
function classWords(name: unknown): string {
  return typeof name === "string" && name !== "Object" && /^\w+$/.test(name) ? `the class ${name}` : "a class";
}

/**
 * The table of a value, with each part once. A primitive stands for itself; a plain object or a list holds the numbers
 * of its parts; anything else is a list that begins with the name of its class.
 */
export function toTable(root: unknown): unknown {
  const table: unknown[] = [];
  const indexes = new Map<unknown, number>();
  const path: (string | number)[] = [];

  const indexOf = (value: unknown, step: string | number): number => {
    if (value === undefined || typeof value === "number") {
      const special = SPECIAL.findIndex((each) => Object.is(each, value));
      if (special >= 0) return -1 - special;
    }
    const known = indexes.get(value);
    if (known !== undefined) return known;
    path.push(step);
    const index = table.push(null) - 1;
    indexes.set(value, index);
    table[index] = partOf(value);
    path.pop();
    return index;
  };

  const refuse = (reason: string): never => {
    throw Object.assign(new TypeError(reason), { path: path.slice(1).map(stepText).join(""), reason });
  };

  const listOf = (values: Iterable<unknown>): number[] => Array.from(values, indexOf);

  const refuseSymbols = (value: object): void => {
    if (hasSymbols(value)) refuse("it has a key that is a symbol");
  };

  const objectOf = (value: object): Record<string, number> => {
    refuseSymbols(value);
    const parts: Record<string, number> = {};
    for (const [key, part] of Object.entries(value)) {
      if (key === PROTO) refuse(`it has the key ${PROTO}`);
      parts[key] = indexOf(part, key);
    }
    return parts;
  };

  const partOf = (value: unknown): unknown => {
    if (typeof value === "bigint") return ["BigInt", String(value)];
    if (typeof value === "function" || typeof value === "symbol") return refuse(`it is a ${typeof value}`);
    if (typeof value !== "object" || value === null) return value;
    if (path.length > MAX_DEPTH) {
      path.length = 0;
      return refuse(`it is nested deeper than ${MAX_DEPTH} levels`);
    }
    const prototypes = prototypesOf(value);
    if (prototypes === 0) return ["null", objectOf(value)];
    const name = Object.prototype.toString.call(value).slice(8, -1);
    const isView = ArrayBuffer.isView(value);
    // Only direct instances of classes that every runtime has: an instance of a subclass would lose data.
    const expected = name === "Object" ? 1 : isView && name !== "DataView" ? 3 : 2;
    if (name === "Promise") return refuse("it is a promise that was not awaited");
    if (prototypes !== expected || nameOf(value) !== name || !(isView || CLASS.test(name)))
      return refuse(`it is an instance of ${classWords(nameOf(value))}`);
    if (name === "Object") return objectOf(value);
    if (isView) {
      // Its keys are not listed, because there is one for each element.
      const { buffer, byteOffset, byteLength } = value;
      return [name, indexOf(buffer, 0), byteOffset, byteLength];
    }
    // Deno keeps its own data in symbols of URL and URLSearchParams.
    if (!name.startsWith("URL")) refuseSymbols(value);
    const keys = Object.keys(value);
    // Keys that are no index come after those that are.
    const last = keys.at(-1);
    if (last !== undefined && !(Array.isArray(value) && isIndex(last, value.length)))
      refuse(`its property ${JSON.stringify(last)} would be lost`);
    switch (name) {
      case "Array": {
        const list = value as unknown[];
        if (keys.length === list.length) return listOf(list);
        return ["sparse", list.length, ...keys.map(Number).flatMap((at) => [at, indexOf(list[at], at)])];
      }
      case "Date":
        // JSON has null for the NaN of an invalid date.
        return [name, (value as Date).getTime()];
      case "Map":
        return [
          name,
          ...[...(value as Map<unknown, unknown>)].flatMap((pair, at) => pair.map((each) => indexOf(each, at))),
        ];
      case "Set":
        return [name, ...listOf(value as Set<unknown>)];
      case "RegExp": {
        const { source, flags, lastIndex } = value as RegExp;
        return [name, source, flags, ...(Object.is(lastIndex, 0) ? [] : [indexOf(lastIndex, "lastIndex")])];
      }
      case "URL":
      case "URLSearchParams":
        return [name, String(value)];
      default:
        // An ArrayBuffer.
        return [name, toBase64Url(new Uint8Array(value as ArrayBuffer))];
    }
  };

  const index = indexOf(root, 0);
  return index < 0 ? index : table;
}

/** Whether a key is an index of a list of that length. */
function isIndex(key: string, length: number): boolean {
  const at = Number(key) >>> 0;
  return String(at) === key && at < length;
}

function stepText(step: string | number): string {
  return /^[A-Za-z_$][\w$]*$/.test(String(step)) ? `.${step}` : `[${JSON.stringify(step)}]`;
}

/** The value of a table. From any input, it makes only values that `toTable` accepts. */
export function fromTable(given: unknown): unknown {
  const table: readonly unknown[] = Array.isArray(given) ? given : [];
  /** The objects made so far, by the numbers of their parts. */
  const made: unknown[] = [];

  const valueOf = (index: unknown): unknown => {
    if (typeof index !== "number" || !(index in table || -1 - index in SPECIAL)) throw damaged();
    if (index < 0) return SPECIAL[-1 - index];
    const part = table[index];
    if (!isObject(part)) return part;
    if (index in made) return made[index];
    // A container is kept before it is filled, because its parts may refer to it.
    if (!Array.isArray(part)) return fill((made[index] = {}), part);
    const [name, first, second, third]: readonly unknown[] = part;
    if (typeof name !== "string") {
      const list: unknown[] = (made[index] = []);
      for (const each of part) list.push(valueOf(each));
      return list;
    }
    switch (name) {
      case "null":
        return fill((made[index] = Object.create(null)), Object(first));
      case "sparse": {
        const list: unknown[] = (made[index] = []);
        list.length = Number(first);
        for (let at = 2; at < part.length; at += 2) {
          const place = Number(part[at]);
          if (!isIndex(String(place), list.length)) throw damaged();
          list[place] = valueOf(part[at + 1]);
        }
        return list;
      }
      case "BigInt":
        return (made[index] = BigInt(String(first)));
      case "Date":
        return (made[index] = new Date(typeof first === "number" ? first : NaN));
      case "Map": {
        const map = (made[index] = new Map<unknown, unknown>());
        for (let at = 1; at < part.length; at += 2) map.set(valueOf(part[at]), valueOf(part[at + 1]));
        return map;
      }
      case "Set": {
        const set = (made[index] = new Set<unknown>());
        for (const each of part.slice(1)) set.add(valueOf(each));
        return set;
      }
      case "RegExp":
        return Object.assign(
          (made[index] = new RegExp(String(first), String(second))),
          third !== undefined && { lastIndex: valueOf(third) },
        );
      case "URL":
        return (made[index] = new URL(String(first)));
      case "URLSearchParams":
        return (made[index] = new URLSearchParams(String(first)));
      case "ArrayBuffer":
        return (made[index] = fromBase64Url(String(first)).buffer);
      default:
        return (made[index] = bufferViewOf(name, valueOf(first), Number(second), Number(third)));
    }
  };

  const fill = (object: Record<string, unknown>, parts: object): object => {
    for (const [key, index] of Object.entries(parts)) {
      if (key === PROTO) throw damaged();
      object[key] = valueOf(index);
    }
    return object;
  };

  return valueOf(Array.isArray(given) ? 0 : given);
}

/** The error for a table that `toTable` did not make. The value then counts as missing. */
function damaged(): TypeError {
  return new TypeError("The text of the value is damaged");
}

function bufferViewOf(name: string, buffer: unknown, byteOffset: number, byteLength: number): unknown {
  const View: unknown = VIEW.test(name) ? Reflect.get(globalThis, name) : undefined;
  if (typeof View !== "function" || Object.prototype.toString.call(buffer) !== "[object ArrayBuffer]") throw damaged();
  const { BYTES_PER_ELEMENT = 1 } = View as { readonly BYTES_PER_ELEMENT?: number };
  return Reflect.construct(View, [buffer, byteOffset, byteLength / BYTES_PER_ELEMENT]);
}
