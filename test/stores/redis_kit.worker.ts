/** Runs the kit on both layouts with the runtime's client of Redis, in Bun or in Deno: `<url>`. */
import process from "node:process";
import { redisHashStore, redisStore, type RedisClient } from "../../src/stores/redis.ts";
import { storeCases } from "../../src/testing.ts";

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
const stores = {
  redisStore: { store: redisStore(client), neighbour: redisStore(client, { prefix: "other:" }) },
  redisHashStore: {
    store: redisHashStore(client, { prefix: "hash:" }),
    neighbour: redisHashStore(client, { prefix: "another:" }),
  },
};
let passed = 0;
for (const [name, opened] of Object.entries(stores)) {
  for (const { name: what, run } of storeCases()) {
    try {
      await run(() => opened);
      passed++;
    } catch (error) {
      console.error(`${name}: ${what}: ${error}`);
      process.exit(1);
    }
  }
}
console.log(`${passed} passed`);
process.exit(0);
