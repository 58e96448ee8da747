const tagOf = (value: unknown): string => Object.prototype.toString.call(value);

/** Whether two values are the same graph: their parts are equal, and the same parts are repeated in both. */
export function isSameGraph(
  left: unknown,
  right: unknown,
  pairs = new Map<unknown, unknown>(),
  inverse = new Map<unknown, unknown>(),
): boolean {
  if (typeof left !== "object" || left === null || typeof right !== "object" || right === null)
    return Object.is(left, right);
  if (pairs.has(left) || inverse.has(right)) return pairs.get(left) === right && inverse.get(right) === left;
  pairs.set(left, right);
  inverse.set(right, left);
  if (tagOf(left) !== tagOf(right)) return false;
  if ((Object.getPrototypeOf(left) === null) !== (Object.getPrototypeOf(right) === null)) return false;
  const partsOf = (value: object): unknown[] => {
    if (value instanceof Map || value instanceof Set) return [...value].flat();
    if (value instanceof Date) return [value.getTime()];
    if (value instanceof RegExp) return [String(value), value.lastIndex];
    if (value instanceof URL || value instanceof URLSearchParams) return [String(value)];
    if (value instanceof ArrayBuffer) return [...new Uint8Array(value)];
    if (ArrayBuffer.isView(value)) return [value.buffer, value.byteOffset, value.byteLength];
    return Array.isArray(value) ? [value.length, ...Object.entries(value).flat()] : Object.entries(value).flat();
  };
  const [mine, others] = [partsOf(left), partsOf(right)];
  return mine.length === others.length && mine.every((part, at) => isSameGraph(part, others[at], pairs, inverse));
}

/** Values without parts, except those of buffers. */
export const scalars: readonly unknown[] = [
  undefined,
  null,
  true,
  false,
  0,
  -0,
  1.5,
  -1,
  1e21,
  5e-324,
  NaN,
  Infinity,
  -Infinity,
  "",
  "text",
  "!",
  "-1",
  '"quoted"\n\u2028\0',
  "\uD800",
  0n,
  -(2n ** 70n),
  new Date(0),
  new Date(-1),
  new Date(NaN),
  /a\/b/giu,
  new RegExp(""),
  new URL("https://shop.example/ä?q#f"),
  new URLSearchParams("a=1&a=2"),
  new ArrayBuffer(0),
  new Uint8Array([0, 127, 128, 255]).buffer,
  new Uint8Array([1, 2, 3, 4]).subarray(1, 3),
  new Uint8ClampedArray([300]),
  new Int8Array([-1]),
  new Int16Array([-1, 2]),
  new Uint16Array([1]),
  new Int32Array([-1]),
  new Uint32Array([1]),
  // Node 22 has no such class.
  ...("Float16Array" in globalThis ? [Reflect.construct(Reflect.get(globalThis, "Float16Array"), [[0.5]])] : []),
  new Float32Array([0.5, NaN]),
  new Float64Array([0.5, -0]),
  new BigInt64Array([-1n]),
  new BigUint64Array([1n]),
  new DataView(new ArrayBuffer(8), 2, 3),
];
