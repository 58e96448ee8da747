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
  /** Its first argument is a version and a space. Without more, it removes the record that has this version, or succeeds if there is none. */
  readonly script: Script;
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
 * Lua that finds `v`, the version of what lies under the key `k` and a space: `? ` for what is no record, and nothing if there is no key.
 *
 * @param read The call that gives the head and what comes after it
 */
export function findVersion(read: string): string {
  return `local v=redis.pcall(${read})
v=type(v)=='string' and string.match(v,'^([%w_.-]+ )%d') or redis.call('EXISTS',k)>0 and '? ' or ''
`;
}

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

/** Runs a script by its digest, and by its text where the server does not have it yet. Answers whether it did what it is for. */
export function run(send: Send, script: Script, key: string, args: readonly string[]): Promise<boolean> {
  return evaluate(send, script, key, args).then((reply) => isDone(reply, "1", "0"));
}

/** What a script answers. */
export function evaluate(send: Send, { digest, text }: Script, key: string, args: readonly string[]): Promise<unknown> {
  return send("EVALSHA", key, args, digest).catch((error: unknown) => {
    if (!hasCode(error, NO_SCRIPT)) throw error;
    return send("EVAL", key, args, text);
  });
}

/** GLIDE writes it in its own way, and Upstash's client puts words before it. A script may be sent as text at any time. */
const NO_SCRIPT = /noscript/i;
