import { Buffer } from "node:buffer";
import { beforeEach, describe, expect, test } from "vitest";
import type { SessionStore } from "../../src/core/store.ts";
import { type MemcachedCallback, type MemcachedClient, memcachedStore } from "../../src/stores/memcached.ts";
import { storeCases } from "../../src/testing.ts";
import { failureOf, randomKey, saved, valueOf, writeOf } from "./databases/steps.ts";

// The calls that memcachedStore() makes on its client, and how it treats the answers, without a server. memcached.test.ts uses one.

/** A client with its server in this process. It records its calls. */
class Client implements MemcachedClient {
  readonly items = new Map<string, { value: unknown; cas: string }>();
  readonly asked: unknown[][] = [];
  failure: unknown;
  /** Called before each call takes effect, to simulate another program. */
  before: (verb: string) => void = () => {};
  #writes = 0;

  put(key: string, value: unknown): void {
    this.items.set(key, { value, cas: String(++this.#writes) });
  }

  gets(key: string, done: MemcachedCallback): void {
    this.#answer(["gets", key], done, () => {
      const found = this.items.get(key);
      return found && { [key]: found.value, cas: found.cas };
    });
  }

  add(key: string, value: string, lifetime: number, done: MemcachedCallback): void {
    this.#answer(["add", key, value, lifetime], done, () => {
      if (this.items.has(key)) throw Object.assign(new Error("Item is not stored"), { notStored: true });
      this.put(key, value);
      return true;
    });
  }

  cas(key: string, value: string, cas: string, lifetime: number, done: MemcachedCallback): void {
    this.#answer(["cas", key, value, cas, lifetime], done, () => {
      if (this.items.get(key)?.cas !== cas) return false;
      if (lifetime < 0) this.items.delete(key);
      else this.put(key, value);
      return true;
    });
  }

  del(key: string, done: MemcachedCallback): void {
    this.#answer(["del", key], done, () => this.items.delete(key));
  }

  #answer(call: unknown[], done: MemcachedCallback, step: () => unknown): void {
    this.asked.push(call);
    queueMicrotask(() => {
      this.before(String(call[0]));
      if (this.failure !== undefined) return done(this.failure, undefined);
      let answer: unknown;
      try {
        answer = step();
      } catch (error) {
        return done(error, undefined);
      }
      // Without an error, the client passes undefined or null.
      return done(this.asked.length % 2 === 0 ? null : undefined, answer);
    });
  }
}

const key = randomKey();
const name = `session:${key}`;
const now = 1_800_000_000_000;
const UUID = "01234567-89ab-4cde-8f01-23456789abcd";
let client: Client;
let store: SessionStore;

beforeEach(() => {
  client = new Client();
  store = memcachedStore(client);
});

/** A store whose client gives these answers one after the other. */
function answering(...answers: unknown[]): SessionStore {
  const answer = (done: MemcachedCallback) => done(undefined, answers.shift());
  return memcachedStore({
    gets: (_key, done) => answer(done),
    add: (_key, _value, _lifetime, done) => answer(done),
    cas: (_key, _value, _cas, _lifetime, done) => answer(done),
    del: (_key, done) => answer(done),
  });
}

describe("memcachedStore() keeps the contract of stores, on a server in this process:", () => {
  for (const { name: what, run } of storeCases()) {
    test(what, () => {
      const own = new Client();
      return run(() => ({
        store: memcachedStore(own),
        neighbour: memcachedStore(own, { prefix: "other:" }),
        calls: () => own.asked.length,
        spoil: (of) => own.put(`session:${of}`, "somebody else's"),
        fail: () => void (own.failure = new Error("The server is away")),
      }));
    });
  }
});

