import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Cluster, Redis } from "ioredis";
import { createClient, createClientPool, createCluster, createSentinel, RESP_TYPES } from "redis";
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { isSessionError } from "../../src/core/errors.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { type RedisClient, redisStore } from "../../src/stores/redis.ts";
import { storeCases } from "../../src/testing/store_cases.ts";
import { type RedisServer, startRedis } from "../setup/redis.ts";
import {
  changing,
  creation,
  fakeClient,
  fieldsOf,
  increment,
  key,
  layouts,
  other,
  present,
  saved,
} from "./redis_records.ts";

const binaries = `${import.meta.dirname}/../../node_modules/.bin`;
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

describe("redisStore() with a function", () => {
  test("calls it when a session is first used, and once", async () => {
    let asked = 0;
    const store = redisStore(async () => {
      asked++;
      return redis;
    });
    expect(asked).toBe(0);
    await Promise.all([store.load(key), store.load(other)]);
    await store.load(key);
    expect(asked).toBe(1);
  });

  test("calls it again when the first client could not be had", async () => {
    let asked = 0;
    const store = redisStore(() => {
      if (++asked === 1) throw new Error("no connection");
      return redis;
    });
    await expect(store.load(key)).rejects.toThrow("no connection");
    expect(await store.load(key)).toBeNull();
    expect(asked).toBe(2);
  });

  const openers: Record<string, () => Promise<{ client: RedisClient; close: () => unknown }>> = {
    "node-redis": async () => {
      const client = await connected();
      return { client, close: () => client.destroy() };
    },
    "a node-redis pool": async () => {
      const client = createClientPool({ url: server.url }).on("error", () => {});
      await client.connect();
      return { client, close: () => client.destroy() };
    },
    "ioredis": async () => {
      const client = new Redis(server.url, { retryStrategy: () => null }).on("error", () => {});
      const close = async () => {
        await client.quit();
        await expect.poll(() => client.status).toBe("end");
      };
      return { client, close };
    },
  };
  for (const [name, open] of Object.entries(openers)) {
    test(`opens another client of ${name} when the first has closed for good, once for all requests`, async () => {
      const opened: (() => unknown)[] = [];
      const store = redisStore(async () => {
        const { client, close } = await open();
        opened.push(close);
        return client;
      });
      await saved(store, creation({ "=a": "1" }));
      await opened[0]?.();
      const loads = Array.from({ length: 10 }, () => store.load(key));
      for (const found of await Promise.all(loads)) expect(found?.fields.get("=a")).toBe("1");
      expect(opened).toHaveLength(2);
      await opened[1]?.();
    });
  }

  test("says that the client is closed if the function opens a closed one, and calls it again next time", async () => {
    let asked = 0;
    const store = redisStore(() => {
      asked++;
      return asked === 1 ? createClient({ url: server.url }) : redis;
    });
    await expect(store.load(key)).rejects.toThrow(/client is closed/);
    expect(await store.load(key)).toBeNull();
  });
});

test("redisStore() says that the client it was given is closed, and what to do", async () => {
  const client = await connected();
  const ioredis = new Redis(server.url);
  const never = createClient({ url: server.url }).on("error", () => {});
  const stores = [client, ioredis, never].map((each) => redisStore(each));
  await Promise.all([stores[0]?.load(key), stores[1]?.load(key)]);
  client.destroy();
  await ioredis.quit();
  await expect.poll(() => ioredis.status).toBe("end");
  for (const store of stores) {
    const error: unknown = await Promise.resolve(store.load(key)).catch((reason: unknown) => reason);
    expect.soft(isSessionError(error) && error.code).toBe("ERR_STORE");
    expect.soft(error).toMatchObject({
      message: expect.stringMatching(/client is closed; connect it first, or give redisStore\(\) a function/),
    });
  }
  // A client that connects later can be used.
  await never.connect();
  expect(await stores[2]?.load(key)).toBeNull();
  never.destroy();
});

test("redisStore() throws a TypeError when given what is no client", async () => {
  // @ts-expect-error An empty object is no client.
  expect(() => redisStore({})).toThrow(/needs a client of node-redis, ioredis, Bun or Valkey GLIDE, or a function/);
  // @ts-expect-error Nor is nothing.
  expect(() => redisStore(undefined)).toThrow(TypeError);
  // @ts-expect-error Nor is a URL.
  expect(() => redisStore("redis://localhost")).toThrow(TypeError);
  // @ts-expect-error Nor is what this function gives.
  const store = redisStore(() => ({}));
  await expect(store.load(key)).rejects.toThrow(TypeError);
});

