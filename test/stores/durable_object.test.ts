import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, test, vi } from "vitest";
import type { SessionStore } from "../../src/store.ts";
import {
  durableObjectStore,
  type SessionObject,
  type SessionObjectNamespace,
  type SessionObjectState,
} from "../../src/stores/durable_object.ts";
import { storeCases } from "../../src/testing.ts";
import { startWorker } from "../setup/workerd.ts";

let worker: Miniflare;
let inspected: InspectedNamespace;
let store: SessionStore;
/** The requests to objects since the test began. */
let requests: number;
let key: string;

beforeAll(async () => {
  worker = await start();
  inspected = (await worker.getBindings<{ INSPECTED: InspectedNamespace }>()).INSPECTED;
});
beforeEach(() => {
  key = crypto.randomUUID().replaceAll("-", "").repeat(2);
  requests = 0;
  store = durableObjectStore({
    idFromName: (name) => inspected.idFromName(name),
    get: (id) => ({
      fetch(url, init) {
        requests++;
        return inspected.get(id).fetch(url, init);
      },
    }),
  });
});
afterAll(() => worker.dispose());

interface InspectedNamespace extends SessionObjectNamespace {
  get(id: unknown): { fetch(url: string, init?: RequestInit): Promise<Response> };
}

async function start(folder?: string): Promise<Miniflare> {
  return await startWorker(new URL("./cloudflare.worker.ts", import.meta.url), {
    durableObjects: {
      SESSIONS: { className: "SessionObject", useSQLite: true },
      INSPECTED: { className: "InspectedObject", useSQLite: true },
    },
    ...(folder === undefined ? {} : { durableObjectsPersist: folder }),
  });
}

/** What the object of the test's session has stored. */
async function stored(): Promise<{ rows: string[]; writes: number; alarm: number; tables: string[] }> {
  const response = await inspected.get(inspected.idFromName(key)).fetch("http://localhost/");
  return JSON.parse(await response.text());
}

/** Until the alarm, to the nearest hundred. */
async function secondsLeft(): Promise<number> {
  return Math.round(((await stored()).alarm - Date.now()) / 100_000) * 100;
}

const nothing = { rows: [], writes: 0, alarm: null, tables: [] };
const now = 1_800_000_000_000;
const inAnHour = now + 3_600_000;
const record = {
  fields: new Map([
    ["a", "1"],
    ["b", "2"],
  ]),
  lastSeenAt: now,
};
const changed = {
  record: {
    fields: new Map([
      ["a", "1"],
      ["b", "3"],
    ]),
    lastSeenAt: now,
  },
  changed: new Map([["b", "3"]]),
};

describe("durableObjectStore() in workerd keeps the contract of stores:", () => {
  for (const { name } of storeCases()) {
    test(name, async () => {
      const query = new URLSearchParams({ store: "durable-object", name });
      const response = await worker.dispatchFetch(`http://localhost/?${query}`);
      expect(await response.text()).toBe("passed");
    });
  }
});

for (const updates of [100, 1000]) {
  test(`session.update() counts every one of ${updates} at once on one object`, { timeout: 120_000 }, async () => {
    const response = await worker.dispatchFetch(`http://localhost/?store=durable-object&updates=${updates}`);
    expect(JSON.parse(await response.text())).toEqual({ count: updates, keys: updates + 1 });
  });
}

test("every call of the store is one request", async () => {
  const made: number[] = [];
  const note = () => made.push(requests);
  const version = await store.create(key, record, inAnHour);
  note();
  await store.change(key, changed, version, inAnHour);
  note();
  const loaded = await store.load(key);
  note();
  if (loaded) await store.touch(key, now, inAnHour, loaded);
  note();
  await store.delete(key);
  note();
  expect(made).toEqual([1, 2, 3, 4, 5]);
});

test("load(), change(), touch() and delete() store nothing when there is no session", async () => {
  expect(await store.load(key)).toBeNull();
  expect(await store.change(key, changed, "", inAnHour)).toBe("gone");
  expect(await store.touch(key, now, inAnHour, { ...record, version: "" })).toBe(false);
  await store.delete(key);
  expect(await stored()).toEqual(nothing);
});

test("change() writes its own field, the head and the alarm only", async () => {
  const many = new Map(Array.from({ length: 50 }, (_, i) => [`f${i}`, "x"]));
  const version = await store.create(key, { ...record, fields: many }, inAnHour);
  const before = await stored();
  expect(before.rows).toHaveLength(51);
  const change = { record: { ...record, fields: new Map(many).set("f7", "y") }, changed: new Map([["f7", "y"]]) };
  await store.change(key, change, version, inAnHour);
  const after = await stored();
  expect(after.writes - before.writes).toBe(3);
  expect((await store.load(key))?.fields).toEqual(change.record.fields);
});

test("delete() leaves nothing of what was stored, not even the alarm", async () => {
  await store.create(key, record, inAnHour);
  expect(await stored()).toMatchObject({ rows: ['"a"', '"b"', "head"], alarm: expect.any(Number) });
  await store.delete(key);
  expect(await stored()).toEqual(nothing);
});

test("the alarm leaves nothing of an expired session", async () => {
  await store.create(key, record, inAnHour);
  expect((await stored()).rows).toHaveLength(3);
  const loaded = await store.load(key);
  if (loaded) await store.touch(key, now, now + 50, loaded);
  await vi.waitFor(async () => expect(await stored()).toEqual(nothing), { timeout: 10_000 });
  expect(await store.load(key)).toBeNull();
});

