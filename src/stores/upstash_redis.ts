import { byteLength } from "../record_text.ts";
import type { SessionStore } from "../store.ts";
import { type Engine, evaluate, hashLayout, recordStore, type Send, valueLayout } from "./redis_scripts.ts";

/** What is needed of the `Redis` class of `@upstash/redis`, from 1.35.3 on (before, its automatic pipelines took `exec` for their own). */
export interface UpstashRedisClient {
  /** Sends any command, in a request of its own. */
  exec(command: [command: string, ...args: string[]]): Promise<unknown>;
}

/** Options of {@linkcode upstashRedisStore} and {@linkcode upstashRedisHashStore}. */
export interface UpstashRedisStoreOptions {
  /** What every key begins with. Default `"session:"`. */
  readonly prefix?: string;
}

/**
 * Sessions in Upstash Redis over HTTP, each as one value. Every load and every write is one request.
 *
 * ## Setup
 * A database at Upstash, its URL and its token. The client's own settings do not matter here, with or without
 * `automaticDeserialization`; give its `signal` as a function, or an aborted request looks like an answer
 * (it is refused all the same).
 *
 * ## How expiry behaves
 * Upstash removes a record when its time is up, and each write sets that time anew.
 *
 * ## Key format
 * As for `redisStore`: a database can be read over TCP and over HTTP at once.
 *
 * ## Consistency
 * Strong, with compare-and-set: reads, too, run as a script that may write, which Upstash sends to the primary region
 * (https://upstash.com/docs/redis/features/globaldatabase). A write that the client sends again because its
 * answer was lost (it does so after every failure of the network, for 4 s) is done once, up to ten seconds and 255
 * other writes of the session later.
 *
 * ## Limits
 * A request takes at most 10 MB, from https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded; a
 * record, as the JSON string that it is in the request, 10 KB less. Over the storage quota Upstash refuses writes
 * (https://upstash.com/docs/redis/troubleshooting/db_capacity_quota_exceeded); reading and ending a session
 * needs no storage.
 *
 * @param redis The client of `@upstash/redis`.
 * @param options The key prefix.
 * @returns The store. Its writes reject with `ERR_RECORD_TOO_LARGE`, before any I/O, if a record exceeds the limit.
 * @throws {TypeError} `redis` has no `exec`.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { upstashRedisStore } from "with-session/stores/upstash-redis";
 * import { Redis } from "@upstash/redis";
 *
 * const redis = new Redis({ url: "https://example.upstash.io", token: "…" });
 * export const handler = withSession(
 *   async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *   { store: upstashRedisStore(redis) },
 * );
 * ```
 */
export function upstashRedisStore(redis: UpstashRedisClient, options: UpstashRedisStoreOptions = {}): SessionStore {
  return recordStore(valueLayout, upstashEngine(redis, options));
}

/**
 * Sessions in Upstash Redis over HTTP, each as one hash with a field for each key. A change writes only its own
 * fields, and what another program writes into a field is seen by the next read. Every load and every write is
 * one request.
 *
 * ## Setup
 * As for {@linkcode upstashRedisStore}.
 *
 * ## How expiry behaves
 * Upstash removes a hash when its time is up. Each write checks that the hash still exists and sets that time in one
 * step, so there is never a part of a session, nor one that does not expire.
 *
 * ## Key format
 * As for `redisHashStore`: `HSET session:9f86d0… =name value`, the value encoded by the `codec`, changes one field.
 *
 * ## Consistency
 * As for {@linkcode upstashRedisStore}.
 *
 * ## Limits
 * As for {@linkcode upstashRedisStore}, all names and values counted together.
 *
 * @param redis The client of `@upstash/redis`.
 * @param options The key prefix.
 * @returns The store. Its writes reject with `ERR_RECORD_TOO_LARGE`, before any I/O, if a record exceeds the limit.
 * @throws {TypeError} `redis` has no `exec`.
 *
 * @example
 * ```ts
 * import { SessionManager } from "with-session";
 * import { upstashRedisHashStore } from "with-session/stores/upstash-redis";
 * import { Redis } from "@upstash/redis";
 *
 * const redis = new Redis({ url: "https://example.upstash.io", token: "…" });
 * export const sessions = new SessionManager({ store: upstashRedisHashStore(redis, { prefix: "shop:" }) });
 * ```
 */
export function upstashRedisHashStore(redis: UpstashRedisClient, options: UpstashRedisStoreOptions = {}): SessionStore {
  return recordStore(hashLayout, upstashEngine(redis, options));
}

/**
 * What a key holds, whatever it is, as an array of strings that begin with `!`. The client parses every string of a
 * reply as JSON, and drops a byte order mark: none of these is JSON, and none begins with such a mark. And the
 * client takes the reason why a request was aborted for its reply: that is no such array.
 */
const READ = `
local kind = redis.call('TYPE', KEYS[1]).ok
local found = {}
if kind == 'string' then found = { redis.call('GET', KEYS[1]) }
elseif kind == 'hash' then found = redis.call('HGETALL', KEYS[1])
elseif kind ~= 'none' then found = { '' } end
for i = 1, #found do found[i] = '!' .. found[i] end
return found
`;

function isMarked(reply: unknown): reply is string[] {
  return Array.isArray(reply) && reply.every((text) => typeof text === "string" && text.startsWith("!"));
}

function upstashEngine(redis: UpstashRedisClient, { prefix = "session:" }: UpstashRedisStoreOptions): Engine {
  if (typeof redis?.exec !== "function") {
    throw new TypeError("An Upstash Redis store needs the Redis client of @upstash/redis");
  }
  const send: Send = (command, args) => redis.exec([command, ...args]);
  return {
    name: "Upstash Redis",
    prefix,
    maxBytes: 10_000_000 - 10_000,
    send,
    measure: (text) => byteLength(JSON.stringify(text)) + 1,
    async read(command, key) {
      const reply = await evaluate(send, READ, ["1", key]);
      if (!isMarked(reply)) throw new Error("Upstash Redis gave no answer to a read");
      const found = reply.map((text) => text.slice(1));
      return command === "HGETALL" ? found : found[0];
    },
  };
}
