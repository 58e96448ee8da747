import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { isPromise } from "../../src/core/maybe_promise.ts";
import { parseRecord } from "../../src/core/record_text.ts";
import type { RecordVersion, SessionStore, Write } from "../../src/core/store.ts";
import { type MemoryStoreOptions, memoryStore } from "../../src/stores/memory.ts";
import { storeCases } from "../../src/testing.ts";

describe.each<MemoryStoreOptions>([{}, { maxSessions: 1000 }])("memoryStore(%j)", (options) => {
  for (const { name, run } of storeCases()) {
    it(name, () => run(() => ({ store: memoryStore(options), neighbour: memoryStore(options) })));
  }

  it("drops expired records in passing when new ones are created, without prune()", async () => {
    const store = memoryStore(options);
    // One new session each second, which expires after a hundred: never more than a hundred of them are alive.
    for (let second = 0; second < 5000; second++) {
      create(store, `${second}`, second * 1000, 100_000);
      // Use changes the order of the records. Expired ones must still be found.
      for (let back = 1; back < 5; back++) await store.load(`${second - back}`);
    }
    expect(await countAll(store)).toBeLessThanOrEqual(200);
  });

  it("drops expired records in passing when a few live long", async () => {
    const store = memoryStore(options);
    for (let i = 0; i < 50; i++) create(store, `long ${i}`, 0, 1e9);
    for (let second = 0; second < 5000; second++) create(store, `${second}`, second * 1000, 10_000);
    expect(store.load("long 0")).not.toBeNull();
    expect(await countAll(store)).toBeLessThanOrEqual(120);
  });

  it("keeps all sessions when a clock was ahead for a moment", async () => {
    const store = memoryStore(options);
    for (let i = 0; i < 5; i++) create(store, `${i}`, i, 1000);
    create(store, "ahead", 1e12, 1000);
    for (let i = 5; i < 20; i++) create(store, `${i}`, i, 1000);
    expect(await countAll(store)).toBe(21);
  });

  it("keeps all sessions when one request, whose clock was ahead, created a session and changed it", async () => {
    const store = memoryStore(options);
    for (let i = 0; i < 5; i++) create(store, `${i}`, i, 1000);
    create(store, "ahead", 1e12, 1000);
    const change = writeOf({ "=a": "2" }, versionOf(store, "ahead"), 1e12);
    expect(store.save("ahead", change)).not.toBe("conflict");
    expect(await countAll(store)).toBe(6);
  });

  it("drops nothing in the moment in which it expires", async () => {
    const store = memoryStore(options);
    create(store, "expiring", 0, 1000);
    for (let i = 0; i < 5; i++) create(store, `${i}`, 1000, 1000);
    expect(await countAll(store)).toBe(6);
  });

  it("counts what prune() removes, which is what has expired before that moment", async () => {
    const store = memoryStore(options);
    for (let i = 0; i < 5; i++) create(store, `${i}`, i, 1000);
    expect(await store.prune?.(1002)).toBe(2);
    const kept = ["0", "1", "2", "3", "4"].filter((key) => store.load(key) !== null);
    expect(kept).toEqual(["2", "3", "4"]);
  });

  it("keeps what has not expired when records are created", async () => {
    const store = memoryStore(options);
    for (let i = 0; i < 500; i++) create(store, `${i}`, i, 1_000_000);
    expect(await countAll(store)).toBe(500);
  });
});

