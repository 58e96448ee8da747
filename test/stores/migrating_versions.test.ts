import { describe, expect, it } from "vitest";
import { memoryStore } from "../../mod.ts";
import type { RecordVersion, SessionStore, StoredRecord, Write } from "../../src/core/store.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { migratingStore } from "../../src/stores/migrating.ts";
import { faultyStore, kvSimulator } from "../../src/testing.ts";

const KEY = "0123456789abcdef".repeat(4);
const MARKER_LIFE = 600_000;
const MARK = "*with-session.migrating";

function writeOf(count: number, expected: RecordVersion | null = null, lastSeenAt: number = Date.now()): Write {
  const fields = new Map([["=count", String(count)]]);
  return {
    id: crypto.randomUUID(),
    record: { fields, lastSeenAt },
    changed: fields,
    expected,
    expiresAt: lastSeenAt + 3_600_000,
  };
}

async function present(store: SessionStore): Promise<StoredRecord> {
  const found = await store.load(KEY);
  if (found === null) throw new Error("There is no record");
  return found;
}

/** Saves, and returns the version. A conflict throws. */
async function saved(store: SessionStore, write: Write): Promise<RecordVersion> {
  const version = await store.save(KEY, write);
  if (version === "conflict") throw new Error("conflict");
  return version;
}

/** A store that must not be called. */
function untouchable(): SessionStore {
  return faultyStore(memoryStore(), { load: "rejects", save: "rejects", delete: "rejects" });
}

describe("the version that migratingStore() answers with is the one that the next write needs", () => {
  it("after a creation in a store without compare-and-set", async () => {
    const inner = memoryStore();
    const to: SessionStore = { ...inner, traits: { ...inner.traits, compareAndSet: false } };
    const store = migratingStore(memoryStore(), to);
    // The underlying store compares nevertheless.
    await saved(store, writeOf(2, await saved(store, writeOf(1))));
    expect((await present(to)).fields.get("=count")).toBe("2");
  });

  it("after a creation in place of a session that has ended", async () => {
    const store = migratingStore(memoryStore(), memoryStore());
    await saved(store, writeOf(1));
    await store.delete(KEY);
    await saved(store, writeOf(3, await saved(store, writeOf(2))));
    expect((await present(store)).fields.get("=count")).toBe("3");
  });

  it("after a move, and after each write for as long as the old store removes nothing", async () => {
    const inner = memoryStore();
    await inner.save(KEY, writeOf(1));
    const from = faultyStore(inner, { delete: ["rejects", "rejects", "none"] });
    const store = migratingStore(from, memoryStore());
    let { version } = await present(store);
    for (let count = 2; count <= 4; count++) version = await saved(store, writeOf(count, version));
    expect((await present(store)).version).toBe(version);
    expect(await inner.load(KEY)).toBeNull();
  });
});

