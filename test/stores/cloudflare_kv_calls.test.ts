import { beforeEach, describe, expect, test } from "vitest";
import { isBusy } from "../../src/core/errors.ts";
import type { SessionStore, Write } from "../../src/core/store.ts";
import { type CloudflareKvNamespace, cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { kvSimulator, storeCases } from "../../src/testing.ts";
import { failureOf, randomKey, type WriteParts, writeOf } from "./databases/steps.ts";

// The calls that cloudflareKvStore() makes on a binding, and how it treats the answers, without workerd. cloudflare_kv.test.ts
// uses workerd.

/** A binding that holds one value, and records its calls. */
class Binding implements CloudflareKvNamespace {
  readonly asked: unknown[][] = [];
  value: string | null = null;
  failure: unknown;

  async get(...args: unknown[]): Promise<string | null> {
    this.asked.push(["get", ...args]);
    return this.value;
  }

  async put(...args: unknown[]): Promise<void> {
    this.asked.push(["put", ...args]);
    if (this.failure !== undefined) throw this.failure;
    this.value = String(args[1]);
  }

  async delete(...args: unknown[]): Promise<void> {
    this.asked.push(["delete", ...args]);
    if (this.failure !== undefined) throw this.failure;
    this.value = null;
  }
}

const key = randomKey();
const name = `session:${key}`;
const now = 1_800_000_000_000;
const ID = "write-0000000000000001";
let binding: Binding;
let store: SessionStore;

beforeEach(() => {
  binding = new Binding();
  store = cloudflareKvStore(binding);
});

function write(parts: WriteParts): Write {
  return { ...writeOf({ now, expiresAt: now + 60_000, ...parts }), id: ID };
}

describe("cloudflareKvStore() keeps the contract of stores, on a simulated namespace:", () => {
  for (const { name: what, run } of storeCases()) {
    test(what, () => {
      const simulated = kvSimulator({ writeInterval: 0, cacheTtl: 0 }).at("Paris");
      let calls = 0;
      let excess = "";
      const counted = (of: string): string => (calls++, of + excess);
      return run(() => ({
        store: cloudflareKvStore({
          get: (of, options) => simulated.get(counted(of), options),
          put: (of, value, options) => simulated.put(counted(of), value, options),
          delete: (of) => simulated.delete(counted(of)),
        }),
        neighbour: cloudflareKvStore(simulated, { prefix: "neighbour:" }),
        calls: () => calls,
        spoil: (of) => simulated.put(`session:${of}`, "somebody else's"),
        fail: () => void (excess = "x".repeat(512)),
      }));
    });
  }
});

describe("cloudflareKvStore()", () => {
  test("creates by one write, changes by a read and a write, and deletes by one call", async () => {
    expect(await store.save(key, write({ a: "é" }))).toBe(ID);
    expect(await store.save(key, write({ a: "2", expected: "another" }))).toBe(ID);
    await store.load(key);
    expect(await store.delete(key, "another")).toBeUndefined();
    expect(await store.save(key, write({ a: "3", expected: ID }))).toBe("conflict");
    const get = ["get", name, { type: "text" }];
    expect(binding.asked).toStrictEqual([
      ["put", name, `${ID} 1${now}\n=a\né`, { expirationTtl: 60 }],
      get,
      ["put", name, `${ID} 1${now}\n=a\n2`, { expirationTtl: 60 }],
      get,
      ["delete", name],
      get,
    ]);
  });

  test("changes nothing where a record was left without fields", async () => {
    binding.value = `${ID} 1${now}`;
    expect(await store.save(key, write({ a: "2", expected: ID }))).toBe("conflict");
    expect(await store.load(key)).toMatchObject({ lastSeenAt: now, version: ID });
    expect(binding.asked.map(([verb]) => verb)).toEqual(["get", "get"]);
    expect(await store.save(key, write({ a: "2" }))).toBe(ID);
  });

  test("asks for a life in whole seconds, and for at least sixty", async () => {
    for (const life of [-5, 0, 59_000, 60_000, 60_001, 61_000, 99_500])
      await store.save(key, write({ a: "1", expiresAt: now + life }));
    const lives = [60, 60, 60, 60, 61, 61, 100];
    expect(binding.asked.map((call) => call[3])).toEqual(lives.map((expirationTtl) => ({ expirationTtl })));
  });

  test("finds a record under the name of its write, and one without fields where another program has written", async () => {
    binding.value = `${ID} 1${now}\n=a\né \n=b\n2`;
    const found = await store.load(key);
    expect(found).toStrictEqual({ fields: found?.fields, lastSeenAt: now, version: ID });
    expect([...(found?.fields ?? [])]).toEqual([
      ["=a", "é "],
      ["=b", "2"],
    ]);
    const foreign = [
      "",
      "rubbish",
      `${"x".repeat(15)} 1${now}\n=a\n1`,
      `${ID}  1${now}\n=a\n1`,
      `${ID}1${now}\n=a\n1`,
      ` ${ID} 1${now}\n=a\n1`,
      `${ID}! 1${now}\n=a\n1`,
      `1${now}\n=a\n1`,
      `${"x".repeat(16)}1${now}\n=a\n1`,
      "3 of something",
    ];
    for (const value of foreign) {
      binding.value = value;
      const other = await store.load(key);
      expect([other?.fields.size, other?.lastSeenAt], value).toEqual([0, 0]);
      expect(other?.version, value).toBe(value.startsWith(`${ID} `) ? ID : "?");
      expect(await store.save(key, write({ a: "2", expected: other?.version ?? null }))).toBe("conflict");
    }
    binding.value = `${"x".repeat(16)} 1${now}\n=a\n1`;
    expect(await store.load(key)).toMatchObject({ version: "x".repeat(16), lastSeenAt: now });
  });

  test("says that it is busy when a key is written too often, and passes any other failure on", async () => {
    const busy = [new Error("KV PUT failed: 429 Too Many Requests"), "429"];
    const other = [new Error("KV PUT failed: 414 UTF-8 encoded length of 1429"), new Error("4290"), new Error("500")];
    for (const failure of [...busy, ...other]) {
      Object.assign(binding, { failure, value: `${ID} 1${now}\n=a\n1` });
      for (const call of [
        () => store.save(key, write({ a: "1" })),
        () => store.save(key, write({ a: "2", expected: ID })),
        () => store.delete(key),
      ]) {
        const error = await failureOf(call);
        expect(isBusy(error), String(failure)).toBe(busy.includes(failure));
        if (!isBusy(error)) expect(error).toBe(failure);
      }
    }
  });

  test("accepts a value of 25 MiB, and refuses a larger one before any call", async () => {
    expect(store.traits).toEqual({
      consistency: "eventual",
      compareAndSet: false,
      maxBytes: 26_214_400,
      staleness: 60,
    });
    const a = "é".repeat((26_214_400 - ID.length - 1 - 18 - 1) / 2);
    expect(await store.save(key, write({ a: `${a}x` }))).toBe(ID);
    for (const expected of [null, ID]) {
      const error = await failureOf(() => store.save(key, write({ a: `${a}xx`, expected })));
      expect(error).toMatchObject({ code: "ERR_RECORD_TOO_LARGE", message: expect.stringContaining("26214401 bytes") });
    }
    expect(binding.asked).toHaveLength(1);
  });

  test("reads with the time in the cache that it was given, and says how stale that may be", async () => {
    const staleness = [{}, { cacheTtl: 30 }, { cacheTtl: 60 }, { cacheTtl: 300 }].map(
      (options) => cloudflareKvStore(binding, options).traits.staleness,
    );
    expect(staleness).toEqual([60, 60, 60, 300]);
    await cloudflareKvStore(binding, { cacheTtl: 30, prefix: "shop:" }).load(key);
    expect(binding.asked).toStrictEqual([["get", `shop:${key}`, { type: "text", cacheTtl: 30 }]]);
  });

  test("throws when the binding is missing or is none, or an option is not what it should be", () => {
    const get = binding.get.bind(binding);
    const put = binding.put.bind(binding);
    for (const none of [undefined, null, {}, "SESSIONS", { get }, { put }] as unknown[]) {
      // @ts-expect-error Not one of them is a binding.
      expect(() => cloudflareKvStore(none)).toThrow(/kv_namespaces.*pass env\.SESSIONS/);
    }
    // @ts-expect-error A number is no prefix.
    expect(() => cloudflareKvStore(binding, { prefix: 7 })).toThrow(/prefix must be a string/);
    expect(() => cloudflareKvStore(binding, { prefix: "é".repeat(224) })).not.toThrow();
    expect(() => cloudflareKvStore(binding, { prefix: `${"é".repeat(224)}x` })).toThrow(RangeError);
    for (const cacheTtl of [0, 29, 29.9, -30, NaN, Infinity])
      expect(() => cloudflareKvStore(binding, { cacheTtl }), String(cacheTtl)).toThrow(RangeError);
    // @ts-expect-error There is no such option.
    expect(() => cloudflareKvStore(binding, { cacheTTL: 60 })).toThrow(/no option "cacheTTL"/);
  });
});
