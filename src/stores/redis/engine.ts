import type { MaybePromise } from "../../core/maybe_promise.ts";
import { assertRecordSize } from "../../core/record_size.ts";
import type { StoredRecord, Write } from "../../core/store.ts";
import type { KnownValues } from "./known_values.ts";
import { hasCode, isDone } from "./reply.ts";

/** The commands that are sent. Each has one key. */
export type Command = "GET" | "HGETALL" | "SET" | "DEL" | "PEXPIRE" | "EVALSHA" | "EVAL";

/** Sends one command; `script` is the digest or the text of one to evaluate. Rejects with the client's error. */
export type Send = (command: Command, key: string, args?: readonly string[], script?: string) => Promise<unknown>;

/** Sends one script. */
export type SendScript = (command: Command, key: string, args: readonly string[], script: string) => Promise<unknown>;

/** A script, and its SHA-1, under which Redis keeps it. Its reply is 1 if it succeeded, otherwise 0. */
export interface Script {
  readonly digest: string;
  readonly text: string;
}

/** The parts that differ between the servers and clients that speak Redis. */
export interface Engine {
  /** For messages. */
  readonly name: string;
  /** The largest record, in bytes as `measure` counts them. */
  readonly maxBytes: number;
  readonly send: Send;
  /** The reply to `GET` or `HGETALL`; {@linkcode OTHER_TYPE} for a key of another type. */
  read(command: "GET" | "HGETALL", key: string): Promise<unknown>;
  /** The size of a text in a command, in bytes. */
  measure(text: string): number;
  /** Given if the server may have `SET … IFEQ`. */
  readonly known?: KnownValues;
}

/** The form of a record in Redis. It begins with a head: its version, a space and a digit. */
export interface Layout {
  load(key: string): Promise<StoredRecord | null>;
  /** Stores a record under a version, and returns whether it was stored. */
  save(key: string, write: Write, version: string, life: string): MaybePromise<boolean>;
  /** The field of the head, as the first argument of {@linkcode SCRIPT}; empty if the key itself begins with the head. */
  readonly head: "!" | "";
}

/** The reply of a read for a key of another type. No layout finds a head in it. */
export const OTHER_TYPE: readonly string[] = ["", ""];

/** The version of a value without a head. Such a value is not a record: it can be removed, and is never overwritten. */
export const CORRUPT = "?";

/** The version in the head with which a text begins. */
export function versionOf(text: string): string {
  return /^([\w.-]+) \d/.exec(text)?.[1] ?? CORRUPT;
}

/**
 * Writes or removes a record, in either layout. The arguments are:
 *
 * 1. the field of the head, or an empty text,
 * 2. the version that the record must have and a space, or an empty text if the key must not exist,
 * 3. the new head or value,
 * 4. the time to live,
 * 5. with a field: how many fields to remove, their names, then a name and a value for each field to set.
 *
 * The head is written first: if memory is short, the server refuses that, and nothing was written. With the first two
 * arguments alone, the script removes the record if it has this version. It also succeeds if there is no record.
 *
 * In the script, `v` is the present version and a space: `? ` for a value that is not a record, and an empty text if
 * there is no key. No head is longer than the part that the script reads.
 */
export const SCRIPT: Script = {
  digest: "a747c34ee68e45dcaf0e9b000a36803bf3883cf4",
  text: `local k,a=KEYS[1],ARGV
local h=a[1]~=''
local v=h and redis.pcall('HGET',k,a[1]) or not h and redis.pcall('GETRANGE',k,0,255)
v=type(v)=='string' and string.match(v,'^([%w_.-]+ )%d') or redis.call('EXISTS',k)>0 and '? ' or ''
if v~=a[2] and (a[3] or v~='') then return 0 end
if not a[3] then redis.call('DEL',k)
elseif not h then redis.call('SET',k,a[3],'PX',a[4])
else
redis.call('HSET',k,a[1],a[3])
local s=6+a[5]
for i=6,s-1 do redis.call('HDEL',k,a[i]) end
for i=s,#a,2 do redis.call('HSET',k,a[i],a[i+1]) end
redis.call('PEXPIRE',k,a[4])
end
return 1`,
};

/** The longest character: a control character in JSON, `\u0000`. */
const MOST_BYTES_OF_CHARACTER = 6;

/** Refuses a record that is larger than the engine takes, before any I/O. */
export function assertSize({ name, maxBytes, measure }: Engine, text: string): void {
  // Measuring a text takes longer than seeing that it is short.
  if (text.length * MOST_BYTES_OF_CHARACTER > maxBytes) assertRecordSize(name, measure(text), maxBytes);
}

/** Sets a key under a condition, and returns whether the condition was met. */
export function set(send: Send, key: string, ...args: string[]): Promise<boolean> {
  return send("SET", key, args).then((reply) => isDone(reply, "OK", null));
}

/** Runs {@linkcode SCRIPT}, and returns whether it succeeded. */
export function run(send: Send, key: string, args: readonly string[]): Promise<boolean> {
  return evaluate(send, SCRIPT, key, args).then((reply) => isDone(reply, "1", "0"));
}

/** Runs a script by its digest, or by its text if the server does not have it yet. Returns its reply. */
export function evaluate(
  send: SendScript,
  { digest, text }: Script,
  key: string,
  args: readonly string[],
): Promise<unknown> {
  return send("EVALSHA", key, args, digest).catch((error: unknown) => {
    if (!hasCode(error, NO_SCRIPT)) throw error;
    return send("EVAL", key, args, text);
  });
}

/**
 * The error of a missing script. GLIDE spells it in another way, and Upstash's client puts words before it. A false
 * match does no harm, because a script may always be sent as text.
 */
const NO_SCRIPT = /noscript/i;
