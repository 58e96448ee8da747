/**
 * One of several processes that increment one number in one session: `<store> <url> <key> <times> [<backoff>]`.
 * Beside the number it writes a field of its own. With a backoff, in milliseconds, the client of Upstash waits so
 * long before it sends a request again; without, as long as it does by itself.
 */
import { Redis as Upstash } from "@upstash/redis";
import { createClient } from "redis";
import type { SessionStore } from "../../src/store.ts";
import { redisHashStore, redisStore } from "../../src/stores/redis.ts";
import { upstashRedisHashStore, upstashRedisStore } from "../../src/stores/upstash_redis.ts";

const [name = "", url = "", key = "", times = "", backoff] = process.argv.slice(2);

const redis = () =>
  createClient({ url })
    .on("error", () => {})
    .connect();
const retry = backoff === undefined ? {} : { retry: { backoff: () => Number(backoff) } };
const upstash = () => new Upstash({ url, token: "token-of-the-test", ...retry });

const opened: Record<string, () => SessionStore> = {
  redisStore: () => redisStore(redis),
  redisHashStore: () => redisHashStore(redis),
  upstashRedisStore: () => upstashRedisStore(upstash()),
  upstashRedisHashStore: () => upstashRedisHashStore(upstash()),
};
const store = opened[name]?.();
if (store === undefined) throw new Error(`There is no store ${name}`);

const own = `=own-${process.pid}`;
for (let done = 0; done < Number(times);) {
  const loaded = await store.load(key);
  if (loaded === null) throw new Error("The session is gone");
  const changed = new Map([
    ["=count", String(Number(loaded.fields.get("=count")) + 1)],
    [own, String(done + 1)],
  ]);
  const record = { fields: new Map([...loaded.fields, ...changed]), lastSeenAt: loaded.lastSeenAt };
  const answer = await store.change(key, { record, changed }, loaded.version, loaded.lastSeenAt + 3_600_000);
  if (answer === "gone") throw new Error("The session is gone");
  if (answer !== "conflict") done++;
}
process.exit(0);
