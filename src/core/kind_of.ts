/** Describes the kind of a wrong value for an error message. The value itself is left out, because it may be a secret. */
export function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (Array.isArray(value)) return "a list";
  if (typeof value !== "object") return `a ${typeof value}`;
  return typeof Reflect.get(value, "then") === "function" ? "a promise: await it" : "an object of another kind";
}