describe("memoryStore()", () => {
  it("says what can be relied on", () => {
    const traits = { consistency: "strong", compareAndSet: true, exact: true, maxBytes: Infinity };
    expect(memoryStore().traits).toEqual(traits);
  });

  it("answers at once, without a promise", () => {
    const store = memoryStore();
    const version = store.save("a", writeOf({ "=a": "1" }));
    expect(isPromise(version)).toBe(false);
    expect(store.load("a")).toMatchObject({ lastSeenAt: 0, version });
    expect(store.save("a", writeOf({ "=a": "1" }))).toBe("conflict");
    expect(store.delete("a", "another")).toBe("conflict");
    expect(store.delete("a")).toBeUndefined();
    expect(store.load("a")).toBeNull();
  });

  it("declares no signal, so that none is made for it", () => {
    const { load, save, delete: remove } = memoryStore();
    expect([load.length, save.length, remove.length]).toEqual([1, 2, 2]);
  });

  it("drops the least recently used when there are more than maxSessions", () => {
    const store = memoryStore({ maxSessions: 4 });
    for (const key of ["loaded", "changed", "touched", "idle"]) create(store, key, 0, 1000);
    store.load("loaded");
    const changed = versionOf(store, "changed");
    const touched = versionOf(store, "touched");
    create(store, "new", 0, 1000);
    const keys = ["loaded", "changed", "touched", "idle", "new"];
    // These loads do not change which session is the oldest.
    expect(keys.filter((key) => store.load(key) !== null)).toEqual(["loaded", "changed", "touched", "new"]);

    expect(store.save("changed", writeOf({ "=a": "2" }, changed))).not.toBe("conflict");
    expect(store.save("touched", { ...writeOf({ "=a": "1" }, touched), changed: new Map() })).not.toBe("conflict");
    store.load("new");
    create(store, "newer", 0, 1000);
    expect(store.load("loaded")).toBeNull();
    create(store, "newest", 0, 1000);
    expect(store.load("changed")).toBeNull();
    expect(["touched", "new", "newer", "newest"].filter((key) => store.load(key) === null)).toEqual([]);
  });

  it("counts a change as a use, also where nothing was loaded before it", () => {
    const store = memoryStore({ maxSessions: 2 });
    const version = store.save("changed", writeOf({ "=a": "1" }));
    if (isPromise(version) || version === "conflict") throw new Error("The record was not created");
    create(store, "idle", 0, 1000);
    expect(store.save("changed", writeOf({ "=a": "2" }, version))).not.toBe("conflict");
    create(store, "new", 0, 1000);
    expect(["changed", "idle", "new"].filter((key) => store.load(key) !== null)).toEqual(["changed", "new"]);
  });

  it("keeps one session when maxSessions is 1", () => {
    const store = memoryStore({ maxSessions: 1 });
    create(store, "a", 0, 1000);
    create(store, "b", 0, 1000);
    expect([store.load("a"), store.load("b")]).toEqual([null, expect.anything()]);
  });

  it("throws when maxSessions is not a number of at least 1, or an option is unknown", () => {
    for (const maxSessions of [0, -1, NaN, 0.5]) expect(() => memoryStore({ maxSessions })).toThrow(RangeError);
    // @ts-expect-error A text is no number.
    expect(() => memoryStore({ maxSessions: "5" })).toThrow(RangeError);
    // @ts-expect-error There is no such option.
    expect(() => memoryStore({ maxSession: 5 })).toThrow(/maxSession\b.*maxSessions/);
  });

  it("works when its methods are taken apart", () => {
    const { load, save } = { ...memoryStore() };
    save("a", writeOf({ "=x": "1" }));
    const found = load("a");
    expect(isPromise(found) || found?.fields.get("=x")).toBe("1");
  });

  it.each([0, 3])("takes at most 460 bytes for a session beside its data, after %i changes", async (updates) => {
    const args = ["--expose-gc", join(import.meta.dirname, "memory.worker.ts"), String(updates)];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    expect(Number(stdout)).toBeGreaterThan(0);
    expect(Number(stdout)).toBeLessThanOrEqual(460);
  });

  it("keeps what was read from it alone, so that nobody can change what it keeps", async () => {
    const store = memoryStore();
    store.save("a", writeOf({ "=a": "1" }));
    const found = await store.load("a");
    expect(found !== null && "set" in found.fields).toBe(false);
    const { fields } = parseRecord(`10000000000000\n=a\n1`);
    expect([...(found?.fields ?? [])]).toEqual([...fields]);
  });
});

function writeOf(fields: Record<string, string>, expected: RecordVersion | null = null, now = 0, life = 1000): Write {
  const record = { fields: new Map(Object.entries(fields)), lastSeenAt: now };
  return { id: "0123456789abcdef", record, changed: record.fields, expected, expiresAt: now + life };
}

function create(store: SessionStore, key: string, now: number, life: number): void {
  expect(store.save(key, writeOf({ "=a": "1" }, null, now, life))).not.toBe("conflict");
}

function versionOf(store: SessionStore, key: string): RecordVersion {
  const found = store.load(key);
  if (found === null || isPromise(found)) throw new Error("There is no record");
  return found.version;
}

/** Removes all sessions, and returns their number. */
async function countAll(store: SessionStore): Promise<number | undefined> {
  return store.prune?.(Infinity);
}
