import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type Cluster, Redis } from "ioredis";
import { createClient, createClientPool } from "redis";
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import type { SessionStore } from "../../src/store.ts";
import { type RedisClient, redisHashStore, redisStore } from "../../src/stores/redis.ts";
import { storeCases } from "../../src/testing.ts";
import { type RedisServer, startRedis } from "../setup/redis.ts";

let server: RedisServer;
let redis: Awaited<ReturnType<typeof connected>>;

beforeAll(async () => {
  server = await startRedis();
  redis = await connected();
});
beforeEach(async () => {
  await redis.flushAll();
});
afterAll(async () => {
  redis.destroy();
  await server.stop();
});

function connected() {
  return createClient({ url: server.url })
    .on("error", () => {})
    .connect();
}

/** What Redis has been asked to do, inside scripts as well, since the statistics were last reset. */
async function commands(): Promise<Record<string, number>> {
  const lines = (await redis.info("commandstats")).matchAll(/cmdstat_([^:]+):calls=(\d+)/g);
  const counts = Array.from(lines, ([, command = "", calls]) => [command, Number(calls)] as const);
  return Object.fromEntries(counts.filter(([command]) => command !== "info" && command !== "config|resetstat"));
}

async function commandsOf(step: () => Promise<unknown>): Promise<Record<string, number>> {
  await redis.configResetStat();
  await step();
  return await commands();
}

/** A client that sends every command twice, as one does that lost the first answer. */
function repeating(client: RedisClient, between: (command: string) => Promise<unknown> = async () => {}): RedisClient {
  if (!("sendCommand" in client)) throw new TypeError("Only for node-redis");
  return {
    async sendCommand(args: string[]) {
      try {
        await client.sendCommand(args);
      } catch {
        return await client.sendCommand(args);
      }
      await between(args[0] ?? "");
      return await client.sendCommand(args);
    },
  };
}

const binaries = `${import.meta.dirname}/../../node_modules/.bin`;
const key = "0123456789abcdef".repeat(4);
const other = "fedcba9876543210".repeat(4);
const now = 1_700_000_000_000;
const later = now + 60_000;

function recordOf(fields: Record<string, string>, lastSeenAt = now) {
  return { fields: new Map(Object.entries(fields)), lastSeenAt };
}

function changeTo(fields: Record<string, string>, changed: Record<string, string | null>) {
  return { record: recordOf(fields), changed: new Map(Object.entries(changed)) };
}

async function present(store: SessionStore) {
  const loaded = await store.load(key);
  if (loaded === null) throw new Error("There is no record");
  return loaded;
}

/** What the record's head is in, in either layout. */
async function headOf(): Promise<string> {
  const isHash = (await redis.type(`session:${key}`)) === "hash";
  return String(await (isHash ? redis.hGet(`session:${key}`, "!") : redis.get(`session:${key}`)));
}

const NAMES = /(v.{8})(\d{10})/g;

async function namesKept(): Promise<string[]> {
  return (await headOf()).match(NAMES) ?? [];
}

/** Puts the record's writes some seconds back, as if that long had passed. */
async function ageWrites(seconds: number): Promise<void> {
  const isHash = (await redis.type(`session:${key}`)) === "hash";
  const head = (await headOf()).replace(NAMES, (_, name, second) => `${name}${Number(second) - seconds}`);
  await (isHash ? redis.hSet(`session:${key}`, "!", head) : redis.set(`session:${key}`, head));
}

const factories = { redisStore, redisHashStore };

