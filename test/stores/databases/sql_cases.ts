import { describe, expect, test } from "vitest";
import type { SessionStore } from "../../../src/core/store.ts";
import type { SqlDialect, SqlStoreOptions } from "../../../src/stores/postgres.ts";
import { sqlSchema } from "../../../src/stores/postgres.ts";
import { failureOf, randomKey, saved, valueOf, writeOf } from "./steps.ts";

/** A database under test. */
export interface SqlBench {
  readonly dialect: SqlDialect;
  /** Opens a store whose statements are counted. */
  open(options?: SqlStoreOptions): SessionStore;
  /** How many statements the stores have sent so far. */
  statements(): number;
  /** Runs a statement without parameters, and returns its rows. */
  query(statement: string): Promise<readonly Record<string, unknown>[]>;
  /** The name of an existing schema. It may be the default one. */
  readonly schema: string;
}

/** Names that would change the meaning of a statement. */
const DANGEROUS: readonly unknown[] = [
  "",
  " ",
  "a b",
  "1a",
  "a-b",
  "a.b",
  'a"b',
  "a`b",
  "a'b",
  "a;DROP TABLE sessions",
  "sessions--",
  "a\0",
  "a\n",
  "ä",
  "x".repeat(49),
  "?",
  "$1",
  null,
  7,
  ["sessions"],
  { toString: () => "sessions" },
];

let tables = 0;

/** A name that no other test uses. */
export function freshTable(): string {
  return `t${process.pid}_${tables++}`;
}

