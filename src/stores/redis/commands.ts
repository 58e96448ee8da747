import { hasMessage, isDone } from "./reply.ts";

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
    if (!hasMessage(error, NO_SCRIPT)) throw error;
    return send("EVAL", key, args, text);
  });
}

/**
 * The error of a missing script. GLIDE spells it in another way, and Upstash's client puts words before it. A false
 * match does no harm, because a script may always be sent as text.
 */
const NO_SCRIPT = /noscript/i;
