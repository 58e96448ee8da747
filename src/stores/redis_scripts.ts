/**
 * What the Redis stores and the Upstash stores share: how a record lies in Redis, as one value or as a hash,
 * and the scripts that write it. A script runs without any other command in between (see "Atomicity of
 * scripts" in https://redis.io/docs/latest/develop/programmability/), so each write is one command.
 *
 * In both layouts a record has a head of fixed width: `!`, the time it was last used in 24 characters, and
 * the names of its last 16 writes, the newest first. Its width lets a touch move it without the data. The
 * newest name is the record's version. The older ones make a write safe to send twice: clients repeat a
 * command whose answer was lost, and a repeated one finds its own name and answers as it did the first time.
 *
 * @module
 */

import { recordFromText, recordToText, refuseTooLarge } from "../record_text.ts";
import type { Loaded, RecordChange, SessionRecord, SessionStore } from "../store.ts";

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
  readonly scripts: Readonly<Record<"create" | "change" | "touch" | "remove", string>>;
  /** What `create` writes, as arguments of the script. */
  whole(record: SessionRecord): string[];
  /** What `change` writes, as arguments of the script. */
  part(change: RecordChange): string[];
  /** Reads the reply to the read command. */
  parse(reply: unknown): Loaded | null;
}

/** The store whose records lie in one layout on one engine. */
export function recordStore(layout: Layout, engine: Engine): SessionStore {
  const { create, change, touch, remove } = layout.scripts;

  async function run(script: string, key: string, expected: string, written: Written): Promise<string> {
    const name = newVersion();
    const { lastSeenAt, expiresAt, data } = written;
    const timeToLive = Math.max(1, Math.ceil(expiresAt - lastSeenAt));
    const args = ["1", engine.prefix + key, name, expected, timeText(lastSeenAt), String(timeToLive), ...data];
    const answer = await evaluate(engine.send, script, args);
    if (answer === name || answer === "taken" || answer === "conflict" || answer === "gone") return answer;
    throw new Error(`${engine.name} gave no answer to a write`);
  }

  function refuseLarge(record: SessionRecord): void {
    const size = layout.whole(record).reduce((sum, text) => sum + engine.measure(text), 0);
    refuseTooLarge(engine.name, size, engine.maxBytes);
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
      refuseLarge(record);
      const { lastSeenAt } = record;
      return await run(create, key, "", { lastSeenAt, expiresAt, data: layout.whole(record) });
    },

    async change(key, changes, expected, expiresAt) {
      refuseLarge(changes.record);
      const { lastSeenAt } = changes.record;
      return await run(change, key, String(expected), { lastSeenAt, expiresAt, data: layout.part(changes) });
    },

    async touch(key, lastSeenAt, expiresAt) {
      const answer = await run(touch, key, "", { lastSeenAt, expiresAt, data: [] });
      return answer !== "gone" && answer !== "conflict";
    },

    async delete(key, expected) {
      if (expected === undefined) {
        const removed = await engine.send("DEL", [engine.prefix + key]);
        if (typeof removed !== "number") throw new Error(`${engine.name} gave no answer to a delete`);
        return;
      }
      const answer = await run(remove, key, String(expected), { lastSeenAt: 0, expiresAt: 0, data: [] });
      if (answer === "conflict") return answer;
    },
  };
}

/** What a script writes. */
interface Written {
  readonly lastSeenAt: number;
  readonly expiresAt: number;
  readonly data: string[];
}

const TIME_WIDTH = 24;
const VERSION_WIDTH = 13;
/** Enough for the writes of other requests that may come between a command and its repetition, seconds later. */
const VERSIONS_KEPT = 16;
/** Where the version begins and ends in the head, counted from 0. */
const VERSION_START = 1 + TIME_WIDTH;
const VERSION_END = VERSION_START + VERSION_WIDTH;
const HEAD_WIDTH = VERSION_START + VERSIONS_KEPT * VERSION_WIDTH;

/** The version of what has no head. It matches no other, so that such a thing can be deleted but not changed. */
const NO_VERSION = "none";
const NO_RECORD: Loaded = { fields: new Map(), lastSeenAt: 0, version: NO_VERSION };

/** A write's name: it need not be secret, only be another than those of the same record's last writes. */
function newVersion(): string {
  return `v${crypto.randomUUID().slice(-12)}`;
}

function timeText(instant: number): string {
  return String(instant).padEnd(TIME_WIDTH);
}

