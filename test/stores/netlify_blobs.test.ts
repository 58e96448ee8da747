import { getStore, type Store } from "@netlify/blobs";
import { afterEach, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { isBusy } from "../../src/core/errors.ts";
import { type NetlifyBlobs, netlifyBlobsStore } from "../../src/stores/netlify_blobs.ts";
import { storeCases } from "../../src/testing.ts";
import { CACHED_URL, FakeBlobs, UNCACHED_URL } from "../setup/netlify_blobs.ts";
import { failureOf, increment, randomKey, saved, valueOf, writeOf } from "./databases/steps.ts";

let blobs: FakeBlobs;
let client: Store;

beforeEach(() => {
  blobs = new FakeBlobs();
  client = clientOf(blobs);
});
afterEach(() => {
  blobs.interfere = () => undefined;
});

/** The real client on a fake server. */
function clientOf({ fetch }: FakeBlobs, name = "sessions"): Store {
  return getStore({ name, siteID: "site", token: "token", edgeURL: CACHED_URL, uncachedEdgeURL: UNCACHED_URL, fetch });
}

/** The methods of the requests that a call sends. */
async function requestsOf(call: () => unknown): Promise<string[]> {
  const before = blobs.requests.length;
  await call();
  return blobs.requests.slice(before);
}

describe.each([404, 412] as const)(
  "netlifyBlobsStore() where a missing blob is a %i keeps the contract of stores:",
  (missingStatus) => {
    for (const { name, run } of storeCases()) {
      test(name, () =>
        run(() => {
          const own = new FakeBlobs({ missingStatus });
          return {
            store: netlifyBlobsStore(clientOf(own)),
            neighbour: netlifyBlobsStore(clientOf(own, "others")),
            calls: () => own.requests.length,
            spoil: async (key) => {
              await clientOf(own).set(key, "somebody else's");
            },
            fail: () => {
              own.interfere = () => new Response(null, { status: 401 });
            },
          };
        }),
      );
    }
  },
);

describe("netlifyBlobsStore() on Netlify Blobs", () => {
  test("sends one request for each verb, and two where a write is refused or a version must be removed", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    expect(await requestsOf(() => saved(store, key, { a: "1" }))).toEqual(["PUT"]);
    expect(await requestsOf(() => store.load(key))).toEqual(["GET"]);
    const { version = "" } = (await store.load(key)) ?? {};
    expect(await requestsOf(() => saved(store, key, { a: "2", expected: version }))).toEqual(["PUT"]);
    expect(await requestsOf(() => store.save(key, writeOf({ a: "3", expected: version })))).toEqual(["PUT"]);
    expect(await requestsOf(() => store.save(key, writeOf({ a: "3" })))).toEqual(["PUT", "GET"]);
    expect(await requestsOf(() => store.delete(key, version))).toEqual(["PUT", "GET"]);
    expect(await requestsOf(() => store.delete(key))).toEqual(["DELETE"]);
  });

  test("reads what was just written, though the cache shows something older", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    expect(await client.get(key)).toBeNull();
    await saved(store, key, { a: "1" });
    expect(await client.get(key)).toBeNull();
    expect(await valueOf(store, key)).toBe("1");
  });

  test("gives equal records different etags", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    const parts = { a: "1", now: 1000, expiresAt: 2000 };
    const first = await saved(store, key, parts);
    const second = await saved(store, key, { ...parts, expected: first });
    expect(second).not.toBe(first);
    expect(await store.save(key, writeOf({ ...parts, a: "late", expected: first }))).toBe("conflict");
  });

  test("counts what four writers add 250 times each", async () => {
    const key = randomKey();
    await saved(netlifyBlobsStore(client), key, { a: "0" });
    const write = async (): Promise<void> => {
      const store = netlifyBlobsStore(clientOf(blobs));
      for (let done = 0; done < 250; done++) await increment(store, key);
    };
    await Promise.all([write(), write(), write(), write()]);
    expect(await valueOf(netlifyBlobsStore(client), key)).toBe("1000");
  });

  test("takes a blob of another program for a record without fields, and not for a session that was deleted", async () => {
    const store = netlifyBlobsStore(client);
    for (const data of ["", "something", "something\n", "x".repeat(37), `${"x".repeat(40)}\n`]) {
      const key = randomKey();
      await client.set(key, data);
      const found = await store.load(key);
      expect([found?.fields.size, found?.lastSeenAt], data).toEqual([0, 0]);
      expect(await store.save(key, writeOf({ a: "1" })), data).toBe("conflict");
    }
  });

  test("promises compare-and-set, and no limit", () => {
    expect(netlifyBlobsStore(client).traits).toEqual({
      consistency: "strong",
      compareAndSet: true,
      maxBytes: Infinity,
    });
  });

  test("never writes without a condition", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    await saved(store, key, { a: "1" });
    expect(await store.save(key, writeOf({ a: "2", expected: "" }))).toBe("conflict");
    expect(await store.delete(key, "")).toBe("conflict");
    expect(await valueOf(store, key)).toBe("1");
  });
});

