import { describe, expect, test } from "vitest";
import { isBusy } from "../../src/core/errors.ts";
import { parseRecord, serializeRecord } from "../../src/core/record_text.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { sqlSchema } from "../../src/stores/sql/schema.ts";
import { hasMethod, type SqlEngine, sqlStore, type SqlValue } from "../../src/stores/sql/sql_store.ts";
import { isLocked, sqliteEngine } from "../../src/stores/sql/sqlite_engine.ts";
import { type SqlStoreOptions, tableOf } from "../../src/stores/sql/table.ts";
import { type SqliteDatabase, sqliteStore } from "../../src/stores/sqlite.ts";
import { failureOf, randomKey, writeOf } from "./databases/steps.ts";

// How the SQL stores treat the answers of a database, without a database.

const text = serializeRecord({ fields: new Map([["=a", "1"]]), lastSeenAt: 1000 });
const names = ["load", "create", "update", "remove", "removeVersion", "sweep"] as const;
const statements = {
  load: "load",
  create: "create",
  update: "update",
  remove: "remove",
  removeVersion: "removeVersion",
  sweep: "sweep",
};

/** An answer: rows, or an error of a known kind. */
type Answer = readonly unknown[] | Error | string | undefined;

function failure(meaning: string): Error {
  return Object.assign(new Error(meaning), { meaning });
}

/** A store on a database that gives these answers one after the other, and then repeats the last one. */
function opened(answers: readonly Answer[], parts: Partial<SqlEngine> = {}) {
  const sent: [string, SqlValue[]][] = [];
  const store = sqlStore({
    owner: "smallStore",
    statements,
    schema: ["schema"],
    async run(statement, values) {
      const answer = answers[Math.min(sent.length, answers.length - 1)];
      sent.push([statement, values]);
      if (answer instanceof Error) throw answer;
      return answer;
    },
    meaningOf: (error) => {
      const { meaning } = Object(error);
      return meaning === "missing" || meaning === "busy" || meaning === "conflict" ? meaning : undefined;
    },
    ...parts,
  });
  return { store, sent: () => sent.map(([statement]) => statement), values: () => sent.map(([, values]) => values) };
}

const done = [{ done: 1 }];

/** Each call that writes, by the name of its statement. */
const writes: Record<string, (store: SessionStore) => unknown> = {
  create: (store) => store.save("k", writeOf({ a: "1" })),
  update: (store) => store.save("k", writeOf({ a: "1", expected: "v" })),
  remove: (store) => store.delete("k"),
  removeVersion: (store) => store.delete("k", "v"),
  sweep: (store) => store.prune?.(5),
};

test("an SQL store says what can be relied on", () => {
  const traits = { consistency: "strong", compareAndSet: true, maxBytes: 1_048_576 };
  expect(opened([done]).store.traits).toEqual(traits);
  expect(opened([done], { consistency: "eventual" }).store.traits).toEqual({ ...traits, consistency: "eventual" });
});

describe("an SQL store reads", () => {
  const bytes = new TextEncoder().encode(text);

  test.each<[string, unknown]>([
    ["a text", text],
    ["bytes", bytes],
    ["a buffer", bytes.buffer],
  ])("a record from %s", async (_what, value) => {
    const found = await opened([[{ value, version: "v" }]]).store.load("k");
    expect(found).toMatchObject({ lastSeenAt: 1000, version: "v" });
    expect(found?.fields.get("=a")).toBe("1");
  });

  test.each<[string, Answer]>([
    ["no list", "rows"],
    ["nothing", undefined],
    ["a row without a version", [{ value: text }]],
    ["a row without a value", [{ version: "v" }]],
    ["a number as value", [{ value: 7, version: "v" }]],
  ])("no meaning out of %s", async (_what, answer) => {
    const { store } = opened([answer]);
    expect(await failureOf(() => store.load("k"))).toMatchObject({ code: "ERR_STORE" });
  });
});

test.each<[string, (store: SessionStore) => unknown]>([
  ["load()", (store) => store.load("k")],
  ["delete() that looks for a row", (store) => store.delete("k", "v")],
])(
  "%s throws a StoreBusyError when a lock or another transaction was in the way of its reading",
  async (name, call) => {
    for (const meaning of ["busy", "conflict"]) {
      const { store, sent } = opened([...(name === "load()" ? [] : [[]]), failure(meaning)]);
      expect(isBusy(await failureOf(() => call(store)))).toBe(true);
      expect(sent().at(-1)).toBe("load");
    }
  },
);

