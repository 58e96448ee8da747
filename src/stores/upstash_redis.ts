/**
 * Sessions in Upstash Redis, over HTTP.
 *
 * @module
 */
import { StoreBusyError } from "../core/errors.ts";
import { byteLength } from "../core/record_size.ts";
import type { SessionStore } from "../core/store.ts";
import { evaluate, type Send, type SendScript } from "./redis/commands.ts";
import { CALL, unmark } from "./redis/marked_call.ts";
import { recordStore, type RedisStoreOptions } from "./redis/record_store.ts";
import { hasMessage } from "./redis/reply.ts";

export type { RedisStoreOptions as UpstashRedisStoreOptions } from "./redis/record_store.ts";

/**
 * The part of the `Redis` class of `@upstash/redis` that the store needs, from 1.35.3 on. Earlier versions confuse this
 * `exec` with that of their automatic pipelines.
 */
export interface UpstashRedisClient {
  /** Sends one command in one request. */
  exec(command: [command: string, ...args: string[]]): Promise<unknown>;
  /** Runs a script. Scripts of one tick share a request if automatic pipelining is on. */
  evalsha(digest: string, keys: string[], args: string[]): Promise<unknown>;
}

/** A request takes 10 MB. Everything in it but the record takes less than 10 KB. */
const MAX_BYTES = 10_000_000 - 10_000;
/** Up to 1 000 commands share a request. A command with more characters is sent in a separate request, so that they fit into 10 MB. */
const MAX_SHARED_LENGTH = 4096;

/**
 * Sessions in Upstash Redis over HTTP.
 *
 * ## Setup
 * Give it the client of `@upstash/redis` 1.35.3 or newer, with the URL and the token of a database. There is nothing to create. The client's
 * own settings are respected. With automatic pipelining, which is on by default, commands of one tick share a request: with 64
 * requests at once, a server did three times as many as without it.
 *
 * If you give the client a `signal`, give it as a function. With a plain signal, the client takes an aborted request
 * for an answer. The store refuses that answer as well.
 *
 * ## How expiry behaves
 * Each write sets the time to live of the key anew. Upstash removes the key when that time has passed.
 *
 * ## Key format
 * As for `redisStore()`. Both stores can use one database at once.
 *
 * ## Consistency
 * Strong while the primary region runs, with compare-and-set. All commands, also reads, run in scripts that may write,
 * and Upstash sends writes to the primary region (https://upstash.com/docs/redis/features/globaldatabase). So a read
 * from another region takes a round trip to the primary region. Upstash copies writes to its other replicas
 * asynchronously. If it has to choose a new leader, the newest writes can be lost
 * (https://upstash.com/docs/redis/features/consistency).
 *
 * If the answer to a write is lost, the client sends the write again. It is done once: the repeated write is refused,
 * and the core recognises its own write. The client waits up to 4 s in between
 * (https://upstash.com/docs/redis/sdks/ts/retries). Make it less than `storeTimeout`, for example by
 * `retry: { retries: 3 }`.
 *
 * Databases with eviction remove sessions when they are full, and `userSessions()` loses lists; see `redisStore()`.
 *
 * ## Limits
 * A request takes 10 MB (https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded), so a record takes 10 KB less, counted as
 * the JSON string that it is in the request. With `layout: "hash"` all its names and values count together.
 *
 * If the database accepts no more requests for the moment (status 429), the write is tried again within `storeTimeout`. Over the storage
 * quota Upstash refuses writes (https://upstash.com/docs/redis/troubleshooting/db_capacity_quota_exceeded); reading and ending a
 * session still work.
 *
 * @param redis The client
 * @param options The prefix of the keys, and the layout
 * @returns The store. Its `save` throws a `SessionError` with `ERR_RECORD_TOO_LARGE`, before any request, if a record exceeds the limit
 * @throws {TypeError} If `redis` is not a client, or an option is unknown or of the wrong kind
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
export function upstashRedisStore(redis: UpstashRedisClient, options: RedisStoreOptions = {}): SessionStore {
  if (typeof redis?.exec !== "function" || typeof redis.evalsha !== "function") {
    throw new TypeError("upstashRedisStore() needs the Redis client of @upstash/redis");
  }
  const sendScript: SendScript = async (command, key, args, script) => {
    const isShort = command === "EVALSHA" && args.join("").length <= MAX_SHARED_LENGTH;
    try {
      return await (isShort
        ? redis.evalsha(script, [key], [...args])
        : redis.exec([command, script, "1", key, ...args]));
    } catch (error) {
      throw hasMessage(error, TOO_MANY_REQUESTS) ? new StoreBusyError() : error;
    }
  };
  const send: Send = async (command, key, args = [], script) => {
    if (script !== undefined) return await sendScript(command, key, args, script);
    const found = unmark(await evaluate(sendScript, CALL, key, [command, ...args]));
    return command === "HGETALL" ? found : (found[0] ?? null);
  };
  return recordStore("upstashRedisStore", options, {
    name: "Upstash Redis",
    maxBytes: MAX_BYTES,
    send,
    read: send,
    measure: (text) => byteLength(JSON.stringify(text)),
    // Without `known`: Upstash knows SET … IFEQ, but sending the old value as well takes longer than the script.
  });
}

/**
 * The client gives no status. Its message has the server's text, then the command, which is ignored. A false match does
 * no harm, because each command can be repeated.
 */
const TOO_MANY_REQUESTS = /^(?:(?!, command was:).)*(?:\b429\b|too many requests|rate.limit|requests? limit)/is;
