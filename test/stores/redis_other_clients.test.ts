/**
 * The oldest supported node-redis, the last ioredis whose `call` ignores the prefix and the slots, the newest ioredis, and
 * the real client of Valkey GLIDE.
 */
import { GlideClient, GlideClusterClient, Logger } from "@valkey/valkey-glide";
import { Cluster, Redis } from "ioredis-5-8";
import { Cluster as Cluster6, Redis as Redis6 } from "ioredis-6";
import { createClient, createCluster } from "redis-5-0";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { type RedisClient, redisStore } from "../../src/stores/redis.ts";
import { storeCases } from "../../src/testing/store_cases.ts";
import { type RedisCluster, type RedisServer, startRedis, startRedisCluster } from "../setup/redis.ts";
import { PATIENCE } from "../setup/sessions.ts";
import { creation, increment, key, layouts, now, saved } from "./redis_records.ts";

let server: RedisServer;
let cluster: RedisCluster;
beforeAll(async () => {
  // The client logs a warning each time that a server does not know a script yet.
  Logger.init("off");
  [server, cluster] = await Promise.all([startRedis(), startRedisCluster()]);
});
afterAll(async () => {
  await Promise.all([server.stop(), cluster.stop()]);
});

interface Opened {
  readonly client: RedisClient;
  close(): unknown;
}

const node = () => ({ host: "127.0.0.1", port: server.port });
const firstNode = () => ({ host: "127.0.0.1", port: cluster.nodes[0]?.port ?? 0 });
const opened: Record<string, () => Promise<Opened>> = {
  "node-redis 5.0": async () => {
    const client = createClient({ url: server.url }).on("error", () => {});
    await client.connect();
    return { client, close: () => client.destroy() };
  },
  "createCluster() of node-redis 5.0": async () => {
    const client = createCluster({ rootNodes: [{ socket: firstNode() }] }).on("error", () => {});
    await client.connect();
    return { client, close: () => client.destroy() };
  },
  "ioredis 5.8": async () => {
    const client = new Redis(server.url);
    return { client, close: () => client.disconnect() };
  },
  "Cluster of ioredis 5.8": async () => {
    const client = new Cluster([firstNode()]);
    return { client, close: () => client.disconnect() };
  },
  "ioredis 6": async () => {
    const client = new Redis6(server.url);
    return { client, close: () => client.disconnect() };
  },
  "Cluster of ioredis 6": async () => {
    const client = new Cluster6([firstNode()]);
    return { client, close: () => client.disconnect() };
  },
  "GLIDE": async () => {
    const client = await GlideClient.createClient({ addresses: [node()], requestTimeout: PATIENCE * 1000 });
    return { client, close: () => client.close() };
  },
  "the cluster client of GLIDE": async () => {
    const client = await GlideClusterClient.createClient({ addresses: [firstNode()], requestTimeout: PATIENCE * 1000 });
    return { client, close: () => client.close() };
  },
};

for (const [name, open] of Object.entries(opened)) {
  describe(`redisStore() on ${name}`, () => {
    let shared: Opened;
    beforeAll(async () => {
      shared = await open();
    });
    afterAll(() => void shared.close());
    const own = name.replaceAll(" ", "-");
    for (const layout of layouts) {
      for (const { name: what, run } of storeCases()) {
        test(`${what}: layout ${layout}`, () =>
          run(() => ({
            store: redisStore(shared.client, { layout, prefix: `${own}-${layout}:` }),
            neighbour: redisStore(shared.client, { layout, prefix: `other-${own}-${layout}:` }),
          })));
      }
    }
  });
}

test.each([
  ["5.8", () => new Redis(server.url, { keyPrefix: "app:" })],
  ["6", () => new Redis6(server.url, { keyPrefix: "app:" })],
])("redisStore() puts the keyPrefix of ioredis %s before its own", async (version, connect) => {
  const client = connect();
  const plain = new Redis(server.url);
  try {
    for (const layout of layouts) {
      const store = redisStore(client, { layout, prefix: `prefixed-${version}-${layout}:` });
      await saved(store, creation({ "=count": "0" }));
      expect(await increment(store)).toBe(true);
      expect(await plain.keys(`*prefixed-${version}-${layout}:*`)).toEqual([
        `app:prefixed-${version}-${layout}:${key}`,
      ]);
    }
  } finally {
    client.disconnect();
    plain.disconnect();
  }
});

test.each([
  ["5.8", () => new Cluster([firstNode()])],
  ["6", () => new Cluster6([firstNode()])],
])(
  "redisStore() sends each command of a Cluster of ioredis %s to the node that has the key",
  async (version, connect) => {
    const client = connect();
    const nodes = cluster.nodes.map(({ url }) => new Redis(url));
    const moved = async () => {
      let sum = 0;
      for (const each of nodes)
        sum += Number(/errorstat_MOVED:count=(\d+)/.exec(await each.info("errorstats"))?.[1] ?? 0);
      return sum;
    };
    try {
      const before = await moved();
      for (const layout of layouts) {
        const store = redisStore(client, { layout, prefix: `moved-${version}-${layout}:` });
        for (let i = 0; i < 30; i++) {
          const at = String(i).padStart(64, "0");
          await saved(store, creation({ "=count": "0" }, now + 3_600_000), at);
          expect(await increment(store, at)).toBe(true);
        }
      }
      expect(await moved()).toBe(before);
    } finally {
      client.disconnect();
      for (const each of nodes) each.disconnect();
    }
  },
);

test("redisStore() opens another client of GLIDE when the first was closed", async () => {
  const clients: GlideClient[] = [];
  const store = redisStore(async () => {
    const client = await GlideClient.createClient({ addresses: [node()], requestTimeout: PATIENCE * 1000 });
    clients.push(client);
    return client;
  });
  await saved(store, creation({ "=count": "0" }));
  clients[0]?.close();
  expect(await increment(store)).toBe(true);
  expect(clients).toHaveLength(2);
  clients[1]?.close();
});

test("RedisClient is what these clients are", () => {
  expectTypeOf<ReturnType<typeof createClient>>().toExtend<RedisClient>();
  expectTypeOf<ReturnType<typeof createCluster>>().toExtend<RedisClient>();
  expectTypeOf<Redis>().toExtend<RedisClient>();
  expectTypeOf<Cluster>().toExtend<RedisClient>();
  expectTypeOf<Redis6>().toExtend<RedisClient>();
  expectTypeOf<Cluster6>().toExtend<RedisClient>();
  expectTypeOf<GlideClient>().toExtend<RedisClient>();
  expectTypeOf<GlideClusterClient>().toExtend<RedisClient>();
});
