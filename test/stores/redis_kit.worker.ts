/** Runs the kit on both layouts with the runtime's own client of Redis, in Bun or in Deno: `<url>`. */
import process from "node:process";
import { type RedisClient, redisStore } from "../../src/stores/redis.ts";
import { storeCases } from "../../src/testing/store_cases.ts";
import { layouts } from "./redis_records.ts";

const url = process.argv[2] ?? "";

async function open(): Promise<RedisClient> {
  if (!("Bun" in globalThis)) {
    const { createClient } = await import("redis");
    return await createClient({ url })
      .on("error", () => {})
      .connect();
  }
  const bun = "bun";
  const { RedisClient: BunClient }: { RedisClient: new (url: string) => RedisClient } = await import(bun);
  return new BunClient(url);
}

const client = await open();
let passed = 0;
for (const layout of layouts) {
  const opened = {
    store: redisStore(client, { layout, prefix: `${layout}:` }),
    neighbour: redisStore(client, { layout, prefix: `another-${layout}:` }),
  };
  for (const { name, run } of storeCases()) {
    try {
      await run(() => opened);
      passed++;
    } catch (error) {
      console.error(`${layout}: ${name}: ${error}`);
      process.exit(1);
    }
  }
}
console.log(`${passed} passed`);
process.exit(0);
