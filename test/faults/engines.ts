import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Redis as Upstash } from "@upstash/redis";
import { createClient } from "redis";
import { memoryStore, type SessionStore } from "../../mod.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { fileStore } from "../../src/stores/file.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { sqliteStore } from "../../src/stores/sqlite.ts";
import { upstashRedisStore } from "../../src/stores/upstash_redis.ts";
import { kvSimulator } from "../../src/testing.ts";
import { startRedis } from "../setup/redis.ts";
import { startUpstash } from "../setup/upstash.ts";

/** A running engine, for many scenes. */
export interface Engine {
  /** Opens a store for one scene. */
  readonly open: (now: () => number) => Stores;
  readonly stop: () => Promise<unknown>;
}

/** One store as servers in this place see it, and as servers in another place see it. */
export interface Stores {
  readonly here: SessionStore;
  readonly elsewhere: SessionStore;
}

function alike(store: SessionStore): Stores {
  return { here: store, elsewhere: store };
}

async function inProcess(open: (now: () => number) => Stores): Promise<Engine> {
  return { open, stop: async () => {} };
}

async function startFile(): Promise<Engine> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-faults-"));
  const store = fileStore({ directory, durability: "process" });
  return { open: () => alike(store), stop: () => rm(directory, { recursive: true, force: true }) };
}

async function startHash(): Promise<Engine> {
  const server = await startRedis();
  const client = await createClient({ url: server.url })
    .on("error", () => {})
    .connect();
  const store = redisStore(client, { layout: "hash" });
  return { open: () => alike(store), stop: async () => (client.destroy(), await server.stop()) };
}

async function startUpstashHash(): Promise<Engine> {
  const server = await startRedis();
  const proxy = await startUpstash(server.url);
  const client = new Upstash({ url: proxy.url, token: proxy.token, enableTelemetry: false });
  const store = upstashRedisStore(client, { layout: "hash" });
  return { open: () => alike(store), stop: async () => (await proxy.stop(), await server.stop()) };
}

/** Starts an engine. All are real except the last one. */
export const engines: Readonly<Record<string, () => Promise<Engine>>> = {
  "memory": () => inProcess(() => alike(memoryStore())),
  "file": startFile,
  "SQLite": async () => {
    const store = sqliteStore(new DatabaseSync(":memory:"));
    return await inProcess(() => alike(store));
  },
  "Redis, a hash": startHash,
  "Upstash, a hash": startUpstashHash,
  "Workers KV, simulated": () =>
    inProcess((now) => {
      const kv = kvSimulator({ now, delay: 30, deleteDelay: 30 });
      return { here: cloudflareKvStore(kv.at("here")), elsewhere: cloudflareKvStore(kv.at("elsewhere")) };
    }),
};
