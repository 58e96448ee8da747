import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { SessionStore } from "../../src/core/store.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { storeCases } from "../../src/testing/store_cases.ts";
import { type RedisServer, startRedis } from "../setup/redis.ts";
import { startValkey } from "../setup/valkey.ts";
import {
  changing,
  creation,
  fakeClient,
  fieldsOf,
  increment,
  key,
  layouts,
  now,
  other,
  present,
  saved,
} from "./redis_records.ts";

let valkey: RedisServer;
let client: Awaited<ReturnType<typeof connected>>;

beforeAll(async () => {
  valkey = await startValkey();
  client = await connected(valkey);
});
beforeEach(async () => {
  await client.flushAll();
});
afterAll(async () => {
  client.destroy();
  await valkey.stop();
});

function connected(server: RedisServer) {
  return createClient({ url: server.url })
    .on("error", () => {})
    .connect();
}

/** The commands that the store sends, with name and options. */
function watched(target: { sendCommand(words: string[]): Promise<unknown> } = client) {
  const sent: string[] = [];
  const watching = fakeClient((words, pass) => {
    sent.push(words[0] === "SET" ? `SET ${words[3]}` : (words[0] ?? ""));
    return pass();
  }, target);
  return { sent, client: watching };
}

for (const layout of layouts) {
  const opened = { "node-redis": () => client, "ioredis": () => new Redis(valkey.url) };
  for (const [name, open] of Object.entries(opened)) {
    describe(`redisStore() on Valkey, ${name}, layout ${layout}`, () => {
      for (const { name: what, run } of storeCases()) {
        test(what, () =>
          run(() => {
            const used = open();
            return {
              store: redisStore(used, { layout }),
              neighbour: redisStore(used, { layout, prefix: "other:" }),
              spoil: async (at) => void (await client.set(`session:${at}`, "something else")),
              close: () => void ("status" in used && used.disconnect()),
            };
          }),
        );
      }
    });
  }
}

