import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { openKv } from "@deno/kv";
import { Redis as Upstash } from "@upstash/redis";
import pg from "pg";
import { createClient } from "redis";
import { createStorage } from "unstorage";
import { memoryStore, type SessionStore } from "../../mod.ts";
import { type CloudflareKvNamespace, cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { denoKvStore } from "../../src/stores/deno_kv.ts";
import { durableObjectStore, type SessionObjectNamespace } from "../../src/stores/durable_object.ts";
import { fileStore } from "../../src/stores/file.ts";
import { postgresStore } from "../../src/stores/postgres.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { sqliteStore } from "../../src/stores/sqlite.ts";
import { unstorageStore } from "../../src/stores/unstorage.ts";
import { upstashRedisStore } from "../../src/stores/upstash_redis.ts";
import { startPostgres } from "../setup/postgres.ts";
import { startRedis } from "../setup/redis.ts";
import { startUpstash } from "../setup/upstash.ts";
import { startWorker } from "../setup/workerd.ts";

export interface Engine {
  readonly store: SessionStore;
  readonly stop: () => Promise<unknown>;
}

async function startFile(): Promise<Engine> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-users-"));
  return { store: fileStore({ directory }), stop: () => rm(directory, { recursive: true, force: true }) };
}

async function startRedisEngine(layout: "value" | "hash"): Promise<Engine> {
  const server = await startRedis();
  const client = await createClient({ url: server.url })
    .on("error", () => {})
    .connect();
  return { store: redisStore(client, { layout }), stop: async () => (client.destroy(), await server.stop()) };
}

async function startUpstashEngine(): Promise<Engine> {
  const server = await startRedis();
  const proxy = await startUpstash(server.url);
  const store = upstashRedisStore(new Upstash({ url: proxy.url, token: proxy.token, enableTelemetry: false }));
  return { store, stop: async () => (await proxy.stop(), await server.stop()) };
}

async function startPostgresEngine(): Promise<Engine> {
  const server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 10 });
  pool.on("error", () => {});
  return { store: postgresStore(pool), stop: async () => (await pool.end(), await server.stop()) };
}

async function startDenoKv(): Promise<Engine> {
  const kv = await openKv(":memory:");
  return { store: denoKvStore(kv), stop: async () => kv.close() };
}

const WORKER: URL = new URL("../stores/cloudflare.worker.ts", import.meta.url);

async function startDurableObjects(): Promise<Engine> {
  const worker = await startWorker(WORKER, {
    durableObjects: { SESSIONS: { className: "SessionObject", useSQLite: true } },
  });
  const { SESSIONS } = await worker.getBindings<{ SESSIONS: SessionObjectNamespace }>();
  return { store: durableObjectStore(SESSIONS), stop: () => worker.dispose() };
}

async function startWorkersKv(): Promise<Engine> {
  const worker = await startWorker(WORKER, { kvNamespaces: ["KV"] });
  const { KV } = await worker.getBindings<{ KV: CloudflareKvNamespace }>();
  return { store: cloudflareKvStore(KV), stop: () => worker.dispose() };
}

function inProcess(store: SessionStore): Promise<Engine> {
  return Promise.resolve({ store, stop: () => Promise.resolve() });
}

/** Starts an engine. All of them are real. */
export const engines: Readonly<Record<string, () => Promise<Engine>>> = {
  "memory": () => inProcess(memoryStore()),
  "file": startFile,
  "SQLite": () => inProcess(sqliteStore(new DatabaseSync(":memory:"))),
  "PostgreSQL": startPostgresEngine,
  "Redis, one value": () => startRedisEngine("value"),
  "Redis, a hash": () => startRedisEngine("hash"),
  "Upstash": startUpstashEngine,
  "Deno KV": startDenoKv,
  "Durable Objects": startDurableObjects,
  "Workers KV": startWorkersKv,
  "unstorage": () => inProcess(unstorageStore(createStorage())),
};