describe.each(Object.entries(writes))("an SQL store that runs the statement %s", (name, write) => {
  test("takes rows without `done` for no answer", async () => {
    for (const answer of ["rows", undefined, [{ done: 1 }, {}], [undefined]])
      expect(await failureOf(() => write(opened([answer]).store))).toMatchObject({ code: "ERR_STORE" });
  });

  test("rejects with the database's error, which is a StoreBusyError if it is busy", async () => {
    const other = failure("other");
    const { store, sent } = opened([other]);
    expect(await failureOf(() => write(store))).toBe(other);
    expect(sent()).toEqual([name]);
    expect(isBusy(await failureOf(() => write(opened([failure("busy")]).store)))).toBe(true);
  });

  const isRepeated = name === "remove" || name === "sweep";
  test("expects a version, or tries up to five times, when the database reports a conflict", async () => {
    const conflict = failure("conflict");
    const { store, sent } = opened([
      conflict,
      ...(isRepeated ? [conflict, conflict, conflict, done] : [[{ done: 1 }]]),
    ]);
    const answer = await write(store);
    if (name === "sweep") expect(answer).toBe(1);
    else expect(answer).toBe(name === "remove" ? undefined : "conflict");
    expect(sent().filter((each) => each === name)).toHaveLength(isRepeated ? 5 : 1);
    if (!isRepeated) return;
    const always = opened([conflict]);
    expect(isBusy(await failureOf(() => write(always.store)))).toBe(true);
    expect(always.sent()).toHaveLength(5);
  });

  test("creates the table when it is missing, and only then", async () => {
    const { store, sent } = opened([failure("missing"), [], done]);
    await write(store);
    expect(sent()).toEqual([name, "schema", name]);
  });

  test("goes on when another process has created the table meanwhile, and says why when none has", async () => {
    const refused = failure("refused");
    const { store, sent } = opened([failure("missing"), refused, done]);
    await write(store);
    expect(sent()).toEqual([name, "schema", name]);
    expect(await failureOf(() => write(opened([failure("missing"), refused, failure("missing")]).store))).toBe(refused);
  });
});

describe("an SQL store", () => {
  test("passes on what its statements need", async () => {
    const { store, sent, values } = opened([done]);
    const version = await store.save("k", writeOf({ a: "1", now: 1000.5, expiresAt: 2000.5 }));
    const next = await store.save("k", writeOf({ a: "1", now: 1000, expected: "v", expiresAt: Infinity }));
    await store.delete("k");
    await store.delete("k", "v");
    await store.prune?.(7.5);
    expect(sent()).toEqual(names.slice(1));
    const [created = [], updated = [], ...others] = values();
    expect(created.toSpliced(1, 1)).toEqual(["k", version, 2001, 1001]);
    expect(updated.slice(1)).toEqual([next, 8.64e15, "k", "v"]);
    expect(version).not.toBe(next);
    expect(others).toEqual([["k"], ["k", "v"], [8]]);
    const { fields } = parseRecord(new TextDecoder().decode(Object(updated[0])));
    expect([...fields]).toEqual([["=a", "1"]]);
  });

  test("stores what the engine makes of a record", async () => {
    const { store, values } = opened([done], { encode: (given, bytes) => `${given} ${bytes.length}` });
    const { record, ...write } = writeOf({ a: "1" });
    await store.save("k", { ...write, record });
    const written = serializeRecord(record);
    expect(values()[0]?.[1]).toBe(`${written} ${written.length}`);
  });

  test("refuses a record over 1 MiB before anything is sent", async () => {
    const { store, sent } = opened([done]);
    const error = await failureOf(() => store.save("k", writeOf({ a: "é".repeat(524_288) })));
    expect(error).toMatchObject({ code: "ERR_RECORD_TOO_LARGE" });
    expect(sent()).toEqual([]);
  });

  test("asks whether a row is there only if none had the version that was to be deleted", async () => {
    const removed = opened([done]);
    expect(await removed.store.delete("k", "v")).toBeUndefined();
    expect(removed.sent()).toEqual(["removeVersion"]);
    const missing = opened([[], []]);
    expect(await missing.store.delete("k", "v")).toBeUndefined();
    const changed = opened([[], [{ value: text, version: "w" }]]);
    expect(await changed.store.delete("k", "v")).toBe("conflict");
    expect([missing.sent(), changed.sent()]).toEqual(Array.from({ length: 2 }, () => ["removeVersion", "load"]));
  });

  test("sweeps in batches of a thousand until one is not full", async () => {
    const batch = (length: number) => Array.from({ length }, () => ({ done: 1 }));
    const { store, sent } = opened([batch(1000), batch(1000), batch(5)]);
    expect(await store.prune?.(1)).toBe(2005);
    expect(sent()).toHaveLength(3);
    expect(await opened([batch(1000), []]).store.prune?.(1)).toBe(1000);
  });

  test("knows a client by its methods", () => {
    expect([{ query: () => {} }, { query: 1 }, {}, undefined, null].map((each) => hasMethod(each, "query"))).toEqual([
      true,
      false,
      false,
      false,
      false,
    ]);
  });
});

