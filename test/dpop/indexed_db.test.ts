import { afterEach, expect, test, vi } from "vitest";
import { withSession } from "../../mod.ts";
import { dpop } from "../../src/dpop.ts";
import { dpopClient } from "../../src/dpop_client.ts";
import type { DpopState } from "../../src/dpop/client_state.ts";
import { findIndexedDb, indexedDbStorage } from "../../src/dpop/indexed_db.ts";

afterEach(() => vi.unstubAllGlobals());

type Listener = () => void;

/**
 * The part of IndexedDB that the client uses. Its answers come later, as events. In runtimes.test.ts, Chromium uses the real IndexedDB.
 */
class FakeIndexedDb {
  readonly calls: unknown[][] = [];
  readonly values = new Map<string, unknown>();
  /** The error with which the next requests fail. */
  failure: Error | undefined;
  /** Which object stores there are. */
  readonly stores = new Set<string>();

  open(name: string, version: number) {
    this.calls.push(["open", name, version]);
    const isNew = this.stores.size === 0;
    return this.#pending(() => this.#database(), isNew);
  }

  #database() {
    return {
      createObjectStore: (name: string) => this.stores.add(name),
      transaction: (name: string, mode: string) => {
        this.calls.push(["transaction", name, mode]);
        return { objectStore: (of: string) => this.#store(name, of, mode) };
      },
    };
  }

  #store(name: string, of: string, mode: string) {
    if (name !== of || !this.stores.has(name)) throw new Error("There is no such store");
    const write = <Result>(work: () => Result) => {
      if (mode !== "readwrite") throw new Error("The transaction is read-only");
      return this.#pending(work, false);
    };
    return {
      get: (key: string) => this.#pending(() => this.values.get(key), false),
      put: (value: unknown, key: string) => write(() => void this.values.set(key, value)),
      delete: (key: string) => write(() => void this.values.delete(key)),
    };
  }

  #pending<Result>(work: () => Result, isNew: boolean) {
    const listeners = new Map<string, Listener>();
    const { failure } = this;
    const result = failure === undefined ? work() : undefined;
    queueMicrotask(() => {
      if (failure === undefined && isNew) listeners.get("upgradeneeded")?.();
      listeners.get(failure === undefined ? "success" : "error")?.();
    });
    return {
      result: result as Result,
      error: failure,
      addEventListener: (type: string, listener: Listener) => void listeners.set(type, listener),
    };
  }
}

async function stateWith(id: string | null): Promise<DpopState> {
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
  return { keys, id };
}

test("indexedDbStorage() keeps a state under its name, for all pages that open the database, and removes it", async () => {
  const factory = new FakeIndexedDb();
  const [here, there, other] = ["a", "a", "b"].map((name) => indexedDbStorage(factory, name));
  const state = await stateWith("id");
  expect(await here!.load()).toBeUndefined();
  await here!.save(state);
  expect(await there!.load()).toBe(state);
  expect(await other!.load()).toBeUndefined();
  await other!.save(await stateWith(null));
  await there!.save(undefined);
  expect(await here!.load()).toBeUndefined();
  expect([...factory.values.keys()]).toEqual(["b"]);
});

test("indexedDbStorage() opens the database once, and only when it is used", async () => {
  const factory = new FakeIndexedDb();
  const storage = indexedDbStorage(factory, "a");
  expect(factory.calls).toEqual([]);
  await storage.load();
  await storage.save(await stateWith("id"));
  expect(factory.calls).toEqual([
    ["open", "with-session-dpop", 1],
    ["transaction", "sessions", "readonly"],
    ["transaction", "sessions", "readwrite"],
  ]);
  expect([...factory.stores]).toEqual(["sessions"]);
});

test("indexedDbStorage() rejects when the database does", async () => {
  const factory = new FakeIndexedDb();
  const storage = indexedDbStorage(factory, "a");
  await storage.load();
  factory.failure = new Error("The quota is used up");
  await expect(storage.load()).rejects.toBe(factory.failure);
  await expect(storage.save(undefined)).rejects.toBe(factory.failure);
  await expect(indexedDbStorage(factory, "a").load()).rejects.toBe(factory.failure);
});

test.each<unknown>(["text", null, 7, {}, { keys: {} }, { id: "id" }])(
  "indexedDbStorage() takes %j for no state, whoever put it there",
  async (value) => {
    const factory = new FakeIndexedDb();
    factory.values.set("a", value);
    expect(await indexedDbStorage(factory, "a").load()).toBeUndefined();
  },
);

