import { parseRecord, serializeRecord } from "../../core/record_text.ts";
import {
  assertSize,
  CORRUPT,
  type Engine,
  findVersion,
  type Layout,
  OTHER_TYPE,
  run,
  type Script,
  versionOf,
} from "./engine.ts";
import { hasCode, isDone, textOf } from "./reply.ts";

/**
 * One argument, which costs less than three: the version that must be there, a space, 13 digits of milliseconds, the new value. No head
 * is longer than what is read here.
 */
export const VALUE_SCRIPT: Script = {
  digest: "efefbbd68c583630af05d0766cbfc281dca35996",
  text: /* @__PURE__ */ `local k,a=KEYS[1],ARGV[1]
local i=string.find(a,' ')
${findVersion("'GETRANGE',k,0,255")}if v~=string.sub(a,1,i) and (#a>i or v~='') then return 0 end
if #a>i then redis.call('SET',k,string.sub(a,i+14),'PX',tonumber(string.sub(a,i+1,i+13))) else redis.call('DEL',k) end
return 1`,
};
const LIFE_DIGITS = 13;

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
    return await run(send, VALUE_SCRIPT, key, [head + life.padStart(LIFE_DIGITS, "0") + value]);
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

    script: VALUE_SCRIPT,
  };
}
