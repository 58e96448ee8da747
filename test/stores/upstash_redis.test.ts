import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Redis, type RedisConfigNodejs } from "@upstash/redis";
import { createClient } from "redis";
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { isBusy } from "../../src/core/errors.ts";
import type { SessionStore, Write } from "../../src/core/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { type UpstashRedisClient, upstashRedisStore } from "../../src/stores/upstash_redis.ts";
import { storeCases } from "../../src/testing/store_cases.ts";
import { type RedisServer, startRedis } from "../setup/redis.ts";
import { type Fault, startUpstash, type Upstash } from "../setup/upstash.ts";
import {
  changing,
  creation,
  fieldsOf,
  increment,
  key,
  later,
  layouts,
  now,
  other,
  present,
  saved,
} from "./redis_records.ts";

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

/** Makes the next request fail in this way. Later requests succeed. */
function failNext(fault: Fault): void {
  let next: Fault | undefined = fault;
  upstash.fault = () => {
    const now = next;
    next = undefined;
    return now;
  };
}

/** The number of requests that a step makes. */
async function requestsOf(step: () => unknown): Promise<number> {
  const before = upstash.requests.length;
  await step();
  return upstash.requests.length - before;
}

async function save(store: SessionStore, write: Write, at = key) {
  return await store.save(at, write);
}

const settings: Record<string, Partial<RedisConfigNodejs>> = {
  "the client as it is": {},
  "the client without its JSON": { automaticDeserialization: false },
  "the client without base64 and pipelines": { responseEncoding: false, enableAutoPipelining: false },
};

