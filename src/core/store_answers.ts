/**
 * Checks a store and its answers, and names the store's calls for error messages.
 *
 * @module
 */
import type { SessionStore } from "./store.ts";

export const LOADING = "load the session";
export const STORING = "store the session";
export const ENDING = "end the session";

export function isRecordOrNull(answer: unknown): boolean {
  if (answer === null) return true;
  const { fields, version } = Object(answer);
  const isRecord = typeof answer === "object" && typeof fields === "object" && typeof fields?.get === "function";
  return isRecord && isVersion(version);
}

export function isVersion(answer: unknown): boolean {
  // Some clients return the acknowledgement of a command, "OK". It is not a version.
  return (
    (typeof answer === "string" && answer !== "" && !/^ok$/i.test(answer)) ||
    (typeof answer === "number" && !Number.isNaN(answer))
  );
}

export function isDeletion(answer: unknown): boolean {
  return answer === undefined || answer === "conflict";
}

/** Whether a value has the verbs and the traits of a store. */
export function isSessionStore(value: unknown): value is SessionStore {
  if (typeof value !== "object" || value === null) return false;
  return ["load", "save", "delete"].every((verb) => typeof Reflect.get(value, verb) === "function") && hasTraits(value);
}

/** Whether the traits of a store are valid. A misspelt word would count as the stronger promise. */
export function hasTraits(store: unknown): boolean {
  const { consistency, compareAndSet } = Object(Object(store).traits);
  return (consistency === "strong" || consistency === "eventual") && typeof compareAndSet === "boolean";
}
