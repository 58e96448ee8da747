import { parseRecord, serializeRecord } from "../../core/record_text.ts";
import { assertSize, CORRUPT, type Engine, type Layout, OTHER_TYPE, run, set, versionOf } from "./engine.ts";
import { textOf } from "./reply.ts";

/** A record as one string: the head, then the text of the record. */
export function valueLayout(engine: Engine): Layout {
  const { send, known } = engine;

  async function store(key: string, value: string, expected: string | null, life: string): Promise<boolean> {
    if (expected === null) return await set(send, key, value, "NX", "PX", life);
    const head = `${expected} `;
    return (await known?.replace(key, head, value, life)) ?? (await run(send, key, ["", head, value, life]));
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

    async save(key, { record, expected }, version, life) {
      const value = `${version} ${serializeRecord(record)}`;
      assertSize(engine, value);
      const isStored = await store(key, value, expected === null ? null : String(expected), life);
      if (isStored) known?.keep(key, value);
      return isStored;
    },

    head: "",
  };
}
