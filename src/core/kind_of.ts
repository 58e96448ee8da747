/** Whether a value is an object, and not a function. */
export function isObject(value: unknown): value is Readonly<Record<PropertyKey, unknown>> {
  return typeof value === "object" && value !== null;
}

/** Describes the kind of a wrong value for an error message. The value itself is left out, because it may be a secret. */
export function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (Array.isArray(value)) return "a list";
  if (!isObject(value)) return `a ${typeof value}`;
  return typeof value.then === "function" ? "a promise: await it" : "an object of another kind";
}