for (const [name, factory] of Object.entries(factories)) {
  const clients: Record<string, () => Promise<{ client: RedisClient; close: () => void }>> = {
    "node-redis": async () => {
      const client = await connected();
      return { client, close: () => client.isOpen && client.destroy() };
    },
    "ioredis": async () => {
      const client = new Redis(server.url);
      return { client, close: () => client.disconnect() };
    },
    "a node-redis pool": async () => {
      const client = createClientPool({ url: server.url }).on("error", () => {});
      await client.connect();
      return { client, close: () => client.isOpen && client.destroy() };
    },
    "a client that sends everything twice": async () => {
      const client = await connected();
      return { client: repeating(client), close: () => client.isOpen && client.destroy() };
    },
  };
  for (const [clientName, open] of Object.entries(clients)) {
    describe(`${name}() on ${clientName}`, () => {
      for (const { name: what, run } of storeCases()) {
        test(what, () =>
          run(async () => {
            const { client, close } = await open();
            return { store: factory(client), neighbour: factory(client, { prefix: "other:" }), fail: close, close };
          }),
        );
      }
    });
  }

  describe(`${name}()`, () => {
    test("asks for a client when a session is first used, and once", async () => {
      let asked = 0;
      const store = factory(async () => {
        asked++;
        return redis;
      });
      expect(asked).toBe(0);
      await Promise.all([store.load(key), store.load(other)]);
      await store.load(key);
      expect(asked).toBe(1);
    });

    test("asks again for a client when the first could not be had", async () => {
      let asked = 0;
      const store = factory(() => {
        if (++asked === 1) throw new Error("no connection");
        return redis;
      });
      await expect(store.load(key)).rejects.toThrow("no connection");
      expect(await store.load(key)).toBeNull();
      expect(asked).toBe(2);
    });

    test("throws a TypeError when given what is no client", async () => {
      // @ts-expect-error An empty object is no client.
      expect(() => factory({})).toThrow(TypeError);
      // @ts-expect-error Nor is nothing.
      expect(() => factory(undefined)).toThrow(TypeError);
      // @ts-expect-error Nor is what this function gives.
      const store = factory(() => ({}));
      await expect(store.load(key)).rejects.toThrow(TypeError);
    });

    test("keeps each record under the prefix, for as long as it lives", async () => {
      await factory(redis).create(key, recordOf({ "=a": "1" }), later);
      await factory(redis, { prefix: "shop:" }).create(key, recordOf({ "=a": "1" }), later + 60_000);
      expect((await redis.keys("*")).toSorted()).toEqual([`session:${key}`, `shop:${key}`]);
      expect(await redis.pTTL(`session:${key}`)).toSatisfy((ttl: number) => ttl > 50_000 && ttl <= 60_000);
      expect(await redis.pTTL(`shop:${key}`)).toSatisfy((ttl: number) => ttl > 110_000 && ttl <= 120_000);
    });

    test("moves the expiry with every change and every touch", async () => {
      const store = factory(redis);
      const version = await store.create(key, recordOf({ "=a": "1" }), later);
      await store.change(key, changeTo({ "=a": "2" }, { "=a": "2" }), version, now + 300_000);
      expect(await redis.pTTL(`session:${key}`)).toBeGreaterThan(250_000);
      await store.touch(key, now + 1000, now + 901_000, await present(store));
      expect(await redis.pTTL(`session:${key}`)).toBeGreaterThan(850_000);
    });

    test("writes no record without an expiry, and none that lives for ever, when its life is over already", async () => {
      const store = factory(redis);
      await store.create(key, recordOf({ "=a": "1" }, later), now);
      await expect.poll(() => redis.exists(`session:${key}`)).toBe(0);
    });

    test("answers gone and leaves no part when the record expires between load and write", async () => {
      const store = factory(redis);
      await store.create(key, recordOf({ "=a": "1", "=b": "2" }), later);
      const loaded = await present(store);
      await redis.pExpire(`session:${key}`, 1);
      await expect.poll(() => redis.exists(`session:${key}`)).toBe(0);
      expect(await store.change(key, changeTo({ "=a": "1", "=b": "3" }, { "=b": "3" }), loaded.version, later)).toBe(
        "gone",
      );
      expect(await store.touch(key, later, later + 60_000, loaded)).toBe(false);
      expect(await redis.exists(`session:${key}`)).toBe(0);
    });

    test("runs its scripts again when Redis has forgotten them", async () => {
      const store = factory(redis);
      const version = await store.create(key, recordOf({ "=a": "1" }), later);
      await redis.scriptFlush();
      const change = changeTo({ "=a": "2" }, { "=a": "2" });
      expect(await store.change(key, change, version, later)).toMatch(/^v/);
      const again = await commandsOf(async () => store.touch(key, later, later + 1000, await present(store)));
      expect(again["evalsha"]).toBe(1);
      expect((await present(store)).fields.get("=a")).toBe("2");
    });

    test("takes what is not its own for a corrupt record and never overwrites it", async () => {
      const store = factory(redis);
      const put: Record<string, () => Promise<unknown>> = {
        "string": () => redis.set(`session:${key}`, "v1 something else"),
        "string like a head": () => redis.set(`session:${key}`, "!now v123456781700000000 [0,{}]"),
        "part of a head": () => redis.set(`session:${key}`, "!1700000000000 v1234567"),
        "empty string": () => redis.set(`session:${key}`, ""),
        "list": () => redis.rPush(`session:${key}`, ["a", "b"]),
        "hash": () => redis.hSet(`session:${key}`, { "a": "1", "!": "x" }),
        "set": () => redis.sAdd(`session:${key}`, "a"),
      };
      for (const [what, step] of Object.entries(put)) {
        await redis.flushAll();
        await step();
        const before = await redis.dump(`session:${key}`);
        const loaded = await present(store);
        expect.soft(loaded.fields.size, what).toBe(0);
        expect.soft(await store.create(key, recordOf({ "=a": "1" }), later), what).toBe("taken");
        const change = changeTo({ "=a": "1" }, { "=a": "1" });
        expect.soft(await store.change(key, change, loaded.version, later), what).toBe("conflict");
        expect.soft(await store.touch(key, now, later, loaded), what).toBe("conflict");
        expect.soft(await store.delete(key, "v12345678"), what).toBe("conflict");
        expect.soft(await redis.dump(`session:${key}`), what).toEqual(before);
        expect.soft(await store.delete(key, loaded.version), what).toBeUndefined();
        expect.soft(await redis.exists(`session:${key}`), what).toBe(0);
      }
    });

    test("does a write once when the client sends it again", async () => {
      const plain = factory(redis);
      const count = async () => Number((await present(plain)).fields.get("=count"));
      const increment = async (store: SessionStore) => {
        const { fields, version } = await present(plain);
        const next = String(Number(fields.get("=count")) + 1);
        const record = recordOf({ ...Object.fromEntries(fields), "=count": next });
        return await store.change(key, { record, changed: new Map([["=count", next]]) }, version, later);
      };
      const created = await factory(repeating(redis)).create(key, recordOf({ "=count": "0" }), later);
      expect((await present(plain)).version).toBe(created);

      expect(await increment(factory(repeating(redis)))).toBe((await present(plain)).version);
      expect(await count()).toBe(1);
    });

    test("does a write once when the client sends it again after two hundred others", async () => {
      const plain = factory(redis);
      const count = async () => Number((await present(plain)).fields.get("=count"));
      const increment = async (store: SessionStore) => {
        const { fields, version } = await present(plain);
        const next = { "=count": String(Number(fields.get("=count")) + 1) };
        return await store.change(key, changeTo(next, next), version, later);
      };
      const interrupted = factory(
        repeating(redis, async () => {
          for (let i = 0; i < 200; i++) await increment(plain);
        }),
      );

      expect(await interrupted.create(key, recordOf({ "=count": "0" }), later)).toMatch(/^v/);
      expect(await count()).toBe(200);

      expect(await increment(interrupted)).toMatch(/^v/);
      expect(await count()).toBe(401);

      expect(await interrupted.touch(key, now - 1, later, await present(plain))).toBe(true);
      expect(await present(plain)).toMatchObject({ fields: new Map([["=count", "601"]]), lastSeenAt: now });
    });

    test("keeps the names of the writes of ten seconds, and of 256 at most", async () => {
      const store = factory(redis);
      const record = { ...recordOf({ "=a": "1" }), version: "" };
      const touch = () => store.touch(key, now, later, record);
      await store.create(key, record, later);
      await touch();
      await ageWrites(5);
      await touch();
      expect(await namesKept()).toHaveLength(3);
      // Now the first two are 11 seconds old, and the third is 6.
      await ageWrites(6);
      await touch();
      expect(await namesKept()).toHaveLength(2);
      await Promise.all(Array.from({ length: 300 }, touch));
      expect(await namesKept()).toHaveLength(256);
      await ageWrites(11);
      await touch();
      expect(await namesKept()).toHaveLength(1);
      expect((await present(store)).fields).toEqual(record.fields);
    });

    test("does a write once, and keeps 256 names, when Redis does not let a script ask for the time", async () => {
      const store = factory(repeating(redis));
      await redis.sendCommand(["ACL", "SETUSER", "default", "-time"]);
      try {
        const version = await store.create(key, recordOf({ "=a": "1" }), later);
        expect(await store.change(key, changeTo({ "=a": "2" }, { "=a": "2" }), version, later)).toMatch(/^v/);
        await Promise.all(Array.from({ length: 300 }, () => store.touch(key, now, later)));
        expect(await namesKept()).toHaveLength(256);
        expect((await present(store)).fields.get("=a")).toBe("2");
      } finally {
        await redis.sendCommand(["ACL", "SETUSER", "default", "+time"]);
      }
    });

    test("still loads and ends sessions when Redis has no memory left", async () => {
      const store = factory(redis);
      const version = await store.create(key, recordOf({ "=a": "1", "=b": "2" }), later);
      await redis.configSet("maxmemory", "1");
      try {
        const change = changeTo({ "=a": "2" }, { "=a": "2", "=b": null });
        await expect(store.change(key, change, version, later)).rejects.toThrow();
        await expect(store.create(other, recordOf({ "=a": "1" }), later)).rejects.toThrow();
        expect(await present(store)).toEqual({ ...recordOf({ "=a": "1", "=b": "2" }), version });
        expect(await store.delete(key, version)).toBeUndefined();
      } finally {
        await redis.configSet("maxmemory", "0");
      }
      expect(await redis.keys("*")).toEqual([]);
    });

    test("is counted right by four processes that increment one number 250 times each", async () => {
      await factory(redis).create(key, recordOf({ "=count": "0" }), now + 3_600_000);
      const args = [`${import.meta.dirname}/redis_increments.worker.ts`, name, server.url, key, "250"];
      await Promise.all([1, 2, 3, 4].map(() => promisify(execFile)(process.execPath, args)));
      const { fields } = await present(factory(redis));
      expect(fields.get("=count")).toBe("1000");
      expect(Array.from(fields.values()).toSorted()).toEqual(["1000", "250", "250", "250", "250"]);
    }, 60_000);
  });
}

