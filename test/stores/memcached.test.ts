import Memcached from "memcached";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import type { SessionStore } from "../../src/core/store.ts";
import { type MemcachedClient, memcachedStore } from "../../src/stores/memcached.ts";
import { storeCases } from "../../src/testing.ts";
import { type MemcachedServer, startMemcached } from "../setup/memcached.ts";
import { countOf } from "./databases/processes.ts";
import { refusesMeaninglessAnswers } from "./databases/sql_cases.ts";
import { failureOf, randomKey, saved, valueOf, writeOf } from "./databases/steps.ts";

let server: MemcachedServer;
let client: Memcached;
const clients: Memcached[] = [];

beforeAll(async () => {
  server = await startMemcached();
  client = clientOf(server);
});
afterAll(async () => {
  for (const each of clients) each.end();
  await server.stop();
});

function clientOf({ port }: MemcachedServer, options: Memcached.options = {}): Memcached {
  const made = new Memcached(`127.0.0.1:${port}`, { timeout: 60_000, retries: 0, retry: 1, failures: 1e9, ...options });
  clients.push(made);
  return made;
}

/** A client that also records what it sends. */
function heard(own: Memcached = client): { readonly client: MemcachedClient; readonly sent: unknown[][] } {
  const sent: unknown[][] = [];
  return {
    sent,
    client: {
      gets(key, done) {
        sent.push(["gets", key]);
        own.gets(key, done);
      },
      add(key, value, lifetime, done) {
        sent.push(["add", key, lifetime]);
        own.add(key, value, lifetime, done);
      },
      cas(key, value, cas, lifetime, done) {
        sent.push(["cas", key, lifetime]);
        own.cas(key, value, cas, lifetime, done);
      },
      del(key, done) {
        sent.push(["del", key]);
        own.del(key, done);
      },
    },
  };
}

/** Stores a value as another program would. */
function put(key: string, value: unknown): Promise<void> {
  return new Promise((resolve, reject) => client.set(key, value, 1000, (error) => (error ? reject(error) : resolve())));
}

describe("memcachedStore() keeps the contract of stores:", () => {
  for (const { name, run } of storeCases()) {
    test(name, () =>
      run(async () => {
        const own = await startMemcached();
        const { client: connected, sent } = heard(clientOf(own));
        return {
          store: memcachedStore(connected),
          neighbour: memcachedStore(connected, { prefix: "other:" }),
          calls: () => sent.length,
          spoil: (key) =>
            new Promise((resolve) => clientOf(own).set(`session:${key}`, "somebody else's", 1000, () => resolve())),
          fail: () => own.stop(),
          close: () => own.stop(),
        };
      }),
    );
  }
});

