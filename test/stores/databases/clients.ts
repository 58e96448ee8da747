/**
 * Opens a store by the name of its client, for separate processes and for runtimes that have only some of the clients.
 *
 * @module
 */
import type { SessionStore } from "../../../src/core/store.ts";

/** A store with its own client. */
export interface OpenedClient {
  readonly store: SessionStore;
  /** Runs a statement of SQLite. */
  exec?(statement: string): unknown;
  close(): unknown;
}

/** The clients that a separate process can use. */
export const CLIENTS: Readonly<Record<string, (url: string) => Promise<OpenedClient>>> = {
  async "pg"(url) {
    const { default: pg } = await import("pg");
    const { postgresStore } = await import("../../../src/stores/postgres.ts");
    const pool = new pg.Pool({ connectionString: url, max: 2 });
    return { store: postgresStore(pool), close: () => pool.end() };
  },
  async "postgres.js"(url) {
    const { default: postgres } = await import("postgres");
    const { postgresStore } = await import("../../../src/stores/postgres.ts");
    const sql = postgres(url, { prepare: false, max: 2, onnotice: () => {} });
    return { store: postgresStore(sql), close: () => sql.end() };
  },
  async "Bun.SQL"(url) {
    const { SQL } = await bun<{ SQL: new (url: string) => BunSql }>("bun");
    const { postgresStore } = await import("../../../src/stores/postgres.ts");
    const sql = new SQL(url);
    return { store: postgresStore(sql), close: () => sql.end() };
  },
  async "mysql2"(url) {
    const { createPool } = await import("mysql2/promise");
    const { mysqlStore } = await import("../../../src/stores/mysql.ts");
    const pool = createPool({ uri: url, connectionLimit: 2 });
    return { store: mysqlStore(pool), close: () => pool.end() };
  },
  async "node:sqlite"(file) {
    const { DatabaseSync } = await import("node:sqlite");
    const { sqliteStore } = await import("../../../src/stores/sqlite.ts");
    const database = new DatabaseSync(file);
    return {
      store: sqliteStore(database),
      exec: (statement) => database.exec(statement),
      close: () => database.close(),
    };
  },
  async "better-sqlite3"(file) {
    const { default: Database } = await import("better-sqlite3");
    const { sqliteStore } = await import("../../../src/stores/sqlite.ts");
    const database = new Database(file, { timeout: 500 });
    return {
      store: sqliteStore(database),
      exec: (statement) => database.exec(statement),
      close: () => database.close(),
    };
  },
  async "bun:sqlite"(file) {
    const { Database } = await bun<{ Database: new (file: string) => BunDatabase }>("bun:sqlite");
    const { sqliteStore } = await import("../../../src/stores/sqlite.ts");
    const database = new Database(file);
    return {
      store: sqliteStore(database),
      exec: (statement) => database.exec(statement),
      close: () => database.close(),
    };
  },
  async "libsql"(file) {
    const { createClient } = await import("@libsql/client");
    const { libsqlStore } = await import("../../../src/stores/libsql.ts");
    const client = createClient({ url: `file:${file}` });
    return { store: libsqlStore(client), close: () => client.close() };
  },
  async "memcached"(server) {
    const { default: Memcached } = await import("memcached");
    const { memcachedStore } = await import("../../../src/stores/memcached.ts");
    const client = new Memcached(server);
    return { store: memcachedStore(client), close: () => client.end() };
  },
  async "dynamodb"(endpoint) {
    const { DynamoDBClient } = await import("@aws-sdk/client-dynamodb");
    const { dynamoDbStore } = await import("../../../src/stores/dynamodb.ts");
    const credentials = { accessKeyId: "a", secretAccessKey: "b" };
    const client = new DynamoDBClient({ endpoint, region: "eu-central-1", credentials });
    return { store: dynamoDbStore(client, { table: "sessions" }), close: () => client.destroy() };
  },
};

interface BunSql {
  unsafe(statement: string, values: unknown[]): PromiseLike<unknown>;
  end(): Promise<void>;
}

interface BunDatabase {
  exec(statements: string): unknown;
  prepare(statement: string): { all(...values: unknown[]): unknown[] };
  close(): void;
}

/** Imports a module that only Bun has. */
async function bun<Module>(name: string): Promise<Module> {
  return await import(name);
}
