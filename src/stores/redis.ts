import { byteLength } from "../record_text.ts";
import type { SessionStore } from "../store.ts";
import {
  ANOTHER_TYPE,
  type Engine,
  errorCode,
  hashLayout,
  recordStore,
  type Send,
  valueLayout,
} from "./redis_scripts.ts";

/** A connected client of Redis: node-redis (`npm:redis` in Deno), ioredis or Bun's `RedisClient`. */
export type RedisClient =
  /** node-redis, a client or a pool. */
  | { sendCommand(args: string[]): Promise<unknown> }
  /** ioredis, a client or a cluster. The status is not used: without it any function would fit, for each has a `call`. */
  | { readonly status: string; call(command: string, args: string[]): Promise<unknown> }
  /** Bun's `RedisClient`. */
  | { send(command: string, args: string[]): Promise<unknown> };

/** A client, or a function that gives one. */
export type RedisClientSource = RedisClient | (() => RedisClient | Promise<RedisClient>);

/** Options of {@linkcode redisStore} and {@linkcode redisHashStore}. */
export interface RedisStoreOptions {
  /** What every key begins with. Default `"session:"`. */
  readonly prefix?: string;
}

/**
 * Sessions in Redis over TCP, each as one value. Loading is one `GET`, and every write is one script.
 *
 * ## Setup
 * Redis 5 or newer (tested on 7.0), or what speaks its protocol and runs Lua; nothing to create. To lose no
 * acknowledged write in a crash, Redis needs `appendonly yes` and `appendfsync always`
 * (https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/).
 *
 * ## How expiry behaves
 * Redis removes a record when its time is up, to the millisecond, and each write sets that time anew.
 *
 * ## Key format
 * The prefix, then 64 hexadecimal digits: `session:9f86d0…`. The value begins with `!`, when the session was
 * last used and the names of its writes of the last ten seconds; then comes the record as JSON. A key that holds
 * something else is no session, and is left alone.
 *
 * ## Consistency
 * Strong, with compare-and-set, as long as reads go to the primary. A write that the client sends again
 * because its answer was lost is done once, up to ten seconds and 255 other writes of the session later.
 *
 * ## Limits
 * A record takes at most 512 MB less 8 KB, from https://redis.io/docs/latest/develop/data-types/strings/#limits.
 *
 * @param client A connected client; or a function that gives one, or a promise of one, called when a session is
 *   first used and remembered unless it fails.
 * @param options The key prefix.
 * @returns The store. Its writes reject with `ERR_RECORD_TOO_LARGE`, before any I/O, if a record exceeds the limit.
 * @throws {TypeError} `client` is neither a client nor a function.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { redisStore } from "with-session/stores/redis";
 * import { createClient } from "redis";
 *
 * // Without a listener for errors, node-redis ends the process when the connection breaks.
 * const store = redisStore(() =>
 *   createClient({ url: "redis://localhost:6379" }).on("error", console.error).connect());
 * export const handler = withSession(
 *   async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *   { store },
 * );
 * ```
 */
export function redisStore(client: RedisClientSource, options: RedisStoreOptions = {}): SessionStore {
  return recordStore(valueLayout, redisEngine(client, options));
}

/**
 * Sessions in Redis over TCP, each as one hash with a field for each key. A change writes only its own fields, and
 * what another program writes into a field is seen by the next read. Loading is one `HGETALL`, and every write is
 * one script.
 *
 * ## Setup
 * As for {@linkcode redisStore}.
 *
 * ## How expiry behaves
 * Redis removes a hash when its time is up, to the millisecond. Each write checks that the hash still exists and
 * sets that time in one step, so there is never a part of a session, nor one that does not expire.
 *
 * ## Key format
 * The prefix, then 64 hexadecimal digits. The field `=name` holds the session's `name`, encoded by the `codec`;
 * `~name` a flash value; `@` and `!` what the library itself needs. A program that writes a field with
 * `HSET` needs nothing else; a request that changes the same field meanwhile overwrites it.
 *
 * ## Consistency
 * As for {@linkcode redisStore}.
 *
 * ## Limits
 * As for {@linkcode redisStore}, all names and values counted together.
 *
 * @param client A connected client; or a function that gives one, or a promise of one, called when a session is
 *   first used and remembered unless it fails.
 * @param options The key prefix.
 * @returns The store. Its writes reject with `ERR_RECORD_TOO_LARGE`, before any I/O, if a record exceeds the limit.
 * @throws {TypeError} `client` is neither a client nor a function.
 *
 * @example
 * ```ts
 * import { SessionManager } from "with-session";
 * import { redisHashStore } from "with-session/stores/redis";
 * import { Redis } from "ioredis";
 *
 * const store = redisHashStore(() => new Redis("redis://localhost:6379"), { prefix: "shop:" });
 * export const sessions = new SessionManager({ store });
 * ```
 */
export function redisHashStore(client: RedisClientSource, options: RedisStoreOptions = {}): SessionStore {
  return recordStore(hashLayout, redisEngine(client, options));
}

function redisEngine(client: RedisClientSource, { prefix = "session:" }: RedisStoreOptions): Engine {
  const send = typeof client === "function" ? onceOpened(client) : senderOf(client);
  return {
    name: "Redis",
    prefix,
    maxBytes: 512 * 1024 * 1024 - 8 * 1024,
    send,
    measure: byteLength,
    async read(command, key) {
      try {
        return await send(command, [key]);
      } catch (error) {
        if (errorCode(error) === "WRONGTYPE") return ANOTHER_TYPE;
        throw error;
      }
    },
  };
}

/** Opens the client when it is first needed, once; a failure is not remembered, so that the next request tries again. */
function onceOpened(open: () => RedisClient | Promise<RedisClient>): Send {
  let opening: Promise<Send> | undefined;
  return async (command, args) => {
    if (opening === undefined) {
      opening = Promise.resolve().then(open).then(senderOf);
      opening.catch(() => (opening = undefined));
    }
    return (await opening)(command, args);
  };
}

function senderOf(client: RedisClient): Send {
  if (typeof client === "object" && client !== null) {
    // ioredis has a `sendCommand` as well, which takes something else.
    if ("call" in client) return (command, args) => client.call(command, args);
    if ("sendCommand" in client) return (command, args) => client.sendCommand([command, ...args]);
    if ("send" in client) return (command, args) => client.send(command, args);
  }
  throw new TypeError("A Redis store needs a client of node-redis, ioredis or Bun, or a function that gives one");
}
