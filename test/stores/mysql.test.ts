import { createPool as createCallbackPool } from "mysql2";
import { createConnection, createPool, type Pool, type PoolOptions } from "mysql2/promise";
import type * as mysql from "mysql2/promise";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { isBusy } from "../../src/core/errors.ts";
import { type MysqlClient, mysqlStore } from "../../src/stores/mysql.ts";
import { storeCases } from "../../src/testing.ts";
import { type MariaDbServer, startMariaDb } from "../setup/mariadb.ts";
import { countOf } from "./databases/processes.ts";
import { freshTable, refusesMeaninglessAnswers, testSqlStore } from "./databases/sql_cases.ts";
import { countThroughCrash, failureOf, randomKey, saved, valueOf, writeOf } from "./databases/steps.ts";

let server: MariaDbServer;
let pool: Pool;
const pools: Pool[] = [];

beforeAll(async () => {
  server = await startMariaDb({ "innodb-lock-wait-timeout": "1" });
  pool = poolOf();
  await pool.query("CREATE DATABASE app");
});
afterAll(async () => {
  await Promise.all(pools.map((each) => each.end()));
  await server.stop();
});

function poolOf(options: PoolOptions = {}): Pool {
  const made = createPool({ uri: server.url, ...options });
  pools.push(made);
  return made;
}

let calls = 0;

/** A pool whose calls are counted. */
function counted(): MysqlClient {
  return {
    execute(statement, values) {
      calls++;
      return pool.execute(statement, values);
    },
  };
}

describe.each<[string, PoolOptions]>([
  ["as it is by default, with FOUND_ROWS", {}],
  ["without FOUND_ROWS", { flags: ["-FOUND_ROWS"] }],
  [
    "in latin1, with numbers and dates as strings",
    { charset: "latin1_swedish_ci", supportBigNumbers: true, bigNumberStrings: true, dateStrings: true },
  ],
])("mysqlStore() on a pool %s keeps the contract of stores:", (_name, options) => {
  const table = freshTable();
  let client: Pool;
  beforeAll(() => {
    client = poolOf(options);
  });
  for (const { name, run } of storeCases()) {
    test(name, () =>
      run(() => {
        const store = mysqlStore(client, { table });
        return {
          store,
          neighbour: mysqlStore(client, { table: `${table}_2` }),
          spoil: async (key) => {
            await client.query(`UPDATE ${table} SET value = 'rubbish', version = 'theirs' WHERE \`key\` = ?`, [key]);
          },
        };
      }),
    );
  }
});

test("mysqlStore() keeps the contract of stores when the engine fails", async () => {
  const failing = storeCases().find(({ name }) => name.startsWith("every call fails"));
  const own = createPool(server.url);
  await failing?.run(() => ({ store: mysqlStore(own), fail: () => own.end() }));
  expect(failing).toBeDefined();
});

test("mysqlStore() takes a connection as well", async () => {
  const connection = await createConnection(server.url);
  const store = mysqlStore(connection);
  const key = randomKey();
  await saved(store, key, { a: "1" });
  expect(await valueOf(store, key)).toBe("1");
  await connection.end();
});

testSqlStore("mysqlStore()", () => ({
  dialect: "mysql",
  open: (options) => mysqlStore(counted(), options),
  statements: () => calls,
  async query(statement) {
    const [rows] = await pool.query<mysql.RowDataPacket[]>(statement);
    return rows;
  },
  schema: "app",
}));

describe("mysqlStore() among processes", () => {
  test("counts what four processes add 250 times each", async () => {
    const workers = Array.from({ length: 4 }, () => ({ client: "mysql2" }));
    expect(await countOf(workers, server.url, mysqlStore(pool))).toBe(1000);
  });

  test("loses no acknowledged increment when the server crashes in the middle", async () => {
    const { least, count, most } = await countThroughCrash(mysqlStore(pool), server);
    expect(count).toBeGreaterThanOrEqual(least);
    expect(count).toBeLessThanOrEqual(most);
  });

  test("lets one of many creations of one key win, without deadlocks, under REPEATABLE READ", async () => {
    const store = mysqlStore(pool, { table: freshTable() });
    await store.load(randomKey());
    for (const key of Array.from({ length: 20 }, randomKey)) {
      const answers = await Promise.all(
        Array.from({ length: 8 }, async (_, i) => {
          await store.load(key);
          return await store.save(key, writeOf({ a: String(i) }));
        }),
      );
      expect(answers.filter((answer) => answer !== "conflict")).toHaveLength(1);
    }
  });

  test("lets one of many creations over one expired row win", async () => {
    const store = mysqlStore(pool, { table: freshTable() });
    const key = randomKey();
    await saved(store, key, { a: "old", now: 1000, expiresAt: 2000 });
    const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => store.save(key, writeOf({ a: String(i) }))));
    const winner = answers.findIndex((answer) => answer !== "conflict");
    expect(answers.filter((answer) => answer !== "conflict")).toHaveLength(1);
    expect(await valueOf(store, key)).toBe(String(winner));
  });
});

