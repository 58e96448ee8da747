import type { MaybePromise } from "../../core/maybe_promise.ts";
import { assertRecordSize } from "../../core/record_size.ts";
import type { StoredRecord, Write } from "../../core/store.ts";
import type { KnownValues } from "./known_values.ts";
import { hasCode, isDone } from "./reply.ts";

/** The commands that are sent. Each has one key. */
export type Command = "GET" | "HGETALL" | "SET" | "DEL" | "PEXPIRE" | "EVALSHA" | "EVAL";

/** Sends one command; `script` is the digest or the text of one to evaluate. Rejects with the client's error. */
export type Send = (command: Command, key: string, args?: readonly string[], script?: string) => Promise<unknown>;

/** A script, and its SHA-1, under which Redis keeps it. Its answer is 1 if it did what it is for, and else 0. */
export interface Script {
  readonly digest: string;
  readonly text: string;
}

/** What differs between the servers and clients that speak Redis. */
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
  /** Where `SET … IFEQ` is worth a try. */
  readonly known?: KnownValues;
}

/** How a record lies in Redis. It begins with a head: its version, a space and a digit. */
export interface Layout {
  load(key: string): Promise<StoredRecord | null>;
  /** Stores a record under a version, and answers whether it did. */
  save(key: string, write: Write, version: string, life: string): MaybePromise<boolean>;
  /** The field of the head, as the first argument of {@linkcode SCRIPT}; empty if the key itself begins with the head. */
  readonly head: "!" | "";
}

/** What a read answers for a key of another type. No layout finds a head in it. */
export const OTHER_TYPE: readonly string[] = ["", ""];

/** The version of what has no head. It is no record: it can be removed, and is never overwritten. */
export const CORRUPT = "?";

/** The version in the head with which a text begins. */
export function versionOf(text: string): string {
  return /^([\w.-]+) \d/.exec(text)?.[1] ?? CORRUPT;
}

/**
 * Writes or removes a record, in either layout. The arguments: the field of the head, or nothing; the version that must be there and a space,
 * or nothing if there must be no key; the new head or value, and the time to live. With a field come how many fields to remove, their
 * names, then a name and a value for each field to set. The head is written first: if memory is short, the server refuses that, and nothing
 * was written. With the first two alone, the record is removed if it has this version, and it is a success if there is none.
 *
 * `v` is the version of what is there and a space: `? ` for what is no record, and nothing if there is no key. No head is longer than what
 * is read here.
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

/** A control character in JSON, `\u0000`. */
const MOST_BYTES_OF_CHARACTER = 6;

/** Refuses a record that is larger than the engine takes, before any I/O. */
export function assertSize({ name, maxBytes, measure }: Engine, text: string): void {
  // To measure a text takes longer than to see that it is short.
  if (text.length * MOST_BYTES_OF_CHARACTER > maxBytes) assertRecordSize(name, measure(text), maxBytes);
}

/** Sets a key under a condition, and answers whether it was met. */
export function set(send: Send, key: string, ...args: string[]): Promise<boolean> {
  return send("SET", key, args).then((reply) => isDone(reply, "OK", null));
}

/** Runs {@linkcode SCRIPT}, and answers whether it did what it is for. */
export function run(send: Send, key: string, args: readonly string[]): Promise<boolean> {
  return evaluate(send, SCRIPT, key, args).then((reply) => isDone(reply, "1", "0"));
}

/** Runs a script by its digest, and by its text where the server does not have it yet. Gives its answer. */
export function evaluate(send: Send, { digest, text }: Script, key: string, args: readonly string[]): Promise<unknown> {
  return send("EVALSHA", key, args, digest).catch((error: unknown) => {
    if (!hasCode(error, NO_SCRIPT)) throw error;
    return send("EVAL", key, args, text);
  });
}

/** GLIDE writes it in its own way, and Upstash's client puts words before it. A script may be sent as text at any time. */
const NO_SCRIPT = /noscript/i;