test("redisStore() and redisHashStore() lose no acknowledged write when Redis is killed and comes back", async () => {
  const durable = await startRedis({ durable: true });
  const nodeRedis = await createClient({ url: durable.url })
    .on("error", () => {})
    .connect();
  const ioredis = new Redis(durable.url, { retryStrategy: () => 20 }).on("error", () => {});
  const clients = [nodeRedis, ioredis];
  try {
    for (const [name, factory] of Object.entries(factories)) {
      const stores = clients.map((client) => factory(client, { prefix: `${name}:` }));
      await stores[0]?.create(key, recordOf({ "=count": "0" }), now + 3_600_000);
      let acknowledged = 0;
      let failed = 0;
      let restarted: Promise<void> | undefined;
      const write = async (store: SessionStore) => {
        while (acknowledged < 200) {
          if (acknowledged === 100) restarted ??= durable.restart();
          try {
            const { fields, version } = await present(store);
            const next = String(Number(fields.get("=count")) + 1);
            const change = changeTo({ "=count": next }, { "=count": next });
            const answer = await store.change(key, change, version, now + 3_600_000);
            expect(answer).not.toBe("gone");
            if (answer !== "conflict") acknowledged++;
          } catch (error) {
            if (error instanceof Error && error.message === "There is no record") throw error;
            failed++;
          }
        }
      };
      await Promise.all([...stores, ...stores].map(write));
      await restarted;
      const count = Number((await present(stores[0] ?? redisStore(redis))).fields.get("=count"));
      expect(count).toBeGreaterThanOrEqual(acknowledged);
      expect(count).toBeLessThanOrEqual(acknowledged + failed);
    }
  } finally {
    nodeRedis.destroy();
    ioredis.disconnect();
    await durable.stop();
  }
}, 60_000);