describe("mysqlStore() and what other statements do", () => {
  test("prune() does not delete a row that another transaction is just extending", async () => {
    const table = freshTable();
    const store = mysqlStore(pool, { table });
    const key = randomKey();
    await saved(store, key, { a: "1", now: 1000, expiresAt: 2000 });
    const other = await pool.getConnection();
    await other.beginTransaction();
    await other.query(`UPDATE ${table} SET expires_at = 9000000000000 WHERE \`key\` = ?`, [key]);
    const sweeping = store.prune?.(3000);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await other.commit();
    other.release();
    expect(await sweeping).toBe(0);
    expect(await valueOf(store, key)).toBe("1");
  });

  test("save() throws a StoreBusyError when a lock is not free in time, and has stored nothing", async () => {
    const table = freshTable();
    const store = mysqlStore(pool, { table });
    const key = randomKey();
    const expected = await saved(store, key, { a: "1" });
    const other = await pool.getConnection();
    await other.beginTransaction();
    await other.query(`SELECT * FROM ${table} WHERE \`key\` = ? FOR UPDATE`, [key]);
    expect(isBusy(await failureOf(() => store.save(key, writeOf({ a: "2", expected }))))).toBe(true);
    await other.rollback();
    other.release();
    expect(await valueOf(store, key)).toBe("1");
    await saved(store, key, { a: "2", expected });
  });
});

describe("mysqlStore() and its clients", () => {
  const answering = (answer: unknown): MysqlClient => ({ execute: async () => [answer, []] });
  const failing = (errno: number): MysqlClient => ({
    execute: () => Promise.reject(Object.assign(new Error("refused"), { errno })),
  });
  const key = randomKey();

  test("takes an answer without meaning for an error", async () => {
    await refusesMeaninglessAnswers((answer) => mysqlStore(answering(answer)));
    await refusesMeaninglessAnswers((affectedRows) => mysqlStore(answering({ affectedRows })), ["ok", null, undefined]);
    // @ts-expect-error Clients do such things.
    await refusesMeaninglessAnswers((answer) => mysqlStore({ execute: async () => answer }));
  });

  test("refuses rows that are lists", async () => {
    const store = mysqlStore(poolOf({ rowsAsArray: true }));
    await saved(store, key, { a: "1" });
    expect(await failureOf(() => store.load(key))).toMatchObject({ code: "ERR_STORE" });
  });

  test("throws a StoreBusyError after a deadlock, and while the server has no free connection", async () => {
    for (const errno of [1213, 1205, 1040]) {
      const store = mysqlStore(failing(errno));
      expect(isBusy(await failureOf(() => store.save(key, writeOf({ a: "1" }))))).toBe(true);
      expect(isBusy(await failureOf(() => store.delete(key)))).toBe(true);
      expect(isBusy(await failureOf(() => store.load(key)))).toBe(true);
    }
    expect(isBusy(await failureOf(() => mysqlStore(failing(1045)).delete(key)))).toBe(false);
  });

  test("throws when the pool is missing, is none, or is one of callbacks", () => {
    const callbacks = createCallbackPool(server.url);
    const none: unknown[] = [undefined, null, {}, "mysql://localhost", Promise.resolve(pool), callbacks];
    for (const client of none) {
      // @ts-expect-error Not one of them is a pool of promises.
      expect(() => mysqlStore(client)).toThrow(/mysqlStore: the pool must be one of mysql2\/promise/);
    }
    callbacks.end();
  });

  test("takes the types of its clients", () => {
    expectTypeOf<mysql.Pool>().toExtend<MysqlClient>();
    expectTypeOf<mysql.Connection>().toExtend<MysqlClient>();
    expectTypeOf<mysql.PoolConnection>().toExtend<MysqlClient>();
  });
});
