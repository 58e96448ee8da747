import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Redis, type RedisConfigNodejs } from "@upstash/redis";
import { createClient } from "redis";
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import type { SessionStore } from "../../src/store.ts";
import { redisHashStore, redisStore } from "../../src/stores/redis.ts";
import { upstashRedisHashStore, upstashRedisStore, type UpstashRedisClient } from "../../src/stores/upstash_redis.ts";
import { storeCases } from "../../src/testing.ts";
import { type RedisServer, startRedis } from "../setup/redis.ts";
import { type Fault, startUpstash, type Upstash } from "../setup/upstash.ts";

let server: RedisServer;
let upstash: Upstash;
let tcp: Awaited<ReturnType<typeof connected>>;

beforeAll(async () => {
  server = await startRedis();
  upstash = await startUpstash(server.url);
  tcp = await connected();
});
beforeEach(async () => {
  upstash.fault = () => undefined;
  await tcp.flushAll();
});
afterAll(async () => {
  tcp.destroy();
  await upstash.stop();
  await server.stop();
});

function connected() {
  return createClient({ url: server.url })
    .on("error", () => {})
    .connect();
}

function client(options: Partial<RedisConfigNodejs> = {}): Redis {
  return new Redis({ url: upstash.url, token: upstash.token, retry: { retries: 5, backoff: () => 1 }, ...options });
}

/** Lets this go wrong with the next request, and nothing with those after it. */
function failNext(fault: Fault): void {
  let next: Fault | undefined = fault;
  upstash.fault = () => {
    const now = next;
    next = undefined;
    return now;
  };
}

const key = "0123456789abcdef".repeat(4);
const other = "fedcba9876543210".repeat(4);
const now = 1_700_000_000_000;
const later = now + 60_000;

function recordOf(fields: Record<string, string>, lastSeenAt = now) {
  return { fields: new Map(Object.entries(fields)), lastSeenAt };
}

function changeTo(fields: Record<string, string>, changed: Record<string, string | null>) {
  return { record: recordOf(fields), changed: new Map(Object.entries(changed)) };
}

async function present(store: SessionStore) {
  const loaded = await store.load(key);
  if (loaded === null) throw new Error("There is no record");
  return loaded;
}

const factories = {
  upstashRedisStore: { factory: upstashRedisStore, overTcp: redisStore },
  upstashRedisHashStore: { factory: upstashRedisHashStore, overTcp: redisHashStore },
};

