import { PGlite } from "@electric-sql/pglite";
import pg from "pg";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { isBusy } from "../../src/core/errors.ts";
import { type PostgresClient, postgresStore, type SqlStoreOptions } from "../../src/stores/postgres.ts";
import { type OpenedStore, storeCases } from "../../src/testing.ts";
import { type PgBouncer, startPgBouncer } from "../setup/pgbouncer.ts";
import { type PostgresServer, startPostgres } from "../setup/postgres.ts";
import { countOf, passesKit } from "./databases/processes.ts";
import { freshTable, refusesMeaninglessAnswers, testSqlStore } from "./databases/sql_cases.ts";
import { countThroughCrash, failureOf, increment, randomKey, saved, valueOf, writeOf } from "./databases/steps.ts";

let server: PostgresServer;
let pgbouncer: PgBouncer;
let pool: pg.Pool;
let lite: PGlite;
let sql: postgres.Sql;
let sqlBouncer: postgres.Sql;
const pools: pg.Pool[] = [];

beforeAll(async () => {
  server = await startPostgres();
  pgbouncer = await startPgBouncer(server.port);
  pool = poolOf();
  lite = new PGlite();
  sql = postgres(server.url, { onnotice: () => {} });
  sqlBouncer = postgres(pgbouncer.url, { prepare: false, onnotice: () => {} });
  await pool.query("CREATE SCHEMA app");
});
afterAll(async () => {
  await Promise.all([
    ...pools.map((each) => (each.ended ? undefined : each.end())),
    lite.close(),
    sql.end(),
    sqlBouncer.end(),
  ]);
  await pgbouncer.stop();
  await server.stop();
});

function poolOf(options: pg.PoolConfig = {}): pg.Pool {
  const made = new pg.Pool({ connectionString: server.url, max: 8, ...options });
  // If the server crashes, each idle connection emits an error, and so does one that is closing.
  made.on("error", () => {}).on("connect", (client) => client.on("error", () => {}));
  pools.push(made);
  return made;
}

let calls = 0;

/** A client whose calls are counted. */
function counted(client: pg.Pool = pool): PostgresClient {
  return {
    query(statement, values) {
      calls++;
      return client.query(statement, values);
    },
  };
}

/** Opens the store of a client for the kit. The neighbour uses another table. */
function opened(client: PostgresClient, table: string): OpenedStore {
  const store = postgresStore(client, { table });
  return {
    store,
    neighbour: postgresStore(client, { table: `${table}_2` }),
    spoil: async (key) => {
      await store.delete(key);
      await saved(store, key, { a: "" });
      const text = `UPDATE ${table} SET value = 'rubbish', version = 'theirs' WHERE key = $1`;
      await ("query" in client ? client.query(text, [key]) : client.unsafe(text, [key]));
    },
  };
}

describe.each<[string, () => PostgresClient]>([
  ["a pool of pg", () => pool],
  ["postgres.js", () => sql],
  ["PGlite", () => lite],
  ["pg behind PgBouncer in transaction mode", () => poolOf({ connectionString: pgbouncer.url })],
  ["postgres.js behind PgBouncer in transaction mode", () => sqlBouncer],
  ["pg under REPEATABLE READ", () => poolOf({ options: "-c default_transaction_isolation=repeatable\\ read" })],
  ["pg under SERIALIZABLE", () => poolOf({ options: "-c default_transaction_isolation=serializable" })],
])("postgresStore() on %s keeps the contract of stores:", (_name, clientOf) => {
  const table = freshTable();
  let client: PostgresClient;
  beforeAll(() => {
    client = clientOf();
  });
  for (const { name, run } of storeCases()) test(name, () => run(() => opened(client, table)));
});

describe("postgresStore() on an engine that fails", () => {
  const failures = storeCases().filter(({ name }) => name.includes("fails"));
  test.each(failures)("keeps the contract of stores: $name", async ({ run }) => {
    expect(failures.length).toBeGreaterThan(0);
    await run(() => {
      const own = poolOf();
      return { store: postgresStore(own), fail: () => own.end(), calls: () => calls };
    });
  });
});

test("postgresStore() passes the kit on Bun's SQL, in a database without tables", async () => {
  await pool.query("CREATE DATABASE bun");
  await passesKit({ client: "Bun.SQL", runtime: "bun" }, server.url.replace(/postgres$/, "bun"));
});

testSqlStore("postgresStore()", () => ({
  dialect: "postgres",
  open: (options?: SqlStoreOptions) => postgresStore(counted(), options),
  statements: () => calls,
  query: async (statement) => (await pool.query(statement)).rows,
  schema: "app",
}));

