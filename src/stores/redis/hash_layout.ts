import { hasSign } from "../../core/record_fields.ts";
import { run } from "./commands.ts";
import { assertSize, CORRUPT, type Engine, type Layout, versionOf } from "./engine.ts";
import { fieldsOf } from "./reply.ts";

/** The field of the head: the version, and when the session was last used. No field of a session has this name. */
const HEAD = "!";

/** In milliseconds: an hour, in which an operator may look at a hash that another program has left behind. */
const LIFE_OF_REMAINS = "3600000";

/** A record as one hash: one field for the head, and one for each field of the session. */
export function hashLayout(engine: Engine): Layout {
  const { send } = engine;
  return {
    async load(key) {
      const found = fieldsOf(await engine.read("HGETALL", key));
      if (found.size === 0) return null;
      const fields = new Map<string, string>();
      const head = found.get(HEAD) ?? "";
      const version = versionOf(head);
      if (version === CORRUPT) {
        // Another program has written a field of a session that had expired. Without this, the key would never expire.
        await send("PEXPIRE", key, [LIFE_OF_REMAINS, "NX"]).catch(() => {});
        return { fields, lastSeenAt: 0, version };
      }
      found.delete(HEAD);
      for (const [name, value] of found) fields.set(decode(name), decode(value));
      return { fields, lastSeenAt: Number(head.slice(version.length + 1)), version };
    },

    async save(key, { record, changed, expected }, version, life) {
      const removed: string[] = [];
      const set: string[] = [];
      for (const [name, value] of expected === null ? record.fields : changed) {
        if (value === null) removed.push(encode(name, hasSign(name)));
        else set.push(encode(name, hasSign(name)), encode(value, !value.startsWith("#")));
      }
      assertSize(engine, [...record.fields].join());
      const head = `${version} ${Math.trunc(record.lastSeenAt)}`;
      const present = expected === null ? "" : `${expected} `;
      return await run(send, key, [HEAD, present, head, life, String(removed.length), ...removed, ...set]);
    },

    head: HEAD,
  };
}

/**
 * The names that the core gives to fields are stored as they are, so that other programs find them. Any other text is
 * stored as `#` and JSON. So no name is the head's, no name has a meaning in a JavaScript object (some clients build
 * one), and no text holds half a surrogate pair, for which UTF-8 has no bytes.
 */
function encode(text: string, isPlain: boolean): string {
  return isPlain && text.isWellFormed() ? text : `#${JSON.stringify(text)}`;
}

function decode(text: string): string {
  try {
    return text.startsWith("#") ? String(JSON.parse(text.slice(1))) : text;
  } catch {
    return text;
  }
}