describe("migratingStore()", () => {
  it("refuses a move when a server that does not migrate yet has changed the session in the old store", async () => {
    const [from, to] = [memoryStore(), memoryStore()];
    await from.save(KEY, writeOf(1));
    const store = migratingStore(from, to);
    const { version } = await present(store);
    await from.save(KEY, writeOf(2, (await present(from)).version));
    expect(await store.save(KEY, writeOf(10, version))).toBe("conflict");
    expect((await present(store)).fields.get("=count")).toBe("2");
  });

  it("needs the new store alone to read and change a session that is there, and adds nothing to it", async () => {
    const to = memoryStore();
    await saved(migratingStore(memoryStore(), to), writeOf(1));
    const store = migratingStore(untouchable(), to);
    await saved(store, writeOf(2, (await present(store)).version));
    await saved(store, writeOf(3, (await present(store)).version));
    expect([...(await present(to)).fields]).toEqual([["=count", "3"]]);
  });

  it("ends a session of the old store by a record without fields, where the new one does not compare", async () => {
    const [from, inner] = [memoryStore(), memoryStore()];
    await from.save(KEY, writeOf(1));
    const store = migratingStore(from, { ...inner, traits: { ...inner.traits, compareAndSet: false } });
    const record = { fields: new Map<string, string>(), lastSeenAt: Date.now() };
    await saved(store, { ...writeOf(1), record, changed: new Map([["=count", null]]) });
    expect(await from.load(KEY)).toBeNull();
    expect((await present(store)).fields.size).toBe(0);
  });

  it("tells an engine that keeps fields apart to remove those of a session that ends", async () => {
    const changes: unknown[] = [];
    const inner = memoryStore();
    const to: SessionStore = {
      ...inner,
      save(key, write) {
        changes.push([...write.changed]);
        return inner.save(key, write);
      },
    };
    const store = migratingStore(memoryStore(), to);
    const version = await saved(store, writeOf(1));
    expect(await store.delete(KEY, version)).toBeUndefined();
    expect(changes.at(-1)).toEqual([
      ["=count", null],
      [MARK, "ended"],
    ]);
  });

  it("keeps the marker of a logout for ten minutes, by the clock or by the session, whichever is later", async () => {
    const instant = Date.now();
    for (const now of [() => instant, () => instant - 86_400_000]) {
      const to = memoryStore();
      const store = migratingStore(memoryStore(), to, { now });
      const version = await saved(store, writeOf(1, null, instant));
      expect(await store.delete(KEY, version)).toBeUndefined();
      expect(await to.prune?.(instant + MARKER_LIFE)).toBe(0);
      expect(await to.prune?.(instant + MARKER_LIFE + 1)).toBe(1);
    }
  });

  it("ends what was left in the old store when the new one has lost the session", async () => {
    const inner = memoryStore();
    await saved(inner, writeOf(1));
    await saved(inner, writeOf(2, (await present(inner)).version));
    const to = memoryStore();
    const store = migratingStore(faultyStore(inner, { delete: ["rejects", "none"] }), to);
    const version = await saved(store, writeOf(3, (await present(store)).version));
    await to.delete(KEY);
    expect(await store.delete(KEY, version)).toBeUndefined();
    expect(await inner.load(KEY)).toBeNull();
  });

  it("does not end a session that was moved between its two reads, and has ended one that was ended there", async () => {
    for (const meanwhile of ["moved", "ended"] as const) {
      const inner = memoryStore();
      await inner.save(KEY, writeOf(1));
      const to = memoryStore();
      let act: (() => Promise<unknown>) | undefined;
      const from: SessionStore = {
        ...inner,
        async load(key) {
          const next = act;
          act = undefined;
          await next?.();
          return await inner.load(key);
        },
      };
      const store = migratingStore(from, to);
      const { version } = await present(store);
      const other = migratingStore(inner, to);
      act = async () => {
        if (meanwhile === "moved") return await saved(other, writeOf(2, version));
        return await inner.delete(KEY);
      };
      expect(await store.delete(KEY, version), meanwhile).toBe(meanwhile === "moved" ? "conflict" : undefined);
      expect((await store.load(KEY))?.fields.get("=count"), meanwhile).toBe(meanwhile === "moved" ? "2" : undefined);
    }
  });

  it("prunes the old store where the new one removes records by itself", async () => {
    const from = memoryStore();
    await from.save(KEY, { ...writeOf(1), expiresAt: 1 });
    const kv = cloudflareKvStore(kvSimulator().at("Paris"));
    expect(await migratingStore(from, kv).prune?.(2)).toBe(1);
  });

  it("says which options it needs", () => {
    const store = memoryStore();
    // @ts-expect-error One store is missing.
    expect(() => migratingStore(store)).toThrow(/two stores/);
    // @ts-expect-error A function is not a store.
    expect(() => migratingStore(() => store, memoryStore())).toThrow(/two stores/);
    // @ts-expect-error An instant is no clock.
    expect(() => migratingStore(store, memoryStore(), { now: Date.now() })).toThrow(/now must be a function/);
    expect(() => migratingStore(store, memoryStore(), { now: Date.now })).not.toThrow();
  });
});
