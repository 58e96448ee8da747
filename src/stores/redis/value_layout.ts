import { parseRecord, serializeRecord } from "../../core/record_text.ts";
import {
  assertSize,
  CORRUPT,
  type Engine,
  type Layout,
  OTHER_TYPE,
  removing,
  run,
  type Script,
  versionOf,
} from "./engine.ts";
import { hasCode, isDone, textOf } from "./reply.ts";

/**
 * One argument, which costs less than three: the version that must be there, a space, 13 digits of milliseconds, the new value. A key
 * of another type gives an error, which is no version.
 */
export const SAVE_VALUE: Script = {
  digest: "952c82196006f3d1dc8aed827a1ca26d66c129f4",
  text: `local a=ARGV[1]
local i=string.find(a,' ')
if redis.pcall('GETRANGE',KEYS[1],0,i-1)~=string.sub(a,1,i) then return 0 end
redis.call('SET',KEYS[1],string.sub(a,i+14),'PX',tonumber(string.sub(a,i+1,i+13)))
return 1`,
};
const LIFE_DIGITS = 13;

/** No head is longer than what is read here. */
export const REMOVE_VALUE: Script = {
  digest: "3baa82c7c8ad2eace054e12d32a2cda7a0cd1591",
  text: /* @__PURE__ */ removing("redis.pcall('GETRANGE',KEYS[1],0,255)"),
};

/**
 * `SET … IFEQ` compares the whole value, so the last values that were seen are kept: so many, and none that is longer. A longer one
 * costs more to send twice than the script costs.
 */
const MOST_VALUES = 1000;
const LONGEST_VALUE = 4096;

/** A record as one string: the head, then the text of the record. */
export function valueLayout(engine: Engine): Layout {
  const { send } = engine;
  let comparesValues = engine.triesCompareAndSet;
  const values = new Map<string, string>();

  function remember(key: string, value: string): void {
    values.delete(key);
    // Bytes that are no text were read as this character, so the value is not known.
    if (!comparesValues || value.length > LONGEST_VALUE || value.includes("\ufffd")) return;
    values.set(key, value);
    const [oldest = ""] = values.keys();
    if (values.size > MOST_VALUES) values.delete(oldest);
  }

  const set = (key: string, ...args: string[]) => send("SET", key, args).then((reply) => isDone(reply, "OK", null));

  async function store(key: string, value: string, expected: string | null, life: string): Promise<boolean> {
    if (expected === null) return await set(key, value, "NX", "PX", life);
    const head = `${expected} `;
    const present = values.get(key);
    if (comparesValues && present?.startsWith(head)) {
      values.delete(key);
      try {
        return await set(key, value, "IFEQ", present, "PX", life);
      } catch (error) {
        if (hasCode(error, /^WRONGTYPE/)) return false;
        // A server that does not know the option refuses the command and writes nothing: Redis before 8.4, Valkey before 8.1.
        if (!hasCode(error, /^ERR|ResponseError/)) throw error;
        comparesValues = false;
        values.clear();
      }
    }
    return await run(send, SAVE_VALUE, key, [head + life.padStart(LIFE_DIGITS, "0") + value]);
  }

  return {
    load: (key) =>
      engine.read("GET", key).then((reply) => {
        const value = reply === OTHER_TYPE ? "" : textOf(reply);
        if (value === null) return null;
        remember(key, value);
        const version = versionOf(value);
        const { fields, lastSeenAt } = parseRecord(version === CORRUPT ? "" : value.slice(version.length + 1));
        return { fields, lastSeenAt, version };
      }),

    async save(key, { record, expected }, version, life) {
      const value = `${version} ${serializeRecord(record)}`;
      assertSize(engine, value);
      const isStored = await store(key, value, expected === null ? null : String(expected), life);
      if (isStored) remember(key, value);
      return isStored;
    },

    remove: REMOVE_VALUE,
  };
}