describe("a table", () => {
  test("is named in quotes, in its place", () => {
    expect(tableOf({}, "store")).toEqual({
      name: '"sessions"',
      alone: '"sessions"',
      index: '"sessions_expires_at"',
      place: "",
    });
    expect(tableOf({ table: "t", schema: "_S1" }, "store", "`")).toEqual({
      name: "`_S1`.`t`",
      alone: "`t`",
      index: "`t_expires_at`",
      place: "`_S1`.",
    });
    expect(() => tableOf({ table: "x".repeat(48), schema: "x".repeat(48) }, "store")).not.toThrow();
  });

  test("has no name and no place that SQL could take for something else", () => {
    for (const name of ["", "1a", "a-b", "-b", 'a"', '"a', "a b", "ä", "x".repeat(49), "$1", 7, null, {}]) {
      const wrong: unknown[] = [{ table: name }, { schema: name }];
      for (const options of wrong) {
        const given: SqlStoreOptions = Object(options);
        expect(() => tableOf(given, "store"), String(name)).toThrow(/at most 48 letters/);
      }
    }
    // @ts-expect-error There is no such option.
    expect(() => tableOf({ name: "t" }, "store")).toThrow(/table/);
  });

  test("is created by the statements that sqlSchema() prints", () => {
    const options = { table: "t", schema: "s" };
    const lines = (dialect: "postgres" | "mysql" | "sqlite") => sqlSchema(dialect, options).split(/\s*\n\s*/);
    expect(lines("postgres")).toEqual([
      'CREATE TABLE IF NOT EXISTS "s"."t" (',
      'key text COLLATE "C" PRIMARY KEY,',
      "value bytea NOT NULL,",
      "version text NOT NULL,",
      "expires_at bigint NOT NULL",
      ");",
      'CREATE INDEX IF NOT EXISTS "t_expires_at" ON "s"."t" (expires_at);',
      "",
    ]);
    expect(lines("mysql")).toEqual([
      "CREATE TABLE IF NOT EXISTS `s`.`t` (",
      "`key` varbinary(255) PRIMARY KEY,",
      "value mediumblob NOT NULL,",
      "version varbinary(255) NOT NULL,",
      "expires_at bigint NOT NULL,",
      "INDEX `t_expires_at` (expires_at)",
      ") ENGINE = InnoDB;",
      "",
    ]);
    expect(lines("sqlite")).toEqual([
      'CREATE TABLE IF NOT EXISTS "s"."t" (',
      "key text PRIMARY KEY NOT NULL,",
      "value blob NOT NULL,",
      "version text NOT NULL,",
      "expires_at integer NOT NULL",
      ") STRICT;",
      'CREATE INDEX IF NOT EXISTS "s"."t_expires_at" ON "t" (expires_at);',
      "",
    ]);
    // @ts-expect-error There is no such dialect.
    expect(() => sqlSchema("oracle")).toThrow(/postgres, mysql or sqlite/);
    // @ts-expect-error There is no such option.
    expect(() => sqlSchema("mysql", { name: "t" })).toThrow(/sqlSchema/);
  });
});

