import { describe, expect, it } from "vitest";
import { type MemoryStoreOptions, memoryStore } from "../../src/stores/memory.ts";
import type { SessionStore } from "../../src/store.ts";
import { storeCases } from "../../src/testing.ts";

describe.each<MemoryStoreOptions>([{}, { maxSessions: 1000 }])("memoryStore(%j)", (options) => {
  for (const { name, run } of storeCases()) {
    it(name, () => run(() => ({ store: memoryStore(options), neighbour: memoryStore(options) })));
  }

  it("drops expired records in passing when new ones are created, without prune()", async () => {
    const store = memoryStore(options);
    // One session a second, each living for a hundred: never more than a hundred of them are alive.
    for (let second = 0; second < 5000; second++) {
      await create(store, `${second}`, second * 1000, 100_000);
      // Use moves records about; that must not keep the expired ones out of sight.
      for (let back = 1; back < 5; back++) await store.load(`${second - back}`);
    }
    expect(await countAll(store)).toBeLessThanOrEqual(200);
  });

  it("drops expired records in passing when a few live long", async () => {
    const store = memoryStore(options);
    for (let i = 0; i < 50; i++) await create(store, `long ${i}`, 0, 1e9);
    for (let second = 0; second < 5000; second++) await create(store, `${second}`, second * 1000, 10_000);
    expect(await store.load("long 0")).not.toBeNull();
    expect(await countAll(store)).toBeLessThanOrEqual(120);
  });

  it("keeps what has not expired when a clock was ahead for a moment", async () => {
    const store = memoryStore(options);
    await create(store, "ahead", 1e12, 1000);
    for (let i = 0; i < 5; i++) await create(store, `${i}`, i, 1000);
    await create(store, "live", 6, 1000);
    for (let i = 7; i < 20; i++) await create(store, `${i}`, i, 1000);
    expect(await store.load("live")).not.toBeNull();
  });

  it("keeps what has not expired when records are created", async () => {
    const store = memoryStore(options);
    for (let i = 0; i < 500; i++) await create(store, `${i}`, i, 1_000_000);
    expect(await countAll(store)).toBe(500);
  });
});

describe("memoryStore()", () => {
  it("drops the least recently used when there are more than maxSessions", async () => {
    const store = memoryStore({ maxSessions: 4 });
    for (const key of ["loaded", "changed", "touched", "idle"]) await create(store, key, 0, 1000);
    await store.load("loaded");
    const changed = await store.load("changed");
    await store.load("touched");
    if (changed === null) throw new Error("Nothing was stored");
    await create(store, "new", 0, 1000);
    expect(await keysOf(store, "loaded", "changed", "touched", "idle", "new")).toEqual([
      "loaded",
      "changed",
      "touched",
      "new",
    ]);

    await store.touch("loaded", 1, 1000);
    await store.change("changed", { record: changed, changed: new Map() }, changed.version, 1000);
    await create(store, "newer", 0, 1000);
    expect(await keysOf(store, "loaded", "changed", "touched", "new", "newer")).toEqual([
      "loaded",
      "changed",
      "new",
      "newer",
    ]);
  });

  it("keeps one session when maxSessions is 1", async () => {
    const store = memoryStore({ maxSessions: 1 });
    await create(store, "a", 0, 1000);
    await create(store, "b", 0, 1000);
    expect(await keysOf(store, "a", "b")).toEqual(["b"]);
  });

  it("throws when maxSessions is not a number of at least 1", () => {
    for (const maxSessions of [0, -1, NaN, 0.5]) {
      expect(() => memoryStore({ maxSessions })).toThrow(RangeError);
    }
  });

  it("works on when it is spread into another object", async () => {
    const { load, create: put } = { ...memoryStore() };
    await put("a", { fields: new Map([["x", "1"]]), lastSeenAt: 0 }, 1000);
    expect((await load("a"))?.fields.get("x")).toBe("1");
  });
});

async function create(store: SessionStore, key: string, now: number, life: number): Promise<void> {
  const version = await store.create(key, { fields: new Map([["a", "1"]]), lastSeenAt: now }, now + life);
  expect(version).not.toBe("taken");
}

/** Empties the store. */
async function countAll(store: SessionStore): Promise<number | undefined> {
  return store.prune?.(Infinity);
}

async function keysOf(store: SessionStore, ...keys: string[]): Promise<string[]> {
  const found: string[] = [];
  for (const key of keys) if ((await store.load(key)) !== null) found.push(key);
  return found;
}