describe("memcachedStore() in Memcached", () => {
  const now = Date.now();

  test("loads and creates in one request, and changes in two", async () => {
    const { client: own, sent } = heard();
    const store = memcachedStore(own);
    const key = randomKey();
    const first = await saved(store, key, { a: "1" });
    await store.load(key);
    const second = await saved(store, key, { a: "2", expected: first });
    expect(await store.save(key, writeOf({ a: "3", expected: first }))).toBe("conflict");
    expect(await store.delete(key, first)).toBe("conflict");
    expect(await store.delete(key, second)).toBeUndefined();
    expect(await store.delete(key)).toBeUndefined();
    const verbs = ["add", "gets", "gets", "cas", "gets", "gets", "gets", "cas", "del", "gets"];
    expect(sent.map(([verb]) => verb)).toEqual(verbs);
    expect(sent[0]?.[1]).toBe(`session:${key}`);
  });

  test("asks for a lifetime that is not shorter than the record's: whole seconds, and one more, as Memcached counts by its own ticks", async () => {
    const { client: own, sent } = heard();
    const store = memcachedStore(own);
    for (const milliseconds of [-5000, 0, 1, 1000, 1001, 60_000]) {
      await saved(store, randomKey(), { a: "1", now, expiresAt: now + milliseconds });
    }
    expect(sent.map(([, , lifetime]) => lifetime)).toEqual([2, 2, 2, 2, 3, 61]);
  });

  test("takes a lifetime of more than thirty days for a time, and not for an instant of 1970", async () => {
    const { client: own, sent } = heard();
    const store = memcachedStore(own);
    for (const days of [29, 30, 31, 365]) {
      const key = randomKey();
      const expected = await saved(store, key, { a: "1", now, expiresAt: now + days * 86_400_000 });
      await saved(store, key, { a: "2", expected, now, expiresAt: now + days * 86_400_000 });
      expect(await valueOf(store, key)).toBe("2");
    }
    const lifetimes = sent.filter(([verb]) => verb === "add").map(([, , lifetime]) => Number(lifetime));
    expect(lifetimes[0]).toBe(29 * 86_400 + 1);
    for (const lifetime of lifetimes.slice(1)) expect(lifetime).toBeGreaterThan(now / 1000);
  });

  test("keeps an item whose time is up after January 2038, which Memcached would remove at once", async () => {
    const store = memcachedStore(client);
    for (const end of [2 ** 31 * 1000, 2 ** 40 * 1000, 1e300]) {
      const key = randomKey();
      const expected = await saved(store, key, { a: "1", now, expiresAt: end });
      await saved(store, key, { a: "2", expected, now, expiresAt: end });
      expect(await valueOf(store, key)).toBe("2");
    }
  });

  test("removes an item whose time is up", async () => {
    const store = memcachedStore(client);
    const key = randomKey();
    await saved(store, key, { a: "1", now, expiresAt: now + 1 });
    await expect.poll(() => valueOf(store, key)).toBeNull();
  });

  test("counts what four processes add 250 times each", async () => {
    const workers = Array.from({ length: 4 }, () => ({ client: "memcached" }));
    expect(await countOf(workers, `127.0.0.1:${server.port}`, memcachedStore(client))).toBe(1000);
  });

  test("has forgotten everything after a restart of the server, and no old version fits, though its numbers come again", async () => {
    const own = await startMemcached();
    const store = memcachedStore(clientOf(own));
    const key = randomKey();
    const old = await saved(store, key, { a: "1" });
    await own.stop();
    await failureOf(() => store.load(key));
    await own.restart();
    await expect.poll(() => Promise.resolve(store.load(key)).catch(() => "down")).toBeNull();
    await saved(store, key, { a: "2" });
    expect(await store.save(key, writeOf({ a: "late", expected: old }))).toBe("conflict");
    expect(await store.delete(key, old)).toBe("conflict");
    expect(await valueOf(store, key)).toBe("2");
    await own.stop();
  });

  test("accepts the largest record, line breaks included, and refuses a larger one before it is sent", async () => {
    const { client: own, sent } = heard();
    const store = memcachedStore(own);
    expect(store.traits.maxBytes).toBe(1_000_000);
    const key = randomKey();
    // The two line breaks of a field count twice, because the client writes a backslash before each.
    const a = "x".repeat(1_000_000 - 18 - 2);
    const expected = await saved(store, key, { a });
    const error = await failureOf(() => store.save(key, writeOf({ a: `${a}x`, expected })));
    expect(error).toMatchObject({ code: "ERR_RECORD_TOO_LARGE", message: expect.stringContaining("1000001 bytes") });
    expect(sent).toHaveLength(1);
    expect(await valueOf(store, key)).toBe(a);
  });

  test("rejects when the server refuses an item, which the client reports as if it were there already", async () => {
    const small = await startMemcached("-I", "512k");
    const store = memcachedStore(clientOf(small));
    const key = randomKey();
    const expected = await saved(store, key, { a: "1" });
    const a = "x".repeat(900_000);
    expect(await failureOf(() => store.save(randomKey(), writeOf({ a })))).toMatchObject({ code: "ERR_STORE" });
    await failureOf(() => memcachedStore(clientOf(small)).save(key, writeOf({ a, expected })));
    await small.stop();
  });

  test("finds its items with a client that has a namespace", async () => {
    const store = memcachedStore(clientOf(server, { namespace: "shop:" }));
    const key = randomKey();
    const expected = await saved(store, key, { a: "1" });
    await saved(store, key, { a: "2", expected });
    expect(await valueOf(store, key)).toBe("2");
    expect(await memcachedStore(client).load(key)).toBeNull();
  });

  test("takes an item of another program for a record without fields, whatever it is", async () => {
    const store = memcachedStore(client);
    for (const value of ["rubbish", "", 7, Buffer.from([0, 255]), { an: "object" }]) {
      const key = randomKey();
      await put(`session:${key}`, value);
      const found = await store.load(key);
      expect(found?.fields.size).toBe(0);
      expect(await store.save(key, writeOf({ a: "1" }))).toBe("conflict");
      expect(await store.delete(key, found?.version)).toBeUndefined();
      expect(await store.load(key)).toBeNull();
    }
  });
});

describe("memcachedStore() and its clients", () => {
  /** A client that gives the same answer to all calls. */
  function answering(answer: unknown): MemcachedClient {
    return {
      gets: (_key, done) => done(undefined, answer),
      add: (_key, _value, _lifetime, done) => done(undefined, answer),
      cas: (_key, _value, _cas, _lifetime, done) => done(undefined, answer),
      del: (_key, done) => done(undefined, answer),
    };
  }

  test("takes an answer without meaning for an error", async () => {
    await refusesMeaninglessAnswers(
      (answer) => memcachedStore(answering(answer)),
      [false, null, {}, "ok", 1, [], { cas: "1" }, { cas: 1, key: "value" }],
    );
  });

  test("takes a change that was refused although nobody else wrote for an error, and not for a conflict", async () => {
    const store: SessionStore = memcachedStore({
      ...answering(false),
      gets: (_key, done) => done(undefined, { cas: "1", key: "rubbish" }),
    });
    expect(await failureOf(() => store.save(randomKey(), writeOf({ a: "1", expected: "1" })))).toMatchObject({
      code: "ERR_STORE",
    });
    expect(await failureOf(() => store.delete(randomKey(), "1"))).toMatchObject({ code: "ERR_STORE" });
    expect(await failureOf(() => store.delete(randomKey()))).toMatchObject({ code: "ERR_STORE" });
  });

  test("takes prefixes that Memcached takes as a part of a key, and no others", () => {
    memcachedStore(client, { prefix: "x".repeat(186) });
    for (const prefix of ["a b", "a\r\nflush_all", "\0", "é", "x".repeat(187), 7, null]) {
      // @ts-expect-error Some of them are no strings.
      expect(() => memcachedStore(client, { prefix })).toThrow(/memcachedStore: prefix must be/);
    }
    // @ts-expect-error There is no such option.
    expect(() => memcachedStore(client, { prefx: "a" })).toThrow(/prefx.*did you mean prefix/);
  });

  test("throws when the client is missing or is none", () => {
    for (const none of [undefined, null, {}, "localhost:11211", { gets: () => undefined }] as unknown[]) {
      // @ts-expect-error Not one of them is a client.
      expect(() => memcachedStore(none)).toThrow(/memcachedStore: the client must be/);
    }
  });

  test("takes the type of its client", () => {
    expectTypeOf<Memcached>().toExtend<MemcachedClient>();
  });
});
