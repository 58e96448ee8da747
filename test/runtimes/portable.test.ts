import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Kv, openKv } from "@deno/kv";
import { Redis as Upstash } from "@upstash/redis";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { createStorage } from "unstorage";
import fsDriver from "unstorage/drivers/fs";
import { afterAll, beforeAll, describe, test } from "vitest";
import * as lib from "../../mod.ts";
import { cookieStore } from "../../src/stores/cookie.ts";
import { denoKvStore } from "../../src/stores/deno_kv.ts";
import { redisHashStore, redisStore } from "../../src/stores/redis.ts";
import { upstashRedisHashStore, upstashRedisStore } from "../../src/stores/upstash_redis.ts";
import { unstorageStore } from "../../src/stores/unstorage.ts";
import { type RedisServer, startRedis } from "../setup/redis.ts";
import { startUpstash, type Upstash as UpstashServer } from "../setup/upstash.ts";
import { portableCases } from "./cases.ts";

// The suite that runs in every runtime, here on every engine that Node talks to.
let server: RedisServer;
let proxy: UpstashServer;
let directory: string;
let kv: Kv;
let nodeRedis: ReturnType<typeof createClient>;
let ioredis: Redis;
let upstash: Upstash;

beforeAll(async () => {
  server = await startRedis();
  proxy = await startUpstash(server.url);
  directory = await mkdtemp(join(tmpdir(), "with-session-portable-"));
  kv = await openKv(join(directory, "kv.sqlite"));
  nodeRedis = createClient({ url: server.url });
  await nodeRedis.connect();
  ioredis = new Redis(server.url);
  upstash = new Upstash({ url: proxy.url, token: proxy.token });
});

afterAll(async () => {
  nodeRedis.destroy();
  ioredis.disconnect();
  await proxy.stop();
  await server.stop();
  kv.close();
  await rm(directory, { recursive: true });
});

describe("portableCases()", () => {
  const stores = {
    "Deno KV": () => denoKvStore(kv),
    "Redis": () => redisStore(nodeRedis),
    "Redis hash": () => redisHashStore(nodeRedis),
    "Redis, ioredis": () => redisStore(ioredis),
    "Redis hash, ioredis": () => redisHashStore(ioredis),
    "unstorage": () => unstorageStore(createStorage()),
    "unstorage, fs": () => unstorageStore(createStorage({ driver: fsDriver({ base: join(directory, "fs") }) })),
    "Upstash": () => upstashRedisStore(upstash),
    "Upstash hash": () => upstashRedisHashStore(upstash),
  };
  for (const { name, run } of portableCases({ ...lib, cookieStore, stores })) test(name, run);
});
