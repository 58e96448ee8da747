import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, createClient } from "@libsql/client";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { isBusy } from "../../src/core/errors.ts";
import { type LibsqlClient, libsqlStore } from "../../src/stores/libsql.ts";
import { storeCases } from "../../src/testing.ts";
import { countOf } from "./databases/processes.ts";
import { refusesMeaninglessAnswers, testSqlStore } from "./databases/sql_cases.ts";
import { failureOf, randomKey, saved, valueOf, writeOf } from "./databases/steps.ts";

let folder: string;
let files = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "with-session-libsql-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The path of a file that no other test uses. */
function freshFile(): string {
  return join(folder, `${files++}.db`);
}

let calls = 0;

/** A client whose calls are counted. */
function counted(client: Client): LibsqlClient {
  return {
    execute(statement) {
      calls++;
      return client.execute(statement);
    },
  };
}

describe.each<[string, () => string]>([
  ["in memory", () => ":memory:"],
  ["on a file", () => `file:${freshFile()}`],
])("libsqlStore() %s keeps the contract of stores:", (_name, urlOf) => {
  for (const { name, run } of storeCases()) {
    test(name, () =>
      run(() => {
        const client = createClient({ url: urlOf() });
        return {
          store: libsqlStore(counted(client)),
          neighbour: libsqlStore(client, { table: "other" }),
          calls: () => calls,
          spoil: async (key) => {
            await client.execute(`UPDATE sessions SET value = x'00ff', version = 'theirs' WHERE key = '${key}'`);
          },
          fail: () => client.close(),
          close: () => client.close(),
        };
      }),
    );
  }
});

let shared: Client | undefined;

testSqlStore("libsqlStore()", () => {
  const client = (shared ??= createClient({ url: ":memory:" }));
  return {
    dialect: "sqlite",
    open: (options) => libsqlStore(counted(client), options),
    statements: () => calls,
    query: async (statement) => (await client.execute(statement)).rows,
    schema: "main",
  };
});

describe("libsqlStore() among processes", () => {
  test("counts what four processes add 250 times each, though their clients do not wait for locks", async () => {
    const file = freshFile();
    const client = createClient({ url: `file:${file}`, timeout: 5000 });
    await client.execute("PRAGMA journal_mode = WAL");
    const workers = Array.from({ length: 4 }, () => ({ client: "libsql" }));
    expect(await countOf(workers, file, libsqlStore(client))).toBe(1000);
    client.close();
  });

  test("throws a StoreBusyError from each write while another client holds the lock, and still loads", async () => {
    const url = `file:${freshFile()}`;
    const [client, other] = [createClient({ url }), createClient({ url })];
    await client.execute("PRAGMA journal_mode = WAL");
    const store = libsqlStore(client);
    expect(await store.load(randomKey())).toBeNull();
    const key = randomKey();
    const version = await saved(store, key, { a: "1" });
    const transaction = await other.transaction("write");
    expect(isBusy(await failureOf(() => store.save(key, writeOf({ a: "2", expected: version }))))).toBe(true);
    expect(isBusy(await failureOf(() => store.save(randomKey(), writeOf({ a: "1" }))))).toBe(true);
    expect(isBusy(await failureOf(() => store.delete(key, version)))).toBe(true);
    expect(await valueOf(store, key)).toBe("1");
    await transaction.rollback();
    await saved(store, key, { a: "2", expected: version });
    // A write that was acknowledged after a lock is committed: others see it, and can write.
    expect(await valueOf(libsqlStore(other), key)).toBe("2");
    await saved(libsqlStore(other), randomKey(), { a: "1" });
    client.close();
    other.close();
  });
});

test("libsqlStore() keeps a NUL and text beyond it", async () => {
  const client = createClient({ url: ":memory:" });
  const store = libsqlStore(client);
  const key = randomKey();
  await saved(store, key, { a: "before\0after 👩" });
  expect(await valueOf(store, key)).toBe("before\0after 👩");
  expect((await client.execute("SELECT typeof(value) AS type FROM sessions")).rows[0]?.["type"]).toBe("blob");
  client.close();
});

describe("libsqlStore() and its clients", () => {
  const answering = (answer: unknown): LibsqlClient => ({ execute: async () => answer });

  test("takes an answer without meaning for an error", async () => {
    await refusesMeaninglessAnswers((answer) => libsqlStore(answering(answer)));
    await refusesMeaninglessAnswers((rows) => libsqlStore(answering({ rows, rowsAffected: 1 })));
  });

  test("works with each way to read integers", async () => {
    for (const intMode of ["number", "bigint", "string"] as const) {
      const client = createClient({ url: ":memory:", intMode });
      const store = libsqlStore(client);
      const key = randomKey();
      const expected = await saved(store, key, { a: "1" });
      await saved(store, key, { a: "2", expected });
      expect(await store.prune?.(Date.now() + 4_000_000)).toBe(1);
      client.close();
    }
  });

  test("throws when the client is missing or is none", () => {
    const none: unknown[] = [
      undefined,
      null,
      {},
      "file:sessions.db",
      Promise.resolve(createClient({ url: ":memory:" })),
    ];
    for (const client of none) {
      // @ts-expect-error Not one of them is a client.
      expect(() => libsqlStore(client)).toThrow(/libsqlStore: the client must be/);
    }
  });

  test("takes the types of its clients", () => {
    expectTypeOf<Client>().toExtend<LibsqlClient>();
  });
});