describe("postgresStore() among processes", () => {
  test("counts what four processes add 250 times each", async () => {
    const workers = [{ client: "pg" }, { client: "pg" }, { client: "postgres.js" }, { client: "postgres.js" }];
    expect(await countOf(workers, server.url, postgresStore(pool))).toBe(1000);
  });

  test("counts what four processes add through the two connections of PgBouncer in transaction mode", async () => {
    const workers = [{ client: "pg" }, { client: "pg" }, { client: "postgres.js" }, { client: "postgres.js" }];
    expect(await countOf(workers, pgbouncer.url, postgresStore(pool))).toBe(1000);
  });

  test("loses no acknowledged increment when the server crashes in the middle", async () => {
    const { least, count, most } = await countThroughCrash(postgresStore(pool), server);
    expect(count).toBeGreaterThanOrEqual(least);
    expect(count).toBeLessThanOrEqual(most);
  });

  test.each(["repeatable\\ read", "serializable"])(
    "answers conflict, and no error, when another transaction came first under %s",
    async (level) => {
      const own = poolOf({ options: `-c default_transaction_isolation=${level}`, max: 2 });
      const store = postgresStore(own, { table: freshTable() });
      const key = randomKey();
      await saved(store, key, { a: "0" });
      await Promise.all(Array.from({ length: 40 }, () => increment(store, key)));
      expect(await valueOf(store, key)).toBe("40");
    },
  );
});

describe("postgresStore() and what other statements do", () => {
  test("prune() leaves a row that another transaction is just extending, and takes the others", async () => {
    const table = freshTable();
    const store = postgresStore(pool, { table });
    const [extended, expired] = [randomKey(), randomKey()];
    for (const key of [extended, expired]) await saved(store, key, { a: "1", now: 1000, expiresAt: 2000 });
    const other = await pool.connect();
    await other.query("BEGIN");
    await other.query(`UPDATE ${table} SET expires_at = 9000000000000 WHERE key = $1`, [extended]);
    // The store does not wait for the other transaction either.
    expect(await store.prune?.(3000)).toBe(1);
    await other.query("COMMIT");
    other.release();
    expect(await valueOf(store, extended)).toBe("1");
    expect(await valueOf(store, expired)).toBeNull();
    expect(await store.prune?.(3000)).toBe(0);
  });

  test("prune() of several processes at once sweeps each row once", async () => {
    const table = freshTable();
    const store = postgresStore(pool, { table });
    await store.load(randomKey());
    await pool.query(`INSERT INTO ${table} SELECT n::text, '\\x31', 'v', 1 FROM generate_series(1, 5000) AS n`);
    const counts = await Promise.all([1, 2, 3, 4].map(() => store.prune?.(1000)));
    const swept = counts.reduce((sum: number, count) => sum + (count ?? 0), 0);
    const { rows } = await pool.query(`SELECT count(*)::int AS left FROM ${table}`);
    expect(swept + rows[0].left).toBe(5000);
    expect(await store.prune?.(1000)).toBe(rows[0].left);
  });

  test("gives no names to statements with pg, so that connections may be exchanged between any two", async () => {
    const client = new pg.Client(server.url);
    await client.connect();
    const store = postgresStore(client);
    const key = randomKey();
    await saved(store, key, { a: "1" });
    await store.delete(key);
    expect((await client.query("SELECT name FROM pg_prepared_statements")).rows).toEqual([]);
    await client.end();
  });

  test("needs no right to create tables when the table is there, and tells the lack of it when it is not", async () => {
    const table = freshTable();
    await postgresStore(pool, { table }).load(randomKey());
    await pool.query(`CREATE ROLE limited LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO limited`);
    const limited = poolOf({ connectionString: server.url.replace("postgres@", "limited@") });
    const store = postgresStore(limited, { table });
    const key = randomKey();
    const version = await saved(store, key, { a: "1" });
    await saved(store, key, { a: "2", expected: version });
    await store.prune?.(0);
    expect(await store.delete(key)).toBeUndefined();
    // The code is insufficient_privilege, not undefined_table.
    expect(await failureOf(() => postgresStore(limited, { table: "not_there" }).load(key))).toMatchObject({
      code: "42501",
    });
  });

  test("creates the table again when it was dropped", async () => {
    const table = freshTable();
    const store = postgresStore(pool, { table });
    await saved(store, randomKey(), { a: "1" });
    await pool.query(`DROP TABLE ${table}`);
    expect(await store.load(randomKey())).toBeNull();
  });

  test("keeps working when a program reads bigints or bytes in its own way", async () => {
    const types = {
      getTypeParser: (id: number) => (text: string) => (id === 17 ? Buffer.from(text.slice(2), "hex") : `${text}!`),
    };
    const store = postgresStore(
      poolOf({ types: { getTypeParser: (id) => (id === 20 || id === 17 ? types.getTypeParser(id) : String) } }),
    );
    const key = randomKey();
    const expected = await saved(store, key, { a: "\0 é" });
    await saved(store, key, { a: "\0 ü", expected });
    expect(await valueOf(store, key)).toBe("\0 ü");
    expect(await store.prune?.(0)).toBe(0);
  });
});

