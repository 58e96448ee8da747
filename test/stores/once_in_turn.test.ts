import fs from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { mock } from "node:test";
import { createClient } from "@libsql/client";
import { afterEach, describe, expect, test, vi } from "vitest";
import { memoryStore, SessionManager, type SessionStore } from "../../mod.ts";
import { libsqlStore } from "../../src/stores/libsql.ts";
import { onceInTurn } from "../../src/stores/sql/once_in_turn.ts";
import { sqliteStore } from "../../src/stores/sqlite.ts";
import { randomKey, writeOf } from "./databases/steps.ts";

afterEach(() => {
  // Fake timers restore what they have replaced, which may be a stub.
  vi.useRealTimers();
  mock.timers.reset();
  vi.unstubAllGlobals();
});

/** Stores a record, and begins another write of it in the same turn. */
function writeTwice(store: SessionStore, key: string): { first: unknown; second: unknown } {
  const first = store.save(key, writeOf({ a: "1" })) as number;
  return { first, second: store.save(key, writeOf({ a: "2", expected: first })) };
}

/** Waits for turns of the event loop, without a timer: a test may have replaced the timers. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => fs.stat(".", resolve));
}

describe("a second write of a record", () => {
  test("is done in the next turn of the event loop, not only in another microtask", async () => {
    const store = onceInTurn(memoryStore());
    const key = randomKey();
    const { first, second } = writeTwice(store, key);
    for (let count = 0; count < 100; count++) await undefined;
    expect(store.load(key)).toMatchObject({ version: first });
    const version = await second;
    expect(version).not.toBe("conflict");
    expect(store.load(key)).toMatchObject({ version });
  });

  test("is done at once in a later turn", async () => {
    const store = onceInTurn(memoryStore());
    const key = randomKey();
    const first = store.save(key, writeOf({ a: "1" })) as number;
    await new Promise((resolve) => setImmediate(resolve));
    expect(store.save(key, writeOf({ a: "2", expected: first }))).toBe(first + 1);
  });

  test("does not hold back other records, loads and deletions", () => {
    const store = onceInTurn(memoryStore());
    const key = randomKey();
    writeTwice(store, key);
    expect(store.save(randomKey(), writeOf({ a: "1" }))).toBeTypeOf("number");
    expect(store.delete(key)).toBeUndefined();
    expect(store.load(key)).toBeNull();
  });

  test("is refused if the record was changed or removed before the next turn", async () => {
    const store = onceInTurn(memoryStore());
    const key = randomKey();
    const { second } = writeTwice(store, key);
    await store.delete(key);
    expect(await second).toBe("conflict");
  });

  test("rejects if the engine fails", async () => {
    const database = new DatabaseSync(":memory:");
    const store = sqliteStore(database);
    const key = randomKey();
    await store.load(key);
    const { second } = writeTwice(store, key);
    database.close();
    await expect(second).rejects.toThrow();
  });

  const FAKES = {
    "Vitest": () => vi.useFakeTimers(),
    "node:test": () => mock.timers.enable({ apis: ["setImmediate", "setTimeout"] }),
  };

  describe.each(["before", "after"] as const)("with fake timers that a test turned on %s the import", (moment) => {
    test.each([
      ["Vitest", "setImmediate", () => {}],
      ["Vitest", "setTimeout alone", () => vi.stubGlobal("setImmediate", undefined)],
      ["node:test", "setImmediate", () => {}],
      ["node:test", "setTimeout alone", () => vi.stubGlobal("setImmediate", undefined)],
    ] as const)(
      "of %s waits for no timer that does not fire, in a runtime that has %s",
      async (tool, _name, prepare) => {
        vi.resetModules();
        prepare();
        if (moment === "before") FAKES[tool]();
        const { onceInTurn: fresh } = await import("../../src/stores/sql/once_in_turn.ts");
        if (moment === "after") FAKES[tool]();
        const store = fresh(memoryStore());
        for (const key of [randomKey(), randomKey()])
          expect(await Promise.race([writeTwice(store, key).second, turns(100)])).toBeTypeOf("number");
      },
    );
  });

  test("starts the port that it listens to, because only Node.js does so by itself, and closes both for Deno", async () => {
    const calls: string[] = [];
    vi.stubGlobal(
      "MessageChannel",
      class extends MessageChannel {
        constructor() {
          super();
          for (const port of ["port1", "port2"] as const) {
            for (const name of ["start", "close"] as const) {
              const call = this[port][name].bind(this[port]);
              this[port][name] = () => {
                calls.push(`${port}.${name}`);
                call();
              };
            }
          }
        }
      },
    );
    await writeTwice(onceInTurn(memoryStore()), randomKey()).second;
    expect(calls.toSorted()).toEqual(["port1.close", "port1.start", "port2.close"]);
  });

  test("is done at once again some time after the runtime has dropped the timer, as Workers do after a response", () => {
    const dropped = vi.fn<() => void>();
    vi.stubGlobal("setImmediate", dropped);
    const save = vi.fn<() => number>(() => 1);
    const store = onceInTurn({ ...memoryStore(), save });
    const write = writeOf({ a: "1" });
    for (let count = 0; count < 10_001; count++) void store.save(`key ${count}`, write);
    expect(store.save("key 0", write)).toBe(1);
    expect(dropped).toHaveBeenCalledTimes(2);
  });

  test("does not wait in a runtime without messages", async () => {
    vi.stubGlobal("MessageChannel", undefined);
    expect(await writeTwice(onceInTurn(memoryStore()), randomKey()).second).toBeTypeOf("number");
  });
});

describe.each<[string, (ran: (statement: string) => void) => SessionStore]>([
  [
    "sqliteStore()",
    (ran) => {
      const database = new DatabaseSync(":memory:");
      return sqliteStore({
        exec: (statements) => database.exec(statements),
        prepare(statement) {
          const prepared = database.prepare(statement);
          return { all: (...values) => (ran(statement), prepared.all(...values)) };
        },
      });
    },
  ],
  [
    "libsqlStore()",
    (ran) => {
      const client = createClient({ url: ":memory:" });
      return libsqlStore({ execute: (statement) => (ran(statement.sql), client.execute(statement)) });
    },
  ],
])("%s", (_name, open) => {
  test("stores the updates of 64 requests with a few statements", async () => {
    let updates = 0;
    const sessions = new SessionManager<{ n: number }>({
      store: open((statement) => {
        if (statement.startsWith("UPDATE")) updates++;
      }),
    });
    const first = sessions.start(new Request("https://shop.example/"));
    first.set("n", 0);
    await first.save();
    const id = (await first.id()) ?? "";
    const opened = Array.from({ length: 64 }, () => sessions.open(id));
    for (const session of opened) await session.get("n");
    await Promise.all(opened.map((session) => session.update("n", (n = 0) => n + 1)));
    expect(updates).toBeLessThan(5);
    expect(await sessions.open(id).get("n")).toBe(64);
  });
});
