import { Buffer } from "node:buffer";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { isBusy } from "../../src/core/errors.ts";
import { serializeRecord } from "../../src/core/record_text.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { d1Store } from "../../src/stores/d1.ts";
import { libsqlStore } from "../../src/stores/libsql.ts";
import { mysqlStore } from "../../src/stores/mysql.ts";
import { type PostgresClient, postgresStore } from "../../src/stores/postgres.ts";
import type { SqlValue } from "../../src/stores/sql/sql_store.ts";
import { failureOf, writeOf } from "./databases/steps.ts";

// The calls that the SQL stores make on each client, and how they treat its answers and errors, without a database.

const done = [{ done: 1 }];

/** Makes each call once, with writes of the same record. */
async function useAll(store: SessionStore): Promise<void> {
  const { record, expiresAt, ...write } = writeOf({ a: "1", now: 1000, expiresAt: 2000 });
  await store.save("k", { ...write, record, expiresAt });
  await store.save("k", { ...write, record, expiresAt, expected: "v" });
  await store.delete("k");
  await store.delete("k", "v");
  await store.prune?.(7);
}

function without<Given extends readonly SqlValue[]>(values: Given): unknown[] {
  return values.map((value) =>
    typeof value === "object" ? "bytes" : /^[\da-f-]{36}$/.test(`${value}`) ? "new" : value,
  );
}

function failing(details: object): () => Promise<never> {
  return () => Promise.reject(Object.assign(new Error("refused"), details));
}

describe("postgresStore()", () => {
  test("sends statements whose parameters are numbered, through query or unsafe", async () => {
    const sent: unknown[][] = [];
    const clients: PostgresClient[] = [
      {
        async query(statement, values) {
          sent.push([statement, without(values)]);
          return { rows: done };
        },
      },
      {
        async unsafe(statement, values, options) {
          sent.push([statement, without(values), options]);
          return done;
        },
      },
    ];
    for (const client of clients) await useAll(postgresStore(client, { table: "t" }));
    const expected = [
      [
        'INSERT INTO "t" AS present (key, value, version, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT (key) DO UPDATE SET ' +
          "value = excluded.value, version = excluded.version, expires_at = excluded.expires_at WHERE present.expires_at < $5 RETURNING 1 AS done",
        ["k", "bytes", "new", 2000, 1000],
      ],
      [
        'UPDATE "t" SET value = $1, version = $2, expires_at = $3 WHERE key = $4 AND version = $5 RETURNING 1 AS done',
        ["bytes", "new", 2000, "k", "v"],
      ],
      ['DELETE FROM "t" WHERE key = $1 RETURNING 1 AS done', ["k"]],
      ['DELETE FROM "t" WHERE key = $1 AND version = $2 RETURNING 1 AS done', ["k", "v"]],
      [
        'DELETE FROM "t" WHERE expires_at < $1 AND key = ANY(ARRAY(SELECT key FROM "t" WHERE expires_at < $1 ' +
          "LIMIT 1000 FOR UPDATE SKIP LOCKED)) RETURNING 1 AS done",
        [7],
      ],
    ];
    expect(sent).toEqual([...expected, ...expected.map((each) => [...each, { prepare: true }])]);
  });

  test("knows the codes of a missing table, of conflicts and of a busy server", async () => {
    const asked: string[] = [];
    const missing = postgresStore({
      async query(statement) {
        asked.push(statement.split(" ").slice(0, 2).join(" "));
        if (asked.length === 1) await failing({ code: "42P01" })();
        return { rows: [] };
      },
    });
    expect(await missing.load("k")).toBeNull();
    expect(asked).toEqual(["SELECT value,", "CREATE TABLE", "CREATE INDEX", "SELECT value,"]);
    const open = (code: string) => postgresStore({ query: failing({ code }) });
    const update = (store: SessionStore) => store.save("k", writeOf({ a: "1", expected: "v" }));
    expect(await update(open("40001"))).toBe("conflict");
    for (const code of ["40P01", "55P03", "53300", "57P03"])
      expect(isBusy(await failureOf(() => update(open(code)))), code).toBe(true);
    expect(await failureOf(() => update(open("23505")))).toMatchObject({ message: "refused" });
    const bun = postgresStore({ unsafe: failing({ code: "ERR_POSTGRES_SERVER_ERROR", errno: "40P01" }) });
    expect(isBusy(await failureOf(() => update(bun)))).toBe(true);
  });

  test("rejects after a reset in a later turn of the event loop, when postgres.js has noticed it, and otherwise at once", async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    for (const [details, timers] of [
      [{ code: "ECONNRESET", syscall: "read" }, 1],
      [{ code: "57P01" }, 0],
    ] as const) {
      const failed = failureOf(() => postgresStore({ unsafe: failing(details) }).load("k"));
      for (let turn = 0; turn < 100; turn++) await undefined;
      expect(vi.getTimerCount()).toBe(timers);
      vi.runAllTimers();
      expect(await failed).toMatchObject(details);
    }
  });

  test("is refused a client that has neither of the methods", () => {
    for (const wrong of [undefined, {}, "postgres://", { query: 1 }]) {
      // @ts-expect-error None of these is a client.
      expect(() => postgresStore(wrong)).toThrow(
        expect.objectContaining({ message: expect.stringMatching(/one of pg/) }),
      );
    }
  });
});