describe("postgresStore() and its clients", () => {
  const answering = (answer: unknown): PostgresClient => ({ query: async () => answer });
  const failing = (code: string): PostgresClient => ({
    query: () => Promise.reject(Object.assign(new Error("refused"), { code })),
  });
  const key = randomKey();

  test("takes an answer without meaning for an error", async () => {
    await refusesMeaninglessAnswers((answer) => postgresStore(answering(answer)));
    await refusesMeaninglessAnswers((rows) => postgresStore(answering({ rows })));
  });

  test("throws a StoreBusyError when the server refuses a statement for the moment", async () => {
    for (const code of ["40P01", "55P03", "53300", "57P03"]) {
      const store = postgresStore(failing(code));
      expect(isBusy(await failureOf(() => store.save(key, writeOf({ a: "1" }))))).toBe(true);
      expect(isBusy(await failureOf(() => store.delete(key)))).toBe(true);
      expect(isBusy(await failureOf(() => store.delete(key, "v")))).toBe(true);
      expect(isBusy(await failureOf(() => store.load(key)))).toBe(true);
    }
  });

  test("takes a failed serialization for a conflict where a version was expected, and for busy where none was", async () => {
    const store = postgresStore(failing("40001"));
    expect(await store.save(key, writeOf({ a: "1", expected: "v" }))).toBe("conflict");
    expect(await store.save(key, writeOf({ a: "1" }))).toBe("conflict");
    expect(isBusy(await failureOf(() => store.delete(key)))).toBe(true);
    expect(isBusy(await failureOf(() => store.prune?.(0)))).toBe(true);
    expect(isBusy(await failureOf(() => store.load(key)))).toBe(true);
  });

  test("passes on any other error as it is", async () => {
    const store = postgresStore(failing("57014"));
    for (const call of [
      () => store.load(key),
      () => store.save(key, writeOf({ a: "1" })),
      () => store.delete(key, "v"),
    ]) {
      const error = await failureOf(call);
      expect(isBusy(error)).toBe(false);
      expect(error).toMatchObject({ code: "57014" });
    }
  });

  test("calls Neon's query and not its unsafe, which does something else, and takes its rows with fullResults and without", async () => {
    for (const fullResults of [false, true]) {
      const neon = Object.assign(() => {}, {
        async query(statement: string, values: unknown[]): Promise<unknown> {
          const result = await pool.query(statement, values);
          return fullResults ? { rows: result.rows, rowCount: result.rowCount } : result.rows;
        },
        unsafe(): never {
          throw new Error("It is for parts of a template");
        },
      });
      const store = postgresStore(neon);
      const expected = await saved(store, key, { a: "1" });
      await saved(store, key, { a: "2", expected });
      expect(await valueOf(store, key)).toBe("2");
      expect(await store.delete(key)).toBeUndefined();
    }
  });

  test("lets postgres.js give names to statements where it was opened for that, so that each is one round trip", async () => {
    const named = "SELECT name FROM pg_prepared_statements WHERE statement LIKE 'SELECT value%'";
    const own = postgres(server.url, { max: 1, onnotice: () => {} });
    const store = postgresStore(own);
    await store.load(key);
    await store.load(key);
    expect(await own.unsafe(named)).toHaveLength(1);
    await own.end();
    const unnamed = postgres(server.url, { max: 1, prepare: false, onnotice: () => {} });
    await postgresStore(unnamed).load(key);
    expect(await unnamed.unsafe(named)).toHaveLength(0);
    await unnamed.end();
  });

  test("throws when the client is missing or is none", () => {
    const none: unknown[] = [undefined, null, {}, "postgres://localhost", Promise.resolve(pool), () => pool];
    for (const client of none) {
      // @ts-expect-error Not one of them is a client.
      expect(() => postgresStore(client)).toThrow(/postgresStore: the client must be/);
    }
  });

  test("takes the types of its clients", () => {
    expectTypeOf<pg.Pool>().toExtend<PostgresClient>();
    expectTypeOf<pg.Client>().toExtend<PostgresClient>();
    expectTypeOf<pg.PoolClient>().toExtend<PostgresClient>();
    expectTypeOf<postgres.Sql>().toExtend<PostgresClient>();
    expectTypeOf<PGlite>().toExtend<PostgresClient>();
    expectTypeOf<Promise<pg.Pool>>().not.toExtend<PostgresClient>();
  });
});
