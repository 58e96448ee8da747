/**
 * What the Redis stores and the Upstash stores share: how a record lies in Redis, as one value or as a hash,
 * and the script that writes it. A script runs without any other command in between (see "Atomicity of
 * scripts" in https://redis.io/docs/latest/develop/programmability/), so each write is one command.
 *
 * In both layouts a record has a head: `!`, when it was last used, a space, the names of its last writes, each
 * with the second in which Redis did it, the newest first, and a space. The newest name is the record's
 * version. The older ones make a write safe to send twice: clients repeat a command whose answer was lost, and
 * a repeated one finds its own name and answers as it did the first time.
 *
 * @module
 */

import { recordFromText, recordToText, refuseTooLarge } from "../record_text.ts";
import type { Loaded, RecordChange, SessionRecord, SessionStore, Version } from "../store.ts";

/** Sends one command, and resolves to its reply or rejects with its error. */
export type Send = (command: string, args: string[]) => Promise<unknown>;

/** What differs between the servers and clients that speak Redis. */
export interface Engine {
  /** For messages. */
  readonly name: string;
  /** What every key begins with. */
  readonly prefix: string;
  /** The largest record, in bytes as `measure` counts them. */
  readonly maxBytes: number;
  readonly send: Send;
  /** The size of a text in a command, in bytes. */
  measure(text: string): number;
  /** The reply to a layout's read command; of a key of another type, anything that is no record. */
  read(command: Layout["readCommand"], key: string): Promise<unknown>;
}

/** How a record lies in Redis. */
export interface Layout {
  readonly readCommand: "GET" | "HGETALL";
  readonly script: string;
  /** What `create` writes, as arguments of the script. */
  whole(record: SessionRecord): string[];
  /** What `change` writes, as arguments of the script; `whole` is the whole record as such. */
  part(change: RecordChange, whole: string[]): string[];
  /** Reads the reply to the read command. */
  parse(reply: unknown): Loaded | null;
}

/** The store whose records lie in one layout on one engine. */
export function recordStore(layout: Layout, engine: Engine): SessionStore {
  async function run(verb: Verb, key: string, written: Written): Promise<string> {
    const name = newName();
    const { expected = "", lastSeenAt = 0, expiresAt = 0, data = [] } = written;
    const timeToLive = Math.max(1, Math.ceil(expiresAt - lastSeenAt));
    const args = ["1", engine.prefix + key, verb, name, String(expected), String(lastSeenAt), String(timeToLive)];
    const answer = await evaluate(engine.send, layout.script, [...args, ...data]);
    if (answer === name || answer === "taken" || answer === "conflict" || answer === "gone") return answer;
    throw new Error(`${engine.name} gave no answer to a write`);
  }

  /** What a whole record is as arguments of the script, if the engine takes so much. */
  function wholeOf(record: SessionRecord): string[] {
    const whole = layout.whole(record);
    // To measure a text takes longer than to see that it is short.
    const most = whole.reduce((sum, text) => sum + MOST_BYTES_OF_CHARACTER * (text.length + 1), 0);
    if (most > engine.maxBytes) {
      const size = whole.reduce((sum, text) => sum + engine.measure(text), 0);
      refuseTooLarge(engine.name, size, engine.maxBytes);
    }
    return whole;
  }

  return {
    traits: {
      compareAndSet: true,
      consistency: "strong",
      persistent: true,
      shared: true,
      minTtl: 0.001,
      maxBytes: engine.maxBytes,
    },

    async load(key) {
      return layout.parse(await engine.read(layout.readCommand, engine.prefix + key));
    },

    async create(key, record, expiresAt) {
      const { lastSeenAt } = record;
      return await run("create", key, { lastSeenAt, expiresAt, data: wholeOf(record) });
    },

    async change(key, changes, expected, expiresAt) {
      const { lastSeenAt } = changes.record;
      const data = layout.part(changes, wholeOf(changes.record));
      return await run("change", key, { expected, lastSeenAt, expiresAt, data });
    },

    async touch(key, lastSeenAt, expiresAt, loaded) {
      const answer = await run("touch", key, { expected: loaded?.version, lastSeenAt, expiresAt });
      return answer === "conflict" ? answer : answer !== "gone";
    },

    async delete(key, expected) {
      if (expected === undefined) {
        const removed = await engine.send("DEL", [engine.prefix + key]);
        if (typeof removed !== "number") throw new Error(`${engine.name} gave no answer to a delete`);
        return;
      }
      const answer = await run("delete", key, { expected });
      if (answer === "conflict") return answer;
    },
  };
}

