import type { Script } from "./commands.ts";
import { invalidAnswer } from "./reply.ts";

/**
 * Runs a command, and replies with an array of strings that begin with `!`. The client parses each string of a reply as
 * JSON and drops a byte order mark. A string that begins with `!` is not JSON and has no such mark. If a request was
 * aborted, the client returns the reason as the reply, and that is not such an array. A read of a key of another type
 * returns a value that is not a record.
 */
export const CALL: Script = {
  digest: "88ae11f611a1150730efd570c4e26c389c876e6e",
  text: `local v=redis.pcall(ARGV[1],KEYS[1],unpack(ARGV,2))
if not v then return {} end
if type(v)~='table' then v={v} elseif v.ok then v={v.ok} elseif v.err then
if not string.find(v.err,'WRONGTYPE') then return v end
v={'',''}
end
for i=1,#v do v[i]='!'..v[i] end
return v`,
};

/** The strings of a reply, without their marks. */
export function unmark(reply: unknown): string[] {
  if (!isMarked(reply)) throw invalidAnswer();
  return reply.map((text) => text.slice(1));
}

function isMarked(reply: unknown): reply is string[] {
  return Array.isArray(reply) && reply.every((text) => typeof text === "string" && text.startsWith("!"));
}
