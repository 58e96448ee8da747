import { createHash } from "node:crypto";
import { Redis } from "ioredis";
import { createClient, createClientPool } from "redis";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type RedisClient, redisStore } from "../../src/stores/redis.ts";
import { SCRIPT } from "../../src/stores/redis/commands.ts";
import { CALL } from "../../src/stores/redis/marked_call.ts";

import { storeCases } from "../../src/testing/store_cases.ts";
import { type RedisServer, startRedis } from "../setup/redis.ts";
import {
  changing,
  creation,
  fakeClient,
  fieldsOf,
  increment,
  key,
  later,
  layouts,
  now,
  other,
  present,
  saved,
  withIfeq,
} from "./redis_records.ts";

let server: RedisServer;
let redis: Awaited<ReturnType<typeof connected>>;

beforeAll(async () => {
  server = await startRedis();
  redis = await connected();
});
beforeEach(async () => {
  await redis.flushAll();
});
afterAll(async () => {
  redis.destroy();
  await server.stop();
});

function connected() {
  return createClient({ url: server.url })
    .on("error", () => {})
    .connect();
}

/** The commands that Redis executes, also inside scripts, counted by name. */
async function commandsOf(step: () => unknown): Promise<Record<string, number>> {
  await redis.configResetStat();
  await step();
  const lines = (await redis.info("commandstats")).matchAll(/cmdstat_([^:]+):calls=(\d+)/g);
  const counts = Array.from(lines, ([, command = "", calls]) => [command, Number(calls)] as const);
  return Object.fromEntries(counts.filter(([command]) => command !== "info" && command !== "config|resetstat"));
}

test("the digests of the scripts are those of their texts", () => {
  for (const { digest, text } of [SCRIPT, CALL]) {
    expect(digest).toBe(createHash("sha1").update(text).digest("hex"));
  }
});

/** A client that sends every command twice, like a client that has lost the first answer. */
function repeating(client: { sendCommand(words: string[]): Promise<unknown> }): RedisClient {
  return fakeClient(async (_words, pass) => {
    await pass().catch(() => {});
    return await pass();
  }, client);
}