/** A control character in the JSON of an HTTP request, `\u0000`, which is also more than quotes and comma have. */
const MOST_BYTES_OF_CHARACTER = 6;

type Verb = "create" | "change" | "touch" | "delete";

/** What the script is told beside the verb. */
interface Written {
  readonly expected?: Version | undefined;
  readonly lastSeenAt?: number;
  readonly expiresAt?: number;
  readonly data?: string[];
}

/**
 * For how long the name of a write is kept, in seconds: until its last repetition has come. By default Upstash's
 * client repeats a command for 4.3 s (https://upstash.com/docs/redis/sdks/ts/retries), and after `storeTimeout`,
 * 5 s, nobody waits for an answer.
 */
const SECONDS_KEPT = 10;
/** How many names are kept at most, however often a session is written in these ten seconds. */
const NAMES_KEPT = 256;
/** The width of a name with its second. All are of one width, so that the oldest are cut off the end. */
const NAME_WIDTH = 9 + 10;

/** The version of what has no head. It matches no other, so that such a thing can be deleted but not changed. */
const NO_VERSION = "none";
const NO_RECORD: Loaded = { fields: new Map(), lastSeenAt: 0, version: NO_VERSION };

/**
 * A write's name, `v` and 8 more, which are 48 random bits: it need not be secret, only be another than those of the same
 * record's last writes. Runtimes make UUIDs in advance, which is several times faster.
 */
function newName(): string {
  const hex = crypto.randomUUID().slice(-12);
  const bytes = [0, 2, 4, 6, 8, 10].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  return `v${btoa(String.fromCharCode(...bytes))}`;
}

/** The record that begins with this head; `fieldsOf` reads its fields, given the text after the head. */
function recordAfterHead(text: string, fieldsOf: (rest: string) => Loaded["fields"]): Loaded {
  const [head, lastSeenAt, version] = /^!(-?[\d.]+) (v\S{8})\S* /.exec(text) ?? [];
  if (head === undefined || version === undefined) return NO_RECORD;
  return { fields: fieldsOf(text.slice(head.length)), lastSeenAt: Number(lastSeenAt), version };
}

/**
 * The script of a layout, from the Lua that is its own: reading the head (`found`, with or without what follows
 * it), and writing a new one (`head`) with the data. A write that was done before answers early, and is not done
 * again. Where a script may not ask for the time, as on some hosted servers, only the number of names is bounded.
 */
function scriptOf(type: "string" | "hash", found: string, write: string): string {
  return `
local verb, name, expected, used, life = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local kind = redis.call('TYPE', KEYS[1]).ok
local found = kind == '${type}' and ${found} or ''
local from = string.match(found, '^!%-?[%d.]+ ()v')
local to = from and string.find(found, ' ', from, true)
local names = to and string.sub(found, from, to - 1) or ''
if string.find(names, name, 1, true) then return name end
local version = string.match(names, '^v........') or '${NO_VERSION}'
if verb == 'create' then
  if kind ~= 'none' then return 'taken' end
elseif kind == 'none' then
  return 'gone'
elseif verb ~= 'delete' and version == '${NO_VERSION}' or expected ~= '' and version ~= expected then
  return 'conflict'
end
if verb == 'delete' then
  redis.call('DEL', KEYS[1])
  return name
end
local now = redis.pcall('TIME')[1] or 1e9
while names ~= '' and now - string.sub(names, -10) > ${SECONDS_KEPT} do
  names = string.sub(names, 1, -${NAME_WIDTH + 1})
end
local head = '!' .. used .. ' ' .. string.sub(name .. now .. names, 1, ${NAMES_KEPT * NAME_WIDTH}) .. ' '
${write}
return name
`;
}