test("redisStore() throws a TypeError for options that are wrong", () => {
  // @ts-expect-error A misspelt name.
  expect(() => redisStore(redis, { prefx: "a" })).toThrow(/did you mean prefix/);
  // @ts-expect-error No layout.
  expect(() => redisStore(redis, { layout: "json" })).toThrow(/"value" or "hash"/);
  // @ts-expect-error No prefix.
  expect(() => redisStore(redis, { prefix: 1 })).toThrow(/string as prefix/);
});

describe("redisStore() with a client that has a keyPrefix", () => {
  const opened: Record<string, (keyPrefix: string) => { client: RedisClient; close: () => void }> = {
    "node-redis": (keyPrefix) => {
      const client = createClient({ url: server.url, keyPrefix }).on("error", () => {});
      return { client, close: () => client.destroy() };
    },
    "a node-redis pool": (keyPrefix) => {
      const client = createClientPool({ url: server.url, keyPrefix }).on("error", () => {});
      return { client, close: () => client.destroy() };
    },
    "ioredis": (keyPrefix) => {
      const client = new Redis(server.url, { keyPrefix });
      return { client, close: () => client.disconnect() };
    },
  };
  for (const [name, open] of Object.entries(opened)) {
    for (const layout of layouts) {
      test(`puts it before the store's prefix: ${name}, layout ${layout}`, async () => {
        const { client, close } = open("app:");
        if ("connect" in client && "isOpen" in client && typeof client.connect === "function") await client.connect();
        try {
          const store = redisStore(client, { layout });
          await saved(store, creation({ "=count": "0" }));
          expect(await increment(store)).toBe(true);
          expect(await redis.keys("*")).toEqual([`app:session:${key}`]);
          expect(fieldsOf(await present(store))).toEqual({ "=count": "1" });
          // Another application on the same server does not see the session.
          expect(await redisStore(redis, { layout }).load(key)).toBeNull();
          expect(await store.delete(key, (await present(store)).version)).toBeUndefined();
          await saved(store, creation({ "=count": "0" }));
          await store.delete(key);
          expect(await redis.keys("*")).toEqual([]);
        } finally {
          close();
        }
      });
    }
  }
});

test("redisStore() never lets node-redis choose a replica, which may be behind", async () => {
  const asked: (string | boolean | undefined)[] = [];
  const cluster = {
    slots: [],
    async sendCommand(at: string, isReadonly: boolean, words: string[]) {
      asked.push(at, isReadonly);
      return await redis.sendCommand(words);
    },
  };
  const sentinel = {
    getMasterNode: () => undefined,
    async sendCommand(isReadonly: boolean, words: string[]) {
      asked.push(isReadonly);
      return await redis.sendCommand(words);
    },
  };
  for (const client of [cluster, sentinel]) {
    for (const layout of layouts) await usesEverything(redisStore(client, { layout }));
  }
  expect(new Set(asked)).toEqual(new Set([`session:${key}`, false]));
});

test("redisStore() refuses a Cluster that reads from replicas", () => {
  const cluster = new Cluster([{ host: "127.0.0.1", port: server.port }], { scaleReads: "slave", lazyConnect: true });
  expect(() => redisStore(cluster)).toThrow(/scaleReads is "master"/);
  expect(() =>
    redisStore(new Cluster([{ host: "127.0.0.1", port: server.port }], { lazyConnect: true })),
  ).not.toThrow();
});

