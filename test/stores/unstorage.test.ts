import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStorage, type Driver, type Storage } from "unstorage";
import fsDriver from "unstorage/drivers/fs";
import fsLiteDriver from "unstorage/drivers/fs-lite";
import memoryDriver from "unstorage/drivers/memory";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { SessionManager } from "../../mod.ts";
import type { SessionStore } from "../../src/store.ts";
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

function recordOf(fields: Record<string, string>, lastSeenAt = now) {
  return { fields: new Map(Object.entries(fields)), lastSeenAt };
}

function changeTo(fields: Record<string, string>) {
  return { record: recordOf(fields), changed: new Map(Object.entries(fields)) };
}

async function present(store: SessionStore) {
  const loaded = await store.load(key);
  if (loaded === null) throw new Error("There is no record");
  return loaded;
}

/** A storage in memory each call of whose driver is heard. */
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

/** Each driver, and how to make it fail. */
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
            fail,
          };
        }),
      );
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
  expect(unstorageStore(storage).traits).toEqual({
    compareAndSet: false,
    consistency: "eventual",
    persistent: false,
    shared: false,
    minTtl: 1,
    maxBytes: Infinity,
  });
  const told = { consistency: "strong", persistent: true, shared: true } as const;
  expect(unstorageStore(storage, told).traits).toMatchObject(told);
});

test("unstorageStore() calls the driver once for a load and a creation, and twice for a change and a touch", async () => {
  let calls: string[] = [];
  const store = unstorageStore(heard((call) => calls.push(call)));
  const callsOf = async (step: () => Promise<unknown>) => {
    calls = [];
    await step();
    return calls;
  };
  expect(await callsOf(() => store.create(key, recordOf({ a: "1" }), later))).toEqual(["set"]);
  expect(await callsOf(() => store.load(key))).toEqual(["get"]);
  const loaded = await present(store);
  expect(await callsOf(() => store.change(key, changeTo({ a: "2" }), loaded.version, later))).toEqual(["get", "set"]);
  expect(await callsOf(() => store.touch(key, now + 1, later, loaded))).toEqual(["get", "set"]);
  const { version } = await present(store);
  expect(await callsOf(() => store.delete(key, version))).toEqual(["get", "remove"]);
  expect(await callsOf(() => store.delete(key))).toEqual(["remove"]);
});

test("unstorageStore() gives each write the time that the record has left, in seconds", async () => {
  const lives: unknown[] = [];
  const store = unstorageStore(heard((call, ...args) => call === "set" && lives.push(args[2])));
  await store.create(key, recordOf({ a: "1" }), now + 1000);
  const created = await present(store);
  await store.change(key, changeTo({ a: "2" }), created.version, now + 2001);
  await store.touch(key, now + 500, now + 3500, created);
  await store.create(other, recordOf({ a: "1" }), now - 1);
  expect(lives).toEqual([{ ttl: 1 }, { ttl: 3 }, { ttl: 3 }, { ttl: 1 }]);
});

test("unstorageStore() keeps each record under the prefix, whatever it looks like", async () => {
  const storage = createStorage();
  for (const prefix of [undefined, "shop", "shop:", "a/b", "shop:basket"]) {
    const store = unstorageStore(storage, prefix === undefined ? {} : { prefix });
    await store.create(key, recordOf({ prefix: String(prefix) }), later);
    expect((await present(store)).fields.get("prefix")).toBe(String(prefix));
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
  await unstorageStore(createStorage({ driver: fsDriver({ base }) })).create(key, recordOf({ a: "1" }), later);
  expect(await readdir(base, { recursive: true })).toEqual(["session", join("session", key)]);
});

test("unstorageStore() takes what is not its own for a corrupt record, and never prunes it", async () => {
  const storage = createStorage();
  const store = unstorageStore(storage);
  for (const item of ["text", 5, { a: 1 }, "", "!", "[1,{}]", `!0123456789ab ${now} not JSON`]) {
    await storage.setItem(`session:${key}`, item);
    const loaded = await present(store);
    expect(loaded.fields.size).toBe(0);
    expect(await store.change(key, changeTo({ a: "1" }), "0123456789ac", later)).toBe("conflict");
    expect(await store.delete(key, loaded.version)).toBeUndefined();
    expect(await store.load(key)).toBeNull();
  }
  await storage.setItem(`session:${key}`, "text");
  await storage.setItem("session:settings", "text");
  await store.create(other, recordOf({ a: "1" }), later);
  expect(await store.prune?.(later + 1)).toBe(1);
  expect((await storage.getKeys()).toSorted()).toEqual([`session:${key}`, "session:settings"]);
});

test("unstorageStore() rejects when a file cannot be read or removed, though the driver keeps quiet", async () => {
  const { driver, fail } = inFolder(fsDriver);
  const store = unstorageStore(createStorage({ driver }), { consistency: "strong" });
  await store.create(key, recordOf({ a: "1" }), later);
  await fail();
  await expect(store.load(key)).rejects.toMatchObject({ code: "ENOTDIR" });
  await expect(store.delete(key)).rejects.toMatchObject({ code: "ENOTDIR" });

  const stubborn = unstorageStore(createStorage({ driver: { ...memoryDriver(), removeItem() {} } }), {
    consistency: "strong",
  });
  await stubborn.create(key, recordOf({ a: "1" }), later);
  await expect(stubborn.delete(key)).rejects.toThrow();
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

test("unstorageStore() throws a TypeError when given what is no storage, or a prefix that cuts off keys", () => {
  // @ts-expect-error An empty object is no storage.
  expect(() => unstorageStore({})).toThrow(TypeError);
  // @ts-expect-error Nor is nothing.
  expect(() => unstorageStore(undefined)).toThrow(TypeError);
  expect(() => unstorageStore(createStorage(), { prefix: "a?b" })).toThrow(TypeError);
  expect(() => unstorageStore(createStorage(), { prefix: "" })).toThrow(TypeError);
});

test("UnstorageStorage is what unstorage has", () => {
  expectTypeOf<Storage>().toExtend<UnstorageStorage>();
  expectTypeOf<ReturnType<typeof createStorage>>().toExtend<UnstorageStorage>();
});
