import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStorage, type Driver, type Storage } from "unstorage";
import fsDriver from "unstorage/drivers/fs";
import fsLiteDriver from "unstorage/drivers/fs-lite";
import memoryDriver from "unstorage/drivers/memory";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test, vi } from "vitest";
import { SessionManager } from "../../mod.ts";
import type { RecordVersion, SessionStore, Write } from "../../src/core/store.ts";
import { unstorageStore, type UnstorageStorage } from "../../src/stores/unstorage.ts";
import { storeCases } from "../../src/testing.ts";

let folder: string;
let folders = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "with-session-unstorage-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const key = "0123456789abcdef".repeat(4);
const other = "fedcba9876543210".repeat(4);
const now = 1_700_000_000_000;
const later = now + 60_000;

function writeOf(fields: Record<string, string>, expected: RecordVersion | null = null, life = 60_000): Write {
  const record = { fields: new Map(Object.entries(fields)), lastSeenAt: now };
  return { id: crypto.randomUUID(), record, changed: record.fields, expected, expiresAt: now + life };
}

async function present(store: SessionStore) {
  const found = await store.load(key);
  if (found === null) throw new Error("There is no record");
  return found;
}

async function saved(store: SessionStore, write: Write): Promise<RecordVersion> {
  const version = await store.save(key, write);
  if (version === "conflict") throw new Error("Nothing was stored");
  return version;
}

/** A storage in memory. `hears` gets each call of its driver. */
function heard(hears: (call: string, ...args: unknown[]) => void): Storage {
  const driver: Driver = memoryDriver();
  return createStorage({
    driver: {
      ...driver,
      getItem(...args) {
        hears("get", ...args);
        return driver.getItem(...args);
      },
      setItem(...args) {
        hears("set", ...args);
        return driver.setItem?.(...args);
      },
      removeItem(...args) {
        hears("remove", ...args);
        return driver.removeItem?.(...args);
      },
    },
  });
}

/** Each driver, with a function that makes it fail. */
const drivers: Record<string, () => { driver: Driver; fail: () => Promise<void> }> = {
  "memory"() {
    const driver: Driver = memoryDriver();
    return {
      driver,
      async fail() {
        driver.getItem =
          driver.setItem =
          driver.removeItem =
            () => {
              throw new Error("The driver failed");
            };
      },
    };
  },
  "fs": () => inFolder(fsDriver),
  "fs-lite": () => inFolder(fsLiteDriver),
};

function inFolder(open: (options: { base: string }) => Driver) {
  const base = join(folder, String(folders++));
  return {
    driver: open({ base }),
    async fail() {
      await rm(base, { recursive: true });
      await writeFile(base, "no folder any more");
    },
  };
}

for (const [name, open] of Object.entries(drivers)) {
  describe(`unstorageStore() with the driver ${name}`, () => {
    for (const { name: what, run } of storeCases()) {
      test(what, () =>
        run(() => {
          const { driver, fail } = open();
          const storage = createStorage({ driver });
          return {
            store: unstorageStore(storage, { consistency: "strong" }),
            neighbour: unstorageStore(storage, { prefix: "other" }),
            spoil: (key) => storage.setItem(`session:${key}`, "somebody else's"),
            fail,
          };
        }),
      );
    }

    for (const { name: what, run } of storeCases()) {
      test(`without a promise of the driver: ${what}`, () =>
        run(() => unstorageStore(createStorage({ driver: open().driver }))));
    }

    test("counts every one of 200 updates at once in one process", async () => {
      const storage = createStorage({ driver: open().driver });
      const sessions = new SessionManager<{ count: number }>({ store: unstorageStore(storage), storeTimeout: 60 });
      const session = sessions.start(new Request("http://localhost/"));
      session.set("count", 0);
      await session.save();
      const id = (await session.id()) ?? "";
      await Promise.all(
        Array.from({ length: 200 }, async () => {
          const opened = sessions.open(id);
          await opened.update("count", (count = 0) => count + 1);
          await opened.save();
        }),
      );
      expect(await sessions.open(id).get("count")).toBe(200);
    });
  });
}

test("unstorageStore() promises only what it was told that the driver does", () => {
  const storage = createStorage();
  const promised = { consistency: "eventual", compareAndSet: false, maxBytes: Infinity };
  expect(unstorageStore(storage).traits).toEqual(promised);
  expect(unstorageStore(storage, { consistency: "strong" }).traits).toEqual({ ...promised, consistency: "strong" });
});

