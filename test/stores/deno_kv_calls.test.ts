import { beforeEach, describe, expect, test } from "vitest";
import { isBusy, isLocked } from "../../src/core/errors.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { type DenoKv, type DenoKvAtomicOperation, denoKvStore } from "../../src/stores/deno_kv.ts";
import { storeCases } from "../../src/testing.ts";
import { failureOf, randomKey, writeOf } from "./databases/steps.ts";

// The calls that denoKvStore() makes on a database, and how it treats the answers, without a real one. deno_kv.test.ts uses Deno KV.

type Path = Parameters<DenoKv["get"]>[0];
type Step = ["check" | "set" | "delete", ...unknown[]];

/** A database in this process, which records its calls. */
class Database implements DenoKv {
  readonly entries = new Map<string, { readonly value: unknown; readonly versionstamp: string }>();
  readonly asked: unknown[] = [];
  /** Called before each transaction. It may throw errors of a database. */
  before: () => void = () => {};
  #writes = 0;

  async get(path: Path): ReturnType<DenoKv["get"]> {
    this.asked.push(["get", path]);
    return this.entries.get(JSON.stringify(path)) ?? { value: null, versionstamp: null };
  }

  atomic(): DenoKvAtomicOperation {
    const steps: Step[] = [];
    const operation: DenoKvAtomicOperation = {
      check: (...args) => (steps.push(["check", ...args]), operation),
      set: (...args) => (steps.push(["set", ...args]), operation),
      delete: (...args) => (steps.push(["delete", ...args]), operation),
      commit: async () => {
        this.asked.push(steps);
        this.before();
        return this.#do(steps);
      },
    };
    return operation;
  }

  #do(steps: readonly Step[]): { ok: true; versionstamp: string } | { ok: false } {
    for (const [verb, check] of steps) {
      const { key, versionstamp } = Object(check);
      if (verb === "check" && (this.entries.get(JSON.stringify(key))?.versionstamp ?? null) !== versionstamp)
        return { ok: false };
    }
    const versionstamp = String(++this.#writes).padStart(20, "0");
    for (const [verb, path, value] of steps) {
      if (verb === "set") this.entries.set(JSON.stringify(path), { value, versionstamp });
      if (verb === "delete") this.entries.delete(JSON.stringify(path));
    }
    return { ok: true, versionstamp };
  }
}

const now = 1_800_000_000_000;
const key = randomKey();
const path = ["with-session", key];
let database: Database;
let store: SessionStore;

beforeEach(() => {
  database = new Database();
  store = denoKvStore(database);
});

const bytes = (text: string) => new TextEncoder().encode(text);

describe("denoKvStore() keeps the contract of stores, on a database in this process:", () => {
  for (const { name, run } of storeCases()) {
    test(name, () => {
      const own = new Database();
      return run(() => ({
        store: denoKvStore(own),
        neighbour: denoKvStore(own, { prefix: ["other", 1] }),
        calls: () => own.asked.length,
        spoil: async (at) => {
          const spoiling = own.atomic().set(["with-session", at], "somebody else's", { expireIn: 1 });
          await spoiling.commit();
        },
      }));
    });
  }
});