test("[22] redisStore() does each operation in one command", async () => {
  const store = redisStore(redis);
  const record = recordOf({ "=a": "1", "=b": "2" });
  // The first time, each script is sent as text.
  const warm = await store.create(other, record, later);
  await store.touch(other, now, later, { ...record, version: warm });
  await store.change(other, changeTo({ "=a": "1" }, { "=b": null }), warm, later);
  await store.delete(other, warm);

  expect(await commandsOf(() => store.load(key))).toEqual({ get: 1 });
  expect(await commandsOf(() => store.create(key, record, later))).toEqual({ evalsha: 1, type: 1, time: 1, set: 1 });
  const loaded = await present(store);
  expect(
    await commandsOf(() => store.change(key, changeTo({ "=a": "1" }, { "=b": null }), loaded.version, later)),
  ).toEqual({ evalsha: 1, type: 1, get: 1, time: 1, set: 1 });
  const changed = await present(store);
  expect(await commandsOf(() => store.touch(key, now, later, changed))).toEqual({
    evalsha: 1,
    type: 1,
    get: 1,
    time: 1,
    set: 1,
  });
  const { version } = await present(store);
  expect(await commandsOf(() => store.delete(key, version))).toEqual({ evalsha: 1, type: 1, get: 1, del: 1 });
  expect(await commandsOf(() => store.delete(key))).toEqual({ del: 1 });
});