test("create(), change() and touch() set the alarm on the engine's clock, whatever the core's says", async () => {
  const version = await store.create(key, record, now + 1_000_000);
  expect(await secondsLeft()).toBe(1000);
  await store.change(key, changed, version, now + 2_000_000);
  expect(await secondsLeft()).toBe(2000);
  const loaded = await store.load(key);
  if (loaded) await store.touch(key, now + 500, now + 3_000_500, loaded);
  expect(await secondsLeft()).toBe(3000);
});

test("load() finds any text as it was, half surrogate pairs included", async () => {
  const fields = new Map([
    ["\ud800", "\udfff"],
    ["head", "\ufeff"],
    ["", "\0"],
    ['"', "漢字"],
  ]);
  await store.create(key, { ...record, fields }, inAnHour);
  expect((await store.load(key))?.fields).toEqual(fields);
});

test("create() stores a record of exactly the limit, and refuses one byte more before any request", async () => {
  // Half of the characters are ASCII: were they stored as UTF-16, the row would be too large.
  const { maxBytes } = store.traits;
  const beside = '"a"""'.length;
  const largest = `漢${"x".repeat(maxBytes - beside - 3)}`;
  await store.create(key, { ...record, fields: new Map([["a", largest]]) }, inAnHour);
  expect((await store.load(key))?.fields.get("a")).toBe(largest);

  requests = 0;
  const larger = { ...record, fields: new Map([["a", `${largest}x`]]) };
  const refused = { code: "ERR_RECORD_TOO_LARGE", message: expect.stringContaining(`${maxBytes + 1} bytes`) };
  await expect(store.create(key, larger, inAnHour)).rejects.toMatchObject(refused);
  await expect(store.change(key, { record: larger, changed: larger.fields }, "", inAnHour)).rejects.toMatchObject(
    refused,
  );
  expect(requests).toBe(0);
});

test("a session outlives restarts, and its data are in no file after its end", async () => {
  const folder = await mkdtemp(join(tmpdir(), "with-session-objects-"));
  const running = async <Result>(use: (store: SessionStore) => Promise<Result>): Promise<Result> => {
    const restarted = await start(folder);
    try {
      const { SESSIONS } = await restarted.getBindings<{ SESSIONS: SessionObjectNamespace }>();
      return await use(durableObjectStore(SESSIONS));
    } finally {
      await restarted.dispose();
    }
  };
  const secret = { ...record, fields: new Map([["a", "to be found"]]) };
  try {
    const version = await running((objects) => objects.create(key, secret, inAnHour));
    expect(await running((objects) => objects.load(key))).toEqual({ ...secret, version });
    expect(await filesWith("to be found", folder)).toHaveLength(1);
    const answers = await running(async (objects) => [
      await objects.change(key, changed, "another", inAnHour),
      await objects.delete(key, version),
      await objects.load(key),
    ]);
    expect(answers).toEqual(["conflict", undefined, null]);
    expect(await filesWith("to be found", folder)).toEqual([]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

async function filesWith(text: string, folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const contents = await Promise.all(paths.map((path) => readFile(path)));
  return paths.filter((_, i) => contents[i]?.includes(text));
}

test("every call rejects when the binding leads to something else", async () => {
  const loaded = { ...record, version: "1" };
  for (const other of [elsewhere('"gone"', false), elsewhere("<html>"), elsewhere("null")]) {
    const calls = [
      other.load(key),
      other.create(key, record, inAnHour),
      other.change(key, changed, "1", inAnHour),
      other.touch(key, now, inAnHour, loaded),
      other.delete(key),
    ];
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map(({ status }) => status)).toEqual(calls.map(() => "rejected"));
  }
  await expect(elsewhere("1").load(key)).rejects.toThrow("no answer to a read");
});

/** A store whose binding always answers the same. */
function elsewhere(text: string, ok: boolean = true): SessionStore {
  const response = { ok, status: ok ? 200 : 500, text: async () => text };
  return durableObjectStore({ idFromName: (name) => name, get: () => ({ fetch: async () => response }) });
}

test("durableObjectStore() throws when the binding is missing", () => {
  const env: Record<string, SessionObjectNamespace> = {};
  // @ts-expect-error A binding that may be missing is not one.
  expect(() => durableObjectStore(env["SESSIONS"])).toThrow(TypeError);
});

test("durableObjectStore() and SessionObject take Cloudflare's own types", () => {
  type Namespace = VendorsNamespace<SessionObject>;
  expectTypeOf(durableObjectStore<VendorsId>).toBeCallableWith({} as Namespace);
  expectTypeOf<Namespace>().toExtend<SessionObjectNamespace>();
  expectTypeOf<VendorsState>().toExtend<SessionObjectState>();
});

// As `wrangler types` declares them, as far as it matters.

interface VendorsId {
  toString(): string;
  equals(other: VendorsId): boolean;
}

interface VendorsNamespace<Class extends { __DURABLE_OBJECT_BRAND: never } | undefined> {
  idFromName(name: string): VendorsId;
  get(id: VendorsId, options?: { locationHint?: string }): VendorsStub<Class>;
}

interface VendorsStub<Class> {
  readonly name?: string;
  readonly class?: Class;
  fetch(input: Request | URL | string, init?: RequestInit): Promise<Response>;
}

interface VendorsState {
  readonly storage: {
    readonly kv: {
      get<T = unknown>(key: string): T | undefined;
      list<T = unknown>(options?: { start?: string; prefix?: string; limit?: number }): Iterable<[string, T]>;
      put<T>(key: string, value: T): void;
      delete(key: string): boolean;
    };
    transactionSync<T>(closure: () => T): T;
    setAlarm(scheduledTime: number | Date, options?: { allowUnconfirmed?: boolean }): Promise<void>;
    deleteAlarm(options?: { allowUnconfirmed?: boolean }): Promise<void>;
    deleteAll(options?: { allowUnconfirmed?: boolean }): Promise<void>;
  };
}
