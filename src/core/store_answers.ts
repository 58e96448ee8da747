/**
 * What a store must be and may answer, and what the call was to do, for the message of an error.
 *
 * @module
 */
import type { SessionStore } from "./store.ts";

export const LOADING = "load the session";
export const STORING = "store the session";
export const ENDING = "end the session";

export function isRecordOrNull(answer: unknown): boolean {
  if (answer === null) return true;
  if (typeof answer !== "object" || !("fields" in answer) || !("version" in answer)) return false;
  const { fields } = answer;
  return (
    typeof fields === "object" &&
    fields !== null &&
    "get" in fields &&
    typeof fields.get === "function" &&
    isVersion(answer.version)
  );
}

export function isVersion(answer: unknown): boolean {
  // Some clients answer a command with its acknowledgement, "OK". It is not a version.
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

/** Whether a store says what the core relies on. A misspelt word would count as the stronger promise. */
export function hasTraits(store: unknown): boolean {
  const { consistency, compareAndSet } = Object(Object(store).traits);
  return (consistency === "strong" || consistency === "eventual") && typeof compareAndSet === "boolean";
}
