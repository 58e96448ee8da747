/**
 * Sessions in Redis and Valkey.
 *
 * @module
 */
import { byteLength } from "../core/record_size.ts";
import type { SessionStore } from "../core/store.ts";
import { type RedisClientSource, senderOf } from "./redis/client.ts";
import { knownValues } from "./redis/known_values.ts";
import { recordStore, type RedisStoreOptions } from "./redis/record_store.ts";
import { hasMessage } from "./redis/reply.ts";

export type { RedisClient, RedisClientSource } from "./redis/client.ts";
export type { RedisStoreOptions } from "./redis/record_store.ts";

/** 512 MB, less the head and the rest of the command. */
const MAX_BYTES = 512 * 1024 * 1024 - 8 * 1024;

/**
 * Sessions in Redis or Valkey over TCP.
 *
 * A load is one command, and so is each write: `SET NX` for a new session, `SET IFEQ` if the server has it (Valkey 8.1,
 * Redis 8.4), otherwise a script. The store tries `SET IFEQ` with the first change, and uses scripts from the moment a
 * server does not have it.
 *
 * ## Setup
 * Redis 7 or newer, Valkey, or a server that speaks their protocol and runs Lua. There is nothing to create. Give it one of:
 * - node-redis 5 or 6: `createClient`, `createClientPool`, `createCluster`, `createSentinel`. Connect it first, and
 *   listen for its errors: without a listener, a broken connection ends the process. node-redis 6 sets a timer for each
 *   command, which costs a third of the processor time of a session's read and write; `commandOptions: { timeout: 0 }`
 *   turns it off, since `storeTimeout` limits the wait anyway. Then commands also wait, in memory, for as long as the
 *   server is unreachable.
 * - ioredis 5 or 6: `Redis`, also through Sentinel, or `Cluster` with `scaleReads: "master"`, the default.
 * - Bun's `RedisClient`.
 * - Valkey GLIDE, with `readFrom: "primary"`, the default. It logs a warning when a server does not know a script or `IFEQ` yet.
 *
 * Or give it a function that opens one. It is called for the first session, and again when its client has closed for good.
 * So is a function of the option `store` that returns this store with an open client.
 *
 * A client's `keyPrefix` comes before the store's `prefix`. In a cluster each session is one key, so any prefix will do.
 *
 * ## How expiry behaves
 * Each write sets the time to live of the key anew, to the millisecond. Redis removes the key when that time has
 * passed.
 *
 * ## Eviction
 * Use `maxmemory-policy noeviction` (https://redis.io/docs/latest/develop/reference/eviction/): when memory is full,
 * writes fail with `OOM`. Sessions can still be read, and `destroy` ends them. `regenerate`, `revoke` and `revokeAll`
 * need a write: they throw `ERR_STORE`, and end nothing. Every session has a time to live, so `volatile-*` removes
 * sessions and spares keys without one; `volatile-ttl` removes those that would expire next. `allkeys-*` removes
 * sessions and everything else. The user of a removed session is signed out. A removed list of `userSessions()` costs
 * more: until its sessions are used again, `revokeAll` does not reach them.
 *
 * ## Key format
 * The prefix, then 64 hexadecimal digits: `session:9f86d0…`. A key that holds something else is not a session, and is
 * never overwritten.
 *
 * With `layout: "value"`, a string: the version, a space, the record. With `layout: "hash"`, a hash: the field `=name`
 * holds the session's `name`, encoded by the `codec`; `~name` holds a flash value; `!`, `@` and others are for the
 * library. A change writes only its own fields. Another program can change a field with `HSET`, and the next request
 * reads it; a request that changes the same field meanwhile overwrites it. If the session has expired before the
 * `HSET`, the program creates a hash that is not a session. Such a hash is ignored, and expires an hour after a client
 * presents its id. To avoid it, write in a script that first checks that the key exists:
 * `EVAL "return redis.call('EXISTS',KEYS[1])>0 and redis.call('HSET',KEYS[1],ARGV[1],ARGV[2])" 1 session:9f86d0… =name '"Ann"'`.
 *
 * Sessions of one layout do not exist in the other.
 *
 * ## Consistency
 * Strong, with compare-and-set, as long as the primary runs. Reads are sent to the primary. If the client sends a write
 * twice, it is done once.
 *
 * Replication is asynchronous (https://redis.io/docs/latest/operate/oss_and_stack/management/replication/): after a
 * failover to a replica, in a cluster or by Sentinel, the newest acknowledged writes can be missing, logouts included.
 * `min-replicas-to-write` limits that time. The newest writes can also be missing after a crash of a server without
 * `appendonly yes` and `appendfsync always`
 * (https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/).
 *
 * ## Limits
 * A record takes at most 512 MB less 8 KB (https://redis.io/docs/latest/develop/data-types/strings/#limits); with `layout: "hash"`, all
 * its names and values together.
 *
 * @param client A client, or a function that returns one or a promise of one. The function is called again after a
 *   failure
 * @param options The prefix of the keys, and the layout
 * @returns The store. Its `save` throws a `SessionError` with `ERR_RECORD_TOO_LARGE`, before any I/O, if a record
 *   exceeds the limit. While a client that was passed directly is closed, all verbs reject with `ERR_STORE`
 * @throws {TypeError} If `client` is not one of these, or reads from replicas, or an option is unknown or of the wrong
 *   kind. If the function does not return a client, the first use rejects with this error
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { redisStore } from "with-session/stores/redis";
 * import { createClient } from "redis";
 *
 * const store = redisStore(() =>
 *   createClient({ url: "redis://localhost:6379" }).on("error", console.error).connect(),
 * );
 * export const handler = withSession(
 *   async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *   { store },
 * );
 * ```
 *
 * @example Sessions that other programs read and change
 * ```ts
 * import { SessionManager } from "with-session";
 * import { redisStore } from "with-session/stores/redis";
 * import { Redis } from "ioredis";
 *
 * const store = redisStore(() => new Redis("redis://localhost:6379"), { prefix: "shop:", layout: "hash" });
 * export const sessions = new SessionManager({ store });
 * ```
 */
export function redisStore(client: RedisClientSource, options: RedisStoreOptions = {}): SessionStore {
  const { send, isClosed } = senderOf(client);
  const store = recordStore("redisStore", options, {
    name: "Redis",
    maxBytes: MAX_BYTES,
    send,
    measure: byteLength,
    known: knownValues(send),
    read: (command, key) =>
      send(command, key).catch((error: unknown) => {
        if (!hasMessage(error, /^WRONGTYPE/)) throw error;
        return command === "GET" ? "" : ["", ""];
      }),
  });
  return { ...store, isClosed };
}
