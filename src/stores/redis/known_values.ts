import type { MaybePromise } from "../../core/maybe_promise.ts";
import { type Send, set } from "./commands.ts";
import { hasMessage } from "./reply.ts";

/**
 * `SET … IFEQ` compares the whole value, so the values that were seen last are kept: at least those of `MIN_VALUES`
 * keys, and none longer than `MAX_VALUE_LENGTH`. Sending a longer value twice costs more than a script.
 */
const MIN_VALUES = 500;
const MAX_VALUE_LENGTH = 4096;

/** The values that this process has seen last, and the command that replaces one. */
export interface KnownValues {
  keep(key: string, value: string): void;
  /**
   * Replaces the value that begins with a head, and returns whether it was there; undefined, or a promise of it, if a
   * script must find out.
   */
  replace(key: string, head: string, value: string, life: string): MaybePromise<boolean | undefined>;
}

/** For servers that may know `SET … IFEQ`. */
export function knownValues(send: Send): KnownValues {
  let isSupported = true;
  // There are two halves, and the older one is dropped as a whole, because removing the oldest value each time costs
  // more than the rest of a write.
  let values = new Map<string, string>();
  let older = values;
  return {
    keep(key, value) {
      if (!isSupported) return;
      // Bytes that are not text were read as this character, so the stored value is not known.
      if (value.length > MAX_VALUE_LENGTH || value.includes("\ufffd")) {
        values.delete(key);
        older.delete(key);
        return;
      }
      if (values.size >= MIN_VALUES) {
        older = values;
        values = new Map();
      }
      values.set(key, value);
    },

    replace(key, head, value, life) {
      const present = values.get(key) ?? older.get(key);
      // A kept value with another version is not the value to replace.
      if (!isSupported || !present?.startsWith(head)) return undefined;
      return set(send, key, value, "IFEQ", present, "PX", life).catch((error: unknown) => {
        if (hasMessage(error, /^WRONGTYPE/)) return false;
        // A server that does not know the option refuses the command and writes nothing: Redis before 8.4, Valkey before 8.1.
        if (!hasMessage(error, /^ERR|ResponseError/)) throw error;
        isSupported = false;
        values = older = new Map();
        return undefined;
      });
    },
  };
}
