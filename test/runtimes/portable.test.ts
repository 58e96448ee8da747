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
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { crossOriginProtection } from "../../src/cross_origin.ts";
import { csrfToken, verifyCsrfToken } from "../../src/csrf.ts";
import { encryption } from "../../src/encryption.ts";
import { exclusive } from "../../src/exclusive.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { userSessions } from "../../src/user_sessions.ts";
import { denoKvStore } from "../../src/stores/deno_kv.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { upstashRedisStore } from "../../src/stores/upstash_redis.ts";
import { unstorageStore } from "../../src/stores/unstorage.ts";
import { type RedisServer, startRedis } from "../setup/redis.ts";
import { startUpstash, type Upstash as UpstashServer } from "../setup/upstash.ts";
import { portableCases } from "./cases.ts";

const capabilities = {
  cookieSessions,
  crossOriginProtection,
  csrfToken,
  encryption,
  exclusive,
  readYourWrites,
  signedIds,
  userSessions,
  verifyCsrfToken,
};

// The suite for every runtime, here on every engine that Node can use.
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
    "Redis hash": () => redisStore(nodeRedis, { layout: "hash" }),
    "Redis, ioredis": () => redisStore(ioredis),
    "Redis hash, ioredis": () => redisStore(ioredis, { layout: "hash" }),
    "unstorage": () => unstorageStore(createStorage()),
    "unstorage, fs": () => unstorageStore(createStorage({ driver: fsDriver({ base: join(directory, "fs") }) })),
    "Upstash": () => upstashRedisStore(upstash),
    "Upstash hash": () => upstashRedisStore(upstash, { layout: "hash" }),
  };
  for (const { name, run } of portableCases({ ...lib, ...capabilities, stores })) test(name, run);
});
