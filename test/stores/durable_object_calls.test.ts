import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { RecordVersion, SessionStore } from "../../src/core/store.ts";
import {
  durableObjectStore,
  SessionObject,
  type SessionObjectNamespace,
  type SessionObjectState,
} from "../../src/stores/durable_object.ts";
import { storeCases } from "../../src/testing.ts";
import { failureOf, randomKey, saved, valueOf, writeOf } from "./databases/steps.ts";

// The calls that the store makes on a binding, and an object on its storage, in this process. durable_object.test.ts uses the platform.

/** One object and its storage. */
class Kept {
  readonly rows = new Map<string, unknown>();
  alarm: number | null = null;
  /** How often the alarm was set. */
  alarms = 0;
  readonly object: SessionObject = new SessionObject({ storage: this.#storage() });

  #storage(): SessionObjectState["storage"] {
    return {
      kv: {
        get: <Value>(row: string) => this.rows.get(row) as Value | undefined,
        put: (row, value) => void this.rows.set(row, structuredClone(value)),
      },
      setAlarm: async (instant) => {
        await Promise.resolve();
        this.alarm = instant;
        this.alarms++;
      },
      deleteAlarm: async () => {
        await Promise.resolve();
        this.alarm = null;
      },
      // As before the compatibility date 2026-02-24, the alarm is not deleted.
      deleteAll: async () => {
        await Promise.resolve();
        this.rows.clear();
      },
    };
  }
}

/** A namespace whose objects are in this process. It records its calls. */
class Platform {
  readonly kept = new Map<string, Kept>();
  readonly gets: unknown[][] = [];
  readonly requests: [url: string, init: object][] = [];
  isBroken = false;

  readonly namespace: SessionObjectNamespace<string> = {
    idFromName: (name) => `id of ${name}`,
    get: (...args) => {
      this.gets.push(args);
      return {
        fetch: (url, init) => {
          this.requests.push([url, init]);
          const body = this.isBroken ? "no JSON" : init.body;
          return this.at(args[0]).object.fetch(new Request(url, { method: init.method, body }));
        },
      };
    },
  };

  at(id: string): Kept {
    const found = this.kept.get(id) ?? new Kept();
    this.kept.set(id, found);
    return found;
  }
}

const now = 1_800_000_000_000;
const key = randomKey();
let platform: Platform;
let store: SessionStore;
let kept: Kept;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now });
  platform = new Platform();
  store = durableObjectStore(platform.namespace);
  kept = platform.at(`id of ${key}`);
});
afterEach(() => {
  vi.useRealTimers();
});

/** Saves a record that expires after this many milliseconds, by a clock that is an hour behind. */
async function save(a: string, expected: RecordVersion | null, life: number): Promise<RecordVersion> {
  const then = now - 3_600_000;
  return await saved(store, key, { a, expected, now: then, expiresAt: then + life });
}

describe("durableObjectStore() keeps the contract of stores, on objects in this process:", () => {
  for (const { name, run } of storeCases()) {
    test(name, () => {
      const own = new Platform();
      return run(() => ({
        store: durableObjectStore(own.namespace),
        neighbour: durableObjectStore(own.namespace, { prefix: "neighbour:" }),
        calls: () => own.requests.length,
        fail: () => void (own.isBroken = true),
      }));
    });
  }
});

