import { describe, expect, test } from "vitest";
import { byteLength } from "../../src/core/record_size.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import type { Send } from "../../src/stores/redis/commands.ts";
import { assertSize, type Engine } from "../../src/stores/redis/engine.ts";
import { knownValues } from "../../src/stores/redis/known_values.ts";
import { recordStore } from "../../src/stores/redis/record_store.ts";
import { changing, creation, fakeClient, key, layouts, present, recordOf, saved } from "./redis_records.ts";

// The commands that are sent to a server, without a server. redis.test.ts uses Redis.

/** A small engine, whose server's answers come from `answer`. */
function engineOf(answer: (...words: Parameters<Send>) => unknown, maxBytes: number): Engine {
  const send: Send = async (...words) => answer(...words);
  return { name: "Small", maxBytes, send, read: send, measure: byteLength };
}

describe("the limit of an engine", () => {
  test("is counted in bytes, and is not exceeded", () => {
    const engine = engineOf(() => null, 12);
    for (const text of ["", "a".repeat(12), "é".repeat(6)]) expect(() => assertSize(engine, text)).not.toThrow();
    for (const text of ["a".repeat(13), "é".repeat(7), "€".repeat(5)])
      expect(() => assertSize(engine, text)).toThrow(expect.objectContaining({ code: "ERR_RECORD_TOO_LARGE" }));
  });

  test.each(layouts)("refuses a record before anything is sent, in the layout %s", async (layout) => {
    let sent = 0;
    const store = recordStore(
      "smallStore",
      { layout },
      engineOf(() => void sent++, 100),
    );
    const tooLarge = (async () => store.save(key, creation({ "=a": "x".repeat(100) })))();
    await expect(tooLarge).rejects.toMatchObject({ code: "ERR_RECORD_TOO_LARGE" });
    expect(sent).toBe(0);
  });

  test("is 512 MB less 8 KB for Redis, with compare-and-set", () => {
    const { traits } = redisStore(fakeClient(() => null));
    expect(traits).toEqual({ consistency: "strong", compareAndSet: true, maxBytes: 536_862_720 });
  });
});

test("recordStore() stores, reads and replaces in the layout value where nothing is known of the server", async () => {
  let value: string | null = null;
  const engine = engineOf((command, _key, args = []) => {
    if (command === "GET") return value;
    value = (command === "SET" ? args[0] : args[2]) ?? null;
    return command === "SET" ? "OK" : 1;
  }, 1000);
  const store = recordStore("smallStore", {}, engine);
  await saved(store, creation({ "=a": "1" }));
  await saved(store, changing(await present(store), { "=a": "2" }));
  expect((await present(store)).fields.get("=a")).toBe("2");
});

describe("redisStore() in the layout value, on a server that knows IFEQ", () => {
  test("replaces what it has written itself by one command", async () => {
    const sent: string[][] = [];
    const store = redisStore(fakeClient((words) => (sent.push(words), "OK")));
    const first = await saved(store, creation({ "=a": "1" }));
    const found = { ...recordOf({ "=a": "1" }), version: first };
    const second = await saved(store, changing(found, { "=a": "2" }));
    const [old, value] = [`${first} 11700000000000\n=a\n1`, `${second} 11700000000000\n=a\n2`];
    expect(sent).toEqual([
      ["SET", `session:${key}`, old, "NX", "PX", "60000"],
      ["SET", `session:${key}`, value, "IFEQ", old, "PX", "60000"],
    ]);
  });

  test("replaces what it has read by one command", async () => {
    const sent: string[][] = [];
    const old = "v1 11700000000000\n=a\n1";
    const store = redisStore(fakeClient((words) => (sent.push(words), words[0] === "GET" ? old : "OK")));
    const version = await saved(store, changing(await present(store), { "=a": "2" }));
    const value = `${version} 11700000000000\n=a\n2`;
    expect(sent.slice(1)).toEqual([["SET", `session:${key}`, value, "IFEQ", old, "PX", "60000"]]);
  });
});

describe("a value that is known", () => {
  function opened(failure: string) {
    let sent = 0;
    const known = knownValues(async () => {
      sent++;
      throw new Error(failure);
    });
    known.keep(key, "v1 old");
    const replace = async (): Promise<boolean | undefined> => known.replace(key, "v1 ", "v2 new", "1000");
    return { replace, sent: () => sent };
  }

  test("was not replaced if another type is in its place", async () => {
    const { replace, sent } = opened("WRONGTYPE Operation against a key holding the wrong kind of value");
    expect([await replace(), await replace(), sent()]).toEqual([false, false, 2]);
  });

  test("is left to a script, now and later, by a server that does not know IFEQ", async () => {
    const { replace, sent } = opened("ERR syntax error");
    expect([await replace(), await replace(), sent()]).toEqual([undefined, undefined, 1]);
  });

  test.each(["Socket closed unexpectedly", "OOM command not allowed: ERR", "NOPERM WRONGTYPE"])(
    "is not known to be replaced or not after another failure: %s",
    async (failure) => {
      const { replace, sent } = opened(failure);
      await expect(replace()).rejects.toThrow(failure);
      await expect(replace()).rejects.toThrow(failure);
      expect(sent()).toBe(2);
    },
  );
});

test.each(layouts)(
  "a failure whose first word is another one is no record of another type, layout %s",
  async (layout) => {
    const store: SessionStore = redisStore(
      fakeClient(() => {
        throw new Error("NOPERM WRONGTYPE");
      }),
      { layout },
    );
    await expect(Promise.resolve(store.load(key))).rejects.toThrow("NOPERM");
  },
);
