/**
 * The engines on which contention and lists of devices are measured: how to start each, and how a process opens its store.
 *
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { openKv } from "@deno/kv";
import { createClient as createLibsql } from "@libsql/client";
import { Redis as Upstash } from "@upstash/redis";
import Memcached from "memcached";
import { createPool } from "mysql2/promise";
import pg from "pg";
import { createClient } from "redis";
import { memoryStore, type SessionStore } from "../mod.ts";
import { denoKvStore } from "../src/stores/deno_kv.ts";
import { durableObjectStore } from "../src/stores/durable_object.ts";
import { fileStore } from "../src/stores/file.ts";
import { libsqlStore } from "../src/stores/libsql.ts";
import { memcachedStore } from "../src/stores/memcached.ts";
import { mysqlStore } from "../src/stores/mysql.ts";
import { postgresStore } from "../src/stores/postgres.ts";
import { redisStore } from "../src/stores/redis.ts";
import { sqliteStore } from "../src/stores/sqlite.ts";
import { upstashRedisStore } from "../src/stores/upstash_redis.ts";
import { startMariaDb } from "../test/setup/mariadb.ts";
import { startMemcached } from "../test/setup/memcached.ts";
import { startPostgres } from "../test/setup/postgres.ts";
import { startRedis } from "../test/setup/redis.ts";
import { startUpstash } from "../test/setup/upstash.ts";
import { startValkey } from "../test/setup/valkey.ts";
import { startWorker } from "../test/setup/workerd.ts";

export type EngineName =
  | "memory"
  | "file"
  | "sqlite"
  | "libsql"
  | "postgres"
  | "mariadb"
  | "memcached"
  | "redis"
  | "redis hash"
  | "valkey"
  | "deno kv"
  | "upstash"
  | "upstash hash"
  | "durable object";

/** A running engine. */
export interface Engine {
  /** The address at which a process reaches it. */
  readonly address: string;
  readonly stop: () => Promise<void>;
}

/** A store in this process, and how to close its engine. */
export interface OpenedStore {
  readonly store: SessionStore;
  readonly close: () => unknown;
}

const TOKEN = "token-of-the-test";

const ways: Readonly<
  Record<EngineName, { start: () => Promise<Engine>; open: (address: string) => OpenedStore | Promise<OpenedStore> }>
> = {
  "memory": {
    start: async () => ({ address: "", stop: async () => {} }),
    open: () => ({ store: memoryStore(), close: () => {} }),
  },
  "file": {
    start: () => startFolder(),
    open: (address) => ({ store: fileStore({ directory: address }), close: () => {} }),
  },
  "sqlite": {
    start: () => startFolder("sessions.sqlite"),
    open(address) {
      const database = new DatabaseSync(address);
      database.exec("PRAGMA journal_mode = WAL");
      return { store: sqliteStore(database), close: () => database.close() };
    },
  },
  "libsql": {
    start: () => startFolder("sessions.sqlite"),
    async open(address) {
      const client = createLibsql({ url: `file:${address}`, timeout: 5000 });
      await client.execute("PRAGMA journal_mode = WAL");
      return { store: libsqlStore(client), close: () => client.close() };
    },
  },
  "postgres": {
    start: () => startServer(startPostgres),
    open(address) {
      const pool = new pg.Pool({ connectionString: address });
      return { store: postgresStore(pool), close: () => pool.end() };
    },
  },
  "mariadb": {
    start: () => startServer(startMariaDb),
    open(address) {
      const pool = createPool({ uri: address });
      return { store: mysqlStore(pool), close: () => pool.end() };
    },
  },
  "memcached": {
    async start() {
      const { port, stop } = await startMemcached();
      return { address: `127.0.0.1:${port}`, stop };
    },
    open(address) {
      const client = new Memcached(address);
      return { store: memcachedStore(client), close: () => client.end() };
    },
  },
  "redis": { start: () => startServer(startRedis), open: (address) => openRedis(address, "value") },
  "redis hash": { start: () => startServer(startRedis), open: (address) => openRedis(address, "hash") },
  "valkey": { start: () => startServer(startValkey), open: (address) => openRedis(address, "value") },
  "deno kv": {
    start: () => startFolder("kv.sqlite"),
    async open(address) {
      const kv = await openKv(address);
      return { store: denoKvStore(kv), close: () => kv.close() };
    },
  },
  "upstash": { start: startProxy, open: (address) => openUpstash(address, "value") },
  "upstash hash": { start: startProxy, open: (address) => openUpstash(address, "hash") },
  "durable object": {
    start: startObjects,
    open: (address) => ({
      store: durableObjectStore({
        idFromName: (key) => key,
        get: (key) => ({ fetch: (_url, init) => fetch(`${address}${String(key)}`, init) }),
      }),
      close: () => {},
    }),
  },
};

export const EVERY_ENGINE: readonly EngineName[] = Object.keys(ways) as EngineName[];

/** Starts an engine. */
export async function startEngine(name: EngineName): Promise<Engine> {
  return await ways[name].start();
}

/** Opens the store of an engine, in this process. */
export async function openStore(name: EngineName, address: string): Promise<OpenedStore> {
  return await ways[name].open(address);
}

async function startFolder(file = ""): Promise<Engine> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-bench-"));
  return { address: join(directory, file), stop: () => rm(directory, { recursive: true, force: true }) };
}

async function startServer(
  start: () => Promise<{ readonly url: string; readonly stop: () => Promise<void> }>,
): Promise<Engine> {
  const { url, stop } = await start();
  return { address: url, stop };
}

async function openRedis(url: string, layout: "value" | "hash"): Promise<OpenedStore> {
  const client = await createClient({ url })
    .on("error", () => {})
    .connect();
  return { store: redisStore(client, { layout }), close: () => client.destroy() };
}

async function startProxy(): Promise<Engine> {
  const server = await startRedis();
  const proxy = await startUpstash(server.url);
  const stop = async (): Promise<void> => {
    await proxy.stop();
    await server.stop();
  };
  return { address: proxy.url, stop };
}

function openUpstash(url: string, layout: "value" | "hash"): OpenedStore {
  return { store: upstashRedisStore(new Upstash({ url, token: TOKEN }), { layout }), close: () => {} };
}

async function startObjects(): Promise<Engine> {
  const worker = await startWorker(new URL("../test/linearizability/durable_object.worker.ts", import.meta.url), {
    host: "127.0.0.1",
    durableObjects: { SESSIONS: { className: "SessionObject", useSQLite: true } },
  });
  return { address: (await worker.ready).href, stop: () => worker.dispose() };
}
