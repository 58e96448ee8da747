/**
 * The common part of the stores on Redis and on Upstash. Each write gives a record a version that no other write has.
 * It compares the present version and writes in one step: by one command, or by a script, which no other command can
 * interrupt (https://redis.io/docs/latest/develop/programmability/eval-intro/).
 *
 * @module
 */
import { assertKnown } from "../../core/known_options.ts";
import { chain } from "../../core/maybe_promise.ts";
import type { SessionStore } from "../../core/store.ts";
import { run } from "./commands.ts";
import { CORRUPT, type Engine } from "./engine.ts";
import { hashLayout } from "./hash_layout.ts";
import { isDone } from "./reply.ts";
import { valueLayout } from "./value_layout.ts";

/** Options of `redisStore` and `upstashRedisStore`. */
export interface RedisStoreOptions {
  /** The prefix of every key. @default `"session:"` */
  readonly prefix?: string | undefined;
  /** `"value"`: one string for each session, the default. `"hash"`: one hash for each session, with a field for each key. */
  readonly layout?: "value" | "hash" | undefined;
}

/** 13 digits of milliseconds, which are more than 300 years. */
const MAX_LIFETIME = 1e13 - 1;

/** The store of records in one layout on one engine; `owner` is the function that the user called. */
export function recordStore(owner: string, options: RedisStoreOptions, engine: Engine): SessionStore {
  assertKnown(options, ["prefix", "layout"], owner);
  const { prefix = "session:", layout = "value" } = options;
  if (typeof prefix !== "string" || (layout !== "value" && layout !== "hash")) {
    throw new TypeError(`${owner} needs a string as prefix, and "value" or "hash" as layout`);
  }
  const { load, save, head } = (layout === "hash" ? hashLayout : valueLayout)(engine);
  let writes = 0;
  return {
    traits: { consistency: "strong", compareAndSet: true, maxBytes: engine.maxBytes },

    load: (key) => load(prefix + key),

    save(key, write) {
      if (write.expected === CORRUPT) return "conflict";
      // One operation may write a record twice with one write id, so a number is added.
      const version = `${write.id}.${(writes++).toString(36)}`;
      const life = Math.min(MAX_LIFETIME, Math.max(1, Math.ceil(write.expiresAt - write.record.lastSeenAt)));
      return chain(save(prefix + key, write, version, String(life)), (isStored) => (isStored ? version : "conflict"));
    },

    async delete(key, expected) {
      if (expected !== undefined) {
        return (await run(engine.send, prefix + key, [head, `${expected} `])) ? undefined : "conflict";
      }
      isDone(await engine.send("DEL", prefix + key), "1", "0");
    },
  };
}
