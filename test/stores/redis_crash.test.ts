import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SessionStore } from "../../src/core/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { type RedisServer, startRedis } from "../setup/redis.ts";
import { changing, creation, fieldsOf, key, layouts, now, present, saved } from "./redis_records.ts";

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

function connected(url: string) {
  return createClient({ url })
    .on("error", () => {})
    .connect();
}

for (const layout of layouts) {
  test(`redisStore() in the layout ${layout} is counted right by four processes that increment one number 250 times each`, async () => {
    const client = await connected(server.url);
    try {
      await client.flushAll();
      const store = redisStore(client, { layout });
      await saved(store, creation({ "=count": "0" }, now + 3_600_000));
      const args = [`${import.meta.dirname}/redis_increments.worker.ts`, "redis", layout, server.url, key, "250"];
      await Promise.all([1, 2, 3, 4].map(() => promisify(execFile)(process.execPath, args)));
      const { "=count": count, ...own } = fieldsOf(await present(store));
      expect(count).toBe("1000");
      expect(Object.values(own)).toEqual(["250", "250", "250", "250"]);
    } finally {
      client.destroy();
    }
  });
}

test("redisStore() loses no acknowledged write when Redis is killed in mid-run and comes back", async () => {
  const durable = await startRedis({ durable: true });
  const nodeRedis = await connected(durable.url);
  const ioredis = new Redis(durable.url, { retryStrategy: () => 20 }).on("error", () => {});
  try {
    for (const layout of layouts) {
      const stores = [nodeRedis, ioredis, nodeRedis, ioredis].map((client) =>
        redisStore(client, { layout, prefix: `${layout}:` }),
      );
      await saved(
        redisStore(nodeRedis, { layout, prefix: `${layout}:` }),
        creation({ "=count": "0" }, now + 3_600_000),
      );
      const acknowledged = stores.map(() => 0);
      const total = () => acknowledged.reduce((sum, count) => sum + count, 0);
      let restarted: Promise<void> | undefined;
      const write = async (store: SessionStore, writer: number) => {
        while (total() < 200) {
          if (total() >= 100) restarted ??= durable.restart();
          try {
            const found = await present(store);
            const next = (name: string) => String(Number(found.fields.get(name) ?? 0) + 1);
            const changes = { "=count": next("=count"), [`=by-${writer}`]: next(`=by-${writer}`) };
            const answer = await store.save(key, changing(found, changes, { expiresAt: now + 3_600_000 }));
            if (answer !== "conflict") acknowledged[writer] = (acknowledged[writer] ?? 0) + 1;
          } catch (error) {
            // Errors of the client about a lost connection are expected. A lost record is not.
            if (error instanceof Error && error.message === "There is no record") throw error;
          }
        }
      };
      await Promise.all(stores.map(write));
      await restarted;
      const { "=count": count, ...own } = fieldsOf(
        await present(redisStore(nodeRedis, { layout, prefix: `${layout}:` })),
      );
      // A write whose answer was lost may have been done, but never in part.
      expect(Object.values(own).reduce((sum, done) => sum + Number(done), 0)).toBe(Number(count));
      for (const [writer, done] of acknowledged.entries())
        expect(Number(own[`=by-${writer}`] ?? 0)).toBeGreaterThanOrEqual(done);
    }
  } finally {
    nodeRedis.destroy();
    ioredis.disconnect();
    await durable.stop();
  }
});

describe("redisStore() on a server that is full", () => {
  const policies = { "allkeys-lru": true, "volatile-ttl": false } as const;
  for (const [policy, takesAll] of Object.entries(policies)) {
    for (const layout of layouts) {
      test(`${policy} removes whole sessions, which are missing then and never half there: layout ${layout}`, async () => {
        const full = await startRedis({ args: ["--maxmemory", "4mb", "--maxmemory-policy", policy] });
        const client = await connected(full.url);
        try {
          const store = redisStore(client, { layout });
          await client.set("no session", "x");
          const data = { "=a": "a".repeat(5000), "=b": "b".repeat(5000) };
          const keys = Array.from({ length: 600 }, (_, i) => String(i).padStart(64, "0"));
          for (const [at, name] of keys.entries()) {
            await saved(store, creation(data, now + 1_000_000 + at * 1000), name);
          }
          let evicted = 0;
          for (const name of keys) {
            const found = await store.load(name);
            if (found === null) evicted++;
            else expect(fieldsOf(found)).toEqual(data);
          }
          expect(evicted).toBeGreaterThan(100);
          expect(Number(/evicted_keys:(\d+)/.exec(await client.info("stats"))?.[1])).toBeGreaterThanOrEqual(evicted);
          if (!takesAll) expect(await client.get("no session")).toBe("x");
          // A request that had loaded a session before its eviction must not bring back a part of it.
          for (const name of keys) {
            if ((await client.exists(`session:${name}`)) === 1) continue;
            const found = { fields: new Map(Object.entries(data)), lastSeenAt: now, version: "write-0000000000.0" };
            expect(await store.save(name, changing(found, { "=count": "2" }))).toBe("conflict");
            expect(await client.exists(`session:${name}`)).toBe(0);
          }
        } finally {
          client.destroy();
          await full.stop();
        }
      });
    }
  }

  test("noeviction refuses writes, and lets sessions be read and ended", async () => {
    const full = await startRedis({ args: ["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"] });
    const client = await connected(full.url);
    try {
      for (const layout of layouts) {
        const store = redisStore(client, { layout, prefix: `${layout}:` });
        const keys: string[] = [];
        const fill = async () => {
          for (let at = 0; at < 2000; at++) {
            const name = String(at).padStart(64, "0");
            await saved(store, creation({ "=a": "x".repeat(10_000) }, now + 1_000_000), name);
            keys.push(name);
          }
        };
        await expect(fill()).rejects.toThrow(/^OOM/);
        expect(keys.length).toBeGreaterThan(10);
        for (const name of keys) expect(await store.delete(name, (await present(store, name)).version)).toBeUndefined();
        await saved(store, creation({ "=a": "1" }, now + 1_000_000), keys[0]);
      }
    } finally {
      client.destroy();
      await full.stop();
    }
  });
});