for (const layout of layouts) {
  const clients: Record<string, () => Promise<{ client: RedisClient; close: () => void }>> = {
    "node-redis": async () => {
      const client = await connected();
      return { client, close: () => client.isOpen && client.destroy() };
    },
    "a node-redis pool": async () => {
      const client = createClientPool({ url: server.url }).on("error", () => {});
      await client.connect();
      return { client, close: () => client.isOpen && client.destroy() };
    },
    "ioredis": async () => {
      const client = new Redis(server.url);
      return { client, close: () => client.disconnect() };
    },
    "a server that knows IFEQ": async () => {
      const client = await connected();
      return { client: withIfeq(client), close: () => client.isOpen && client.destroy() };
    },
  };
  for (const [clientName, open] of Object.entries(clients)) {
    describe(`redisStore() in the layout ${layout} on ${clientName}`, () => {
      for (const { name: what, run } of storeCases()) {
        test(what, () =>
          run(async () => {
            const { client, close } = await open();
            return {
              store: redisStore(client, { layout }),
              neighbour: redisStore(client, { layout, prefix: "other:" }),
              spoil: async (at) => void (await redis.set(`session:${at}`, "something else")),
              fail: close,
              close,
            };
          }),
        );
      }
    });
  }

  describe(`redisStore() in the layout ${layout}`, () => {
    test("keeps each record under the prefix, for as long as it lives", async () => {
      await saved(redisStore(redis, { layout }), creation({ "=a": "1" }));
      await saved(redisStore(redis, { layout, prefix: "shop:" }), creation({ "=a": "1" }, later + 60_000));
      expect((await redis.keys("*")).toSorted()).toEqual([`session:${key}`, `shop:${key}`]);
      expect(await redis.pTTL(`session:${key}`)).toSatisfy((ttl: number) => ttl > 50_000 && ttl <= 60_000);
      expect(await redis.pTTL(`shop:${key}`)).toSatisfy((ttl: number) => ttl > 110_000 && ttl <= 120_000);
    });

    test("moves the expiry with every change and every touch", async () => {
      const store = redisStore(redis, { layout });
      await saved(store, creation({ "=a": "1" }));
      await saved(store, changing(await present(store), { "=a": "2" }, { expiresAt: now + 300_000 }));
      expect(await redis.pTTL(`session:${key}`)).toBeGreaterThan(250_000);
      await saved(store, changing(await present(store), {}, { lastSeenAt: now + 1000, expiresAt: now + 901_000 }));
      expect(await redis.pTTL(`session:${key}`)).toBeGreaterThan(850_000);
      expect(await present(store)).toMatchObject({ lastSeenAt: now + 1000 });
    });

    test("takes the time to live from the session's clock, whatever Redis's clock says", async () => {
      await saved(redisStore(redis, { layout }), creation({ "=a": "1" }, 2000, 1000));
      expect(await redis.pTTL(`session:${key}`)).toSatisfy((ttl: number) => ttl > 0 && ttl <= 1000);
    });

    test("writes no record that lives for ever, whenever it ends", async () => {
      const store = redisStore(redis, { layout });
      await saved(store, creation({ "=a": "1" }, now, later));
      await expect.poll(() => redis.exists(`session:${key}`)).toBe(0);
      await saved(store, creation({ "=a": "1" }, Infinity));
      await saved(store, changing(await present(store), { "=a": "2" }, { expiresAt: Infinity }));
      expect(await redis.pTTL(`session:${key}`)).toBeGreaterThan(9e12);
    });

    test("refuses a change, and leaves no part, when the record expires between load and save", async () => {
      const store = redisStore(redis, { layout });
      await saved(store, creation({ "=a": "1", "=b": "2" }));
      const found = await present(store);
      await redis.pExpire(`session:${key}`, 1);
      await expect.poll(() => redis.exists(`session:${key}`)).toBe(0);
      expect(await store.save(key, changing(found, { "=b": "3" }))).toBe("conflict");
      expect(await store.save(key, changing(found, {}))).toBe("conflict");
      expect(await store.delete(key, found.version)).toBeUndefined();
      expect(await redis.exists(`session:${key}`)).toBe(0);
    });

    test("runs its scripts again when Redis has forgotten them", async () => {
      const store = redisStore(redis, { layout });
      await saved(store, creation({ "=a": "1" }));
      await redis.scriptFlush();
      await saved(store, changing(await present(store), { "=a": "2" }));
      const again = await commandsOf(async () => saved(store, changing(await present(store), { "=a": "3" })));
      expect(again["evalsha"]).toBe(1);
      await redis.scriptFlush();
      expect(await store.delete(key, (await present(store)).version)).toBeUndefined();
      expect(await redis.exists(`session:${key}`)).toBe(0);
    });

    test("takes what is not its own for a corrupt record and never overwrites it", async () => {
      const store = redisStore(redis, { layout });
      const name = `session:${key}`;
      const put: Record<string, () => Promise<unknown>> = {
        "string": () => redis.set(name, "v1 something else"),
        "text like a version": () => redis.set(name, "? 1700000000000"),
        "text that ends like the beginning of a record": () => redis.set(name, "something else 1"),
        "text that goes on like a record": () => redis.set(name, "v.11700000000000\n=a\n1"),
        "number": () => redis.set(name, "1"),
        "empty string": () => redis.set(name, ""),
        "list": () => redis.rPush(name, ["a", "b"]),
        "hash": () => redis.hSet(name, { "a": "1", "!": "x" }),
        "hash of a session that had expired": () => redis.hSet(name, { "=a": "1" }),
        "set": () => redis.sAdd(name, "a"),
      };
      for (const [what, step] of Object.entries(put)) {
        await redis.flushAll();
        await step();
        const before = await redis.dump(name);
        const found = await present(store);
        expect.soft(found, what).toMatchObject({ lastSeenAt: 0, fields: new Map() });
        expect.soft(await store.save(key, creation({ "=a": "1" })), what).toBe("conflict");
        expect.soft(await store.save(key, changing(found, { "=a": "1" })), what).toBe("conflict");
        expect
          .soft(await store.save(key, { ...changing(found, { "=a": "1" }), expected: "write-0000000000.0" }), what)
          .toBe("conflict");
        expect.soft(await store.delete(key, "write-0000000000.0"), what).toBe("conflict");
        expect.soft(await redis.dump(name), what).toEqual(before);
        expect.soft(await store.delete(key, found.version), what).toBeUndefined();
        expect.soft(await redis.exists(name), what).toBe(0);
      }
    });

    test("does not remove a record in place of what was corrupt before", async () => {
      const store = redisStore(redis, { layout });
      await redis.set(`session:${key}`, "something else");
      const { version } = await present(store);
      await redis.del(`session:${key}`);
      await saved(store, creation({ "=a": "1" }));
      expect(await store.delete(key, version)).toBe("conflict");
      expect(fieldsOf(await present(store))).toEqual({ "=a": "1" });
    });

    test("takes a record of the other layout for a corrupt one", async () => {
      const [from, to] = layout === "value" ? (["value", "hash"] as const) : (["hash", "value"] as const);
      await saved(redisStore(redis, { layout: from }), creation({ "=a": "1" }));
      const store = redisStore(redis, { layout: to });
      expect(await present(store)).toMatchObject({ lastSeenAt: 0, fields: new Map() });
      expect(await store.save(key, creation({ "=a": "2" }))).toBe("conflict");
      expect(fieldsOf(await present(redisStore(redis, { layout: from })))).toEqual({ "=a": "1" });
    });

    test("does a write once when the client sends it twice, and the repeated one is a conflict", async () => {
      const plain = redisStore(redis, { layout });
      const store = redisStore(repeating(redis), { layout });
      const create = creation({ "=count": "0" });
      expect(await store.save(key, create)).toBe("conflict");
      const created = await present(plain);
      expect(fieldsOf(created)).toEqual({ "=count": "0" });
      expect(await store.save(key, changing(created, { "=count": "1" }))).toBe("conflict");
      const changed = await present(plain);
      expect(fieldsOf(changed)).toEqual({ "=count": "1" });
      expect(await store.delete(key, changed.version)).toBeUndefined();
      expect(await plain.load(key)).toBeNull();
      expect(await store.delete(key)).toBeUndefined();
    });

    test("gives each write a version of its own, also when two have one name", async () => {
      const store = redisStore(redis, { layout });
      const first = await saved(store, creation({ "=count": "0" }));
      const found = await present(store);
      expect(found.version).toBe(first);
      const write = changing(found, { "=count": "1" });
      const second = await saved(store, write);
      const third = await saved(store, { ...changing({ ...found, version: second }, { "=count": "2" }), id: write.id });
      expect(new Set([first, second, third]).size).toBe(3);
      expect(await store.save(key, { ...write, expected: second })).toBe("conflict");
      expect(fieldsOf(await present(store))).toEqual({ "=count": "2" });
    });

    test("still loads and ends sessions when Redis has no memory left", async () => {
      const store = redisStore(redis, { layout });
      await saved(store, creation({ "=a": "1", "=b": "2" }));
      const found = await present(store);
      await redis.configSet("maxmemory", "1");
      try {
        await expect(store.save(key, changing(found, { "=a": "2", "=b": null }))).rejects.toThrow(/^OOM/);
        await expect(store.save(other, creation({ "=a": "1" }))).rejects.toThrow(/^OOM/);
        expect(await present(store)).toEqual(found);
        expect(await store.delete(key, found.version)).toBeUndefined();
      } finally {
        await redis.configSet("maxmemory", "0");
      }
      expect(await redis.keys("*")).toEqual([]);
    });

    test("keeps names and values apart, whatever they are", async () => {
      const store = redisStore(redis, { layout });
      const texts = [
        "",
        "!",
        "#",
        '#"a"',
        "@",
        "=",
        "a b",
        "a\nb",
        "__proto__",
        "\ud800",
        "\udc00",
        "\ufffd",
        "\ufeff",
        "😀",
        "1",
        "?",
      ];
      const fields = Object.fromEntries(texts.map((text) => [`=${text}`, text]));
      for (const text of texts) Object.defineProperty(fields, text, { value: text, enumerable: true });
      await saved(store, creation(fields));
      const found = await present(store);
      expect(Array.from(found.fields).toSorted()).toEqual(Object.entries(fields).toSorted());
      await saved(store, changing(found, Object.fromEntries(texts.map((text) => [`=${text}`, null]))));
      const names = texts.filter((text) => text !== "=");
      expect(Array.from((await present(store)).fields.keys()).toSorted()).toEqual(names.toSorted());
    });
  });
}