describe("netlifyBlobsStore() and expiry", () => {
  const now = 1_800_000_000_000;

  test("keeps an expired record until it is swept or created anew", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    const version = await saved(store, key, { a: "old", now, expiresAt: now + 1000 });
    expect(await valueOf(store, key)).toBe("old");
    expect(await store.save(key, writeOf({ a: "too early", now: now + 1000 }))).toBe("conflict");
    await saved(store, key, { a: "new", now: now + 1001 });
    expect(await store.save(key, writeOf({ a: "late", expected: version }))).toBe("conflict");
    expect(await valueOf(store, key)).toBe("new");
  });

  test("a session can begin where one was deleted, and nothing of the old one fits", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    const version = await saved(store, key, { a: "1" });
    expect(await store.delete(key, version)).toBeUndefined();
    expect(await store.load(key)).toBeNull();
    expect(await store.delete(key, version)).toBeUndefined();
    expect(await store.save(key, writeOf({ a: "late", expected: version }))).toBe("conflict");
    const anew = await saved(store, key, { a: "2" });
    expect(await store.delete(key, version)).toBe("conflict");
    expect(await store.load(key)).toMatchObject({ version: anew });
  });

  test("prune() deletes what has expired and what deletions have left, on each page, and nothing else", async () => {
    const store = netlifyBlobsStore(client);
    for (let n = 0; n < 5; n++) await saved(store, randomKey(), { a: "1", now, expiresAt: now + 1000 });
    const deleted = randomKey();
    await store.delete(deleted, await saved(store, deleted, { a: "1", now, expiresAt: now + 9000 }));
    const [alive, edge] = [randomKey(), randomKey()];
    await saved(store, alive, { a: "alive", now, expiresAt: now + 9000 });
    await saved(store, edge, { a: "edge", now, expiresAt: now + 2000 });
    await client.set("another program's", "something");
    expect(await store.prune?.(now + 2000)).toBe(6);
    expect((await client.list()).blobs).toHaveLength(3);
    expect(await valueOf(store, alive)).toBe("alive");
    expect(await valueOf(store, edge)).toBe("edge");
  });

  test("prune() does not delete a session that is extended between its read and its write", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    const version = await saved(store, key, { a: "1", now, expiresAt: now + 1000 });
    let isExtended = false;
    blobs.interfere = async (method) => {
      if (method !== "PUT" || isExtended) return undefined;
      isExtended = true;
      await saved(netlifyBlobsStore(client), key, { a: "2", expected: version, now: now + 2000 });
      return undefined;
    };
    expect(await store.prune?.(now + 2000)).toBe(0);
    expect(isExtended).toBe(true);
    expect(await valueOf(store, key)).toBe("2");
  });

  test("a session that begins while its key is being swept waits, and is not deleted", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    await saved(store, key, { a: "1", now, expiresAt: now + 1000 });
    let failure: unknown;
    blobs.interfere = async (method) => {
      if (method !== "DELETE") return undefined;
      failure ??= await failureOf(() => store.save(key, writeOf({ a: "2", now: now + 2000 })));
      return undefined;
    };
    expect(await store.prune?.(now + 2000)).toBe(1);
    expect(isBusy(failure)).toBe(true);
    await saved(store, key, { a: "2", now: now + 2000 });
    expect(await valueOf(store, key)).toBe("2");
  });

  test("prune() takes up a sweep that crashed, but not one that is under way", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    await saved(store, key, { a: "1", now, expiresAt: now + 1000 });
    blobs.interfere = (method) => (method === "DELETE" ? new Response(null, { status: 403 }) : undefined);
    await failureOf(() => store.prune?.(now + 2000));
    blobs.interfere = () => undefined;
    expect(await store.load(key)).toBeNull();
    expect(await store.prune?.(now + 3000)).toBe(0);
    expect(await store.prune?.(now + 63_000)).toBe(1);
    await saved(store, key, { a: "2" });
  });

  test("a session can begin where a sweep has crashed, without another one, but not while that may still delete", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    await saved(store, key, { a: "1", now, expiresAt: now + 1000 });
    blobs.interfere = (method) => (method === "DELETE" ? new Response(null, { status: 403 }) : undefined);
    await failureOf(() => store.prune?.(now + 2000));
    blobs.interfere = () => undefined;
    // The sweep lasts for a minute, and clocks may be ten minutes apart.
    expect(isBusy(await failureOf(() => store.save(key, writeOf({ a: "2", now: now + 662_000 }))))).toBe(true);
    await saved(store, key, { a: "2", now: now + 662_001 });
    expect(await valueOf(store, key)).toBe("2");
    expect(await store.prune?.(now + 663_000)).toBe(0);
  });

  test("a session can be pruned as well after a change, and where it has taken the place of another one", async () => {
    const store = netlifyBlobsStore(client);
    const [changed, anew] = [randomKey(), randomKey()];
    const expected = await saved(store, changed, { a: "1", now, expiresAt: now + 1000 });
    await saved(store, changed, { a: "2", expected, now, expiresAt: now + 2000 });
    await saved(store, anew, { a: "1", now, expiresAt: now + 1000 });
    await saved(store, anew, { a: "2", now: now + 1500, expiresAt: now + 2000 });
    expect(await store.prune?.(now + 1999)).toBe(0);
    expect(await store.prune?.(now + 2001)).toBe(2);
  });

  test("of two sessions that begin at once where one has expired, one begins", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    await saved(store, key, { a: "1", now, expiresAt: now + 1000 });
    const begin = (a: string) => store.save(key, writeOf({ a, now: now + 2000 }));
    const answers = await Promise.all([begin("2"), begin("3")]);
    expect(answers.filter((answer) => answer === "conflict")).toHaveLength(1);
    expect((await store.load(key))?.version).toBe(answers.find((answer) => answer !== "conflict"));
  });

  test("prune() goes on where a blob has gone since it was listed", async () => {
    const store = netlifyBlobsStore(client);
    for (let n = 0; n < 2; n++) await saved(store, randomKey(), { a: "1", now, expiresAt: now + 1000 });
    let isGone = false;
    blobs.interfere = (method) => {
      if (method !== "HEAD" || isGone) return undefined;
      isGone = true;
      const [first = ""] = [...blobs.blobs.keys()].sort();
      blobs.blobs.delete(first);
      return undefined;
    };
    expect(await store.prune?.(now + 2000)).toBe(1);
    expect(isGone).toBe(true);
  });

  test("prune() leaves what another program has written, whatever that says of its end", async () => {
    const store = netlifyBlobsStore(client);
    await client.set("theirs", "something", { metadata: { expiresAt: "1" } });
    await client.set("others", "something", { metadata: { expiresAt: null } });
    expect(await store.prune?.(now)).toBe(0);
    expect(blobs.blobs.size).toBe(2);
  });
});

