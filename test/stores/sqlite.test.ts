import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { SessionManager, withSession } from "../../mod.ts";
import { isBusy } from "../../src/core/errors.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { type SqliteDatabase, sqliteStore } from "../../src/stores/sqlite.ts";
import { storeCases } from "../../src/testing.ts";
import { importsOfSource } from "../setup/imports.ts";
import { countOf, passesKit, work } from "./databases/processes.ts";
import { refusesMeaninglessAnswers, testSqlStore } from "./databases/sql_cases.ts";
import { failureOf, randomKey, saved, valueOf, writeOf } from "./databases/steps.ts";
import { PATIENCE } from "../setup/sessions.ts";

let folder: string;
let files = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "with-session-sqlite-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A new file with write-ahead logging. */
function freshFile(): string {
  const file = join(folder, `${files++}.db`);
  const database = new DatabaseSync(file);
  database.exec("PRAGMA journal_mode = WAL");
  database.close();
  return file;
}

interface ClosableDatabase extends SqliteDatabase {
  close(): unknown;
}

let calls = 0;

/** A database whose statements are counted. */
function counted(database: SqliteDatabase): SqliteDatabase {
  return {
    exec(statement) {
      calls++;
      return database.exec(statement);
    },
    prepare(statement) {
      const prepared = database.prepare(statement);
      const isPragma = statement.startsWith("PRAGMA");
      return {
        all(...values) {
          if (!isPragma) calls++;
          return prepared.all(...values);
        },
      };
    },
  };
}

describe.each<[string, (file: string) => ClosableDatabase]>([
  ["node:sqlite, in memory", () => new DatabaseSync(":memory:")],
  ["node:sqlite, on a file", (file) => new DatabaseSync(file)],
  ["better-sqlite3, in memory", () => new Database(":memory:")],
  ["better-sqlite3, on a file", (file) => new Database(file)],
])("sqliteStore() on %s keeps the contract of stores:", (_name, openDatabase) => {
  for (const { name, run } of storeCases()) {
    test(name, () =>
      run(() => {
        const database = openDatabase(freshFile());
        const store = sqliteStore(counted(database));
        let isOpen = true;
        const close = (): void => {
          if (isOpen) database.close();
          isOpen = false;
        };
        return {
          store,
          neighbour: sqliteStore(database, { table: "other" }),
          calls: () => calls,
          spoil: (key) => {
            database.exec(`UPDATE sessions SET value = x'00ff', version = 'theirs' WHERE key = '${key}'`);
          },
          fail: close,
          close,
        };
      }),
    );
  }
});

describe("sqliteStore() in other runtimes keeps the contract of stores:", () => {
  test("bun:sqlite", () => passesKit({ client: "bun:sqlite", runtime: "bun" }, freshFile()));
  test("Deno's node:sqlite", () => passesKit({ client: "node:sqlite", runtime: "deno" }, freshFile()));
});

let shared: DatabaseSync | undefined;

testSqlStore("sqliteStore()", () => {
  const database = (shared ??= new DatabaseSync(freshFile()));
  return {
    dialect: "sqlite",
    open: (options) => sqliteStore(counted(database), options),
    statements: () => calls,
    query: async (statement) => database.prepare(statement).all(),
    schema: "main",
  };
});

test("sqliteStore() answers at once, without a promise, once the table is there", async () => {
  const store = sqliteStore(new DatabaseSync(":memory:"));
  const key = randomKey();
  expect(await store.load(key)).toBeNull();
  const version = store.save(key, writeOf({ a: "1" }));
  expect(version).toBeTypeOf("string");
  expect(store.load(key)).toMatchObject({ version });
  expect(store.delete(key)).toBeUndefined();
});