test("[23] redisHashStore() does each operation in one command, and writes only the fields that changed", async () => {
  const store = redisHashStore(redis);
  const record = recordOf({ "=a": "1", "=b": "2", "=c": "3" });
  const warm = await store.create(other, record, later);
  await store.touch(other, now, later, { ...record, version: warm });
  await store.change(other, changeTo({ "=a": "1" }, { "=b": null }), warm, later);
  await store.delete(other, warm);

  expect(await commandsOf(() => store.load(key))).toEqual({ hgetall: 1 });
  expect(await commandsOf(() => store.create(key, record, later))).toEqual({
    evalsha: 1,
    type: 1,
    time: 1,
    hset: 4,
    pexpire: 1,
  });
  const loaded = await present(store);
  const change = changeTo({ "=a": "one", "=c": "3" }, { "=a": "one", "=b": null });
  expect(await commandsOf(() => store.change(key, change, loaded.version, later))).toEqual({
    evalsha: 1,
    type: 1,
    hget: 1,
    time: 1,
    hset: 2,
    hdel: 1,
    pexpire: 1,
  });
  const changed = await present(store);
  expect(await commandsOf(() => store.touch(key, now, later, changed))).toEqual({
    evalsha: 1,
    type: 1,
    hget: 1,
    time: 1,
    hset: 1,
    pexpire: 1,
  });
  const { version } = await present(store);
  expect(await commandsOf(() => store.delete(key, version))).toEqual({ evalsha: 1, type: 1, hget: 1, del: 1 });
  expect(await commandsOf(() => store.delete(key))).toEqual({ del: 1 });
});