for (const layout of layouts) {
  for (const [setting, options] of Object.entries(settings)) {
    describe(`upstashRedisStore() in the layout ${layout} on ${setting}`, () => {
      for (const { name: what, run } of storeCases()) {
        test(what, () =>
          run(() => ({
            store: upstashRedisStore(client(options), { layout }),
            neighbour: upstashRedisStore(client(options), { layout, prefix: "other:" }),
            calls: () => upstash.requests.length,
            spoil: async (at) => void (await tcp.set(`session:${at}`, "something else")),
            fail: () => {
              upstash.fault = () => ({ status: 500 });
            },
          })),
        );
      }
    });
  }

  describe(`upstashRedisStore() in the layout ${layout}`, () => {
    test("does each operation in one request", async () => {
      const store = upstashRedisStore(client(), { layout });
      // At its first use, each script is sent as text.
      await saved(store, creation({ "=count": "0" }), other);
      await increment(store, other);
      await store.delete(other, (await present(store, other)).version);

      expect(await requestsOf(() => store.load(key))).toBe(1);
      expect(await requestsOf(() => store.save(key, creation({ "=a": "1", "=b": "2" })))).toBe(1);
      const found = await present(store);
      expect(await requestsOf(() => store.load(key))).toBe(1);
      expect(await requestsOf(() => store.save(key, changing(found, { "=b": null })))).toBe(1);
      const { version } = await present(store);
      expect(await requestsOf(() => store.delete(key, version))).toBe(1);
      expect(await requestsOf(() => store.delete(key))).toBe(1);
    });

    test("sends the commands of one tick in one request, and large ones alone", async () => {
      const store = upstashRedisStore(client(), { layout });
      const keys = Array.from({ length: 20 }, (_, i) => String(i).padStart(64, "0"));
      await saved(store, creation({ "=count": "0" }));
      await increment(store);
      const created = () => Promise.all(keys.map((at) => saved(store, creation({ "=count": "0" }), at)));
      expect(await requestsOf(created)).toBe(1);
      let found: Awaited<ReturnType<typeof present>>[] = [];
      expect(await requestsOf(async () => (found = await Promise.all(keys.map((at) => present(store, at)))))).toBe(1);
      const save = (data: string) =>
        Promise.all(keys.map((at, i) => saved(store, changing(found[i] ?? found[0]!, { "=a": data }), at)));
      expect(await requestsOf(() => save("small"))).toBe(1);
      found = await Promise.all(keys.map((at) => present(store, at)));
      expect(await requestsOf(() => save("large".repeat(1000)))).toBe(keys.length);
      // Together, the writes are too large for one request.
      found = await Promise.all(keys.map((at) => present(store, at)));
      await save("x".repeat(1_000_000));
      expect((await present(store, keys[7])).fields.get("=a")).toHaveLength(1_000_000);
    });

    test("runs its scripts again when the database has forgotten them", async () => {
      const store = upstashRedisStore(client(), { layout });
      await saved(store, creation({ "=count": "0" }));
      await tcp.scriptFlush();
      expect(await increment(store)).toBe(true);
      await tcp.scriptFlush();
      const { version, fields } = await present(store);
      expect(fields.get("=count")).toBe("1");
      await tcp.scriptFlush();
      expect(await store.delete(key, version)).toBeUndefined();
    });

    test("stores what the store over TCP reads, and reads what that one stores", async () => {
      const fields = { "=json": '{"a":[1,null]}', "=number": "1e3", "=é": "😀", "=bom": "\ufeffmark", "@": "{}" };
      const version = await saved(upstashRedisStore(client(), { layout }), creation(fields));
      const found = await present(redisStore(tcp, { layout }));
      expect(found).toMatchObject({ lastSeenAt: now, version });
      expect(fieldsOf(found)).toEqual(fields);
      const changed = await saved(redisStore(tcp, { layout }), changing(found, { "=number": "007" }));
      const again = await present(upstashRedisStore(client(), { layout }));
      expect(again).toMatchObject({ lastSeenAt: now, version: changed });
      expect(fieldsOf(again)).toEqual({ ...fields, "=number": "007" });
    });

    for (const retry of [{ retries: 5, backoff: () => 1 }, false] as const) {
      test(`does a write once when its answer is lost and the client repeats it: retry ${JSON.stringify(retry)}`, async () => {
        const store = upstashRedisStore(client({ retry }), { layout });
        failNext("drop after");
        expect(await save(store, creation({ "=count": "0" }))).toBe("conflict");
        const created = await present(store);
        expect(fieldsOf(created)).toEqual({ "=count": "0" });
        failNext("drop after");
        expect(await save(store, changing(created, { "=count": "1" }))).toBe("conflict");
        const changed = await present(store);
        expect(fieldsOf(changed)).toEqual({ "=count": "1" });
        failNext("drop after");
        expect(await store.delete(key, changed.version)).toBeUndefined();
        expect(await store.load(key)).toBeNull();
      });
    }

    test("does not do a write again when another comes before its repetition", async () => {
      const store = upstashRedisStore(client(), { layout });
      const overTcp = redisStore(tcp, { layout });
      await saved(store, creation({ "=count": "0" }));
      const found = await present(store);
      const faults: (() => Fault)[] = [() => "drop after", () => ({ slow: increment(overTcp) })];
      upstash.fault = () => faults.shift()?.();
      expect(await save(store, changing(found, { "=count": "1" }))).toBe("conflict");
      expect(fieldsOf(await present(store))).toEqual({ "=count": "2" });
    });

    test("does what did not arrive the first time", async () => {
      const store = upstashRedisStore(client(), { layout });
      failNext("drop before");
      const version = await saved(store, creation({ "=a": "1" }));
      failNext("drop before");
      expect(await present(store)).toMatchObject({ version });
    });

    test("rejects, and changes nothing, when the service fails", async () => {
      const store = upstashRedisStore(client(), { layout });
      await saved(store, creation({ "=a": "1" }));
      const found = await present(store);
      upstash.fault = () => ({ status: 500 });
      for (const step of everyVerb(store, found))
        await expect.soft(step()).rejects.toSatisfy((error) => !isBusy(error));
      upstash.fault = () => undefined;
      expect(await present(store)).toEqual(found);
    });

    test("says that the store is busy, and changes nothing, when it may send no more for now", async () => {
      const words = [
        "HTTP 429",
        "Too Many Requests",
        "ERR max requests limit exceeded. Limit: 10000, Usage: 10001.",
        "rate limit exceeded",
      ];
      for (const options of Object.values(settings)) {
        const store = upstashRedisStore(client(options), { layout });
        await tcp.flushAll();
        await saved(store, creation({ "=a": "1" }));
        const found = await present(store);
        for (const error of words) {
          upstash.fault = () => ({ status: 429, error });
          for (const step of everyVerb(store, found)) await expect.soft(step(), error).rejects.toSatisfy(isBusy);
        }
        upstash.fault = () => undefined;
        expect(await present(store)).toEqual(found);
      }
    });

    test("does not take a session's data for the reason of a failure", async () => {
      const store = upstashRedisStore(client(), { layout });
      upstash.fault = () => ({ status: 500, error: "ERR broken" });
      const create = creation({ "=a": '"429 too many requests, noscript"' });
      await expect(save(store, create)).rejects.toSatisfy((error) => !isBusy(error));
      await expect(save(store, { ...create, expected: "write-0000000000.0" })).rejects.toThrow(
        /^(?:Command failed: )?ERR broken/,
      );
    });

    test("rejects, and never says that there is nothing, when a request was aborted", async () => {
      await saved(upstashRedisStore(client(), { layout }), creation({ "=a": "1" }));
      const found = await present(redisStore(tcp, { layout }));
      for (const [setting, options] of Object.entries(settings)) {
        for (const reason of [undefined, "Aborted", "OK", "!1", "TimeoutError", null, ["x"]]) {
          const store = upstashRedisStore(client({ signal: AbortSignal.abort(reason), ...options }), { layout });
          for (const step of everyVerb(store, found))
            await expect.soft(step(), `${setting}: ${String(reason)}`).rejects.toThrow();
        }
      }
      expect(fieldsOf(await present(upstashRedisStore(client(), { layout })))).toEqual({ "=a": "1" });
    });

    test("takes what is not its own for a corrupt record and never overwrites it", async () => {
      const store = upstashRedisStore(client(), { layout });
      const name = `session:${key}`;
      const put: Record<string, () => Promise<unknown>> = {
        "text": () => tcp.set(name, "something else"),
        "JSON": () => tcp.set(name, '{"a":[1]}'),
        "number": () => tcp.set(name, "42"),
        "empty string": () => tcp.set(name, ""),
        "list": () => tcp.rPush(name, ["a", "b"]),
        "hash": () => tcp.hSet(name, { "a": "1", "!": "x" }),
      };
      for (const [what, step] of Object.entries(put)) {
        await tcp.flushAll();
        await step();
        const before = await tcp.dump(name);
        const found = await present(store);
        expect.soft(found, what).toMatchObject({ lastSeenAt: 0, fields: new Map() });
        expect.soft(await save(store, creation({ "=a": "1" })), what).toBe("conflict");
        expect.soft(await save(store, changing(found, { "=a": "1" })), what).toBe("conflict");
        expect.soft(await tcp.dump(name), what).toEqual(before);
        expect.soft(await store.delete(key, found.version), what).toBeUndefined();
        expect.soft(await tcp.exists(name), what).toBe(0);
      }
    });

    test("refuses what is too large before any request, and takes what is just not", async () => {
      const store = upstashRedisStore(client(), { layout });
      const { maxBytes } = store.traits;
      // A quote takes one byte as text, and two bytes in the request.
      for (const large of ["x".repeat(maxBytes), '"'.repeat(maxBytes / 2)]) {
        const sent = await requestsOf(async () => {
          await expect((async () => await save(store, creation({ "=a": large })))()).rejects.toMatchObject({
            code: "ERR_RECORD_TOO_LARGE",
            message: expect.stringContaining(String(maxBytes)),
          });
        });
        expect(sent).toBe(0);
      }
      await saved(store, creation({ "=a": "x".repeat(maxBytes - 200) }));
      const found = await present(store);
      expect(found.fields.get("=a")).toHaveLength(maxBytes - 200);
      await tcp.scriptFlush();
      await saved(store, changing(found, { "=a": "y".repeat(maxBytes - 200) }));
      expect((await present(store)).fields.get("=a")).toMatch(/^y/);
    });

    const [when, ...backoff] = layout === "value" ? ["at once", "0"] : ["when the client does by itself"];
    test(`is counted right by four processes that increment one number 250 times each, answers getting lost and requests sent again ${when}`, async () => {
      const store = upstashRedisStore(client(), { layout });
      await saved(store, creation({ "=count": "0" }, now + 3_600_000));
      const seen = new Set<string>();
      let lost = 0;
      upstash.fault = () => {
        // One request in ten loses its answer. Its repetition does not.
        const command = JSON.stringify(upstash.requests.at(-1)?.commands);
        if (seen.has(command) || seen.add(command).size % 10 !== 0) return undefined;
        lost++;
        return "drop after";
      };
      const args = [
        `${import.meta.dirname}/redis_increments.worker.ts`,
        "upstash",
        layout,
        upstash.url,
        key,
        "250",
        ...backoff,
      ];
      await Promise.all([1, 2, 3, 4].map(() => promisify(execFile)(process.execPath, args)));
      expect(lost).toBeGreaterThanOrEqual(100);
      upstash.fault = () => undefined;
      const { "=count": count, ...own } = fieldsOf(await present(store));
      expect(count).toBe("1000");
      expect(Object.values(own)).toEqual(["250", "250", "250", "250"]);
    });
  });
}

