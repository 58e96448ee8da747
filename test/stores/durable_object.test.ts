import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, test, vi } from "vitest";
import { SessionManager } from "../../mod.ts";
import type { RecordVersion, SessionStore, Write } from "../../src/core/store.ts";
import {
  durableObjectStore,
  type SessionJurisdiction,
  type SessionLocationHint,
  SessionObject,
  type SessionObjectNamespace,
  type SessionObjectState,
} from "../../src/stores/durable_object.ts";
import { storeCases } from "../../src/testing.ts";
import { startWorker } from "../setup/workerd.ts";
import { keepsEndlessSession, PATIENCE } from "../setup/sessions.ts";

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

/** The contents of the storage of the test's object. */
async function stored(
  init?: RequestInit,
): Promise<{ rows: string[]; writes: number; alarm: number | null; tables: string[] }> {
  const response = await inspected.get(inspected.idFromName(key)).fetch("http://localhost/", init);
  return JSON.parse(await response.text());
}

/** The seconds until the alarm, rounded to hundreds. */
async function secondsLeft(): Promise<number> {
  return Math.round((((await stored()).alarm ?? 0) - Date.now()) / 100_000) * 100;
}

const nothing = { rows: [], writes: 0, alarm: null, tables: [] };
const now = 1_800_000_000_000;

function writeOf(fields: Record<string, string>, expected: RecordVersion | null = null, seconds = 3600): Write {
  const record = { fields: new Map(Object.entries(fields)), lastSeenAt: now };
  return { id: crypto.randomUUID(), record, changed: record.fields, expected, expiresAt: now + seconds * 1000 };
}

async function create(fields: Record<string, string> = { "=a": "1" }, seconds?: number): Promise<RecordVersion> {
  return await saved(writeOf(fields, null, seconds));
}

async function saved(write: Write): Promise<RecordVersion> {
  const version = await store.save(key, write);
  if (version === "conflict") throw new Error("Nothing was stored");
  return version;
}

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
  test(`session.update() counts every one of ${updates} at once on one object`, async () => {
    const response = await worker.dispatchFetch(`http://localhost/?store=durable-object&updates=${updates}`);
    expect(JSON.parse(await response.text())).toEqual({ count: updates, keys: updates + 1 });
  });
}

test("ctx.exports.SessionObject serves as the binding", async () => {
  const [first] = storeCases().filter(({ name }) => name.startsWith("save() loses none"));
  const query = new URLSearchParams({ store: "exports", name: first?.name ?? "" });
  const response = await worker.dispatchFetch(`http://localhost/?${query}`);
  expect(await response.text()).toBe("passed");
  const counted = await worker.dispatchFetch("http://localhost/?store=exports&updates=10");
  expect(await counted.json()).toEqual({ count: 10, keys: 11 });
});

test("every call of the store is one request", async () => {
  const made: number[] = [];
  const note = () => made.push(requests);
  const version = await create();
  note();
  const next = await saved(writeOf({ "=a": "2" }, version));
  note();
  await store.load(key);
  note();
  await saved({ ...writeOf({ "=a": "2" }, next), changed: new Map() });
  note();
  await store.delete(key);
  note();
  expect(made).toEqual([1, 2, 3, 4, 5]);
});

test("load(), save() and delete() store nothing when there is no session", async () => {
  expect(await store.load(key)).toBeNull();
  expect(await store.save(key, writeOf({ "=a": "1" }, "a version"))).toBe("conflict");
  expect(await store.delete(key)).toBeUndefined();
  expect(await store.delete(key, "a version")).toBeUndefined();
  expect(await stored()).toEqual(nothing);
});

test("save() changes one row, whatever it changes, and the alarm only if the session ends earlier", async () => {
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`=f${i}`, "x"]));
  let version = await create(many);
  const writes = async (write: Write) => {
    const before = await stored();
    version = await saved(write);
    return (await stored()).writes - before.writes;
  };
  expect((await stored()).rows).toEqual(["record"]);
  expect(await writes(writeOf({ ...many, "=f7": "y" }, version))).toBe(1);
  expect(await writes({ ...writeOf({ ...many, "=f7": "y" }, version, 7200), changed: new Map() })).toBe(1);
  expect(await writes(writeOf({ ...many }, version, 60))).toBe(2);
  expect((await store.load(key))?.fields.get("=f7")).toBe("x");
});

test("delete() leaves nothing of what was stored, not even the alarm", async () => {
  await create();
  expect(await stored()).toMatchObject({ rows: ["record"], alarm: expect.any(Number) });
  await store.delete(key);
  expect(await stored()).toEqual(nothing);
});

test("the alarm leaves nothing of an expired session", async () => {
  const version = await create();
  expect((await stored()).rows).toHaveLength(1);
  await saved(writeOf({ "=a": "2" }, version, 0.05));
  await vi.waitFor(async () => expect(await stored()).toEqual(nothing), { timeout: 60_000 });
  expect(await store.load(key)).toBeNull();
});