test("[23] redisHashStore() sees and keeps a field that another program edits", async () => {
  const store = redisHashStore(redis);
  const version = await store.create(key, recordOf({ "=name": '"Ann"', "=seats": "[1]" }), later);
  await redis.hSet(`session:${key}`, { "=seats": "[2]", "=added": "[true]" });
  expect((await present(store)).fields).toEqual(
    new Map([
      ["=name", '"Ann"'],
      ["=seats", "[2]"],
      ["=added", "[true]"],
    ]),
  );
  // This request has loaded the session before the other program came, and changes another field.
  const change = changeTo({ "=name": '"Bea"', "=seats": "[1]" }, { "=name": '"Bea"' });
  expect(await store.change(key, change, version, later)).toMatch(/^v/);
  expect((await present(store)).fields).toEqual(
    new Map([
      ["=name", '"Bea"'],
      ["=seats", "[2]"],
      ["=added", "[true]"],
    ]),
  );
});

test("redisHashStore() stores a session's names and values as they are", async () => {
  await redisHashStore(redis).create(key, recordOf({ "=name": '"Ann"', "~note": "[1]", "@": "{}" }), later);
  const { "!": head, ...fields } = await redis.hGetAll(`session:${key}`);
  expect({ ...fields }).toEqual({ "=name": '"Ann"', "~note": "[1]", "@": "{}" });
  expect(head).toMatch(/^!1700000000000 v[\w+/]{8}\d{10} $/);
});

test("redisHashStore() keeps names apart when they are not all Unicode", async () => {
  const store = redisHashStore(redis);
  const fields = { "=\ud800": "high", "=\udc00": "low", "=\ufffd": "replacement", "=😀": "pair" };
  await store.create(key, recordOf(fields), later);
  expect((await present(store)).fields).toEqual(new Map(Object.entries(fields)));
});

test("redisHashStore() refuses what is too large before it asks for a client", async () => {
  const store = redisHashStore(() => {
    throw new Error("asked");
  });
  const large = "x".repeat(2 ** 26);
  const fields = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`=${i}`, large]));
  await expect(store.create(key, recordOf(fields), later)).rejects.toMatchObject({
    code: "ERR_RECORD_TOO_LARGE",
    message: expect.stringContaining(String(store.traits.maxBytes)),
  });
});

test("redisStore() and redisHashStore() pass the kit in Bun, on its own client", async () => {
  const args = [`${import.meta.dirname}/redis_kit.worker.ts`, server.url];
  const { stdout } = await promisify(execFile)(`${binaries}/bun`, args);
  expect(stdout).toBe(`${2 * storeCases().length} passed\n`);
}, 60_000);

test("redisStore() and redisHashStore() pass the kit in Deno, on npm:redis", async () => {
  const args = ["run", "--allow-all", "--no-check", `${import.meta.dirname}/redis_kit.worker.ts`, server.url];
  const { stdout } = await promisify(execFile)(`${binaries}/deno`, args);
  expect(stdout).toBe(`${2 * storeCases().length} passed\n`);
}, 60_000);

test("RedisClient is what node-redis, ioredis and Bun have", () => {
  /** As `bun-types` declares it. */
  interface BunRedisClient {
    send(command: string, args: string[]): Promise<unknown>;
  }
  expectTypeOf<ReturnType<typeof createClient>>().toExtend<RedisClient>();
  expectTypeOf<ReturnType<typeof createClientPool>>().toExtend<RedisClient>();
  expectTypeOf<Redis>().toExtend<RedisClient>();
  expectTypeOf<Cluster>().toExtend<RedisClient>();
  expectTypeOf<BunRedisClient>().toExtend<RedisClient>();
});