describe("memcachedStore()", () => {
  test("creates, changes and deletes under a name of the write", async () => {
    const parts = { now, expiresAt: now + 60_000 };
    const first = await saved(store, key, { a: "é", ...parts });
    const second = await saved(store, key, { a: "2", expected: first, ...parts });
    await store.load(key);
    expect(await store.save(key, writeOf({ a: "3", expected: first, ...parts }))).toBe("conflict");
    expect(await store.delete(key, first)).toBe("conflict");
    expect(await store.delete(key, second)).toBeUndefined();
    expect(await store.delete(key, second)).toBeUndefined();
    expect(await store.delete(key)).toBeUndefined();
    client.put(name, "another program's");
    expect(await store.delete(key)).toBeUndefined();
    const gets = ["gets", name];
    expect(client.asked).toEqual([
      ["add", name, `${first}\n1${now}\n=a\né`, 61],
      gets,
      ["cas", name, `${second}\n1${now}\n=a\n2`, "1", 61],
      gets,
      gets,
      gets,
      gets,
      ["cas", name, "", "2", -1],
      gets,
      ["del", name],
      gets,
      ["del", name],
    ]);
    expect(first).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("asks for a life of whole seconds and one more, and for an instant where it is over thirty days", async () => {
    const days = 86_400_000;
    for (const life of [-5000, 0, 1, 1000, 1001, 60_000, 30 * days - 1000, 30 * days - 999, 30 * days, 90 * days + 1])
      await saved(store, randomKey(), { a: "1", now, expiresAt: now + life });
    const thirty = 30 * 86_400;
    expect(client.asked.map((call) => call[3])).toEqual([
      2,
      2,
      2,
      2,
      3,
      61,
      thirty,
      now / 1000 + thirty,
      now / 1000 + thirty,
      now / 1000 + 3 * thirty + 1,
    ]);
  });

  test("asks for no end where the end is later than Memcached can keep", async () => {
    const last = (2 ** 31 - 1) * 1000;
    for (const end of [last - 1, last, last + 1, 1e300])
      await saved(store, randomKey(), { a: "1", now, expiresAt: end });
    expect(client.asked.map((call) => call[3])).toEqual([last / 1000, last / 1000, 0, 0]);
  });

  test("finds a record under the name of its write, and one without fields where another program has written", async () => {
    client.put(name, `${UUID}\n1${now}\n=a\né`);
    const found = await store.load(key);
    expect(found).toStrictEqual({ fields: found?.fields, lastSeenAt: now, version: UUID });
    expect([...(found?.fields ?? [])]).toEqual([["=a", "é"]]);
    const record = `1${now}\n=a\n1`;
    const foreign = ["", "rubbish", `${UUID}${record}`, `${UUID} ${record}`, ` ${UUID}\n${record}`];
    for (const value of [
      ...foreign,
      `${UUID.toUpperCase()}\n${record}`,
      record,
      7,
      Buffer.from([0]),
      Buffer.from(`${UUID}\n${record}`),
      { an: "object" },
    ]) {
      client.put(name, value);
      const { cas } = client.items.get(name) ?? {};
      const other = await store.load(key);
      expect([other?.fields.size, other?.lastSeenAt, other?.version], String(value)).toEqual([0, 0, cas]);
      expect(await store.save(key, writeOf({ a: "1" }))).toBe("conflict");
      expect(await store.delete(key, other?.version)).toBeUndefined();
      expect(await store.load(key)).toBeNull();
    }
  });

  test("finds an item under the key of a client that has a namespace", async () => {
    expect(await valueOf(answering({ [`shop:${name}`]: `${UUID}\n1${now}\n=a\n1`, cas: "1" }), key)).toBe("1");
  });

  test("answers a conflict or a success when another write comes between its two requests", async () => {
    const between: Record<string, () => void> = {
      write: () => client.put(name, `${UUID}\n1${now}\n=a\nother`),
      deletion: () => void client.items.delete(name),
    };
    const answers: unknown[] = [];
    for (const [what, step] of Object.entries(between)) {
      for (const call of [
        (expected: string) => store.save(key, writeOf({ a: "2", expected })),
        (expected: string) => store.delete(key, expected),
      ]) {
        client.items.clear();
        client.before = () => {};
        const version = await saved(store, key, { a: "1" });
        client.before = (verb) => verb === "cas" && step();
        answers.push([what, await call(String(version))]);
      }
    }
    expect(answers).toEqual([
      ["write", "conflict"],
      ["write", "conflict"],
      ["deletion", "conflict"],
      ["deletion", undefined],
    ]);
  });

  test("takes a refusal without another write for a failure, as that of a server that is out of memory", async () => {
    const item = { [name]: `${UUID}\n1${now}\n=a\n1`, cas: "1" };
    const failures = [
      await failureOf(() => answering(item, false, item).save(key, writeOf({ a: "1", expected: UUID }))),
      await failureOf(() => answering(item, false, item).delete(key, UUID)),
      await failureOf(() => answering(false).save(key, writeOf({ a: "1" }))),
      await failureOf(() => answering(false, item).delete(key)),
    ];
    for (const failure of failures)
      expect(failure).toMatchObject({ code: "ERR_STORE", message: expect.stringContaining("Memcached answered") });
    expect(await answering(false, undefined).delete(key)).toBeUndefined();
  });

  test("takes an answer without meaning for a failure", async () => {
    for (const answer of [null, false, 0, "ok", {}, [], { cas: "1" }, { cas: 1, [name]: "x" }, { [name]: "x" }]) {
      const failure = await failureOf(() => answering(answer).load(key));
      expect(failure, JSON.stringify(answer)).toMatchObject({ code: "ERR_STORE" });
    }
    for (const answer of [undefined, null, false, 1, "true", {}])
      expect(await failureOf(() => answering(answer).save(key, writeOf({ a: "1" })))).toMatchObject({
        code: "ERR_STORE",
      });
  });

  test("passes the errors of its client on", async () => {
    for (const failure of [new Error("away"), { notStored: false }, "text", 0, { notStored: 1 }]) {
      client.failure = failure;
      for (const call of [
        () => store.load(key),
        () => store.save(key, writeOf({ a: "1" })),
        () => store.save(key, writeOf({ a: "1", expected: UUID })),
        () => store.delete(key),
        () => store.delete(key, UUID),
      ])
        expect(await failureOf(call)).toBe(failure);
    }
  });

  test("accepts a record of 1 000 000 bytes, line breaks counted twice, and refuses a larger one before any request", async () => {
    expect(store.traits).toEqual({ consistency: "strong", compareAndSet: true, maxBytes: 1_000_000 });
    // The text contains two line breaks. The client writes a backslash before each, and also before a carriage return.
    const a = `é\r${"x".repeat(1_000_000 - 18 - 2 - 4)}`;
    expect(await saved(store, key, { a, now })).not.toBe("conflict");
    const error = await failureOf(() => store.save(key, writeOf({ a: `${a}x`, now })));
    expect(error).toMatchObject({ code: "ERR_RECORD_TOO_LARGE", message: expect.stringContaining("1000001 bytes") });
    expect(client.asked).toHaveLength(1);
  });

  test("throws when the client is missing or is none, or the prefix is not one", async () => {
    const { gets, cas } = Client.prototype;
    for (const none of [undefined, null, {}, "localhost:11211", { gets }, { cas }] as unknown[]) {
      // @ts-expect-error Not one of them is a client.
      expect(() => memcachedStore(none)).toThrow(/memcachedStore: the client must be/);
    }
    for (const prefix of ["a b", " a", "a ", "a\n", "é", "\x7f", "x".repeat(187), 7, null, ["a"]] as unknown[]) {
      // @ts-expect-error Some of them are no strings.
      expect(() => memcachedStore(client, { prefix }), String(prefix)).toThrow(/memcachedStore: prefix must be/);
    }
    for (const prefix of ["", "!~", "x".repeat(186)]) await memcachedStore(client, { prefix }).load(key);
    expect(client.asked.map(([, of]) => of)).toEqual([key, `!~${key}`, `${"x".repeat(186)}${key}`]);
    // @ts-expect-error There is no such option.
    expect(() => memcachedStore(client, { prefx: "a" })).toThrow(/no option "prefx"/);
  });
});
