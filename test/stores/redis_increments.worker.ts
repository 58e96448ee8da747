/**
 * One of several processes that increment one number in one session: `<store> <layout> <url> <key> <times> [<backoff>]`. It also
 * writes a field that only it uses. The backoff, in milliseconds, is how long Upstash's client waits before it sends a request
 * again. The default is the client's own.
 */
import { Redis as Upstash } from "@upstash/redis";
import { createClient } from "redis";
import type { SessionStore } from "../../src/core/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { upstashRedisStore } from "../../src/stores/upstash_redis.ts";
import { changing, present } from "./redis_records.ts";

const [name = "", layoutName = "", url = "", key = "", times = "", backoff] = process.argv.slice(2);
const layout = layoutName === "hash" ? "hash" : "value";

const redis = () =>
  createClient({ url })
    .on("error", () => {})
    .connect();
const retry = backoff === undefined ? {} : { retry: { backoff: () => Number(backoff) } };

const opened: Record<string, () => SessionStore> = {
  redis: () => redisStore(redis, { layout }),
  upstash: () => upstashRedisStore(new Upstash({ url, token: "token-of-the-test", ...retry }), { layout }),
};
const store = opened[name]?.();
if (store === undefined) throw new Error(`There is no store ${name}`);

const own = `=own-${process.pid}`;
let owned = 0;
while (owned < Number(times)) {
  const found = await present(store, key);
  // A write that was sent twice may get a conflict although it was done. The process's own field tells.
  owned = Number(found.fields.get(own) ?? 0);
  if (owned === Number(times)) break;
  const count = String(Number(found.fields.get("=count")) + 1);
  const write = changing(
    found,
    { "=count": count, [own]: String(owned + 1) },
    { expiresAt: found.lastSeenAt + 3_600_000 },
  );
  if ((await store.save(key, write)) !== "conflict") owned++;
}
process.exit(0);