for (const [name, { factory, overTcp }] of Object.entries(factories)) {
  const settings: Record<string, () => Redis> = {
    "the client as it is": () => client(),
    "the client without its JSON": () => client({ automaticDeserialization: false }),
    "the client without base64 and pipelines": () => client({ responseEncoding: false, enableAutoPipelining: false }),
  };
  for (const [setting, open] of Object.entries(settings)) {
    describe(`${name}() on ${setting}`, () => {
      for (const { name: what, run } of storeCases()) {
        test(what, () =>
          run(() => ({
            store: factory(open()),
            neighbour: factory(open(), { prefix: "other:" }),
            fail: () => {
              upstash.fault = () => ({ status: 500 });
            },
          })),
        );
      }
    });
  }

  describe(`${name}()`, () => {
    test("throws a TypeError when given what is no client", () => {
      // @ts-expect-error An empty object is no client.
      expect(() => factory({})).toThrow(TypeError);
      // @ts-expect-error Nor is nothing.
      expect(() => factory(undefined)).toThrow(TypeError);
    });

    test("does each operation in one request", async () => {
      const store = factory(client());
      const record = recordOf({ "=a": "1", "=b": "2" });
      // The first time, each script is sent as text.
      const warm = await store.create(other, record, later);
      await store.touch(other, now, later, { ...record, version: warm });
      await store.change(other, changeTo({ "=a": "1" }, { "=b": null }), warm, later);
      await store.delete(other, warm);
      await store.load(other);

      const requests = async (step: () => Promise<unknown>) => {
        const before = upstash.requests.length;
        await step();
        return upstash.requests.length - before;
      };
      expect(await requests(() => store.load(key))).toBe(1);
      expect(await requests(() => store.create(key, record, later))).toBe(1);
      let loaded = await present(store);
      expect(await requests(() => store.load(key))).toBe(1);
      const change = changeTo({ "=a": "1" }, { "=b": null });
      expect(await requests(() => store.change(key, change, loaded.version, later))).toBe(1);
      expect(await requests(() => store.touch(key, now, later, loaded))).toBe(1);
      loaded = await present(store);
      expect(await requests(() => store.delete(key, loaded.version))).toBe(1);
      expect(await requests(() => store.delete(key))).toBe(1);
    });

    test("runs its scripts again when the database has forgotten them", async () => {
      const store = factory(client());
      const version = await store.create(key, recordOf({ "=a": "1" }), later);
      await tcp.scriptFlush();
      expect(await store.change(key, changeTo({ "=a": "2" }, { "=a": "2" }), version, later)).toMatch(/^v/);
      await tcp.scriptFlush();
      expect((await present(store)).fields.get("=a")).toBe("2");
    });

    test("stores what the store over TCP reads, and reads what that one stores", async () => {
      const record = recordOf({ "=json": '{"a":[1,null]}', "=number": "1e3", "=é": "😀" });
      const version = await factory(client()).create(key, record, later);
      expect(await present(overTcp(tcp))).toEqual({ ...record, version });
      const next = { ...Object.fromEntries(record.fields), "=number": "007" };
      const changed = await overTcp(tcp).change(key, changeTo(next, { "=number": "007" }), version, later);
      expect(await present(factory(client()))).toEqual({ ...recordOf(next), version: changed });
    });

    test("does a write once when its answer is lost", async () => {
      const store = factory(client());
      failNext("drop after");
      const created = await store.create(key, recordOf({ "=count": "0" }), later);
      expect(created).toBe((await present(store)).version);

      failNext("drop after");
      const changed = await store.change(key, changeTo({ "=count": "1" }, { "=count": "1" }), created, later);
      expect(changed).toBe((await present(store)).version);

      failNext("drop after");
      expect(await store.touch(key, now + 5, later, await present(store))).toBe(true);
      const { version } = await present(store);
      failNext("drop after");
      expect(await store.delete(key, version)).toBeUndefined();
      expect(await store.load(key)).toBeNull();
    });

    test("does a write once when its answer is lost and the client is told not to retry", async () => {
      const store = factory(client({ retry: false }));
      const created = await store.create(key, recordOf({ "=count": "0" }), later);
      failNext("drop after");
      const changed = await store.change(key, changeTo({ "=count": "1" }, { "=count": "1" }), created, later);
      expect(changed).toBe((await present(store)).version);
    });

    test("does a write once when another comes before its repetition", async () => {
      const store = factory(client());
      const created = await store.create(key, recordOf({ "=count": "0" }), later);
      const another = async () => {
        const loaded = await present(overTcp(tcp));
        const next = String(Number(loaded.fields.get("=count")) + 1);
        const change = changeTo({ "=count": next }, { "=count": next });
        expect(await overTcp(tcp).change(key, change, loaded.version, later)).toMatch(/^v/);
      };
      const faults: (() => Fault)[] = [() => "drop after", () => ({ slow: another() })];
      upstash.fault = () => faults.shift()?.();
      const answer = await store.change(key, changeTo({ "=count": "1" }, { "=count": "1" }), created, later);
      expect(answer).not.toBe("conflict");
      expect((await present(store)).fields.get("=count")).toBe("2");
    });

    test("does what did not arrive the first time", async () => {
      const store = factory(client());
      failNext("drop before");
      const version = await store.create(key, recordOf({ "=a": "1" }), later);
      failNext("drop before");
      expect(await present(store)).toEqual({ ...recordOf({ "=a": "1" }), version });
    });

    test("rejects, and changes nothing, when it may send no more for now or the service fails", async () => {
      const store = factory(client());
      const version = await store.create(key, recordOf({ "=a": "1" }), later);
      for (const status of [429, 500] as const) {
        upstash.fault = () => ({ status });
        await expect(store.load(key)).rejects.toThrow(`HTTP ${status}`);
        await expect(store.change(key, changeTo({ "=a": "2" }, { "=a": "2" }), version, later)).rejects.toThrow();
        await expect(store.delete(key)).rejects.toThrow();
        await expect(store.delete(key, version)).rejects.toThrow();
      }
      upstash.fault = () => undefined;
      expect(await present(store)).toEqual({ ...recordOf({ "=a": "1" }), version });
    });

    test("rejects, and never says that there is nothing, when a request was aborted", async () => {
      await factory(client()).create(key, recordOf({ "=a": "1" }), later);
      const reasons = [undefined, "Aborted", "OK", "TimeoutError", null, ["x"]];
      for (const reason of reasons) {
        for (const responseEncoding of ["base64", false] as const) {
          const store = factory(client({ signal: AbortSignal.abort(reason), responseEncoding }));
          const change = changeTo({ "=a": "2" }, { "=a": "2" });
          await expect.soft(store.load(key), String(reason)).rejects.toThrow();
          await expect.soft(store.create(other, recordOf({}), later)).rejects.toThrow();
          await expect.soft(store.change(key, change, "v", later)).rejects.toThrow();
          await expect.soft(store.touch(key, now, later, { ...recordOf({}), version: "v" })).rejects.toThrow();
          await expect.soft(store.delete(key, "v")).rejects.toThrow();
          await expect.soft(store.delete(key)).rejects.toThrow();
        }
      }
      expect((await present(factory(client()))).fields.get("=a")).toBe("1");
    });

    test("takes what is not its own for a corrupt record and never overwrites it", async () => {
      const store = factory(client());
      const put: Record<string, () => Promise<unknown>> = {
        "text": () => tcp.set(`session:${key}`, "something else"),
        "JSON": () => tcp.set(`session:${key}`, '{"a":[1]}'),
        "number": () => tcp.set(`session:${key}`, "42"),
        "empty string": () => tcp.set(`session:${key}`, ""),
        "list": () => tcp.rPush(`session:${key}`, ["a", "b"]),
        "hash": () => tcp.hSet(`session:${key}`, { "a": "1", "!": "x" }),
      };
      for (const [what, step] of Object.entries(put)) {
        await tcp.flushAll();
        await step();
        const before = await tcp.dump(`session:${key}`);
        const loaded = await present(store);
        expect.soft(loaded.fields.size, what).toBe(0);
        expect.soft(await store.create(key, recordOf({ "=a": "1" }), later), what).toBe("taken");
        const change = changeTo({ "=a": "1" }, { "=a": "1" });
        expect.soft(await store.change(key, change, loaded.version, later), what).toBe("conflict");
        expect.soft(await store.touch(key, now, later, loaded), what).toBe("conflict");
        expect.soft(await tcp.dump(`session:${key}`), what).toEqual(before);
      }
    });

    test("refuses what is too large before any request, and takes what is just not", async () => {
      const store = factory(client());
      const { maxBytes } = store.traits;
      const before = upstash.requests.length;
      // A quote takes one byte as text, and two or four in the request.
      for (const large of ["x".repeat(maxBytes), '"'.repeat(maxBytes / 2)]) {
        await expect(store.create(key, recordOf({ "=a": large }), later)).rejects.toMatchObject({
          code: "ERR_RECORD_TOO_LARGE",
          message: expect.stringContaining(String(maxBytes)),
        });
      }
      expect(upstash.requests.length).toBe(before);
      const record = recordOf({ "=a": "x".repeat(maxBytes - 100) });
      const version = await store.create(key, record, later);
      expect((await present(store)).fields).toEqual(record.fields);
      await tcp.scriptFlush();
      const change = { record, changed: record.fields };
      expect(await store.change(key, change, version, later)).toMatch(/^v/);
    });

    const waits = { "at once": ["0"], "when the client does by itself": [] };
    for (const [when, backoff] of Object.entries(waits)) {
      test(`is counted right by four processes that increment one number 250 times each, answers getting lost and requests sent again ${when}`, async () => {
        await factory(client()).create(key, recordOf({ "=count": "0" }), now + 3_600_000);
        const seen = new Set<string>();
        let lost = 0;
        upstash.fault = () => {
          // One write in ten loses its answer, and its repetition does not.
          const command = JSON.stringify(upstash.requests.at(-1)?.commands);
          if (seen.has(command) || seen.add(command).size % 10 !== 0) return undefined;
          lost++;
          return "drop after";
        };
        const args = [`${import.meta.dirname}/redis_increments.worker.ts`, name, upstash.url, key, "250", ...backoff];
        await Promise.all([1, 2, 3, 4].map(() => promisify(execFile)(process.execPath, args)));
        expect(lost).toBeGreaterThanOrEqual(100);
        const { fields } = await present(factory(client()));
        expect(fields.get("=count")).toBe("1000");
        expect(Array.from(fields.values()).toSorted()).toEqual(["1000", "250", "250", "250", "250"]);
      }, 120_000);
    }
  });
}

test("upstashRedisHashStore() sees and keeps a field that another program edits, whatever it looks like", async () => {
  const store = upstashRedisHashStore(client());
  const version = await store.create(key, recordOf({ "=name": '"Ann"' }), later);
  const edited = { "=n": "1", "=s": '"1"', "=o": '{"x": 1}', "=z": "null", "=b": "\ufeffmark" };
  await tcp.hSet(`session:${key}`, edited);
  expect((await present(store)).fields).toEqual(new Map(Object.entries({ "=name": '"Ann"', ...edited })));
  expect(await store.change(key, changeTo({ "=name": "x" }, { "=name": "x" }), version, later)).toMatch(/^v/);
  expect((await present(store)).fields).toEqual(new Map(Object.entries({ "=name": "x", ...edited })));
});

test("UpstashRedisClient is what @upstash/redis has", () => {
  expectTypeOf<Redis>().toExtend<UpstashRedisClient>();
});