/** The requirements for each SQL store, in addition to the kit. */
export function testSqlStore(name: string, bench: () => SqlBench): void {
  describe(`${name} on a table`, () => {
    test("is created by the first call, whichever that is", async () => {
      const calls: ((store: SessionStore) => unknown)[] = [
        (store) => store.load(randomKey()),
        (store) => saved(store, randomKey(), { a: "1" }),
        (store) => store.delete(randomKey()),
        (store) => store.delete(randomKey(), "a version"),
        (store) => store.prune?.(Date.now()),
      ];
      for (const call of calls) {
        const store = bench().open({ table: freshTable() });
        await call(store);
        const key = randomKey();
        await saved(store, key, { a: "1" });
        expect(await valueOf(store, key)).toBe("1");
      }
    });

    test("is created once when first calls come from several stores at once", async () => {
      const table = freshTable();
      const keys = Array.from({ length: 8 }, randomKey);
      await Promise.all(keys.map(async (key) => saved(bench().open({ table }), key, { a: key })));
      for (const key of keys) expect(await valueOf(bench().open({ table }), key)).toBe(key);
    });

    test("may come from sqlSchema(), whose statements can be run twice", async () => {
      const { dialect, open, query, statements } = bench();
      const table = freshTable();
      const migration = sqlSchema(dialect, { table }).split(";\n");
      expect(migration.pop()).toBe("");
      for (const statement of [...migration, ...migration]) await query(statement);
      const store = open({ table });
      const before = statements();
      expect(await store.load(randomKey())).toBeNull();
      expect(statements() - before).toBe(1);
      await saved(store, randomKey(), { a: "1" });
    });

    test("has the name and the place that the options say", async () => {
      const { open, query, schema } = bench();
      const table = freshTable();
      await saved(open({ table, schema }), randomKey(), { a: "1" });
      expect(await query(`SELECT version FROM ${schema}.${table}`)).toHaveLength(1);
    });

    test("must have a name that cannot be anything else", () => {
      const { open, dialect } = bench();
      for (const dangerous of DANGEROUS) {
        // @ts-expect-error Some of them are no strings.
        const refused: SqlStoreOptions[] = [{ table: dangerous }, { schema: dangerous }];
        for (const options of refused) {
          expect(() => open(options)).toThrow(TypeError);
          expect(() => sqlSchema(dialect, options)).toThrow(TypeError);
        }
      }
      // @ts-expect-error There is no such option.
      expect(() => open({ tabel: "a" })).toThrow(/tabel.*did you mean table/);
    });

    test("may have its columns in another order, and more of them", async () => {
      const { dialect, open, query } = bench();
      const table = freshTable();
      const types = { postgres: "bytea", mysql: "mediumblob", sqlite: "blob" };
      const text = dialect === "mysql" ? "varbinary(255)" : "text";
      const key = dialect === "mysql" ? "`key`" : "key";
      await query(
        `CREATE TABLE ${table} (note ${text} DEFAULT 'x', expires_at bigint NOT NULL, version ${text} NOT NULL, ` +
          `value ${types[dialect]} NOT NULL, ${key} ${text} PRIMARY KEY)`,
      );
      const store = open({ table });
      const name = randomKey();
      const expected = await saved(store, name, { a: "1" });
      await saved(store, name, { a: "2", expected });
      expect(await valueOf(store, name)).toBe("2");
      expect(await store.prune?.(8e15)).toBe(1);
    });

    test("has an index for the sweep", async () => {
      const { dialect, open, query } = bench();
      const table = freshTable();
      await open({ table }).load(randomKey());
      const indexes = {
        postgres: `SELECT indexname FROM pg_indexes WHERE tablename = '${table}' AND indexdef LIKE '%(expires_at)'`,
        mysql: `SELECT index_name FROM information_schema.statistics WHERE table_name = '${table}' AND column_name = 'expires_at'`,
        sqlite: `SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = '${table}' AND sql LIKE '%(expires_at)'`,
      };
      expect(await query(indexes[dialect])).toHaveLength(1);
    });

    test("takes names of 48 characters, and names that SQL knows as words", async () => {
      for (const table of ["x".repeat(48), "select", "excluded", "Table_1", "_"]) {
        const store = bench().open({ table });
        const key = randomKey();
        const instant = Date.now();
        await saved(store, key, { a: "1", now: instant, expiresAt: instant + 1 });
        expect(await valueOf(store, key)).toBe("1");
        await saved(store, key, { a: "2", now: instant + 2 });
        expect(await valueOf(store, key)).toBe("2");
      }
    });
  });

  describe(`${name} in as few statements as possible`, () => {
    test("loads, creates, changes, touches and deletes in one", async () => {
      const { open, statements } = bench();
      const store = open();
      await store.load(randomKey());
      const key = randomKey();
      const counts: Record<string, number> = {};
      const counting = async <Answer>(what: string, call: () => Answer): Promise<Awaited<Answer>> => {
        const before = statements();
        const answer = await call();
        counts[what] = statements() - before;
        return answer;
      };
      const first = await counting("create", () => saved(store, key, { a: "1" }));
      await counting("load", () => store.load(key));
      const second = await counting("change", () => saved(store, key, { a: "2", expected: first }));
      expect(await counting("conflict", () => store.save(key, writeOf({ a: "3", expected: first })))).toBe("conflict");
      expect(await counting("stale delete", () => store.delete(key, first))).toBe("conflict");
      expect(await counting("delete at a version", () => store.delete(key, second))).toBeUndefined();
      expect(await counting("delete", () => store.delete(key))).toBeUndefined();
      await counting("prune", () => store.prune?.(0));
      const { "stale delete": stale, ...others } = counts;
      expect(stale).toBe(2);
      expect(others).toEqual({
        "create": 1,
        "load": 1,
        "change": 1,
        "conflict": 1,
        "delete at a version": 1,
        "delete": 1,
        "prune": 1,
      });
    });
  });

  describe(`${name} and expiry`, () => {
    const now = 1_800_000_000_000;

    test("keeps an expired record until it is swept or created anew", async () => {
      const store = bench().open({ table: freshTable() });
      const key = randomKey();
      const version = await saved(store, key, { a: "old", now, expiresAt: now + 1000 });
      expect(await valueOf(store, key)).toBe("old");
      expect(await store.save(key, writeOf({ a: "too early", now: now + 1000 }))).toBe("conflict");
      expect(await valueOf(store, key)).toBe("old");
      const anew = await saved(store, key, { a: "new", now: now + 1001 });
      expect(await valueOf(store, key)).toBe("new");
      expect(anew).not.toBe(version);
      expect(await store.save(key, writeOf({ a: "late", expected: version }))).toBe("conflict");
      expect(await store.delete(key, version)).toBe("conflict");
    });

    test("an expired record can still be changed, as a request may be under way", async () => {
      const store = bench().open({ table: freshTable() });
      const key = randomKey();
      const expected = await saved(store, key, { a: "1", now, expiresAt: now + 1 });
      await saved(store, key, { a: "2", expected, now: now + 5000 });
      expect(await valueOf(store, key)).toBe("2");
    });

    test("prune() deletes what expired before now, in batches, and answers how many", async () => {
      const { dialect, open, query, statements } = bench();
      const table = freshTable();
      const store = open({ table });
      expect(await store.prune?.(now)).toBe(0);
      const value = dialect === "postgres" ? "'\\x31'" : "x'31'";
      const rows = (from: number, to: number, end: number): string =>
        Array.from({ length: to - from }, (_, i) => `('${from + i}', ${value}, 'v', ${end})`).join(", ");
      for (const statement of [rows(0, 1000, now - 1), rows(1000, 2001, now - 1), rows(3000, 3010, now)]) {
        await query(`INSERT INTO ${table} VALUES ${statement}`);
      }
      const before = statements();
      expect(await store.prune?.(now)).toBe(2001);
      expect(statements() - before).toBe(3);
      expect(await query(`SELECT version FROM ${table}`)).toHaveLength(10);
      expect(await store.prune?.(now + 0.5)).toBe(10);
    });

    test("instants that are no whole numbers, or too large for the database, are accepted", async () => {
      const store = bench().open({ table: freshTable() });
      for (const expiresAt of [now + 0.5, 2 ** 53, 1e300, Infinity, -1, 0]) {
        const key = randomKey();
        await saved(store, key, { a: "1", now: now + 0.25, expiresAt });
        expect(await valueOf(store, key)).toBe("1");
      }
      expect(await store.prune?.(now)).toBe(2);
      expect(await store.prune?.(now + 1)).toBe(0);
      expect(await store.prune?.(now + 2)).toBe(1);
    });
  });

  describe(`${name} and its limits`, () => {
    test("stores a record of 1 MiB, and refuses a larger one before it is sent", async () => {
      const { open, statements } = bench();
      const store = open();
      expect(store.traits.maxBytes).toBe(1_048_576);
      const key = randomKey();
      const a = "é".repeat((1_048_576 - 18) / 2);
      const expected = await saved(store, key, { a });
      const before = statements();
      const error = await failureOf(() => store.save(key, writeOf({ a: `${a}x`, expected })));
      expect(error).toMatchObject({
        code: "ERR_RECORD_TOO_LARGE",
        message: expect.stringMatching(/1048577 bytes.*1048576/),
      });
      expect(statements()).toBe(before);
      expect(await valueOf(store, key)).toBe(a);
    });

    test("keeps keys and versions apart that differ in case or accents only", async () => {
      const store = bench().open({ table: freshTable() });
      const keys = ["abc", "Abc", "Ábc", "abc ", "a"];
      for (const key of keys) await saved(store, key, { a: key });
      for (const key of keys) expect(await valueOf(store, key)).toBe(key);
    });

    test("a row of another program is a record without fields, and is not overwritten", async () => {
      const { dialect, open, query } = bench();
      const table = freshTable();
      const store = open({ table });
      await store.load(randomKey());
      const key = randomKey();
      const value = dialect === "postgres" ? "'\\xff00fe'" : "x'ff00fe'";
      await query(`INSERT INTO ${table} VALUES ('${key}', ${value}, 'theirs', 9999999999999)`);
      const found = await store.load(key);
      expect(found).toMatchObject({ lastSeenAt: 0, version: "theirs" });
      expect(found?.fields.size).toBe(0);
      expect(await store.save(key, writeOf({ a: "1" }))).toBe("conflict");
    });
  });
}

/** Answers that a client should not give. For `load`, they are also wrong as rows. */
const MEANINGLESS: readonly unknown[] = [undefined, null, {}, "ok", 1, true, [undefined], [null], ["ok"], [{}], [7, 8]];

/** Expects that each call of a store fails if its client gives an answer without meaning. */
export async function refusesMeaninglessAnswers(
  open: (answer: unknown) => SessionStore,
  answers = MEANINGLESS,
): Promise<void> {
  for (const answer of answers) {
    const store = open(answer);
    const calls: (() => unknown)[] = [
      () => store.load(randomKey()),
      () => store.save(randomKey(), writeOf({ a: "1" })),
      () => store.save(randomKey(), writeOf({ a: "1", expected: "v" })),
      () => store.delete(randomKey()),
      () => store.delete(randomKey(), "v"),
      ...(store.prune === undefined ? [] : [() => store.prune?.(0)]),
    ];
    for (const call of calls) expect(await failureOf(call), String(answer)).toMatchObject({ code: "ERR_STORE" });
  }
}