describe("mysqlStore()", () => {
  const duplicate = failing({ errno: 1062 });

  test("sends prepared statements, and replaces an expired record where there is one", async () => {
    const sent: unknown[][] = [];
    const store = mysqlStore(
      {
        async execute(statement, values) {
          sent.push([statement, without(values)]);
          if (statement.startsWith("INSERT")) await duplicate();
          expect(values.filter((value) => typeof value === "object").every((value) => Buffer.isBuffer(value))).toBe(
            true,
          );
          return [{ affectedRows: 1 }, []];
        },
      },
      { table: "t" },
    );
    await useAll(store);
    const set = "UPDATE `t` SET value = ?, version = ?, expires_at = ? WHERE `key` = ?";
    expect(sent).toEqual([
      ["INSERT INTO `t` (`key`, value, version, expires_at) VALUES (?, ?, ?, ?)", ["k", "bytes", "new", 2000]],
      [`${set} AND expires_at < ?`, ["bytes", "new", 2000, "k", 1000]],
      [`${set} AND version = ?`, ["bytes", "new", 2000, "k", "v"]],
      ["DELETE FROM `t` WHERE `key` = ?", ["k"]],
      ["DELETE FROM `t` WHERE `key` = ? AND version = ?", ["k", "v"]],
      ["DELETE FROM `t` WHERE expires_at < ? ORDER BY expires_at LIMIT 1000", [7]],
    ]);
  });

  test("answers conflict where the record that is there has not expired, and passes other failures on", async () => {
    const create = writeOf({ a: "1" });
    const store = mysqlStore({
      execute: (statement) =>
        statement.startsWith("INSERT") ? duplicate() : Promise.resolve([{ affectedRows: 0 }, []]),
    });
    expect(await store.save("k", create)).toBe("conflict");
    const refused = failing({ errno: 1364 });
    const other = mysqlStore({
      execute: (statement) => (statement.startsWith("INSERT") ? refused() : Promise.resolve([{ affectedRows: 1 }, []])),
    });
    expect(await failureOf(() => other.save("k", create))).toMatchObject({ errno: 1364 });
    for (const errno of [1213, 1205, 1040])
      expect(isBusy(await failureOf(() => mysqlStore({ execute: failing({ errno }) }).save("k", create)))).toBe(true);
  });

  test("reads the first of the results, and creates a table that is missing", async () => {
    const value = serializeRecord({ fields: new Map([["=a", "1"]]), lastSeenAt: 1000 });
    const asked: string[] = [];
    const store = mysqlStore({
      async execute(statement) {
        asked.push(statement.split(" ").slice(0, 2).join(" "));
        if (asked.length === 1) await failing({ errno: 1146 })();
        return [[{ value: Buffer.from(value), version: "v" }], []];
      },
    });
    expect((await store.load("k"))?.fields.get("=a")).toBe("1");
    expect(asked).toEqual(["SELECT value,", "CREATE TABLE", "SELECT value,"]);
  });

  test("is refused a pool that is none, or that answers by callbacks", () => {
    const execute = async () => [];
    for (const wrong of [undefined, {}, { query: execute }, { execute, promise: () => ({ execute }) }]) {
      // @ts-expect-error None of these is a pool of promises.
      expect(() => mysqlStore(wrong)).toThrow(
        expect.objectContaining({ message: expect.stringMatching(/mysql2.promise/) }),
      );
    }
  });
});

