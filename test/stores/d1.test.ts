import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { type D1Client, d1Store } from "../../src/stores/d1.ts";
import { storeCases } from "../../src/testing.ts";
import { startWorker } from "../setup/workerd.ts";
import { refusesMeaninglessAnswers, testSqlStore } from "./databases/sql_cases.ts";
import { failureOf, randomKey, saved, valueOf } from "./databases/steps.ts";

let worker: Miniflare;
let database: D1Binding;

/** The part of D1's binding that the tests use besides the store. */
interface D1Binding extends D1Client {
  withSession(constraintOrBookmark?: string): D1Client & { getBookmark(): string | null };
}

beforeAll(async () => {
  worker = await startWorker(new URL("./d1.worker.ts", import.meta.url), { d1Databases: ["DB"] });
  database = (await worker.getBindings<{ DB: D1Binding }>()).DB;
});
afterAll(() => worker.dispose());

async function ask(parameters: Record<string, string>): Promise<string> {
  return await (await worker.dispatchFetch(`http://localhost/?${new URLSearchParams(parameters)}`)).text();
}

describe("d1Store() in workerd keeps the contract of stores:", () => {
  for (const { name } of storeCases()) test(name, async () => expect(await ask({ name })).toBe("passed"));
});

describe("d1Store() in workerd, on D1's Sessions API, keeps the contract of stores:", () => {
  for (const { name } of storeCases()) {
    test(name, async () => expect(await ask({ name, session: "first-primary" })).toBe("passed"));
  }
});

let calls = 0;

testSqlStore("d1Store()", () => ({
  dialect: "sqlite",
  open: (options) =>
    d1Store(
      {
        prepare(statement) {
          calls++;
          return database.prepare(statement);
        },
      },
      options,
    ),
  statements: () => calls,
  async query(statement) {
    const { results } = Object(await database.prepare(statement).all());
    return results;
  },
  schema: "main",
}));

test("d1Store() counts every one of 100 updates at once in workerd", async () => {
  expect(await ask({ updates: "100" })).toBe("100");
});

test("d1Store() counts what four requests add 250 times each in workerd", async () => {
  const key = randomKey();
  await saved(d1Store(database), key, { a: "0" });
  await Promise.all([1, 2, 3, 4].map(() => ask({ key, times: "250" })));
  expect(await valueOf(d1Store(database), key)).toBe("1000");
});

test("d1Store() keeps a NUL and text beyond it, in a column of bytes", async () => {
  const store = d1Store(database);
  const key = randomKey();
  await saved(store, key, { a: "before\0after 👩" });
  expect(await valueOf(store, key)).toBe("before\0after 👩");
  const statement = `SELECT typeof(value) AS type, length(value) AS bytes FROM sessions WHERE key = '${key}'`;
  const { results } = Object(await database.prepare(statement).all());
  expect(results).toEqual([
    { type: "blob", bytes: new TextEncoder().encode("1 234567890123\n=a\nbefore\0after 👩").length },
  ]);
});

describe("d1Store() and D1's Sessions API", () => {
  /** An object like the result of `withSession()`, with the member by which the store recognises it. */
  const sessionOf = (client: D1Client): D1Client & { getBookmark(): string } => ({
    prepare: (statement) => client.prepare(statement),
    getBookmark: () => "a bookmark",
  });

  test("is strong on the binding, which asks the primary, and eventual on a session, which asks replicas", () => {
    expect(d1Store(database).traits).toMatchObject({ consistency: "strong", compareAndSet: true });
    expect(d1Store(sessionOf(database)).traits).toMatchObject({ consistency: "eventual", compareAndSet: true });
  });
});

describe("d1Store() and its clients", () => {
  const answering = (answer: unknown): D1Client => {
    const statement = { bind: () => statement, all: async () => answer };
    return { prepare: () => statement };
  };

  test("takes an answer without meaning for an error", async () => {
    await refusesMeaninglessAnswers((answer) => d1Store(answering(answer)));
    await refusesMeaninglessAnswers((results) => d1Store(answering({ results })));
  });

  test("passes on an error of D1 as it is, once the table is there", async () => {
    const key = randomKey();
    let isBroken = false;
    const store = d1Store({ prepare: (statement) => database.prepare(isBroken ? "SELECT rubbish" : statement) });
    await store.load(key);
    isBroken = true;
    expect(await failureOf(() => store.load(key))).toMatchObject({ message: expect.stringContaining("rubbish") });
  });

  test("throws when the binding is missing", () => {
    const env: Record<string, D1Client> = {};
    // @ts-expect-error A binding that may be missing is not one.
    expect(() => d1Store(env["DB"])).toThrow(/D1 binding; is it missing in the Worker's configuration/);
  });

  test("takes Cloudflare's own types", () => {
    expectTypeOf<VendorsD1Database>().toExtend<D1Client>();
    expectTypeOf<VendorsD1Session>().toExtend<D1Client>();
  });
});

/** D1 as `wrangler types` declares it, with the relevant parts. */
declare abstract class VendorsD1Database {
  prepare(query: string): VendorsD1Statement;
  batch<T = unknown>(statements: VendorsD1Statement[]): Promise<{ results: T[] }[]>;
  withSession(constraintOrBookmark?: string): VendorsD1Session;
}
declare abstract class VendorsD1Session {
  prepare(query: string): VendorsD1Statement;
  getBookmark(): string | null;
}
declare abstract class VendorsD1Statement {
  bind(...values: unknown[]): VendorsD1Statement;
  first<T = unknown>(column: string): Promise<T | null>;
  all<T = Record<string, unknown>>(): Promise<{ results: T[]; success: true; meta: Record<string, unknown> }>;
}
