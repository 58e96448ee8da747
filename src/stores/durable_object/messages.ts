/**
 * The calls of the store to an object, and the answers. They are data, because an error would lose its class on the way.
 *
 * @module
 */
import type { RecordVersion } from "../../core/store.ts";

/** A call of the store to an object. */
export type Call =
  | { readonly verb: "load" }
  | Saving
  | { readonly verb: "delete"; readonly expected?: RecordVersion | undefined };

/** The call that stores a record. */
export interface Saving {
  readonly verb: "save";
  readonly text: string;
  /** In milliseconds. */
  readonly lifetime: number;
  readonly expected: RecordVersion | null;
}

/** The answer of an object. */
export type Answer =
  | { readonly is: "found"; readonly version: string; readonly text: string }
  | { readonly is: "saved"; readonly version: string }
  | { readonly is: "missing" | "conflict" };

/** Whether a value is an answer. If the binding names another class than `SessionObject`, it may be anything. */
export function isAnswer(answer: unknown): answer is Answer {
  if (typeof answer !== "object" || answer === null || !("is" in answer)) return false;
  const { is } = answer;
  const needed = { found: ["version", "text"], saved: ["version"], missing: [], conflict: [] };
  const fields = typeof is === "string" && Object.hasOwn(needed, is) ? needed[is as Answer["is"]] : undefined;
  return fields?.every((field) => typeof Reflect.get(answer, field) === "string") ?? false;
}