test("unstorageStore() calls the driver once for a load and a creation, and twice for a change and a touch", async () => {
  let calls: string[] = [];
  const store = unstorageStore(heard((call) => calls.push(call)));
  const callsOf = async (step: () => unknown) => {
    calls = [];
    await step();
    return calls;
  };
  expect(await callsOf(() => store.save(key, writeOf({ "=a": "1" })))).toEqual(["set"]);
  expect(await callsOf(() => store.load(key))).toEqual(["get"]);
  const { version } = await present(store);
  expect(await callsOf(() => store.save(key, writeOf({ "=a": "2" }, version)))).toEqual(["get", "set"]);
  expect(await callsOf(() => store.save(key, writeOf({ "=a": "3" }, version)))).toEqual(["get"]);
  const found = await present(store);
  const touch = { ...writeOf({ "=a": "2" }, found.version), changed: new Map() };
  expect(await callsOf(() => store.save(key, touch))).toEqual(["get", "set"]);
  expect(await callsOf(() => store.delete(key, found.version))).toEqual(["get"]);
  const last = await present(store);
  expect(await callsOf(() => store.delete(key, last.version))).toEqual(["get", "remove"]);
  expect(await callsOf(() => store.delete(key))).toEqual(["remove"]);
});

test("unstorageStore() looks before it creates, and after it has removed, when reads are strong", async () => {
  const calls: string[] = [];
  const store = unstorageStore(
    heard((call) => calls.push(call)),
    { consistency: "strong" },
  );
  await saved(store, writeOf({ "=a": "1" }));
  expect(await store.save(key, writeOf({ "=a": "2" }))).toBe("conflict");
  await store.delete(key);
  expect(calls).toEqual(["get", "set", "get", "remove", "get"]);
});

test("unstorageStore() writes a record without fields over a session that it need not see, when reads may be late", async () => {
  const store = unstorageStore(createStorage());
  const version = await saved(store, writeOf({ "=a": "1" }));
  await saved(store, writeOf({}));
  expect((await present(store)).fields.size).toBe(0);
  expect(await store.save(key, writeOf({ "=a": "2" }, version))).toBe("conflict");
  expect((await present(store)).fields.size).toBe(0);
});

test("unstorageStore() gives each write the time that the record has left, in seconds", async () => {
  const lives: unknown[] = [];
  const store = unstorageStore(heard((call, ...args) => call === "set" && lives.push(args[2])));
  const version = await saved(store, writeOf({ "=a": "1" }, null, 1000));
  await saved(store, { ...writeOf({ "=a": "1" }, version, 2001), changed: new Map() });
  await store.save(other, writeOf({ "=a": "1" }, null, -1));
  expect(lives).toEqual([{ ttl: 1 }, { ttl: 3 }, { ttl: 1 }]);
});

test("unstorageStore() finds the record and its version, and nothing else", async () => {
  const store = unstorageStore(createStorage());
  const record = { fields: new Map([["=a", "1"]]), lastSeenAt: 5 };
  const write = { id: "w".repeat(16), record, changed: record.fields, expected: null, expiresAt: Date.now() + 60_000 };
  const version = await store.save("a".repeat(64), write);
  const found = await store.load("a".repeat(64));
  expect({ ...found, fields: new Map(found?.fields) }).toEqual({ ...record, version });
});

test("unstorageStore() keeps each record under the prefix, whatever it looks like", async () => {
  const storage = createStorage();
  for (const prefix of [undefined, "shop", "shop:", "a/b", "shop:basket"]) {
    const store = unstorageStore(storage, prefix === undefined ? {} : { prefix });
    await saved(store, writeOf({ "=prefix": String(prefix) }));
    expect((await present(store)).fields.get("=prefix")).toBe(String(prefix));
  }
  expect((await storage.getKeys()).toSorted()).toEqual([
    `a:b:${key}`,
    `session:${key}`,
    `shop:${key}`,
    `shop:basket:${key}`,
  ]);
});

test("unstorageStore() writes one file for each session in a folder", async () => {
  const base = join(folder, "files");
  await saved(unstorageStore(createStorage({ driver: fsDriver({ base }) })), writeOf({ "=a": "1" }));
  expect(await readdir(base, { recursive: true })).toEqual(["session", join("session", key)]);
});

test("unstorageStore() takes what is not its own for a corrupt record, and never prunes it", async () => {
  const storage = createStorage();
  const store = unstorageStore(storage);
  const foreign = ["text", 5, { a: 1 }, "", "!", "[1,{}]", `!0123456789ab ${now} not a record`];
  for (const item of foreign) {
    await storage.setItem(`session:${key}`, item);
    const found = await present(store);
    expect([found.fields.size, found.lastSeenAt]).toEqual([0, 0]);
    expect(await store.save(key, writeOf({ "=a": "1" }, found.version))).toBe("conflict");
    expect(await store.delete(key, found.version)).toBeUndefined();
    expect(await store.load(key)).toBeNull();
  }
  await storage.setItem(`session:${key}`, "text");
  await storage.setItem("session:settings", "text");
  await store.save(other, writeOf({ "=a": "1" }));
  expect(await store.prune?.(later + 1)).toBe(1);
  expect((await storage.getKeys()).toSorted()).toEqual([`session:${key}`, "session:settings"]);
});

