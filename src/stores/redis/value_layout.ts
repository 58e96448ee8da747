import { chain, type MaybePromise } from "../../core/maybe_promise.ts";
import { parseRecord, serializeRecord } from "../../core/record_text.ts";
import { run, set } from "./commands.ts";
import { assertSize, CORRUPT, type Engine, type Layout, versionOf } from "./engine.ts";
import { textOf } from "./reply.ts";

/** A record as one string: the head, then the text of the record. */
export function valueLayout(engine: Engine): Layout {
  const { send, known } = engine;

  function store(key: string, value: string, expected: string | null, life: string): MaybePromise<boolean> {
    if (expected === null) return set(send, key, value, "NX", "PX", life);
    const head = `${expected} `;
    return chain(
      known?.replace(key, head, value, life),
      (isStored) => isStored ?? run(send, key, ["", head, value, life]),
    );
  }

  return {
    load: (key) =>
      engine.read("GET", key).then((reply) => {
        const value = textOf(reply);
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

    head: "",
  };
}