describe("netlifyBlobsStore() and failures", () => {
  test("takes a refusal that the client calls a success for a failure", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    const expected = await saved(store, key, { a: "1" });
    for (const status of [400, 401, 403, 500, 503]) {
      blobs.interfere = (method) => (method === "PUT" ? new Response(null, { status }) : undefined);
      expect(await failureOf(() => store.save(key, writeOf({ a: "2", expected })))).toMatchObject({
        code: "ERR_STORE",
      });
      expect(await failureOf(() => store.save(randomKey(), writeOf({ a: "2" })))).toMatchObject({ code: "ERR_STORE" });
      expect(await failureOf(() => store.delete(key, expected))).toMatchObject({ code: "ERR_STORE" });
    }
    blobs.interfere = () => undefined;
    expect(await valueOf(store, key)).toBe("1");
  });

  test("finds out that a write was done whose answer had no etag", async () => {
    const store = netlifyBlobsStore(client);
    const key = randomKey();
    const { fetch } = blobs;
    const losing = clientOf(Object.assign(new FakeBlobs(), { fetch: lose }));
    async function lose(...call: Parameters<typeof fetch>): Promise<Response> {
      const answer = await fetch(...call);
      return call[1]?.method === "put" ? new Response(null, { status: 200 }) : answer;
    }
    const created = await saved(netlifyBlobsStore(losing), key, { a: "1" });
    expect(await store.load(key)).toMatchObject({ version: created });
    await saved(netlifyBlobsStore(losing), key, { a: "2", expected: created });
    expect(await valueOf(store, key)).toBe("2");
  });

  test("takes an answer without meaning for an error", async () => {
    for (const answer of [
      undefined,
      {},
      "ok",
      1,
      { data: "x", etag: "" },
      { data: null, etag: "x" },
      { data: "x", etag: 7 },
      { modified: "yes", etag: "x" },
      { modified: true, etag: 7 },
    ]) {
      const store = netlifyBlobsStore({
        getWithMetadata: async () => answer as never,
        getMetadata: async () => answer as never,
        set: async () => answer as never,
        delete: async () => {},
        list: client.list,
      } as NetlifyBlobs);
      const key = randomKey();
      for (const call of [
        () => store.load(key),
        () => store.save(key, writeOf({ a: "1" })),
        () => store.save(key, writeOf({ a: "1", expected: "v" })),
        () => store.delete(key, "v"),
      ]) {
        const failure = await failureOf(call);
        // The client itself answers with an object, or null.
        if (answer !== undefined) expect(failure, JSON.stringify(answer)).toMatchObject({ code: "ERR_STORE" });
      }
    }
  });

  test("throws when the store is missing or is none", () => {
    const { getWithMetadata, set } = client;
    for (const none of [
      undefined,
      null,
      {},
      "sessions",
      Promise.resolve(client),
      { set },
      { getWithMetadata },
    ] as unknown[]) {
      // @ts-expect-error Not one of them is a store.
      expect(() => netlifyBlobsStore(none)).toThrow(/netlifyBlobsStore: the store must be what getStore\(\)/);
    }
  });

  test("takes the type of the client", () => {
    expectTypeOf<Store>().toExtend<NetlifyBlobs>();
  });
});