test("unstorageStore() rejects when a file cannot be read or removed, though the driver does not tell", async () => {
  const { driver, fail } = inFolder(fsDriver);
  const store = unstorageStore(createStorage({ driver }), { consistency: "strong" });
  await saved(store, writeOf({ "=a": "1" }));
  await fail();
  await expect(store.load(key)).rejects.toMatchObject({ code: "ENOTDIR" });
  await expect(store.delete(key)).rejects.toMatchObject({ code: "ENOTDIR" });

  const stubborn = unstorageStore(createStorage({ driver: { ...memoryDriver(), removeItem() {} } }), {
    consistency: "strong",
  });
  await saved(stubborn, writeOf({ "=a": "1" }));
  await expect(stubborn.delete(key)).rejects.toThrow("still there");
});

test("unstorageStore() goes on with a key after a call for it failed", async () => {
  let calls = 0;
  const store = unstorageStore(
    heard(() => {
      if (++calls === 1) throw new Error("The driver failed");
    }),
  );
  const [first, second] = await Promise.allSettled([store.load(key), store.load(key)]);
  expect(first.status).toBe("rejected");
  expect(second).toEqual({ status: "fulfilled", value: null });
});

test("unstorageStore() takes a missing item for none, whether the driver says null or undefined", async () => {
  const storage = createStorage();
  expect(await unstorageStore(Object.assign(storage, { getItem: async () => undefined })).load(key)).toBeNull();
});

test("unstorageStore() takes an item for its own only if nothing comes before it", async () => {
  const storage = createStorage();
  const store = unstorageStore(storage);
  await saved(store, writeOf({ "=a": "1" }));
  const item = `session:${key}`;
  await storage.setItem(item, `x${String(await storage.getItem(item))}`);
  expect(await present(store)).toMatchObject({ version: "?", lastSeenAt: 0, fields: new Map() });
});

test("unstorageStore() prunes what expired before the instant, and takes an item that has gone meanwhile for nothing", async () => {
  const storage = createStorage();
  const store = unstorageStore(storage);
  await saved(store, writeOf({ "=a": "1" }));
  const { getKeys } = storage;
  storage.getKeys = async (...args) => [...(await getKeys(...args)), `session:${other}`];
  expect(await store.prune?.(later)).toBe(0);
  expect(await store.prune?.(later + 1)).toBe(1);
  expect(await store.load(key)).toBeNull();
});

test("unstorageStore() lets no write come between a read and a removal of prune()", async () => {
  const storage = createStorage();
  const store = unstorageStore(storage);
  const version = await saved(store, writeOf({ "=a": "1" }));
  const { removeItem } = storage;
  let write: Promise<unknown> | undefined;
  storage.removeItem = async (item: string) => {
    write = Promise.resolve(store.save(key, writeOf({ "=a": "2" }, version)));
    for (let turns = 0; turns < 100; turns++) await Promise.resolve();
    await removeItem(item);
  };
  expect(await store.prune?.(later + 1)).toBe(1);
  // The write comes after the removal and finds no record. Between the read and the removal, it would be lost.
  expect(await write).toBe("conflict");
});

test("unstorageStore() keeps nothing of a key in memory when the calls for it are done", async () => {
  const set = vi.spyOn(Map.prototype, "set");
  const store = unstorageStore(createStorage());
  await Promise.all([store.load(key), store.load(key)]);
  const maps = set.mock.contexts.filter((_, i) => set.mock.calls[i]?.[0] === key);
  set.mockRestore();
  expect(maps.length).toBeGreaterThan(0);
  for (const map of maps) expect(Object(map).size).toBe(0);
});

test("unstorageStore() throws a TypeError when given what is no storage, or an option that is none", () => {
  const { getItem, setItem } = createStorage();
  for (const none of [undefined, null, {}, "memory", { getItem }, { setItem }] as unknown[]) {
    // @ts-expect-error Not one of them is a storage.
    expect(() => unstorageStore(none)).toThrow(/unstorageStore needs a storage/);
  }
  // unstorage drops the part of a key after a question mark.
  for (const prefix of ["a?b", "?", "", 7, null, ["a"]] as unknown[]) {
    // @ts-expect-error Some of them are no strings.
    expect(() => unstorageStore(createStorage(), { prefix })).toThrow(/prefix must be a text/);
  }
  for (const consistency of ["weak", "", null, true] as unknown[]) {
    // @ts-expect-error Not one of them is a consistency.
    expect(() => unstorageStore(createStorage(), { consistency })).toThrow(/consistency must be "strong"/);
  }
  // @ts-expect-error There is no such option.
  expect(() => unstorageStore(createStorage(), { base: "a" })).toThrow(/no option "base"/);
});

test("UnstorageStorage is what unstorage has", () => {
  expectTypeOf<Storage>().toExtend<UnstorageStorage>();
  expectTypeOf<ReturnType<typeof createStorage>>().toExtend<UnstorageStorage>();
});
