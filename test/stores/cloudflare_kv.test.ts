import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { SessionManager } from "../../mod.ts";
import { isBusy } from "../../src/core/errors.ts";
import type { RecordVersion, SessionStore, Write } from "../../src/core/store.ts";
import { type CloudflareKvNamespace, cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { fakeClock, kvSimulator, storeCases } from "../../src/testing.ts";
import { startWorker } from "../setup/workerd.ts";
import { keepsEndlessSession, PATIENCE } from "../setup/sessions.ts";

let worker: Miniflare;
let kv: ListedNamespace;
let store: SessionStore;
/** The calls of Workers KV since the test began. */
let calls: unknown[][];

interface ListedNamespace extends CloudflareKvNamespace {
  get(key: string, options: "text" | { type: "text"; cacheTtl?: number }): Promise<string | null>;
  list(): Promise<{ keys: { name: string; expiration?: number }[] }>;
}

beforeAll(async () => {
  worker = await startWorker(new URL("./cloudflare.worker.ts", import.meta.url), { kvNamespaces: ["KV"] });
  kv = (await worker.getBindings<{ KV: ListedNamespace }>()).KV;
});
beforeEach(async () => {
  for (const { name } of (await kv.list()).keys) await kv.delete(name);
  calls = [];
  store = cloudflareKvStore(heard());
});
afterAll(() => worker.dispose());

function heard(): CloudflareKvNamespace {
  return {
    get(...args) {
      calls.push(["get", ...args]);
      return kv.get(...args);
    },
    put(...args) {
      calls.push(["put", ...args]);
      return kv.put(...args);
    },
    delete(...args) {
      calls.push(["delete", ...args]);
      return kv.delete(...args);
    },
  };
}

const key = "0123456789abcdef".repeat(4);
const now = 1_800_000_000_000;
let writes = 0;

function writeOf(a: string | null, expected: RecordVersion | null, seconds = 60, lastSeenAt = now): Write {
  const fields = new Map(a === null ? [] : [["=a", a]]);
  const record = { fields, lastSeenAt };
  const id = `write-${String(writes++).padStart(16, "0")}`;
  return { id, record, changed: fields, expected, expiresAt: lastSeenAt + seconds * 1000 };
}

async function create(): Promise<RecordVersion> {
  const version = await store.save(key, writeOf("1", null));
  calls = [];
  if (version === "conflict") throw new Error("Nothing was stored");
  return version;
}

async function valueOf(of: SessionStore = store): Promise<string | undefined> {
  return (await of.load(key))?.fields.get("=a");
}

function verbs(): unknown[] {
  return calls.map(([verb]) => verb);
}

describe("cloudflareKvStore() in workerd keeps the contract of stores:", () => {
  for (const { name } of storeCases()) {
    test(name, async () => {
      const response = await worker.dispatchFetch(`http://localhost/?${new URLSearchParams({ store: "kv", name })}`);
      expect(await response.text()).toBe("passed");
    });
  }
});

test("load() reads once, as text, with the time that was asked for in the cache", async () => {
  await create();
  expect(await valueOf()).toBe("1");
  await cloudflareKvStore(heard(), { cacheTtl: 30 }).load(key);
  expect(calls).toEqual([
    ["get", `session:${key}`, { type: "text" }],
    ["get", `session:${key}`, { type: "text", cacheTtl: 30 }],
  ]);
});

test("save() of a new record writes once and never reads, whether the key is new or not", async () => {
  expect(await store.save(key, writeOf("1", null))).not.toBe("conflict");
  expect(await store.save(key, writeOf("2", null))).not.toBe("conflict");
  expect(verbs()).toEqual(["put", "put"]);
  expect(await valueOf()).toBe("2");
});

test("save() of a change and of a touch reads once and writes once", async () => {
  const version = await create();
  await store.save(key, writeOf("2", version));
  expect(verbs()).toEqual(["get", "put"]);
  await store.save(key, { ...writeOf("2", version), changed: new Map() });
  expect(verbs()).toEqual(["get", "put", "get", "put"]);
});

test("save() answers the name of the write as the version", async () => {
  const write = writeOf("1", null);
  expect(await store.save(key, write)).toBe(write.id);
  expect((await store.load(key))?.version).toBe(write.id);
});

test("save() writes nothing when the session was ended while the handler ran", async () => {
  const version = await create();
  // To end a session, the core stores a record without fields, which other places then see instead of the session.
  await store.save(key, writeOf(null, null, 3600));
  calls = [];
  expect(await store.save(key, writeOf("2", version))).toBe("conflict");
  expect(verbs()).toEqual(["get"]);
  const ended = await store.load(key);
  expect([ended?.fields.size, ended?.lastSeenAt]).toEqual([0, now]);

  await store.delete(key);
  expect(await store.save(key, writeOf("2", version))).toBe("conflict");
  expect(await store.load(key)).toBeNull();
});

test("save() lets the last one win when two come from one version", async () => {
  const version = await create();
  for (const a of ["first", "last"]) expect(await store.save(key, writeOf(a, version))).not.toBe("conflict");
  expect(await valueOf()).toBe("last");
});

test("delete() is one call", async () => {
  await create();
  await store.delete(key);
  expect(calls).toEqual([["delete", `session:${key}`]]);
});

test("save() asks for a life of at least 60 whole seconds, each time anew", async () => {
  for (const seconds of [-1, 0.001, 59, 60, 99.5, 86_400]) await store.save(key, writeOf("1", null, seconds));
  const version = await create();
  await store.save(key, writeOf("2", version, 200, now + 5000));
  const lives = [60, 60, 60, 60, 100, 86_400];
  expect(calls.flatMap(([verb, , , options]) => (verb === "put" ? [options] : []))).toEqual([{ expirationTtl: 200 }]);
  const [stored] = (await kv.list()).keys;
  expect(stored?.expiration).toBeGreaterThan(Date.now() / 1000 + 100);

  calls = [];
  for (const seconds of [-1, 0.001, 59, 60, 99.5, 86_400]) await store.save(key, writeOf("1", null, seconds));
  expect(calls.map((call) => call[3])).toEqual(lives.map((expirationTtl) => ({ expirationTtl })));
});

test("load() of a value that another program wrote is a record without fields", async () => {
  for (const text of ["", "null", "rubbish", `${"x".repeat(36)}[1`, `${"x".repeat(36)} [1`, " 1", "1"]) {
    await kv.put(`session:${key}`, text, { expirationTtl: 60 });
    const found = await store.load(key);
    expect([found?.fields.size, found?.lastSeenAt]).toEqual([0, 0]);
    expect(found?.version).not.toBe("");
    expect(await store.save(key, writeOf("1", found?.version ?? null))).toBe("conflict");
  }
});

test("save() refuses a record over 25 MiB before any request", async () => {
  const large = "é".repeat(13 * 1024 * 1024);
  const refused = { code: "ERR_RECORD_TOO_LARGE", message: expect.stringMatching(/272\d{5} bytes.*26214400/) };
  await expect(store.save(key, writeOf(large, null))).rejects.toMatchObject(refused);
  await expect(store.save(key, writeOf(large, "a version"))).rejects.toMatchObject(refused);
  expect(calls).toEqual([]);
});

async function tooMany(): Promise<never> {
  throw new Error("KV PUT failed: 429 Too Many Requests");
}

test("every write throws a StoreBusyError when Workers KV answers 429, and its own error otherwise", async () => {
  const version = await create();
  const limited = cloudflareKvStore({ get: (...args) => kv.get(...args), put: tooMany, delete: tooMany });
  for (const write of [
    () => limited.save(key, writeOf("2", null)),
    () => limited.save(key, writeOf("2", version)),
    () => limited.delete(key),
  ]) {
    expect(isBusy(await Promise.resolve(write()).catch((error: unknown) => error))).toBe(true);
  }
  await expect(store.save("x".repeat(1000), writeOf("1", null))).rejects.toThrow("414");
  expect(await valueOf()).toBe("1");
});

test("cloudflareKvStore() accepts a prefix with which keys have 512 bytes, and refuses a longer one", async () => {
  const longest = cloudflareKvStore(kv, { prefix: "é".repeat(224) });
  await longest.save(key, writeOf("1", null));
  expect(await valueOf(longest)).toBe("1");
  expect(() => cloudflareKvStore(kv, { prefix: "é".repeat(225) })).toThrow(RangeError);
});

test("cloudflareKvStore() refuses a cacheTtl that Workers KV refuses", async () => {
  for (const cacheTtl of [0, 29, 29.9, -30, NaN]) {
    expect(() => cloudflareKvStore(kv, { cacheTtl })).toThrow(
      new RangeError(`cloudflareKvStore: cacheTtl must be at least 30 seconds, not ${cacheTtl}`),
    );
  }
  const text = { type: "text", cacheTtl: 29 } as const;
  await expect(kv.get(key, text)).rejects.toThrow("400");
  expect(await cloudflareKvStore(kv, { cacheTtl: 30 }).load(key)).toBeNull();
});

test("cloudflareKvStore() says how stale its reads may be: a minute, or as long as they may come from the cache", () => {
  const stalenessOf = (options: object) => cloudflareKvStore(kv, options).traits.staleness;
  expect([{}, { cacheTtl: 30 }, { cacheTtl: 300 }].map(stalenessOf)).toEqual([60, 60, 300]);
});

test("cloudflareKvStore() says what to do when the binding is missing, or an option is unknown", () => {
  const env: Record<string, CloudflareKvNamespace> = {};
  // @ts-expect-error A binding that may be missing is not one.
  expect(() => cloudflareKvStore(env["SESSIONS"])).toThrow(
    expect.objectContaining({ name: "TypeError", message: expect.stringMatching(/kv_namespaces.*pass env\.SESSIONS/) }),
  );
  // @ts-expect-error There is no such option.
  expect(() => cloudflareKvStore(kv, { cacheTTL: 60 })).toThrow(/cacheTTL.*cacheTtl/);
});

test("a session that ends in one place does not come back from another one, whatever that still shows", async () => {
  const clock = fakeClock();
  const simulator = kvSimulator({ now: clock.now });
  const at = (place: string) =>
    new SessionManager<{ n: number }>({
      store: cloudflareKvStore(simulator.at(place)),
      now: clock.now,
      storeTimeout: PATIENCE,
    });
  const [paris, tokyo] = [at("Paris"), at("Tokyo")];
  const session = paris.start(new Request("https://shop.example/"));
  session.set("n", 1);
  await session.save();
  const id = (await session.id()) ?? "";
  clock.advance(5);
  expect(await tokyo.open(id).get("n")).toBe(1);
  clock.advance(5);
  const ended = paris.open(id);
  await ended.destroy();
  await ended.save();
  clock.advance(5);
  // Tokyo still uses the record that it has read, as is to be expected.
  expect(await tokyo.open(id).get("n")).toBe(1);
  clock.advance(60);
  const late = tokyo.open(id);
  late.set("n", 2);
  await late.save().catch(() => {});
  for (const place of [paris, tokyo]) expect(await place.open(id).get("n")).toBeUndefined();
});

test("a session that ends in a place that does not show it yet ends everywhere", async () => {
  const clock = fakeClock();
  const simulator = kvSimulator({ now: clock.now, delay: 10 });
  const at = (place: string) =>
    new SessionManager<{ n: number }>({
      store: cloudflareKvStore(simulator.at(place)),
      now: clock.now,
      storeTimeout: PATIENCE,
    });
  const [paris, tokyo] = [at("Paris"), at("Tokyo")];
  const session = paris.start(new Request("https://shop.example/"));
  session.set("n", 1);
  await session.save();
  const id = (await session.id()) ?? "";
  clock.advance(2);
  const there = tokyo.open(id);
  expect(await there.get("n")).toBeUndefined();
  await there.destroy();
  await there.save();
  clock.advance(120);
  for (const place of [paris, tokyo]) expect(await place.open(id).get("n")).toBeUndefined();
});

test("cloudflareKvStore() keeps a session whose timeout is endless", async () => {
  expect(await keepsEndlessSession(store)).toBe(true);
});

test("cloudflareKvStore() accepts Cloudflare's own type", () => {
  expectTypeOf<VendorsKvNamespace>().toExtend<CloudflareKvNamespace>();
});

/** `KVNamespace` as `wrangler types` declares it, with the relevant features: generic keys and overloads. */
interface VendorsKvNamespace<Key extends string = string> {
  get(key: Key, options?: Partial<{ type: undefined; cacheTtl?: number }>): Promise<string | null>;
  get(key: Key, type: "text"): Promise<string | null>;
  get<Value = unknown>(key: Key, type: "json"): Promise<Value | null>;
  get(key: Key, type: "arrayBuffer"): Promise<ArrayBuffer | null>;
  get(key: Key, options?: { type: "text"; cacheTtl?: number }): Promise<string | null>;
  get<Value = unknown>(key: Key, options?: { type: "json"; cacheTtl?: number }): Promise<Value | null>;
  get(key: Key[], type: "text"): Promise<Map<string, string | null>>;
  put(
    key: Key,
    value: string | ArrayBuffer | ArrayBufferView | ReadableStream,
    options?: { expiration?: number; expirationTtl?: number; metadata?: object | null },
  ): Promise<void>;
  delete(key: Key): Promise<void>;
}