describe("libsqlStore()", () => {
  test("sends statements with their parameters, and reads the rows", async () => {
    const sent: unknown[][] = [];
    const store = libsqlStore({
      async execute({ sql, args }) {
        sent.push([sql.split(" ")[0], without(args)]);
        return { rows: done };
      },
    });
    await useAll(store);
    expect(sent).toEqual([
      ["INSERT", ["k", "bytes", "new", 2000, 1000]],
      ["UPDATE", ["bytes", "new", 2000, "k", "v"]],
      ["DELETE", ["k"]],
      ["DELETE", ["k", "v"]],
      ["DELETE", [7]],
    ]);
  });

  test("reconnects after a lock of a local file, and only then", async () => {
    const reconnects = async (protocol: string, code: string): Promise<number> => {
      let count = 0;
      const store = libsqlStore({ protocol, execute: failing({ code }), reconnect: () => void count++ });
      await failureOf(() => store.save("k", writeOf({ a: "1", expected: "v" })));
      return count;
    };
    expect(await reconnects("file", "SQLITE_BUSY")).toBe(1);
    expect(await reconnects("http", "SQLITE_BUSY")).toBe(0);
    // The store does not reconnect, even if the table is missing.
    expect(await reconnects("file", "SQLITE_ERROR")).toBe(0);
    const old = libsqlStore({ protocol: "file", execute: failing({ code: "SQLITE_BUSY" }) });
    expect(isBusy(await failureOf(() => old.save("k", writeOf({ a: "1" }))))).toBe(true);
  });

  test("is refused a client that is none", () => {
    for (const wrong of [undefined, {}, "file:sessions.db"]) {
      // @ts-expect-error None of these is a client.
      expect(() => libsqlStore(wrong)).toThrow(
        expect.objectContaining({ message: expect.stringMatching(/libsql.client/) }),
      );
    }
  });
});

describe("d1Store()", () => {
  /** A binding that records its calls, and answers with these rows. */
  function binding(rows: unknown) {
    const asked: unknown[][] = [];
    const statement = (text: string, values: readonly SqlValue[]) => ({
      bind: (...given: SqlValue[]) => statement(text, [...values, ...given]),
      async all() {
        asked.push([text, without(values)]);
        return { results: rows };
      },
    });
    return { asked, prepare: (text: string) => statement(text, []) };
  }

  test("sends a record as a text, which becomes a blob in the database", async () => {
    const { asked, prepare } = binding(done);
    await useAll(d1Store({ prepare }, { table: "t" }));
    const value = "10000000001000\n=a\n1";
    expect(asked).toEqual([
      [
        'INSERT INTO "t" AS present (key, value, version, expires_at) VALUES (?, CAST(? AS BLOB), ?, ?) ON CONFLICT (key) DO UPDATE SET ' +
          "value = excluded.value, version = excluded.version, expires_at = excluded.expires_at WHERE present.expires_at < ? RETURNING 1 AS done",
        ["k", value, "new", 2000, 1000],
      ],
      [
        'UPDATE "t" SET value = CAST(? AS BLOB), version = ?, expires_at = ? WHERE key = ? AND version = ? RETURNING 1 AS done',
        [value, "new", 2000, "k", "v"],
      ],
      ['DELETE FROM "t" WHERE key = ? RETURNING 1 AS done', ["k"]],
      ['DELETE FROM "t" WHERE key = ? AND version = ? RETURNING 1 AS done', ["k", "v"]],
      ['DELETE FROM "t" WHERE key IN (SELECT key FROM "t" WHERE expires_at < ? LIMIT 1000) RETURNING 1 AS done', [7]],
    ]);
  });

  test("reads a record as a text", async () => {
    const { asked, prepare } = binding([{ value: "11700000000000\n=a\n1", version: "v" }]);
    const found = await d1Store({ prepare }).load("k");
    expect([found?.version, found?.lastSeenAt, found?.fields.get("=a")]).toEqual(["v", 1_700_000_000_000, "1"]);
    expect(asked).toEqual([['SELECT CAST(value AS TEXT) AS value, version FROM "sessions" WHERE key = ?', ["k"]]]);
  });

  test("creates a table that is missing by statements without parameters", async () => {
    const { asked, prepare } = binding([]);
    let isFirst = true;
    const store = d1Store({
      prepare(text) {
        if (!isFirst) return { ...prepare(text), ...(text.startsWith("CREATE") && { bind: () => prepare("bound") }) };
        isFirst = false;
        throw new Error("no such table");
      },
    });
    expect(await store.load("k")).toBeNull();
    expect(asked.map(([text]) => String(text).split(" ")[0])).toEqual(["CREATE", "CREATE", "SELECT"]);
  });

  test("says whether reads may be late, as those of a session of D1 are", () => {
    const { prepare } = binding([]);
    expect(d1Store({ prepare }).traits.consistency).toBe("strong");
    const session = { prepare, getBookmark: () => null };
    expect(d1Store(session).traits).toMatchObject({ consistency: "eventual", compareAndSet: true });
  });

  test("is refused a binding that is missing", () => {
    // @ts-expect-error There is no binding.
    expect(() => d1Store(undefined)).toThrow(expect.objectContaining({ message: expect.stringMatching(/D1 binding/) }));
  });
});
