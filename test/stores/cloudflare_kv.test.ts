import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { BusyError } from "../../src/errors.ts";
import type { SessionStore } from "../../src/store.ts";
import { type CloudflareKvNamespace, cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { storeCases } from "../../src/testing.ts";
import { startWorker } from "../setup/workerd.ts";

let worker: Miniflare;
let kv: ListedNamespace;
let store: SessionStore;
/** What Workers KV has been asked since the test began. */
let calls: unknown[][];

interface ListedNamespace extends CloudflareKvNamespace {
  delete(key: string): Promise<void>;
  list(): Promise<{ keys: { name: string; expiration?: number }[] }>;
}

beforeAll(async () => {
  worker = await startWorker(new URL("./cloudflare.worker.ts", import.meta.url), { kvNamespaces: ["KV"] });
  kv = (await worker.getBindings<{ KV: ListedNamespace }>()).KV;
});
beforeEach(async () => {
  for (const { name } of (await kv.list()).keys) await kv.delete(name);
  calls = [];
  store = cloudflareKvStore({
    get(...args) {
      calls.push(["get", ...args]);
      return kv.get(...args);
    },
    put(...args) {
      calls.push(["put", ...args]);
      return kv.put(...args);
    },
  });
});
afterAll(() => worker.dispose());

const key = "0123456789abcdef".repeat(4);
const now = 1_800_000_000_000;
const inAMinute = now + 60_000;
const record = { fields: new Map([["a", "1"]]), lastSeenAt: now };
const changed = {
  record: { fields: new Map([["a", "2"]]), lastSeenAt: now },
  changed: new Map([["a", "2"]]),
};

async function create(): Promise<void> {
  await store.create(key, record, inAMinute);
  calls = [];
}

async function load(): ReturnType<SessionStore["load"]> {
  const loaded = await store.load(key);
  calls = [];
  return loaded;
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

test("withSession() shows a browser its own writes in a stale place when it runs in workerd", async () => {
  const response = await worker.dispatchFetch("http://localhost/?store=kv&name=hops");
  expect(await response.json()).toEqual([1, 2, null, 3, 3, null]);
});

test("load() reads once, as text", async () => {
  await create();
  expect((await store.load(key))?.fields).toEqual(record.fields);
  expect(calls).toEqual([["get", `session:${key}`, "text"]]);
});

test("create() writes once and never reads, when the key is new and when it is not", async () => {
  expect(await store.create(key, record, inAMinute)).not.toBe("taken");
  expect(await store.create(key, record, inAMinute)).not.toBe("taken");
  expect(verbs()).toEqual(["put", "put"]);
});

test("change() reads once and writes once when there is a record", async () => {
  await create();
  await store.change(key, changed, "", inAMinute);
  expect(verbs()).toEqual(["get", "put"]);
});

test("touch() reads once and writes once when there is a record", async () => {
  await create();
  const loaded = await load();
  expect(loaded && (await store.touch(key, now + 1, inAMinute, loaded))).toBe(true);
  expect(verbs()).toEqual(["get", "put"]);
});

test("delete() writes once, and leaves for two minutes that something was deleted, and nothing of it", async () => {
  await create();
  await store.delete(key);
  expect(calls).toEqual([["put", `session:${key}`, "deleted", { expirationTtl: 120 }]]);
  expect(await store.load(key)).toBeNull();
});

test("wasDeleted() tells a record that was deleted from one that was never there, and from one that is", async () => {
  expect(await store.wasDeleted?.(key)).toBe(false);
  await create();
  expect(await store.wasDeleted?.(key)).toBe(false);
  await store.delete(key);
  expect(await store.wasDeleted?.(key)).toBe(true);
  await create();
  expect(await store.wasDeleted?.(key)).toBe(false);
});

test("change() and touch() write nothing when the session was ended while the handler ran", async () => {
  await create();
  const loaded = await load();
  await store.delete(key);
  calls = [];
  expect(await store.change(key, changed, loaded?.version ?? "", inAMinute)).toBe("gone");
  expect(loaded && (await store.touch(key, now + 1, inAMinute, loaded))).toBe(false);
  expect(verbs()).toEqual(["get", "get"]);
  expect(await kv.get(`session:${key}`, "text")).toBe("deleted");
});

test("change() lets the last one win when two come from one version", async () => {
  await create();
  const loaded = await load();
  for (const a of ["first", "last"]) {
    const change = { record: { ...record, fields: new Map([["a", a]]) }, changed: new Map([["a", a]]) };
    expect(await store.change(key, change, loaded?.version ?? "", inAMinute)).not.toBe("conflict");
  }
  expect((await load())?.fields.get("a")).toBe("last");
});

test("create() asks for a life of at least 60 whole seconds", async () => {
  for (const seconds of [0.001, 59, 60, 99.5, 86_400]) await store.create(key, record, now + seconds * 1000);
  expect(calls.map((call) => call[3])).toEqual([60, 60, 60, 100, 86_400].map((expirationTtl) => ({ expirationTtl })));
});

test("change() and touch() set the expiry anew", async () => {
  await create();
  const loaded = await load();
  await store.change(key, changed, "", now + 100_000);
  if (loaded) await store.touch(key, now + 1000, now + 201_000, loaded);
  expect(calls.flatMap(([verb, , , options]) => (verb === "put" ? [options] : []))).toEqual([
    { expirationTtl: 100 },
    { expirationTtl: 200 },
  ]);
  const [stored] = (await kv.list()).keys;
  expect(stored?.expiration).toBeGreaterThan(Date.now() / 1000 + 100);
});

test("load() of what another program wrote is a record without fields", async () => {
  for (const text of ["", "null", "rubbish", `${"x".repeat(36)}[1`]) {
    await kv.put(`session:${key}`, text, { expirationTtl: 60 });
    expect((await store.load(key))?.fields.size).toBe(0);
  }
});

test("create() and change() refuse a record over 25 MiB before any request", async () => {
  const large = new Map([["a", "é".repeat(13 * 1024 * 1024)]]);
  const refused = { code: "ERR_RECORD_TOO_LARGE", message: expect.stringMatching(/272\d{5} bytes.*26214400/) };
  await expect(store.create(key, { ...record, fields: large }, inAMinute)).rejects.toMatchObject(refused);
  const change = { record: { ...record, fields: large }, changed: large };
  await expect(store.change(key, change, "", inAMinute)).rejects.toMatchObject(refused);
  expect(calls).toEqual([]);
});

async function tooMany(): Promise<never> {
  throw new Error("KV PUT failed: 429 Too Many Requests");
}

test("every write rejects with a BusyError when Workers KV answers 429, and with its own error otherwise", async () => {
  await create();
  const loaded = await load();
  const limited = cloudflareKvStore({ get: (...args) => kv.get(...args), put: tooMany });
  await expect(limited.create(key, record, inAMinute)).rejects.toThrow(BusyError);
  await expect(limited.change(key, changed, "", inAMinute)).rejects.toThrow(BusyError);
  await expect(loaded && limited.touch(key, now, inAMinute, loaded)).rejects.toThrow(BusyError);
  await expect(limited.delete(key)).rejects.toThrow(BusyError);
  await expect(store.create("x".repeat(1000), record, inAMinute)).rejects.toThrow("414");
  expect((await load())?.fields).toEqual(record.fields);
});

test("cloudflareKvStore() takes a prefix with which keys have 512 bytes, and none that is longer", async () => {
  const longest = cloudflareKvStore(kv, { prefix: "é".repeat(224) });
  await longest.create(key, record, inAMinute);
  expect((await longest.load(key))?.fields).toEqual(record.fields);
  expect(() => cloudflareKvStore(kv, { prefix: "é".repeat(225) })).toThrow(RangeError);
});

test("cloudflareKvStore() throws when the binding is missing", () => {
  const env: Record<string, CloudflareKvNamespace> = {};
  // @ts-expect-error A binding that may be missing is not one.
  expect(() => cloudflareKvStore(env["SESSIONS"])).toThrow(TypeError);
});

test("cloudflareKvStore() takes Cloudflare's own type", () => {
  expectTypeOf<VendorsKvNamespace>().toExtend<CloudflareKvNamespace>();
});

/** `KVNamespace` as `wrangler types` declares it, as far as it matters: generic in its keys, and overloaded. */
interface VendorsKvNamespace<Key extends string = string> {
  get(key: Key, options?: Partial<{ type: undefined; cacheTtl?: number }>): Promise<string | null>;
  get(key: Key, type: "text"): Promise<string | null>;
  get<Value = unknown>(key: Key, type: "json"): Promise<Value | null>;
  get(key: Key, type: "arrayBuffer"): Promise<ArrayBuffer | null>;
  get(key: Key[], type: "text"): Promise<Map<string, string | null>>;
  put(
    key: Key,
    value: string | ArrayBuffer | ArrayBufferView | ReadableStream,
    options?: { expiration?: number; expirationTtl?: number; metadata?: object | null },
  ): Promise<void>;
  delete(key: Key): Promise<void>;
}