/** A record as one string: the head, then the text of the record. */
export const valueLayout: Layout = {
  readCommand: "GET",
  script: /* @__PURE__ */ scriptOf(
    "string",
    "redis.call('GET', KEYS[1])",
    "redis.call('SET', KEYS[1], head .. (ARGV[6] or string.sub(found, to + 1)), 'PX', life)",
  ),
  whole: (record) => [recordToText(record)],
  part: (_change, whole) => whole,
  parse(reply) {
    if (reply === null || reply === undefined) return null;
    return recordAfterHead(String(reply), (rest) => recordFromText(rest).fields);
  },
};

/** A record as one hash: the head in the field `!`, then a field for each of the session's (none is stored as `!`). */
export const hashLayout: Layout = {
  readCommand: "HGETALL",
  script: /* @__PURE__ */ scriptOf(
    "hash",
    "redis.call('HGET', KEYS[1], '!')",
    // The head comes first: it is refused if memory is short, before anything is written.
    `
redis.call('HSET', KEYS[1], '!', head)
local set = 7 + (ARGV[6] or 0)
for i = 7, set - 1 do redis.call('HDEL', KEYS[1], ARGV[i]) end
for i = set, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], life)`,
  ),
  whole: (record) => hashArguments(record.fields),
  part: (change) => hashArguments(change.changed),
  parse(reply) {
    const fields = new Map(entriesOf(reply));
    if (fields.size === 0) return null;
    const head = fields.get("!") ?? "";
    fields.delete("!");
    return recordAfterHead(head, () => new Map(Array.from(fields, ([field, value]) => [nameOf(field), value])));
  },
};

/** The number of fields to remove, their names, then the name and the value of each field to set. */
function hashArguments(changed: ReadonlyMap<string, string | null>): string[] {
  const removed: string[] = [];
  const set: string[] = [];
  for (const [name, value] of changed) {
    if (value === null) removed.push(fieldOf(name));
    else set.push(fieldOf(name), value);
  }
  return [String(removed.length), ...removed, ...set];
}

/**
 * The names that the core gives to fields are stored as they are, so that other programs find them. Any other
 * is stored as `#` and its JSON: so none is the head's, none means something in a JavaScript object (some
 * clients build one), and none holds half a surrogate pair, for which UTF-8 has no bytes.
 */
function fieldOf(name: string): string {
  return /^[=~@]\P{Cs}*$/su.test(name) ? name : `#${JSON.stringify(name)}`;
}

function nameOf(field: string): string {
  if (!field.startsWith("#")) return field;
  try {
    return String(JSON.parse(field.slice(1)));
  } catch {
    return field;
  }
}

/** The entries of a hash: RESP2 has a flat array for it, RESP3 a map, and some clients make it an object. */
function entriesOf(reply: unknown): [string, string][] {
  if (Array.isArray(reply)) {
    const pairs: [string, string][] = [];
    for (let i = 0; i < reply.length; i += 2) pairs.push([String(reply[i]), String(reply[i + 1])]);
    return pairs;
  }
  const entries = reply instanceof Map ? Array.from(reply) : Object.entries(Object(reply));
  return entries.map(([field, value]) => [String(field), String(value)]);
}

/** Runs a script by its digest, and by its text where the server does not have it yet. */
export async function evaluate(send: Send, script: string, args: string[]): Promise<unknown> {
  try {
    return await send("EVALSHA", [await sha1(script), ...args]);
  } catch (error) {
    if (errorCode(error) !== "NOSCRIPT") throw error;
    return await send("EVAL", [script, ...args]);
  }
}

const digests = new Map<string, string>();

/** The digest under which Redis knows a script. It is kept as a value: some runtimes bind a promise to one request. */
async function sha1(script: string): Promise<string> {
  let digest = digests.get(script);
  if (digest === undefined) {
    const bytes = new Uint8Array(await crypto.subtle.digest("SHA-1", new TextEncoder().encode(script)));
    digest = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    digests.set(script, digest);
  }
  return digest;
}

/**
 * The code of an error reply: its first word, which the protocol keeps for it and every client passes on
 * (https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors).
 */
export function errorCode(error: unknown): string {
  return error instanceof Error ? error.message.split(" ", 1).join() : "";
}

/** What `read` answers of a key of another type: neither layout finds a head in it. */
export const ANOTHER_TYPE: readonly string[] = ["another type", ""];