test("[22] redisStore() in the layout value does each operation in one command", async () => {
  const store = redisStore(redis);
  // The first change tests whether Redis knows IFEQ, and sends the script as text. The first conditional removal also
  // sends its script.
  await saved(store, creation({ "=a": "1" }), other);
  await increment(store, other);
  await store.delete(other, (await present(store, other)).version);

  expect(await commandsOf(() => store.load(key))).toEqual({ get: 1 });
  expect(await commandsOf(() => store.save(key, creation({ "=a": "1", "=b": "2" })))).toEqual({ set: 1 });
  const found = await present(store);
  const change = { evalsha: 1, getrange: 1, set: 1 };
  expect(await commandsOf(() => store.save(key, changing(found, { "=b": null })))).toEqual(change);
  const changed = await present(store);
  expect(await commandsOf(() => store.save(key, changing(changed, {}, { lastSeenAt: now + 1 })))).toEqual(change);
  const { version } = await present(store);
  expect(await commandsOf(() => store.delete(key, version))).toEqual({ evalsha: 1, getrange: 1, del: 1 });
  expect(await commandsOf(() => store.delete(key))).toEqual({ del: 1 });
});

test("[23] redisStore() in the layout hash does each operation in one command, and writes only the fields that changed", async () => {
  const store = redisStore(redis, { layout: "hash" });
  await saved(store, creation({ "=a": "1" }), other);
  await store.delete(other, (await present(store, other)).version);

  expect(await commandsOf(() => store.load(key))).toEqual({ hgetall: 1 });
  const create = creation({ "=a": "1", "=b": "2", "=c": "3" });
  expect(await commandsOf(() => store.save(key, create))).toEqual({
    evalsha: 1,
    hget: 1,
    exists: 1,
    hset: 4,
    pexpire: 1,
  });
  const found = await present(store);
  const change = changing(found, { "=a": "one", "=b": null });
  expect(await commandsOf(() => store.save(key, change))).toEqual({
    evalsha: 1,
    hget: 1,
    hset: 2,
    hdel: 1,
    pexpire: 1,
  });
  const changed = await present(store);
  const touch = changing(changed, {}, { lastSeenAt: now + 1 });
  expect(await commandsOf(() => store.save(key, touch))).toEqual({ evalsha: 1, hget: 1, hset: 1, pexpire: 1 });
  const { version } = await present(store);
  expect(await commandsOf(() => store.delete(key, version))).toEqual({ evalsha: 1, hget: 1, del: 1 });
  expect(await commandsOf(() => store.delete(key))).toEqual({ del: 1 });
});