/** A load, a creation, a change, a removal at a version, and an unconditional removal. */
function everyVerb(store: SessionStore, found: Awaited<ReturnType<typeof present>>): (() => Promise<unknown>)[] {
  return [
    async () => await store.load(key),
    async () => await store.save(other, creation({})),
    async () => await store.save(key, changing(found, { "=a": "2" })),
    async () => await store.delete(key, found.version),
    async () => await store.delete(key),
  ];
}

test("upstashRedisStore() throws a TypeError when given what is no client, or options that are wrong", () => {
  // @ts-expect-error An empty object is no client.
  expect(() => upstashRedisStore({})).toThrow(/needs the Redis client of @upstash\/redis/);
  // @ts-expect-error Nor is nothing.
  expect(() => upstashRedisStore(undefined)).toThrow(TypeError);
  // @ts-expect-error A misspelt name.
  expect(() => upstashRedisStore(client(), { prefx: "a" })).toThrow(
    /upstashRedisStore has no option "prefx": did you mean prefix/,
  );
  // @ts-expect-error No layout.
  expect(() => upstashRedisStore(client(), { layout: "json" })).toThrow(/upstashRedisStore needs/);
});

test("upstashRedisStore() in the layout hash sees and keeps a field that another program edits, whatever it looks like", async () => {
  const store = upstashRedisStore(client(), { layout: "hash" });
  await saved(store, creation({ "=name": '"Ann"' }));
  const found = await present(store);
  const edited = { "=n": "1", "=s": '"1"', "=o": '{"x": 1}', "=z": "null", "=b": "\ufeffmark" };
  await tcp.hSet(`session:${key}`, edited);
  expect(fieldsOf(await present(store))).toEqual({ "=name": '"Ann"', ...edited });
  await saved(store, changing(found, { "=name": "x" }));
  expect(fieldsOf(await present(store))).toEqual({ "=name": "x", ...edited });
});

test("upstashRedisStore() in the layout hash gives what another program left behind an hour to live", async () => {
  await tcp.hSet(`session:${key}`, "=cart", "[1]");
  const store = upstashRedisStore(client(), { layout: "hash" });
  expect(await present(store)).toMatchObject({ lastSeenAt: 0, fields: new Map() });
  expect(await tcp.pTTL(`session:${key}`)).toSatisfy((ttl: number) => ttl > 3_500_000 && ttl <= 3_600_000);
});

test("upstashRedisStore() reads by a script that may write, which Upstash sends to the primary region", async () => {
  const store = upstashRedisStore(client());
  await saved(store, creation({ "=a": "1" }, later));
  await present(store);
  expect(JSON.stringify(upstash.requests.at(-1)?.commands)).toMatch(/evalsha/i);
  expect(JSON.stringify(upstash.requests.at(-1)?.commands)).not.toMatch(/_ro/i);
});

test("UpstashRedisClient is what @upstash/redis has", () => {
  expectTypeOf<Redis>().toExtend<UpstashRedisClient>();
});