describe("redisStore() understands replies", () => {
  const { BLOB_STRING, SIMPLE_STRING, NUMBER, MAP } = RESP_TYPES;
  const bytes = { [BLOB_STRING]: Buffer, [SIMPLE_STRING]: Buffer, [NUMBER]: String };
  const mappings = {
    "none": {},
    bytes,
    "bytes in maps": { ...bytes, [MAP]: Map },
    "bytes in lists": { ...bytes, [MAP]: Array },
  };
  for (const [name, typeMapping] of Object.entries(mappings)) {
    for (const RESP of [2, 3] as const) {
      for (const layout of layouts) {
        test(`of node-redis: typeMapping ${name}, RESP${RESP}, layout ${layout}`, async () => {
          const client = createClient({ url: server.url, RESP, commandOptions: { typeMapping } }).on("error", () => {});
          await client.connect();
          try {
            await usesEverything(redisStore(client, { layout }));
          } finally {
            client.destroy();
          }
        });
      }
    }
  }

  for (const layout of layouts) {
    test(`of ioredis with stringNumbers, layout ${layout}`, async () => {
      const client = new Redis(server.url, { stringNumbers: true });
      try {
        await usesEverything(redisStore(client, { layout }));
      } finally {
        client.disconnect();
      }
    });
  }

  test("of GLIDE: lists of keys and values, errors with words of its own", async () => {
    const client = {
      isClosed: false,
      async customCommand(words: string[]) {
        const reply: unknown = await redis.sendCommand(words).catch((error: Error) => {
          const message = error.message.startsWith("NOSCRIPT")
            ? "NoScriptError: No matching script."
            : "ResponseError: syntax error";
          throw new Error(`An error was signalled by the server: - ${message}`);
        });
        if (words[0] !== "HGETALL") return reply;
        return Object.entries(Object(reply)).map(([name, value]) => ({ key: name, value }));
      },
    };
    for (const layout of layouts) {
      await redis.flushAll();
      await redis.scriptFlush();
      await usesEverything(redisStore(client, { layout }));
    }
    client.isClosed = true;
    await expect(redisStore(client).load(key)).rejects.toThrow(/client is closed/);
  });

  test("of a client that has named methods besides call, or call alone", async () => {
    const client = {
      status: "ready",
      call: (command: string, args: string[]) => redis.sendCommand([command, ...args]),
    };
    await usesEverything(redisStore(client));
  });
});

/** Makes every call, with each of its outcomes. */
async function usesEverything(store: SessionStore): Promise<void> {
  expect(await store.load(key)).toBeNull();
  const first = await saved(store, creation({ "=a": "é", "=b": "2" }));
  expect(await store.save(key, creation({ "=a": "1" }))).toBe("conflict");
  const found = await present(store);
  expect(found.version).toBe(first);
  expect(fieldsOf(found)).toEqual({ "=a": "é", "=b": "2" });
  await saved(store, changing(found, { "=a": "3", "=b": null }));
  expect(await store.save(key, changing(found, { "=a": "4" }))).toBe("conflict");
  expect(fieldsOf(await present(store))).toEqual({ "=a": "3" });
  expect(await store.delete(key, first)).toBe("conflict");
  expect(await store.delete(key, (await present(store)).version)).toBeUndefined();
  expect(await store.delete(key, first)).toBeUndefined();
  expect(await store.delete(key)).toBeUndefined();
  await saved(store, creation({ "=a": "1" }));
  expect(await store.delete(key)).toBeUndefined();
  expect(await store.load(key)).toBeNull();
}

describe("redisStore() rejects when the client gives an answer without meaning", () => {
  for (const [name, answer] of Object.entries({
    undefined,
    object: {},
    ok: "ok",
    queued: "QUEUED",
    two: 2,
    true: true,
  })) {
    for (const layout of layouts) {
      test(`${name}, layout ${layout}`, async () => {
        const store = redisStore(
          fakeClient(() => answer),
          { layout },
        );
        const found = { fields: new Map(), lastSeenAt: 1, version: "write-0000000000.0" };
        await expect.soft(answers(store.save(key, creation({ "=a": "1" })))).rejects.toThrow(/without meaning/);
        await expect.soft(answers(store.save(key, changing(found, { "=a": "1" })))).rejects.toThrow(/without meaning/);
        await expect.soft(answers(store.delete(key, found.version))).rejects.toThrow(/without meaning/);
        await expect.soft(answers(store.delete(key))).rejects.toThrow(/without meaning/);
        // Any text is a value, and some clients return {} for a missing hash.
        if (typeof answer !== "string" && layout === "value" && answer !== 2) {
          await expect.soft(answers(store.load(key))).rejects.toThrow(/without meaning/);
        }
        if (typeof answer !== "object" && layout === "hash") {
          await expect.soft(answers(store.load(key))).rejects.toThrow(/without meaning/);
        }
      });
    }
  }

  test("null, where it does not say that there is nothing or that a condition was not met", async () => {
    for (const layout of layouts) {
      const store = redisStore(
        fakeClient(() => null),
        { layout },
      );
      const found = { fields: new Map(), lastSeenAt: 1, version: "write-0000000000.0" };
      await expect.soft(answers(store.save(key, changing(found, { "=a": "1" })))).rejects.toThrow(/without meaning/);
      await expect.soft(answers(store.delete(key, found.version))).rejects.toThrow(/without meaning/);
      await expect.soft(answers(store.delete(key))).rejects.toThrow(/without meaning/);
    }
    await expect
      .soft(
        answers(
          redisStore(
            fakeClient(() => null),
            { layout: "hash" },
          ).load(key),
        ),
      )
      .rejects.toThrow(/without meaning/);
  });

  async function answers<T>(value: T | Promise<T>): Promise<T> {
    return await value;
  }
});