describe("denoKvStore()", () => {
  test("sends each write as one transaction, under a check", async () => {
    const write = writeOf({ a: "é", now, expiresAt: now + 1000 });
    const value = bytes(`1${now}\n=a\né`);
    const first = await store.save(key, write);
    const second = await store.save(key, { ...write, expected: first === "conflict" ? null : first });
    await store.load(key);
    expect(await store.save(key, { ...write, expected: first === "conflict" ? null : first })).toBe("conflict");
    expect(await store.delete(key, "another")).toBe("conflict");
    expect(await store.delete(key, second === "conflict" ? undefined : second)).toBeUndefined();
    expect(await store.delete(key, "another")).toBeUndefined();
    expect(await store.delete(key)).toBeUndefined();
    const set = ["set", path, value, { expireIn: 1000 }];
    const check = (versionstamp: unknown) => ["check", { key: path, versionstamp }];
    const get = ["get", path];
    const remove = ["delete", path];
    expect(database.asked).toStrictEqual([
      [check(null), set],
      [check(first), set],
      get,
      [check(first), set],
      [remove, check("another")],
      get,
      [remove, check(second)],
      [remove, check("another")],
      get,
      [remove],
    ]);
  });

  test("gives a write the time that the record has left, in whole milliseconds, and at least one", async () => {
    for (const life of [-5, 0, 0.2, 1, 1.2, 1000]) {
      await store.save(randomKey(), writeOf({ a: "1", now, expiresAt: now + life }));
    }
    expect(database.asked.map((steps) => Object(steps)[1][3])).toEqual(
      [1, 1, 1, 1, 2, 1000].map((expireIn) => ({ expireIn })),
    );
  });

  test("finds a record under its versionstamp, and one without fields where another program has written", async () => {
    const entry = (value: unknown) => database.entries.set(JSON.stringify(path), { value, versionstamp: "7" });
    entry(bytes(`1${now}\n=a\né`));
    const found = await store.load(key);
    expect(found).toStrictEqual({ fields: found?.fields, lastSeenAt: now, version: "7" });
    expect([...(found?.fields ?? [])]).toEqual([["=a", "é"]]);
    for (const value of [null, undefined, `1${now}\n=a\n1`, 1, [49], bytes("")]) {
      entry(value);
      const other = await store.load(key);
      expect([other?.fields.size, other?.lastSeenAt, other?.version]).toEqual([0, 0, "7"]);
    }
  });

  test("keeps records under the prefix, of one part or of several, whatever becomes of it later", async () => {
    const parts = ["shop", 7];
    const stores = [denoKvStore(database, { prefix: "shop" }), denoKvStore(database, { prefix: parts })];
    parts.push(8);
    for (const each of stores) await each.load(key);
    expect(database.asked).toEqual([
      ["get", ["shop", key]],
      ["get", ["shop", 7, key]],
    ]);
  });

  test("accepts a record of 65 536 bytes, and refuses a larger one before any call", async () => {
    expect(store.traits).toEqual({ consistency: "strong", compareAndSet: true, maxBytes: 65_536 });
    const a = "é".repeat((65_536 - 18) / 2);
    expect(await store.save(key, writeOf({ a, now }))).not.toBe("conflict");
    const error = await failureOf(() => store.save(key, writeOf({ a: `${a}x`, now })));
    expect(error).toMatchObject({ code: "ERR_RECORD_TOO_LARGE", message: expect.stringContaining("65537 bytes") });
    expect(database.asked).toHaveLength(1);
  });

  test("says that another writer holds the lock while the file is locked, and passes any other failure on", async () => {
    const failures: [error: unknown, isFileLocked: boolean][] = [
      [new TypeError("database is locked"), true],
      ["Error: database is locked (5)", true],
      [new Error("The connection was reset"), false],
      [new Error("my_database is locked"), false],
      [new Error("The database is lockedup"), false],
    ];
    for (const [failure, isFileLocked] of failures) {
      database.before = () => {
        throw failure;
      };
      for (const write of [
        () => store.save(key, writeOf({ a: "1" })),
        () => store.save(key, writeOf({ a: "1", expected: "7" })),
        () => store.delete(key),
        () => store.delete(key, "7"),
      ]) {
        const error = await failureOf(write);
        expect([isBusy(error), isLocked(error)], String(failure)).toEqual([isFileLocked, isFileLocked]);
        if (!isFileLocked) expect(error).toBe(failure);
      }
    }
  });

  test("throws when it is given no open database, or no prefix", () => {
    const get = database.get.bind(database);
    const atomic = database.atomic.bind(database);
    expect(() => denoKvStore({ get, atomic })).not.toThrow();
    for (const none of [undefined, null, {}, Promise.resolve(database), { get }, { atomic }] as unknown[]) {
      // @ts-expect-error Not one of them is an open database.
      expect(() => denoKvStore(none)).toThrow(/denoKvStore needs an open Deno KV/);
    }
    expect(() => denoKvStore(database, { prefix: ["shop", 7, 7n, true, new Uint8Array([7])] })).not.toThrow();
    for (const prefix of [7, null, { 0: "shop" }, [null], ["shop", undefined]] as unknown[]) {
      // @ts-expect-error Not one of them is a prefix.
      expect(() => denoKvStore(database, { prefix })).toThrow(/prefix must be a string or an array/);
    }
    // @ts-expect-error There is no such option.
    expect(() => denoKvStore(database, { prefixes: "a" })).toThrow(/no option "prefixes"/);
  });
});