describe("redisStore() where the server knows IFEQ", () => {
  test("changes a session that it has read, or written, by one SET", async () => {
    const { client: watching, sent } = watched();
    const store = redisStore(watching);
    const version = await saved(store, creation({ "=a": "1" }));
    const again = await saved(store, changing({ ...(await present(store)), version }, { "=a": "2" }));
    await saved(store, changing({ ...(await present(store)), version: again }, {}, { lastSeenAt: now + 5 }));
    expect(sent).toEqual(["SET NX", "GET", "SET IFEQ", "GET", "SET IFEQ"]);
    expect(await present(store)).toMatchObject({ lastSeenAt: now + 5 });
    expect(await client.pTTL(`session:${key}`)).toBeGreaterThan(50_000);
  });

  test("changes a session that it has not seen, or that is large, by the script", async () => {
    const { client: watching, sent } = watched();
    const store = redisStore(watching);
    await saved(redisStore(client), creation({ "=a": "1" }));
    const found = await present(redisStore(client));
    await saved(store, changing(found, { "=a": "x".repeat(5000) }));
    await saved(store, changing(await present(store), { "=a": "2" }));
    expect(sent.filter((command) => command !== "EVAL")).toEqual(["EVALSHA", "GET", "EVALSHA"]);
    expect(fieldsOf(await present(store))).toEqual({ "=a": "2" });
  });

  test("answers conflict when another write was between, and when the record is gone or of another type", async () => {
    const store = redisStore(client);
    await saved(store, creation({ "=a": "1" }));
    const found = await present(store);
    await saved(redisStore(client), changing(found, { "=a": "2" }));
    expect(await store.save(key, changing(found, { "=a": "3" }))).toBe("conflict");
    expect(fieldsOf(await present(store))).toEqual({ "=a": "2" });
    const second = await present(store);
    await client.del(`session:${key}`);
    expect(await store.save(key, changing(second, { "=a": "3" }))).toBe("conflict");
    expect(await client.exists(`session:${key}`)).toBe(0);
    await saved(store, creation({ "=a": "1" }), other);
    const third = await present(store, other);
    await client.del(`session:${other}`);
    await client.rPush(`session:${other}`, "a");
    expect(await store.save(other, changing(third, { "=a": "3" }))).toBe("conflict");
  });

  test("answers conflict to a write that the client repeats, and does it once", async () => {
    const repeating = fakeClient(async (words, pass) => {
      const first = await pass();
      return words[3] === "IFEQ" ? await pass() : first;
    }, client);
    const store = redisStore(repeating);
    await saved(store, creation({ "=count": "0" }));
    expect(await increment(store)).toBe(false);
    expect(fieldsOf(await present(store))).toEqual({ "=count": "1" });
  });

  test("is not fooled by bytes that are no text", async () => {
    const store = redisStore(client);
    await saved(store, creation({ "=a": "1" }));
    const text = String(await client.get(`session:${key}`));
    await client.sendCommand(["SET", `session:${key}`, Buffer.concat([Buffer.from(text), Buffer.from([0xff])])]);
    await saved(store, changing(await present(store), { "=a": "2" }));
    expect(fieldsOf(await present(store))).toEqual({ "=a": "2" });
  });

  test("passes a failure on", async () => {
    const store = redisStore(
      fakeClient(
        (words, pass) => (words[3] === "IFEQ" ? Promise.reject(new Error("OOM command not allowed")) : pass()),
        client,
      ),
    );
    await saved(store, creation({ "=a": "1" }));
    const found = await present(store);
    await expect((async () => await store.save(key, changing(found, { "=a": "2" })))()).rejects.toThrow("OOM");
  });

  test("loses none of 250 increments at once, some by SET and some by the script", async () => {
    const stores = [
      redisStore(client),
      redisStore(client),
      redisStore(fakeClient((words, pass) => refusing(words) ?? pass(), client)),
    ];
    await saved(redisStore(client), creation({ "=count": "0" }));
    const run = async (store: SessionStore) => {
      for (let done = 0; done < 50;) if (await increment(store)) done++;
    };
    await Promise.all([...stores, ...stores.slice(0, 2)].map(run));
    expect(fieldsOf(await present(redisStore(client)))).toEqual({ "=count": "250" });
  });

  test("keeps no more than a thousand values, so that its memory is bounded", async () => {
    const { client: watching, sent } = watched();
    const store = redisStore(watching);
    const keys = Array.from({ length: 1001 }, (_, i) => String(i).padStart(64, "0"));
    await Promise.all(keys.map((at) => saved(store, creation({ "=a": "1" }), at)));
    const plain = redisStore(client);
    sent.length = 0;
    for (const at of [keys[0] ?? "", keys[1000] ?? ""])
      await saved(store, changing(await present(plain, at), { "=a": "2" }), at);
    expect(sent.filter((command) => command !== "EVAL")).toEqual(["EVALSHA", "SET IFEQ"]);
  });
});

/** The answer of a server that does not know the option. */
function refusing([command, , , option]: readonly string[]): Promise<never> | undefined {
  return command === "SET" && option === "IFEQ" ? Promise.reject(new Error("ERR syntax error")) : undefined;
}

test("redisStore() goes on by the script when the server is exchanged for one that does not know IFEQ, and tries once", async () => {
  const redis = await startRedis();
  const older = await connected(redis);
  try {
    let target = client;
    const { client: watching, sent } = watched({ sendCommand: (words) => target.sendCommand(words) });
    const store = redisStore(watching);
    await saved(store, creation({ "=a": "1" }));
    await saved(store, changing(await present(store), { "=a": "2" }));
    expect(sent.at(-1)).toBe("SET IFEQ");
    // A failover to a replica of an older version.
    await older.sendCommand(["SET", `session:${key}`, String(await client.get(`session:${key}`)), "PX", "60000"]);
    const found = await present(store);
    target = older;
    sent.length = 0;
    await saved(store, changing(found, { "=a": "3" }));
    for (const value of ["4", "5"]) await saved(store, changing(await present(store), { "=a": value }));
    expect(sent).toEqual(["SET IFEQ", "EVALSHA", "EVAL", "GET", "EVALSHA", "GET", "EVALSHA"]);
    expect(fieldsOf(await present(store))).toEqual({ "=a": "5" });
    // A failover back. The store uses the script on both servers.
    await client.set(`session:${key}`, String(await older.get(`session:${key}`)));
    target = client;
    await saved(store, changing(await present(store), { "=a": "6" }));
    expect(fieldsOf(await present(store))).toEqual({ "=a": "6" });
  } finally {
    older.destroy();
    await redis.stop();
  }
});
