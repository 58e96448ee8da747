import { type Send, set } from "./engine.ts";
import { hasCode } from "./reply.ts";

/**
 * `SET … IFEQ` compares the whole value, so the last values that were seen are kept: so many, and none that is longer. A longer one
 * costs more to send twice than a script costs.
 */
const MOST_VALUES = 1000;
const LONGEST_VALUE = 4096;

/** The values that this process has seen last, and the command that replaces one. */
export interface KnownValues {
  keep(key: string, value: string): void;
  /** Replaces the value that begins with a head, and answers whether it was there; undefined if a script must find out. */
  replace(key: string, head: string, value: string, life: string): Promise<boolean | undefined>;
}

/** For servers that may know `SET … IFEQ`. */
export function knownValues(send: Send): KnownValues {
  let isSupported = true;
  const values = new Map<string, string>();
  return {
    keep(key, value) {
      values.delete(key);
      // Bytes that are no text were read as this character, so the value is not known.
      if (!isSupported || value.length > LONGEST_VALUE || value.includes("\ufffd")) return;
      values.set(key, value);
      const [oldest = ""] = values.keys();
      if (values.size > MOST_VALUES) values.delete(oldest);
    },

    async replace(key, head, value, life) {
      const present = values.get(key);
      if (!isSupported || !present?.startsWith(head)) return undefined;
      values.delete(key);
      try {
        return await set(send, key, value, "IFEQ", present, "PX", life);
      } catch (error) {
        if (hasCode(error, /^WRONGTYPE/)) return false;
        // A server that does not know the option refuses the command and writes nothing: Redis before 8.4, Valkey before 8.1.
        if (!hasCode(error, /^ERR|ResponseError/)) throw error;
        isSupported = false;
        values.clear();
        return undefined;
      }
    },
  };
}