describe("redisStore() in the layout hash", () => {
  test("[23] sees and keeps a field that another program edits", async () => {
    const store = redisStore(redis, { layout: "hash" });
    await saved(store, creation({ "=name": '"Ann"', "=seats": "[1]" }));
    // This request has loaded the session before the other program's change, and changes another field.
    const found = await present(store);
    // A text that begins like an encoded one, but is not encoded correctly, is read unchanged.
    await redis.hSet(`session:${key}`, { "=seats": "[2]", "=added": "#red" });
    expect(fieldsOf(await present(store))).toEqual({ "=name": '"Ann"', "=seats": "[2]", "=added": "#red" });
    await saved(store, changing(found, { "=name": '"Bea"' }));
    expect(fieldsOf(await present(store))).toEqual({ "=name": '"Bea"', "=seats": "[2]", "=added": "#red" });
  });

  test("leaves no key that lives for ever when another program writes into a session that has expired", async () => {
    const store = redisStore(redis, { layout: "hash" });
    await saved(store, creation({ "=user": "7", "=cart": "[]" }));
    const found = await present(store);
    await redis.del(`session:${key}`);
    await redis.hSet(`session:${key}`, "=cart", "[1]");
    expect(await redis.pTTL(`session:${key}`)).toBe(-1);
    expect(await present(store)).toMatchObject({ lastSeenAt: 0, fields: new Map() });
    expect(await redis.pTTL(`session:${key}`)).toSatisfy((ttl: number) => ttl > 3_500_000 && ttl <= 3_600_000);
    expect(await store.save(key, changing(found, { "=cart": "[2]" }))).toBe("conflict");
    // An existing expiry is not changed.
    await redis.pExpire(`session:${key}`, 60_000);
    await present(store);
    expect(await redis.pTTL(`session:${key}`)).toBeLessThanOrEqual(60_000);
  });

  test("answers a corrupt record also where the expiry cannot be set", async () => {
    await redis.hSet(`session:${key}`, "=cart", "[1]");
    const store = redisStore(
      fakeClient(
        (words, pass) => (words[0] === "PEXPIRE" ? Promise.reject(new Error("ERR wrong number of arguments")) : pass()),
        redis,
      ),
      { layout: "hash" },
    );
    expect(await present(store)).toMatchObject({ lastSeenAt: 0, fields: new Map() });
  });

  test("stores a session's names and values as they are", async () => {
    await saved(
      redisStore(redis, { layout: "hash" }),
      creation({ "=name": '"Ann"', "~note": "[1]", "@": "{}", "%x": "1", "*": "s" }),
    );
    const { "!": head, ...fields } = await redis.hGetAll(`session:${key}`);
    expect({ ...fields }).toEqual({ "=name": '"Ann"', "~note": "[1]", "@": "{}", "%x": "1", "*": "s" });
    expect(head).toMatch(/^write-\d+-\d{10}\.\w+ 1700000000000$/);
  });
});

test("redisStore() refuses what is too large before it asks for a client", async () => {
  let asked = 0;
  const store = redisStore(() => {
    asked++;
    throw new Error("asked");
  });
  const create = creation({ "=a": "x".repeat(store.traits.maxBytes) });
  await expect((async () => store.save(key, create))()).rejects.toMatchObject({
    code: "ERR_RECORD_TOO_LARGE",
    message: expect.stringContaining(String(store.traits.maxBytes)),
  });
  expect(asked).toBe(0);
});

test("redisStore() in the layout value stores the version, a space and the record", async () => {
  const version = await saved(redisStore(redis), creation({ "=name": '"Ann"', "@": "{}" }));
  expect(await redis.get(`session:${key}`)).toBe(`${version} 11700000000000\n@\n{}\n=name\n"Ann"`);
});
