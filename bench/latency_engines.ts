/**
 * The engines whose latency is measured: how to start each, and how to read and write it without this library.
 *
 * @module
 */
import { once } from "node:events";
import { mkdtemp, open, readFile, rename, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { CreateTableCommand, DynamoDBClient, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { openKv } from "@deno/kv";
import { createClient as createLibsql } from "@libsql/client";
import { Redis as Upstash } from "@upstash/redis";
import dynalite from "dynalite";
import Memcached from "memcached";
import type { Miniflare } from "miniflare";
import { createPool } from "mysql2/promise";
import pg from "pg";
import { createClient } from "redis";
import { memoryStore, type SessionStore } from "../mod.ts";
import { denoKvStore } from "../src/stores/deno_kv.ts";
import { dynamoDbStore } from "../src/stores/dynamodb.ts";
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
import { type RedisServer, startRedis } from "../test/setup/redis.ts";
import { startUpstash } from "../test/setup/upstash.ts";
import { installValkey, startValkey } from "../test/setup/valkey.ts";
import { startWorker } from "../test/setup/workerd.ts";

/** A running engine. The store and the bare calls use the same client. */
export interface LatencyEngine {
  /** The store, or the address of a Worker that contains the store and the bare calls. */
  readonly subject:
    | { readonly store: SessionStore; get(key: string): unknown; set(key: string, text: string): unknown }
    | URL;
  readonly stop: () => unknown;
}

const DAY = 86_400;
const CREDENTIALS = { region: "eu-central-1", credentials: { accessKeyId: "a", secretAccessKey: "b" } };
const SELECT = "SELECT value FROM bare WHERE name = ";

/** Starts each engine, by the name of its row. */
export const LATENCY_ENGINES: Readonly<Record<string, () => Promise<LatencyEngine>>> = {
  async "Memory"() {
    const texts = new Map<string, string>();
    const subject = {
      store: memoryStore(),
      get: (key: string) => texts.get(key),
      set: (key: string, text: string) => texts.set(key, text),
    };
    return { subject, stop: () => {} };
  },

  async "File"() {
    const directory = await mkdtemp(join(tmpdir(), "with-session-latency-"));
    const subject = {
      store: fileStore({ directory: join(directory, "sessions") }),
      get: (key: string) => readFile(join(directory, key), "utf8"),
      async set(key: string, text: string) {
        // As durable as the store: after a power failure, no file is half written.
        const file = await open(join(directory, `${key}.new`), "w");
        await file.writeFile(text);
        await file.sync();
        await file.close();
        await rename(join(directory, `${key}.new`), join(directory, key));
      },
    };
    return { subject, stop: () => rm(directory, { recursive: true }) };
  },

  async "SQLite (node:sqlite)"() {
    const directory = await mkdtemp(join(tmpdir(), "with-session-latency-"));
    const database = new DatabaseSync(join(directory, "sessions.sqlite"));
    database.exec("PRAGMA journal_mode = WAL; CREATE TABLE bare (name TEXT PRIMARY KEY, value TEXT)");
    const read = database.prepare(`${SELECT}?`);
    const write = database.prepare("INSERT OR REPLACE INTO bare VALUES (?, ?)");
    const subject = {
      store: sqliteStore(database),
      get: (key: string) => read.get(key),
      set: (key: string, text: string) => write.run(key, text),
    };
    return { subject, stop: () => (database.close(), rm(directory, { recursive: true })) };
  },

  async "libSQL (file)"() {
    const directory = await mkdtemp(join(tmpdir(), "with-session-latency-"));
    const client = createLibsql({ url: `file:${join(directory, "sessions.db")}` });
    await client.execute("CREATE TABLE bare (name TEXT PRIMARY KEY, value TEXT)");
    const subject = {
      store: libsqlStore(client),
      get: (key: string) => client.execute({ sql: `${SELECT}?`, args: [key] }),
      set: (key: string, text: string) =>
        client.execute({ sql: "INSERT OR REPLACE INTO bare VALUES (?, ?)", args: [key, text] }),
    };
    return { subject, stop: () => (client.close(), rm(directory, { recursive: true })) };
  },

  async "PostgreSQL (pg)"() {
    const server = await startPostgres();
    const pool = new pg.Pool({ connectionString: server.url });
    pool.on("error", () => {});
    await pool.query("CREATE TABLE bare (name text PRIMARY KEY, value text)");
    const upsert = "INSERT INTO bare VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    const subject = {
      store: postgresStore(pool),
      get: (key: string) => pool.query(`${SELECT}$1`, [key]),
      set: (key: string, text: string) => pool.query(upsert, [key, text]),
    };
    return { subject, stop: async () => (await pool.end(), await server.stop()) };
  },

  async "MariaDB (mysql2)"() {
    const server = await startMariaDb();
    const pool = createPool({ uri: server.url });
    await pool.query("CREATE TABLE bare (name varchar(64) PRIMARY KEY, value text)");
    const subject = {
      store: mysqlStore(pool),
      get: (key: string) => pool.execute(`${SELECT}?`, [key]),
      set: (key: string, text: string) => pool.execute("REPLACE INTO bare VALUES (?, ?)", [key, text]),
    };
    return { subject, stop: async () => (await pool.end(), await server.stop()) };
  },

  "Redis (node-redis)": async () => await overRedis(await startRedis()),

  async "Valkey (node-redis)"() {
    const missing = await installValkey();
    if (missing !== undefined) throw new Error(missing);
    return await overRedis(await startValkey());
  },

  async "Upstash (stand-in)"() {
    const server = await startRedis();
    const proxy = await startUpstash(server.url);
    const client = new Upstash({ url: proxy.url, token: proxy.token, enableTelemetry: false });
    const subject = {
      store: upstashRedisStore(client),
      get: (key: string) => client.get(key),
      set: (key: string, text: string) => client.set(key, text, { ex: DAY }),
    };
    return { subject, stop: async () => (await proxy.stop(), await server.stop()) };
  },

  async "Deno KV"() {
    const directory = await mkdtemp(join(tmpdir(), "with-session-latency-"));
    const kv = await openKv(join(directory, "kv.sqlite"));
    const subject = {
      store: denoKvStore(kv),
      get: (key: string) => kv.get([key]),
      set: (key: string, text: string) => kv.set([key], text),
    };
    return { subject, stop: () => (kv.close(), rm(directory, { recursive: true })) };
  },

  async "Memcached (memcached)"() {
    const server = await startMemcached();
    const client = new Memcached(`127.0.0.1:${server.port}`);
    const called = <T>(call: (done: (error: unknown, value: T) => void) => void): Promise<T> =>
      new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value))));
    const subject = {
      store: memcachedStore(client),
      get: (key: string) => called((done) => client.get(key, done)),
      set: (key: string, text: string) => called((done) => client.set(key, text, DAY, done)),
    };
    return { subject, stop: async () => (client.end(), await server.stop()) };
  },

  async "DynamoDB (dynalite)"() {
    const server = dynalite({ createTableMs: 0 });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const client = new DynamoDBClient({ endpoint: `http://127.0.0.1:${port}`, ...CREDENTIALS });
    for (const TableName of ["sessions", "bare"]) {
      const AttributeDefinitions = [{ AttributeName: "key", AttributeType: "S" as const }];
      const KeySchema = [{ AttributeName: "key", KeyType: "HASH" as const }];
      const BillingMode = "PAY_PER_REQUEST";
      await client.send(new CreateTableCommand({ TableName, BillingMode, AttributeDefinitions, KeySchema }));
    }
    const subject = {
      store: dynamoDbStore(client, { table: "sessions" }),
      get: (key: string) =>
        client.send(new GetItemCommand({ TableName: "bare", Key: { key: { S: key } }, ConsistentRead: true })),
      set: (key: string, text: string) =>
        client.send(new PutItemCommand({ TableName: "bare", Item: { key: { S: key }, value: { S: text } } })),
    };
    return { subject, stop: () => (client.destroy(), server.close()) };
  },

  "Durable Objects (workerd)": () => inWorkerd("object"),
  "Workers KV (workerd)": () => inWorkerd("kv"),
  "D1 (workerd)": () => inWorkerd("d1"),
};

async function overRedis(server: RedisServer): Promise<LatencyEngine> {
  const client = await createClient({ url: server.url })
    .on("error", () => {})
    .connect();
  const subject = {
    store: redisStore(client),
    get: (key: string) => client.get(key),
    set: (key: string, text: string) => client.set(key, text, { expiration: { type: "EX", value: DAY } }),
  };
  return { subject, stop: async () => (client.destroy(), await server.stop()) };
}

/** One Worker serves all engines of workerd. It ends with the last of them. */
let worker: Promise<Miniflare> | undefined;
let users = 0;

async function inWorkerd(engine: string): Promise<LatencyEngine> {
  users++;
  worker ??= startWorker(new URL("./latency.worker.ts", import.meta.url), {
    host: "127.0.0.1",
    durableObjects: {
      SESSIONS: { className: "SessionObject", useSQLite: true },
      BARE: { className: "BareObject", useSQLite: true },
    },
    kvNamespaces: ["KV"],
    d1Databases: ["DB"],
  });
  const running = await worker;
  const address = await running.ready;
  await (await fetch(address)).text();
  const stop = async (): Promise<void> => {
    if (--users === 0) await running.dispose();
  };
  return { subject: new URL(`${engine}/`, address), stop };
}