test("redisStore() rejects with the client's own error, and sends nothing again", async () => {
  for (const message of [
    "NOAUTH Authentication required.",
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading",
    "boom",
  ]) {
    for (const layout of layouts) {
      const sent: string[] = [];
      const fails = fakeClient(([command = ""]) => {
        sent.push(command);
        throw new Error(message);
      });
      const store = redisStore(fails, { layout });
      const found = { fields: new Map(), lastSeenAt: 1, version: "write-0000000000.0" };
      const steps = [
        () => store.load(key),
        () => store.save(key, creation({ "=a": "1" })),
        () => store.save(key, changing(found, { "=a": "1" })),
        () => store.delete(key, found.version),
        () => store.delete(key),
      ];
      for (const step of steps) await expect.soft((async () => await step())()).rejects.toThrow(message);
      expect.soft(sent).toHaveLength(steps.length);
    }
  }
});

test("redisStore() passes the kit in Bun, on its own client", async () => {
  const args = [`${import.meta.dirname}/redis_kit.worker.ts`, server.url];
  const { stdout } = await promisify(execFile)(`${binaries}/bun`, args);
  expect(stdout).toBe(`${2 * storeCases().length} passed\n`);
});

test("redisStore() opens another of Bun's clients when the first was closed, and none when it only reconnects", async () => {
  const { stdout } = await promisify(execFile)(`${binaries}/bun`, [
    `${import.meta.dirname}/redis_bun.worker.ts`,
    server.url,
  ]);
  expect(JSON.parse(stdout)).toEqual({
    first: null,
    whileClosed: "rejected",
    next: null,
    opened: 2,
    afterKill: null,
    openedAfterKill: 2,
    given: "closed",
  });
});

test("redisStore() passes the kit in Deno, on npm:redis", async () => {
  const args = ["run", "--allow-all", "--no-check", `${import.meta.dirname}/redis_kit.worker.ts`, server.url];
  const { stdout } = await promisify(execFile)(`${binaries}/deno`, args);
  expect(stdout).toBe(`${2 * storeCases().length} passed\n`);
});

test("RedisClient is what node-redis, ioredis, Bun and GLIDE have", () => {
  /** As `bun-types` declares it. */
  interface BunRedisClient {
    send(command: string, args: string[]): Promise<unknown>;
  }
  /** As `@valkey/valkey-glide` declares it. */
  interface GlideClient {
    customCommand(args: (string | Buffer)[], options?: { decoder?: number }): Promise<unknown>;
  }
  expectTypeOf<ReturnType<typeof createClient>>().toExtend<RedisClient>();
  expectTypeOf<ReturnType<typeof createClientPool>>().toExtend<RedisClient>();
  expectTypeOf<ReturnType<typeof createCluster>>().toExtend<RedisClient>();
  expectTypeOf<ReturnType<typeof createSentinel>>().toExtend<RedisClient>();
  expectTypeOf<Redis>().toExtend<RedisClient>();
  expectTypeOf<Cluster>().toExtend<RedisClient>();
  expectTypeOf<BunRedisClient>().toExtend<RedisClient>();
  expectTypeOf<GlideClient>().toExtend<RedisClient>();
  expectTypeOf<{ get(key: string): Promise<string> }>().not.toExtend<RedisClient>();
});