test.each<unknown>([undefined, null, "text", {}, () => {}])("findIndexedDb() finds none where it is %s", (value) => {
  vi.stubGlobal("indexedDB", value);
  expect(findIndexedDb()).toBeNull();
});

test("dpopClient() keeps its state in IndexedDB where the runtime has it, apart for each origin and header", async () => {
  const factory = new FakeIndexedDb();
  vi.stubGlobal("indexedDB", factory);
  expect(findIndexedDb()).toBe(factory);
  const thumbprint = (origin: string, header?: string) =>
    dpopClient(origin, header === undefined ? {} : { header }).thumbprint();
  const first = await thumbprint("https://api.example");
  expect(await thumbprint("https://api.example")).toBe(first);
  expect(await thumbprint("https://other.example")).not.toBe(first);
  expect(await thumbprint("https://api.example", "X-Other")).not.toBe(first);
  expect([...factory.values.keys()]).toEqual([
    "https://api.example X-Session-Id",
    "https://other.example X-Session-Id",
    "https://api.example X-Other",
  ]);
});

/** Web Locks as all pages of an origin see them. */
class FakeLocks {
  readonly names: string[] = [];
  #last: Promise<unknown> = Promise.resolve();

  request<Result>(name: string, run: () => Promise<Result>): Promise<Result> {
    this.names.push(name);
    const turn = this.#last.then(run);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

const count = () =>
  withSession<{ n: number }>(
    async (_request, session) => new Response(String(await session.update("n", (n = 0) => n + 1))),
    { header: "X-Session-Id", plugins: [dpop()] },
  );

test("dpopClient() begins one session, with one key, when three pages of an origin send their first requests at once", async () => {
  vi.stubGlobal("indexedDB", new FakeIndexedDb());
  const locks = new FakeLocks();
  vi.stubGlobal("navigator", { locks });
  const handler = count();
  const pages = [1, 2, 3].map(() => dpopClient("https://api.example", { fetch: (request) => handler(request) }));
  const answers = await Promise.all(
    pages.flatMap((page) => [1, 2].map(async () => await (await page.fetch("/")).text())),
  );
  expect(answers.toSorted()).toEqual(["1", "2", "3", "4", "5", "6"]);
  expect(new Set(await Promise.all(pages.map((page) => page.thumbprint()))).size).toBe(1);
  expect(new Set(locks.names)).toEqual(new Set(["with-session-dpop https://api.example X-Session-Id"]));
});

test("dpopClient() takes no lock when the session is known", async () => {
  vi.stubGlobal("indexedDB", new FakeIndexedDb());
  const locks = new FakeLocks();
  vi.stubGlobal("navigator", { locks });
  const handler = count();
  const page = dpopClient("https://api.example", { fetch: (request) => handler(request) });
  await page.fetch("/");
  const { length } = locks.names;
  expect(await (await page.fetch("/")).text()).toBe("2");
  expect(locks.names).toHaveLength(length);
});

test("dpopClient() takes no lock for a storage of the program", async () => {
  const database = new FakeIndexedDb();
  vi.stubGlobal("indexedDB", database);
  const locks = new FakeLocks();
  vi.stubGlobal("navigator", { locks });
  const handler = count();
  let kept: DpopState | undefined;
  const storage = {
    load: () => Promise.resolve(kept),
    save: async (state: DpopState | undefined) => void (kept = await Promise.resolve(state)),
  };
  const page = dpopClient("https://api.example", { storage, fetch: (request) => handler(request) });
  expect(await (await page.fetch("/")).text()).toBe("1");
  expect(kept?.id).toEqual(expect.any(String));
  expect([locks.names, database.calls]).toEqual([[], []]);
});

test("dpopClient() tells its thumbprint during the first request", async () => {
  vi.stubGlobal("indexedDB", new FakeIndexedDb());
  vi.stubGlobal("navigator", { locks: new FakeLocks() });
  const handler = count();
  const told: string[] = [];
  const page = dpopClient("https://api.example", {
    async fetch(request) {
      told.push(await page.thumbprint());
      return await handler(request);
    },
  });
  expect(await (await page.fetch("/")).text()).toBe("1");
  expect(new Set([...told, await page.thumbprint()]).size).toBe(1);
});

test.each<unknown>([undefined, {}])("dpopClient() needs no Web Locks: navigator is %j", async (navigator) => {
  vi.stubGlobal("indexedDB", new FakeIndexedDb());
  vi.stubGlobal("navigator", navigator);
  const handler = count();
  const page = dpopClient("https://api.example", { fetch: (request) => handler(request) });
  expect(await (await page.fetch("/")).text()).toBe("1");
});
