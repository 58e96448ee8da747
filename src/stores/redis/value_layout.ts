import { chain, type MaybePromise } from "../../core/maybe_promise.ts";
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
  set,
  versionOf,
} from "./engine.ts";
import { textOf } from "./reply.ts";

/**
 * One argument, which costs less than three: the version that must be there, a space, 13 digits of milliseconds, the new value. No head
 * is longer than what is read here.
 */
export const VALUE_SCRIPT: Script = {
  digest: "efefbbd68c583630af05d0766cbfc281dca35996",
  text: `local k,a=KEYS[1],ARGV[1]
local i=string.find(a,' ')
${/* @__PURE__ */ findVersion("'GETRANGE',k,0,255")}if v~=string.sub(a,1,i) and (#a>i or v~='') then return 0 end
if #a>i then redis.call('SET',k,string.sub(a,i+14),'PX',tonumber(string.sub(a,i+1,i+13))) else redis.call('DEL',k) end
return 1`,
};
const LIFE_DIGITS = 13;

/** A record as one string: the head, then the text of the record. */
export function valueLayout(engine: Engine): Layout {
  const { send, known } = engine;

  function store(key: string, value: string, expected: string | null, life: string): MaybePromise<boolean> {
    if (expected === null) return set(send, key, value, "NX", "PX", life);
    const head = `${expected} `;
    return chain(
      known?.replace(key, head, value, life),
      (isStored) => isStored ?? run(send, VALUE_SCRIPT, key, [head + life.padStart(LIFE_DIGITS, "0") + value]),
    );
  }

  return {
    load: (key) =>
      engine.read("GET", key).then((reply) => {
        const value = reply === OTHER_TYPE ? "" : textOf(reply);
        if (value === null) return null;
        known?.keep(key, value);
        const version = versionOf(value);
        const { fields, lastSeenAt } = parseRecord(version === CORRUPT ? "" : value.slice(version.length + 1));
        return { fields, lastSeenAt, version };
      }),

    save(key, { record, expected }, version, life) {
      const value = `${version} ${serializeRecord(record)}`;
      assertSize(engine, value);
      return chain(store(key, value, expected === null ? null : String(expected), life), (isStored) => {
        if (isStored) known?.keep(key, value);
        return isStored;
      });
    },

    script: VALUE_SCRIPT,
  };
}
