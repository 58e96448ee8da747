import { Cluster, Redis } from "ioredis";
import { createCluster, createSentinel } from "redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SessionStore } from "../../src/core/store.ts";
import { type RedisClient, redisStore } from "../../src/stores/redis.ts";
import { storeCases } from "../../src/testing/store_cases.ts";
import { type RedisCluster, type RedisSentinels, startRedisCluster, startRedisSentinels } from "../setup/redis.ts";
import { creation, fieldsOf, increment, key, layouts, now, present, saved } from "./redis_records.ts";

interface Opened {
  readonly client: RedisClient;
  close(): unknown;
}

describe("redisStore() on a cluster of three", () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());

  const firstNode = () => ({ host: "127.0.0.1", port: cluster.nodes[0]?.port ?? 0 });
  const opened: Record<string, (keyPrefix?: string) => Promise<Opened>> = {
    "createCluster() of node-redis": async (keyPrefix) => {
      const options = keyPrefix === undefined ? {} : { keyPrefix };
      const client = createCluster({ rootNodes: [{ socket: firstNode() }], ...options }).on("error", () => {});
      await client.connect();
      return { client, close: () => client.destroy() };
    },
    "Cluster of ioredis": async (keyPrefix) => {
      const client = new Cluster([firstNode()], keyPrefix === undefined ? {} : { keyPrefix });
      return { client, close: () => client.disconnect() };
    },
  };

  for (const [name, open] of Object.entries(opened)) {
    const own = name.split(" ")[2];
    describe(name, () => {
      let shared: Opened;
      beforeAll(async () => {
        shared = await open();
      });
      afterAll(() => void shared.close());

      for (const layout of layouts) {
        for (const { name: what, run } of storeCases()) {
          test(`${what}: layout ${layout}`, () =>
            run(() => ({
              store: redisStore(shared.client, { layout }),
              neighbour: redisStore(shared.client, { layout, prefix: "other:" }),
            })));
        }

        test(`sends each command to the node that has the key, layout ${layout}`, async () => {
          const store = redisStore(shared.client, { layout, prefix: `moved-${own}-${layout}:` });
          const keys = Array.from({ length: 60 }, (_, i) => String(i).padStart(64, "0"));
          await increments(store, "f".repeat(64));
          const before = await errorsOf(cluster);
          for (const at of keys) await increments(store, at);
          // MOVED and ASK count as error replies, and so does a script that a node does not know yet.
          const after = await errorsOf(cluster);
          expect(after.MOVED ?? 0).toBe(before.MOVED ?? 0);
          expect(after.CROSSSLOT ?? 0).toBe(0);
        });

        test(`puts the client's keyPrefix before the store's, layout ${layout}`, async () => {
          const { client, close } = await open("app:");
          try {
            const store = redisStore(client, { layout, prefix: `prefixed-${own}-${layout}:` });
            await increments(store, key);
            const found = await redisStore(shared.client, { layout, prefix: `app:prefixed-${own}-${layout}:` }).load(
              key,
            );
            expect(found?.fields.get("=count")).toBe("1");
            expect(
              await redisStore(shared.client, { layout, prefix: `prefixed-${own}-${layout}:` }).load(key),
            ).toBeNull();
          } finally {
            close();
          }
        });
      }
    });
  }
});

async function increments(store: SessionStore, at: string): Promise<void> {
  await saved(store, creation({ "=count": "0" }, now + 3_600_000), at);
  expect(await increment(store, at)).toBe(true);
  expect(fieldsOf(await present(store, at))).toEqual({ "=count": "1" });
}

/** The error replies of all nodes so far, by code. */
async function errorsOf(cluster: RedisCluster): Promise<Record<string, number>> {
  const sum: Record<string, number> = {};
  for (const { url } of cluster.nodes) {
    const client = new Redis(url);
    const lines = (await client.info("errorstats")).matchAll(/errorstat_(\w+):count=(\d+)/g);
    for (const [, code = "", count] of lines) sum[code] = (sum[code] ?? 0) + Number(count);
    client.disconnect();
  }
  return sum;
}

describe("redisStore() through Sentinel", () => {
  let sentinels: RedisSentinels;
  const stores: Record<string, SessionStore> = {};
  const closing: (() => unknown)[] = [];
  beforeAll(async () => {
    sentinels = await startRedisSentinels();
    const sentinel = createSentinel({
      name: sentinels.name,
      sentinelRootNodes: [...sentinels.sentinels],
      replicaPoolSize: 1,
    }).on("error", () => {});
    await sentinel.connect();
    const redis = new Redis({
      sentinels: [...sentinels.sentinels],
      name: sentinels.name,
      sentinelRetryStrategy: () => 50,
    }).on("error", () => {});
    for (const layout of layouts) {
      stores[`createSentinel() of node-redis, layout ${layout}`] = redisStore(sentinel, {
        layout,
        prefix: `node-redis-${layout}:`,
      });
      stores[`Redis of ioredis, layout ${layout}`] = redisStore(redis, { layout, prefix: `ioredis-${layout}:` });
    }
    closing.push(
      () => sentinel.destroy(),
      () => redis.disconnect(),
    );
  });
  afterAll(async () => {
    for (const close of closing) await close();
    await sentinels.stop();
  });

  test("reads and writes the primary, and goes on with the replica when the primary is lost", async () => {
    for (const store of Object.values(stores)) {
      await increments(store, key);
      // The test reads from the primary, because a replica may be behind.
      for (let i = 0; i < 20; i++) expect(await increment(store)).toBe(true);
    }
    await sentinels.synced();
    await sentinels.primary.kill();
    for (const [name, store] of Object.entries(stores)) {
      // Commands wait or fail until Sentinel has chosen a new primary.
      await expect.poll(async () => await increment(store).catch(() => false), { message: name }).toBe(true);
      expect.soft(fieldsOf(await present(store)), name).toEqual({ "=count": "22" });
    }
  });
});