describe("durableObjectStore()", () => {
  test("sends each verb in one request to the object of the session", async () => {
    const { signal } = new AbortController();
    const write = writeOf({ a: "1", now, expiresAt: now + 1000 });
    const version = await store.save(key, write, signal);
    await store.load(key);
    await store.save(key, { ...write, expected: "another" });
    await store.delete(key, "another");
    await store.delete(key);
    const text = `1${now}\n=a\n1`;
    const calls = [
      { verb: "save", text, lifetime: 1000, expected: null },
      { verb: "load" },
      { verb: "save", text, lifetime: 1000, expected: "another" },
      { verb: "delete", expected: "another" },
      { verb: "delete" },
    ];
    const sent = calls.map((call) => ["http://session/", { method: "POST", body: JSON.stringify(call) }]);
    expect(platform.requests.slice(1)).toStrictEqual(sent.slice(1));
    expect(platform.requests[0]).toStrictEqual(["http://session/", { ...Object(sent[0]?.[1]), signal }]);
    expect(version).toMatch(/^[0-9a-f-]{36}$/);
    expect(platform.gets).toEqual(calls.map(() => [`id of ${key}`]));
  });

  test("answers with each verb's own answers alone", async () => {
    const answers = [
      '{"is":"found","version":"1","text":"11800000000000"}',
      '{"is":"saved","version":"1"}',
      '{"is":"missing"}',
      '{"is":"conflict"}',
    ];
    const outcomes = async (call: (of: SessionStore) => unknown): Promise<unknown[]> => {
      const made = answers.map(async (text) => await call(elsewhere(text)));
      return (await Promise.allSettled(made)).map((each) =>
        each.status === "fulfilled" ? each.value : String(each.reason),
      );
    };
    const refusal = (what: string) => `Error: The Durable Object gave no answer to a ${what}`;
    expect(await outcomes((of) => of.load(key))).toEqual([
      { fields: expect.anything(), lastSeenAt: now, version: "1" },
      refusal("read"),
      null,
      refusal("read"),
    ]);
    expect(await outcomes((of) => of.save(key, writeOf({ a: "1" })))).toEqual([
      refusal("write"),
      "1",
      refusal("write"),
      "conflict",
    ]);
    expect(await outcomes((of) => of.delete(key))).toEqual([
      refusal("deletion"),
      refusal("deletion"),
      undefined,
      "conflict",
    ]);
  });

  test("takes an answer that no SessionObject gives for a failure, whatever it looks like", async () => {
    const strange = [
      '"gone"',
      "null",
      "1",
      "[]",
      "{}",
      '{"is":1}',
      '{"is":["missing"]}',
      '{"is":"toString"}',
      '{"is":"found"}',
      '{"is":"found","version":"1"}',
      '{"is":"found","version":1,"text":"11800000000000"}',
      '{"is":"saved"}',
      '{"is":"saved","version":1}',
    ];
    for (const text of strange) {
      const other = elsewhere(text);
      for (const call of [() => other.load(key), () => other.save(key, writeOf({ a: "1" })), () => other.delete(key)])
        expect(String(await failureOf(call)), text).toBe("Error: The answer is not one of SessionObject");
    }
    const refused = elsewhere('{"is":"missing"}', false);
    expect(String(await failureOf(() => refused.load(key)))).toContain("status 500");
  });

  test("gives each call the signal", async () => {
    const { signal } = new AbortController();
    await store.load(key, signal);
    await store.save(key, writeOf({ a: "1" }), signal);
    await store.delete(key, undefined, signal);
    expect(platform.requests.map(([, init]) => Object(init).signal)).toEqual([signal, signal, signal]);
  });

  test("names objects with the prefix, places them by the hint, and keeps them in the jurisdiction", async () => {
    const seen: unknown[] = [];
    const namespace = (place: string): SessionObjectNamespace<string> => ({
      idFromName: (name) => `${place}/${name}`,
      get(...args) {
        seen.push(args);
        return { fetch: async () => ({ ok: true, status: 200, text: async () => '{"is":"missing"}' }) };
      },
      jurisdiction: (name) => namespace(name),
    });
    await durableObjectStore(namespace("anywhere")).load(key);
    await durableObjectStore(namespace("anywhere"), { prefix: "shop:", locationHint: "apac" }).load(key);
    await durableObjectStore(namespace("anywhere"), { jurisdiction: "eu" }).load(key);
    expect(seen).toEqual([[`anywhere/${key}`], [`anywhere/shop:${key}`, { locationHint: "apac" }], [`eu/${key}`]]);
    const { jurisdiction: _, ...without } = namespace("anywhere");
    expect(() => durableObjectStore(without, { jurisdiction: "eu" })).toThrow(/cannot be restricted to a jurisdiction/);
  });

  test("says what to do when the binding is missing or is none, or an option is wrong", () => {
    const { idFromName, get } = platform.namespace;
    for (const none of [undefined, null, {}, "SESSIONS", { idFromName }, { get }] as unknown[]) {
      // @ts-expect-error Not one of them is a binding.
      expect(() => durableObjectStore(none)).toThrow(
        expect.objectContaining({
          name: "TypeError",
          message: expect.stringMatching(/durable_objects.*env\.SESSIONS/),
        }),
      );
    }
    expect(() => durableObjectStore({ idFromName, get })).not.toThrow();
    // @ts-expect-error There is no such option.
    expect(() => durableObjectStore(platform.namespace, { location: "weur" })).toThrow(/no option "location"/);
    // @ts-expect-error A number is no prefix.
    expect(() => durableObjectStore(platform.namespace, { prefix: 7 })).toThrow(/prefix must be a string/);
  });

  test("stores a record of exactly 1 999 000 bytes, and refuses one byte more before any request", async () => {
    const a = `${"é".repeat(999_490)}xx`;
    expect(store.traits).toEqual({ consistency: "strong", compareAndSet: true, maxBytes: 1_999_000 });
    await saved(store, key, { a, now });
    expect(await valueOf(store, key)).toBe(a);
    const before = platform.requests.length;
    const error = await failureOf(() => store.save(key, writeOf({ a: `${a}x`, now })));
    expect(error).toMatchObject({ code: "ERR_RECORD_TOO_LARGE", message: expect.stringContaining("1999001 bytes") });
    expect(platform.requests).toHaveLength(before);
  });
});