/** What the head of a record tells; null of anything else. */
function readHead(text: string): Omit<Loaded, "fields"> | null {
  const lastSeenAt = Number(text.slice(1, VERSION_START));
  if (!text.startsWith("!") || text.length !== HEAD_WIDTH || Number.isNaN(lastSeenAt)) return null;
  return { lastSeenAt, version: text.slice(VERSION_START, VERSION_END) };
}

/**
 * How every script begins. `kind` is the type of what the key holds, `version` that of the record, `renewed`
 * the head after this write. A write that was done before answers here, and is not done again.
 */
function opening(type: "string" | "hash", head: string): string {
  return `
local name, expected, time, life = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local kind = redis.call('TYPE', KEYS[1]).ok
local head = kind == '${type}' and ${head} or ''
if string.find(head, name, 1, true) then return name end
local version = '${NO_VERSION}'
if #head == ${HEAD_WIDTH} and string.sub(head, 1, 1) == '!' then
  version = string.sub(head, ${VERSION_START + 1}, ${VERSION_END})
end
local renewed = '!' .. time .. name .. string.sub(head, ${VERSION_START + 1}, ${HEAD_WIDTH - VERSION_WIDTH})
renewed = renewed .. string.rep(' ', ${HEAD_WIDTH} - #renewed)
`;
}

const ONLY_NEW = "if kind ~= 'none' then return 'taken' end";
const ONLY_EXISTING = "if kind == 'none' then return 'gone' end";
const ONLY_RECORDS = `if version == '${NO_VERSION}' then return 'conflict' end`;
const ONLY_EXPECTED = "if version ~= expected then return 'conflict' end";

/** The four scripts of a layout, from the Lua that is its own: finding the head, writing data, moving the head. */
function scriptsOf(lua: { type: "string" | "hash"; head: string; write: string; move: string }): Layout["scripts"] {
  const script = (...lines: string[]) => [opening(lua.type, lua.head), ...lines, "return name"].join("\n");
  return {
    create: script(ONLY_NEW, lua.write),
    change: script(ONLY_EXISTING, ONLY_RECORDS, ONLY_EXPECTED, lua.write),
    touch: script(ONLY_EXISTING, ONLY_RECORDS, lua.move),
    remove: script(ONLY_EXISTING, ONLY_EXPECTED, "redis.call('DEL', KEYS[1])"),
  };
}

/** A record as one string: the head, then the text of the record. */
export const valueLayout: Layout = {
  readCommand: "GET",
  scripts: scriptsOf({
    type: "string",
    head: `redis.call('GETRANGE', KEYS[1], 0, ${HEAD_WIDTH - 1})`,
    write: "redis.call('SET', KEYS[1], renewed .. ARGV[5], 'PX', life)",
    move: "redis.call('SETRANGE', KEYS[1], 0, renewed)\nredis.call('PEXPIRE', KEYS[1], life)",
  }),
  whole: (record) => [recordToText(record)],
  part: (change) => [recordToText(change.record)],
  parse(reply) {
    if (reply === null || reply === undefined) return null;
    const text = String(reply);
    const head = readHead(text.slice(0, HEAD_WIDTH));
    return head === null ? NO_RECORD : { ...head, fields: recordFromText(text.slice(HEAD_WIDTH)).fields };
  },
};

/** The field of a hash that holds the head. No name of a session's field is stored as this. */
const HEAD = "!";

/** A record as one hash: the head in a field of its own, then a field for each of the session's. */
export const hashLayout: Layout = {
  readCommand: "HGETALL",
  scripts: scriptsOf({
    type: "hash",
    head: `redis.call('HGET', KEYS[1], '${HEAD}')`,
    // The head comes first: it is refused if memory is short, before anything is written.
    write: `
redis.call('HSET', KEYS[1], '${HEAD}', renewed)
for i = 6, 5 + ARGV[5] do redis.call('HDEL', KEYS[1], ARGV[i]) end
for i = 6 + ARGV[5], #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], life)`,
    move: `redis.call('HSET', KEYS[1], '${HEAD}', renewed)\nredis.call('PEXPIRE', KEYS[1], life)`,
  }),
  whole: (record) => hashArguments(record.fields),
  part: (change) => hashArguments(change.changed),
  parse(reply) {
    const fields = new Map(entriesOf(reply));
    if (fields.size === 0) return null;
    const head = readHead(fields.get(HEAD) ?? "");
    if (head === null) return NO_RECORD;
    fields.delete(HEAD);
    return { ...head, fields: new Map(Array.from(fields, ([field, value]) => [nameOf(field), value])) };
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