describe("sqliteStore() among processes", () => {
  test("counts what four processes add 250 times each, each with another client", async () => {
    const file = freshFile();
    const workers = [
      { client: "node:sqlite" },
      { client: "better-sqlite3" },
      { client: "bun:sqlite", runtime: "bun" },
      { client: "node:sqlite", runtime: "deno" },
    ] as const;
    expect(await countOf(workers, file, sqliteStore(new DatabaseSync(file)))).toBe(1000);
  });

  test("counts what four processes add without write-ahead logging, where readers and writers wait for each other", async () => {
    const file = join(folder, "rollback.db");
    const workers = Array.from({ length: 4 }, () => ({ client: "node:sqlite" }));
    expect(await countOf(workers, file, sqliteStore(new DatabaseSync(file)), 50)).toBe(200);
  });

  test("loses no acknowledged increment when a process is killed in the middle", async () => {
    const file = freshFile();
    const key = randomKey();
    const store = sqliteStore(new DatabaseSync(file));
    await saved(store, key, { a: "0" });
    const script = join(import.meta.dirname, "databases", "increments.worker.ts");
    const worker = spawn(process.execPath, ["--no-warnings", script, "node:sqlite", file, key, "1000000"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(worker, "exit");
    let acknowledged = 0;
    worker.stdout.on("data", (said: Buffer) => {
      acknowledged += said.length;
      if (acknowledged > 100) worker.kill("SIGKILL");
    });
    await exited;
    const count = Number(await valueOf(store, key));
    // The killed process may have made more increments than it could report.
    expect(count).toBeGreaterThanOrEqual(acknowledged);
    const { version } = (await store.load(key)) ?? { version: "" };
    await saved(store, key, { a: "still writable", expected: version });
  });
});

describe("sqliteStore() on a locked file", () => {
  /** A store, and a connection that holds the write lock. */
  async function locked(): Promise<{
    store: SessionStore;
    key: string;
    other: DatabaseSync;
    version: string | number;
  }> {
    const file = freshFile();
    const store = sqliteStore(new DatabaseSync(file));
    const key = randomKey();
    const version = await saved(store, key, { a: "1" });
    const other = new DatabaseSync(file);
    other.exec("BEGIN IMMEDIATE");
    return { store, key, other, version };
  }

  test("throws a StoreBusyError from each write, and still loads", async () => {
    const { store, key, other, version } = await locked();
    expect(isBusy(await failureOf(() => store.save(key, writeOf({ a: "2", expected: version }))))).toBe(true);
    expect(isBusy(await failureOf(() => store.save(randomKey(), writeOf({ a: "1" }))))).toBe(true);
    expect(isBusy(await failureOf(() => store.delete(key)))).toBe(true);
    expect(isBusy(await failureOf(() => store.delete(key, version)))).toBe(true);
    expect(isBusy(await failureOf(() => store.prune?.(0)))).toBe(true);
    expect(await valueOf(store, key)).toBe("1");
    other.exec("COMMIT");
    await saved(store, key, { a: "2", expected: version });
  });

  test("throws a StoreBusyError from a load when a transaction excludes readers, and the core tries it again", async () => {
    // Without write-ahead logging, a transaction that writes excludes readers.
    const file = `${freshFile()}-without-wal`;
    const store = sqliteStore(new DatabaseSync(file));
    await saved(store, randomKey(), { a: "1" });
    const other = new DatabaseSync(file);
    other.exec("BEGIN EXCLUSIVE");
    expect(isBusy(await failureOf(() => store.load(randomKey())))).toBe(true);
    let loads = 0;
    const handler = withSession(async (_request, session) => new Response(String(await session.size())), {
      store: {
        ...store,
        load(each) {
          if (++loads === 2) other.exec("COMMIT");
          return store.load(each);
        },
      },
    });
    const headers = { Cookie: `__Host-session=${"a".repeat(32)}` };
    expect(await (await handler(new Request("https://shop.example/", { headers }))).text()).toBe("0");
    expect(loads).toBe(2);
  });

  test.each([
    { client: "node:sqlite", runtime: "node" },
    { client: "better-sqlite3", runtime: "node" },
    { client: "bun:sqlite", runtime: "bun" },
    { client: "node:sqlite", runtime: "deno" },
  ] as const)("is committed to, and let go of, by $client in $runtime after a StoreBusyError", async (worker) => {
    const outcome = JSON.parse(await work("lock.worker.ts", worker, freshFile()));
    expect(outcome).toEqual({ busy: [true, true, true], readable: "1", seen: "2" });
  });

  // Two libraries in one process must not open the same file, because each would release the other's locks.
  test.each<[string, (file: string) => ClosableDatabase]>([
    ["node:sqlite", (file) => new DatabaseSync(file)],
    ["better-sqlite3", (file) => new Database(file, { timeout: 1 })],
  ])("throws a StoreBusyError with %s while the table is not there yet", async (_name, openDatabase) => {
    const file = freshFile();
    const other = openDatabase(file);
    other.exec("BEGIN IMMEDIATE");
    const store = sqliteStore(openDatabase(file));
    expect(isBusy(await failureOf(() => store.save(randomKey(), writeOf({ a: "1" }))))).toBe(true);
    other.exec("COMMIT");
    await saved(store, randomKey(), { a: "1" });
  });

  test("is waited for: the core tries the write again", async () => {
    const file = freshFile();
    const store = sqliteStore(new DatabaseSync(file));
    const sessions = new SessionManager<{ n: number }>({ store, storeTimeout: PATIENCE });
    const first = sessions.start(new Request("http://localhost/"));
    first.set("n", 1);
    await first.save();
    const id = (await first.id()) ?? "";
    const other = new DatabaseSync(file);
    other.exec("BEGIN IMMEDIATE");
    setTimeout(() => other.exec("COMMIT"), 300);
    expect(await sessions.open(id).update("n", (n = 0) => n + 1)).toBe(2);
    expect(await sessions.open(id).get("n")).toBe(2);
  });

  test("makes a connection wait that does not, and leaves another one as it is", async () => {
    const timeoutOf = (database: DatabaseSync): unknown => database.prepare("PRAGMA busy_timeout").get()?.["timeout"];
    const [impatient, patient] = [new DatabaseSync(":memory:"), new DatabaseSync(":memory:", { timeout: 7000 })];
    for (const database of [impatient, patient]) await sqliteStore(database).load(randomKey());
    expect([timeoutOf(impatient), timeoutOf(patient)]).toEqual([500, 7000]);
  });
});

describe.each<[string, () => ClosableDatabase]>([
  ["node:sqlite", () => new DatabaseSync(":memory:")],
  ["better-sqlite3", () => new Database(":memory:")],
])("sqliteStore() on %s, in a transaction that the program has open on its database,", (_name, openDatabase) => {
  test("refuses to write, because ROLLBACK would undo it: the core tries the logout again, and it stays", async () => {
    const database = openDatabase();
    const store = sqliteStore(database);
    let refusals = 0;
    const sessions = new SessionManager<{ user: string }>({
      storeTimeout: PATIENCE,
      store: {
        ...store,
        delete(...args) {
          try {
            return store.delete(...args);
          } catch (error) {
            refusals++;
            database.exec("ROLLBACK");
            throw error;
          }
        },
      },
    });
    const session = sessions.start(new Request("https://shop.example/"));
    session.set("user", "ada");
    await session.save();
    const id = (await session.id()) ?? "";
    database.exec("BEGIN");
    const key = randomKey();
    expect(isBusy(await failureOf(() => store.save(key, writeOf({ a: "1" }))))).toBe(true);
    expect(await sessions.open(id).get("user")).toBe("ada");
    const ending = sessions.open(id);
    await ending.destroy();
    await ending.save();
    expect(refusals).toBe(1);
    expect(await sessions.open(id).get("user")).toBeUndefined();
    expect(await store.load(key)).toBeNull();
  });

  test("does not create the table, which would be missing after ROLLBACK", async () => {
    const database = openDatabase();
    const store = sqliteStore(database);
    database.exec("BEGIN");
    expect(isBusy(await failureOf(() => store.load(randomKey())))).toBe(true);
    database.exec("ROLLBACK");
    await saved(store, randomKey(), { a: "1" });
  });
});

test.each<[string, () => ClosableDatabase]>([
  ["node:sqlite", () => new DatabaseSync(":memory:")],
  ["better-sqlite3", () => new Database(":memory:")],
])(
  "sqliteStore() on %s creates the table anew after somebody has dropped it, to sign everybody out say",
  async (_name, openDatabase) => {
    const database = openDatabase();
    const store = sqliteStore(database);
    const key = randomKey();
    await saved(store, key, { a: "1" });
    database.exec("DROP TABLE sessions");
    expect(await store.load(key)).toBeNull();
    await saved(store, key, { a: "2" });
    database.exec("DROP TABLE sessions");
    await saved(store, key, { a: "3" });
    expect(await valueOf(store, key)).toBe("3");
  },
);

test("sqliteStore() keeps working when the database was closed and opened again", async () => {
  const database = new DatabaseSync(freshFile());
  const store = sqliteStore(database);
  const key = randomKey();
  await saved(store, key, { a: "1" });
  expect(await valueOf(store, key)).toBe("1");
  database.close();
  await failureOf(() => store.load(key));
  database.open();
  expect(await valueOf(store, key)).toBe("1");
});

describe("sqliteStore() and its clients", () => {
  const answering = (answer: unknown): SqliteDatabase => ({
    exec: () => undefined,
    prepare: () => ({ all: () => answer }),
  });

  test("takes an answer without meaning for an error, and a promise as well", async () => {
    await refusesMeaninglessAnswers((answer) => sqliteStore(answering(answer)));
    const wrong = sqliteStore(answering({ results: [] }));
    expect(await failureOf(() => wrong.load(randomKey()))).toMatchObject({ code: "ERR_STORE" });
  });

  test("imports no module of a runtime: node:sqlite is absent on Node 20, where better-sqlite3 works", () => {
    expect(importsOfSource().get("src/stores/sqlite.ts")?.packages).toEqual([]);
  });

  test("throws when the database is missing or is none", () => {
    const none: unknown[] = [undefined, null, {}, "sessions.db", { prepare: () => ({}) }];
    for (const database of none) {
      // @ts-expect-error Not one of them is a database.
      expect(() => sqliteStore(database)).toThrow(/sqliteStore: the database must be one of/);
    }
  });

  test("takes the types of its clients", () => {
    expectTypeOf<DatabaseSync>().toExtend<SqliteDatabase>();
    expectTypeOf<Database.Database>().toExtend<SqliteDatabase>();
  });
});