test("the alarm is set by the engine's clock, whatever the core's says, and again if the session lives longer", async () => {
  const version = await create({ "=a": "1" }, 1000);
  expect(await secondsLeft()).toBe(1000);
  const longer = await saved(writeOf({ "=a": "2" }, version, 3000));
  expect(await secondsLeft()).toBe(1000);
  // The alarm runs, but it is too early now.
  await stored({ method: "DELETE" });
  expect(await secondsLeft()).toBe(3000);
  expect((await store.load(key))?.fields.get("=a")).toBe("2");
  await saved(writeOf({ "=a": "3" }, longer, 2000));
  expect(await secondsLeft()).toBe(2000);
});

test("the alarm comes later than the session ends, so that a request that came in time is not cut off", async () => {
  const named: string[] = [];
  const noted = durableObjectStore({
    idFromName: (name) => (named.push(name), inspected.idFromName(name)),
    get: (id) => inspected.get(id),
  });
  const session = new SessionManager<{ n: number }>({ store: noted, idleTimeout: 1.5, storeTimeout: PATIENCE }).start(
    new Request("https://shop.example/"),
  );
  session.set("n", 1);
  await session.save();
  key = named[0] ?? "";
  expect(((await stored()).alarm ?? 0) - Date.now()).toBeGreaterThan(300_000);
});

test("the alarm of an object that stores nothing leaves it so", async () => {
  expect(await stored({ method: "DELETE" })).toEqual(nothing);
});

test("save() stores a record of exactly the limit, and refuses one byte more before any request", async () => {
  // Half of the characters are ASCII. If they were stored as UTF-16, the row would be too large.
  const { maxBytes } = store.traits;
  const beside = "1".length + 13 + "\n=a\n".length;
  const largest = `漢${"x".repeat(maxBytes - beside - 3)}`;
  await create({ "=a": largest });
  expect((await store.load(key))?.fields.get("=a")).toBe(largest);

  requests = 0;
  const refused = { code: "ERR_RECORD_TOO_LARGE", message: expect.stringContaining(`${maxBytes + 1} bytes`) };
  await expect(store.save(key, writeOf({ "=a": `${largest}x` }))).rejects.toMatchObject(refused);
  await expect(store.save(key, writeOf({ "=a": `${largest}x` }, "a version"))).rejects.toMatchObject(refused);
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
  const secret = writeOf({ "=a": "to be found" });
  try {
    const version = await running(async (objects) => await objects.save(key, secret));
    const found = await running(async (objects) => await objects.load(key));
    expect([found?.fields.get("=a"), found?.lastSeenAt, found?.version]).toEqual(["to be found", now, version]);
    expect(await filesWith("to be found", folder)).toHaveLength(1);
    const answers = await running(async (objects) => [
      await objects.save(key, writeOf({ "=a": "2" }, "another")),
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

test("every call rejects, and the engine's own error says what to do, when the class has no SQLite", async () => {
  const plain = await startWorker(new URL("./cloudflare.worker.ts", import.meta.url), {
    durableObjects: { SESSIONS: { className: "SessionObject", useSQLite: false } },
  });
  try {
    const { SESSIONS } = await plain.getBindings<{ SESSIONS: SessionObjectNamespace }>();
    const objects = durableObjectStore(SESSIONS);
    for (const call of [() => objects.load(key), () => objects.save(key, writeOf({})), () => objects.delete(key)]) {
      await expect(Promise.resolve(call())).rejects.toThrow("new_sqlite_classes");
    }
  } finally {
    await plain.dispose();
  }
});

test("durableObjectStore() keeps a session whose timeout is endless", async () => {
  expect(await keepsEndlessSession(store)).toBe(true);
});

test("durableObjectStore() and SessionObject accept Cloudflare's own types", () => {
  type Namespace = VendorsNamespace<SessionObject>;
  expectTypeOf(durableObjectStore<VendorsId>).toBeCallableWith({} as Namespace);
  expectTypeOf<Namespace>().toExtend<SessionObjectNamespace>();
  expectTypeOf<VendorsState>().toExtend<SessionObjectState>();
});

// The types as `wrangler types` declares them, with the relevant parts.

interface VendorsId {
  toString(): string;
  equals(other: VendorsId): boolean;
}

interface VendorsNamespace<Class extends { __DURABLE_OBJECT_BRAND: never } | undefined> {
  idFromName(name: string): VendorsId;
  get(
    id: VendorsId,
    options?: { locationHint?: SessionLocationHint; routingMode?: "primary-only" },
  ): VendorsStub<Class>;
  jurisdiction(jurisdiction: SessionJurisdiction): VendorsNamespace<Class>;
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
      put<T>(key: string, value: T): void;
      delete(key: string): boolean;
    };
    transactionSync<T>(closure: () => T): T;
    setAlarm(scheduledTime: number | Date, options?: { allowUnconfirmed?: boolean }): Promise<void>;
    deleteAlarm(options?: { allowUnconfirmed?: boolean }): Promise<void>;
    deleteAll(options?: { allowUnconfirmed?: boolean }): Promise<void>;
  };
}
