import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { sqliteStore } from "../examples/sqlite_store.ts";
import { memoryStore, type SessionStore } from "../mod.ts";
import { type EngineName, engines, openStore } from "./linearizability/engines.ts";

const stores: Record<string, (use: (store: SessionStore) => Promise<void>) => Promise<void>> = {
  memory: (use) => use(memoryStore()),
  sqlite: (use) => use(sqliteStore(new DatabaseSync(":memory:"))),
};
for (const [name, start] of Object.entries(engines)) {
  stores[name] = async (use) => {
    const engine = await start();
    const opened = await openStore(name as EngineName, engine.address);
    try {
      await use(opened.store);
    } finally {
      opened.close();
      await engine.stop();
    }
  };
}

describe.each(Object.entries(stores))("touch() of the %s store", (_name, opened) => {
  test("answers conflict and changes nothing when another write came after what the caller loaded", async () => {
    await opened(async (store) => {
      const key = "0123456789abcdef".repeat(4);
      const record = { fields: new Map([["a", "1"]]), lastSeenAt: Date.now() };
      const expiresAt = record.lastSeenAt + 60_000;
      await store.create(key, record, expiresAt);
      const loaded = (await store.load(key)) ?? undefined;
      // What another request has done meanwhile.
      expect(await store.touch(key, record.lastSeenAt + 1, expiresAt, loaded)).toBe(true);
      const before = await store.load(key);

      expect(await store.touch(key, record.lastSeenAt + 2, expiresAt, loaded)).toBe("conflict");
      expect(await store.load(key)).toEqual(before);
      expect(await store.touch(key, record.lastSeenAt + 3, expiresAt)).toBe(true);
      expect((await store.load(key))?.lastSeenAt).toBe(record.lastSeenAt + 3);
      await store.delete(key);
      expect(await store.touch(key, record.lastSeenAt + 4, expiresAt, loaded)).toBe(false);
      expect(await store.touch(key, record.lastSeenAt + 4, expiresAt)).toBe(false);
    });
  });
});