describe("SessionObject", () => {
  test("stores one row: the version, its end by its own clock, and the record in UTF-8", async () => {
    const version = await save("é", null, 1000);
    const text = new TextEncoder().encode(`1${now - 3_600_000}\n=a\né`);
    expect([...kept.rows]).toEqual([["record", { version, endsAt: now + 1000, text }]]);
    expect(kept.alarm).toBe(now + 1000);
  });

  test("sets the alarm for a new record, and again for one that ends earlier", async () => {
    let version = await save("1", null, 1000);
    const seen: unknown[] = [];
    for (const life of [1000, 3000, 3000, 2999, 500]) {
      version = await save("2", version, life);
      seen.push([kept.alarms, Number(kept.alarm) - now]);
    }
    // Two writes expire later and do not change the alarm. When the alarm runs, it checks the time again.
    expect(seen).toEqual([
      [1, 1000],
      [1, 1000],
      [1, 1000],
      [2, 2999],
      [3, 500],
    ]);
  });

  test("removes the record and the alarm when its time is up, and no earlier", async () => {
    const version = await save("1", null, 1000);
    await save("2", version, 5000);
    vi.setSystemTime(now + 1000);
    await kept.object.alarm();
    expect(kept.alarm).toBe(now + 5000);
    vi.setSystemTime(now + 4999);
    await kept.object.alarm();
    expect(kept.alarm).toBe(now + 5000);
    expect(await valueOf(store, key)).toBe("2");
    vi.setSystemTime(now + 5000);
    await kept.object.alarm();
    expect([kept.rows.size, kept.alarm]).toEqual([0, null]);
    expect(await store.load(key)).toBeNull();
  });

  test("whose alarm comes when nothing is stored keeps nothing", async () => {
    kept.alarm = now;
    await kept.object.alarm();
    expect([kept.rows.size, kept.alarm]).toEqual([0, null]);
  });

  test("keeps nothing after a deletion, not even the alarm", async () => {
    await save("1", null, 1000);
    await store.delete(key);
    expect([kept.rows.size, kept.alarm]).toEqual([0, null]);
    const version = await save("2", null, 1000);
    expect(await store.delete(key, "another")).toBe("conflict");
    expect(kept.alarm).toBe(now + 1000);
    expect(await store.delete(key, version)).toBeUndefined();
    expect([kept.rows.size, kept.alarm]).toEqual([0, null]);
  });

  test("compares and writes without a wait in between", async () => {
    // If a storage operation were awaited, another call could come in between.
    const { id: _, ...write } = writeOf({ a: "1" });
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => store.save(key, { ...write, id: `write-${i}` })),
    );
    expect(answers.filter((answer) => answer === "conflict")).toHaveLength(19);
    expect((await store.load(key))?.version).toBe(answers.find((answer) => answer !== "conflict"));
  });

  test("answers a write when the alarm is set, and a removal when it is done", async () => {
    let waiting = 0;
    const slowly = async () => {
      waiting++;
      for (let turns = 0; turns < 20; turns++) await Promise.resolve();
      waiting--;
    };
    let row: unknown;
    const object = new SessionObject({
      storage: {
        kv: { get: <Value>() => row as Value | undefined, put: (_, value) => void (row = value) },
        setAlarm: slowly,
        deleteAlarm: slowly,
        deleteAll: slowly,
      },
    });
    const waitingAfter = async (step: () => unknown) => (await step(), waiting);
    const ask = (call: object) => () =>
      object.fetch(new Request("http://session/", { method: "POST", body: JSON.stringify(call) }));
    expect(await waitingAfter(ask({ verb: "save", text: "1", lifetime: 10, expected: null }))).toBe(0);
    expect(await waitingAfter(() => object.alarm())).toBe(0);
    vi.setSystemTime(now + 10);
    expect(await waitingAfter(() => object.alarm())).toBe(0);
    expect(await waitingAfter(ask({ verb: "delete" }))).toBe(0);
  });
});

/** A store whose binding always gives the same answer. */
function elsewhere(text: string, ok: boolean = true): SessionStore {
  const response = { ok, status: ok ? 200 : 500, text: async () => text };
  return durableObjectStore({ idFromName: (name) => name, get: () => ({ fetch: async () => response }) });
}