describe("an engine of SQLite", () => {
  test("knows that another connection holds a lock", () => {
    for (const errcode of [5, 6, 261, 517, 262]) expect(isLocked({ errcode })).toBe(true);
    for (const code of ["SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_LOCKED", "SQLITE_LOCKED_SHAREDCACHE"])
      expect(isLocked({ code })).toBe(true);
    for (const error of [undefined, {}, { errcode: 1 }, { errcode: 7 }, { code: "NO_SQLITE_BUSY" }, { code: "SQLITE" }])
      expect(isLocked(error)).toBe(false);
  });

  test("takes a failure for a missing table until a statement with parameters has succeeded", async () => {
    const table = tableOf({}, "store");
    let fails = false;
    const engine = sqliteEngine({
      owner: "store",
      table,
      statements: { load: "", create: "", update: "", remove: "", removeVersion: "" },
      run: async () => {
        if (fails) throw new Error("SQLITE_ERROR");
        return [];
      },
    });
    expect(engine.meaningOf(new Error("SQLITE_ERROR"))).toBe("missing");
    expect(engine.meaningOf({ errcode: 5 })).toBe("busy");
    await engine.run("schema", []);
    fails = true;
    await failureOf(() => engine.run("load", ["k"]));
    expect(engine.meaningOf(new Error("SQLITE_ERROR"))).toBe("missing");
    fails = false;
    expect(await engine.run("load", ["k"])).toEqual([]);
    await engine.run("schema", []);
    expect(engine.meaningOf(new Error("SQLITE_ERROR"))).toBeUndefined();
    expect(engine.meaningOf({ errcode: 5 })).toBe("busy");
    // SQLITE_ERROR: of statements that have worked before, the table is missing again.
    for (const error of [{ errcode: 1 }, { errcode: 257 }, { code: "SQLITE_ERROR" }])
      expect(engine.meaningOf(error)).toBe("missing");
    for (const error of [{ errcode: 13 }, { code: "SQLITE_FULL" }]) expect(engine.meaningOf(error)).toBeUndefined();
    expect(engine.schema).toHaveLength(2);
    expect(engine.statements.sweep).toMatch(
      /^DELETE FROM "sessions" WHERE key IN \(.* LIMIT 1000\) RETURNING 1 AS done$/,
    );
  });
});

describe("sqliteStore() on a database that remembers what it is asked", () => {
  function database(wait: number, isTableThere = true) {
    const asked: string[] = [];
    let fails = !isTableThere;
    const db: SqliteDatabase = {
      exec(statement: string) {
        asked.push(`exec ${statement}`);
        fails &&= isTableThere;
      },
      prepare(statement: string) {
        asked.push(`prepare ${statement}`);
        return {
          all: () => {
            if (fails && !statement.startsWith("PRAGMA"))
              throw Object.assign(new Error("failed"), { errcode: isTableThere ? 5 : 1 });
            return statement.startsWith("PRAGMA") ? [{ timeout: wait }] : [];
          },
        };
      },
    };
    return { db, asked, fail: (is: boolean) => (fails = is) };
  }

  test("prepares each statement once, and again after a failure", async () => {
    const { db, asked, fail } = database(5000);
    const store = sqliteStore(db);
    const key = randomKey();
    for (let i = 0; i < 3; i++) await store.load(key);
    const select = 'prepare SELECT value, version FROM "sessions" WHERE key = ?';
    expect(asked).toEqual(["prepare PRAGMA busy_timeout", select]);
    fail(true);
    await failureOf(() => store.load(key));
    fail(false);
    await store.load(key);
    expect(asked.slice(2)).toEqual(["prepare PRAGMA busy_timeout", select]);
  });

  test("executes the statements that create a table, which answer nothing", async () => {
    const { db, asked } = database(5000, false);
    expect(await sqliteStore(db).load(randomKey())).toBeNull();
    const words = asked.map((each) => each.split(" ").slice(0, 3).join(" "));
    const select = ["prepare PRAGMA busy_timeout", "prepare SELECT value,"];
    expect(words).toEqual([...select, "exec CREATE TABLE", "exec CREATE INDEX", ...select]);
  });

  test("lets a connection wait that does not, and leaves the others as they are", async () => {
    for (const [wait, isSet] of [
      [0, true],
      [1, false],
    ] as const) {
      const { db, asked } = database(wait);
      await sqliteStore(db).load(randomKey());
      expect(asked.some((each) => /^exec PRAGMA busy_timeout = \d+$/.test(each))).toBe(isSet);
    }
  });

  test("is refused where it is none", () => {
    for (const wrong of [undefined, null, "sessions.db", { prepare: () => {} }, { exec: () => {} }]) {
      // @ts-expect-error None of these is a database.
      expect(() => sqliteStore(wrong)).toThrow(
        expect.objectContaining({ message: expect.stringMatching(/^sqliteStore/) }),
      );
    }
  });
});
