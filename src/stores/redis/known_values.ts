import type { MaybePromise } from "../../core/maybe_promise.ts";
import { type Send, set } from "./engine.ts";
import { hasCode } from "./reply.ts";

/**
 * `SET … IFEQ` compares the whole value, so the last values that were seen are kept: those of so many keys at least, and none that is longer. A
 * longer one costs more to send twice than a script costs.
 */
const LEAST_VALUES = 500;
const LONGEST_VALUE = 4096;

/** The values that this process has seen last, and the command that replaces one. */
export interface KnownValues {
  keep(key: string, value: string): void;
  /** Replaces the value that begins with a head, and answers whether it was there; undefined, now or later, if a script must find out. */
  replace(key: string, head: string, value: string, life: string): MaybePromise<boolean | undefined>;
}

/** For servers that may know `SET … IFEQ`. */
export function knownValues(send: Send): KnownValues {
  let isSupported = true;
  // Two halves, of which the older one is dropped as a whole: to remove the oldest value each time costs more than the rest of a write.
  let values = new Map<string, string>();
  let older = values;
  return {
    keep(key, value) {
      if (!isSupported) return;
      // Bytes that are no text were read as this character, so the value is not known.
      if (value.length > LONGEST_VALUE || value.includes("\ufffd")) {
        values.delete(key);
        older.delete(key);
        return;
      }
      if (values.size >= LEAST_VALUES) {
        older = values;
        values = new Map();
      }
      values.set(key, value);
    },

    replace(key, head, value, life) {
      const present = values.get(key) ?? older.get(key);
      // A value of another version was kept before the present one.
      if (!isSupported || !present?.startsWith(head)) return undefined;
      return set(send, key, value, "IFEQ", present, "PX", life).catch((error: unknown) => {
        if (hasCode(error, /^WRONGTYPE/)) return false;
        // A server that does not know the option refuses the command and writes nothing: Redis before 8.4, Valkey before 8.1.
        if (!hasCode(error, /^ERR|ResponseError/)) throw error;
        isSupported = false;
        values = older = new Map();
        return undefined;
      });
    },
  };
}
