import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { SessionManager } from "with-session";
import { cookieJar, storeCases } from "with-session/testing";
import example, { connect, type Memcached, memcachedStore } from "../examples/memcached_store.ts";
import { type MemcachedServer, startMemcached } from "./setup/memcached.ts";

let server: MemcachedServer;
let send: Memcached;

beforeAll(async () => {
  server = await startMemcached();
  send = connect(server.port);
});
afterAll(() => server.stop());

const key = "0123456789abcdef".repeat(4);
const now = Date.now();

function recordOf(fields: Record<string, string>) {
  return { fields: new Map(Object.entries(fields)), lastSeenAt: now };
}

describe("memcachedStore()", () => {
  for (const { name, run } of storeCases()) {
    test(name, () =>
      run(() => {
        let fails = false;
        const failing: Memcached = (...args) => {
          if (fails) throw new Error("The connection to Memcached was lost");
          return send(...args);
        };
        return {
          store: memcachedStore(failing),
          neighbour: memcachedStore(send, { prefix: "other:" }),
          fail: () => {
            fails = true;
          },
        };
      }),
    );
  }
});

test("memcachedStore() stores the largest record that it takes, and keeps it when a larger one is refused", async () => {
  const store = memcachedStore(send);
  const largest = recordOf({ a: "" });
  const room = store.traits.maxBytes - JSON.stringify([now, { a: "" }]).length;
  largest.fields.set("a", "x".repeat(room));
  const version = await store.create(key, largest, now + 60_000);
  const larger = recordOf({ a: "x".repeat(room + 1) });
  const change = store.change(key, { record: larger, changed: larger.fields }, version, now + 60_000);
  await expect(change).rejects.toMatchObject({ code: "ERR_RECORD_TOO_LARGE" });
  expect((await store.load(key))?.fields).toEqual(largest.fields);
});

test("memcachedStore() takes a life of more than thirty days for a time, not for an instant", async () => {
  const store = memcachedStore(send);
  for (const days of [29, 31, 365]) {
    await store.delete(key);
    await store.create(key, recordOf({ a: "1" }), now + days * 86_400_000);
    expect(await store.load(key)).not.toBeNull();
  }
});

test("memcachedStore() counts every one of 100 updates at once", async () => {
  const sessions = new SessionManager<{ count: number }>({ store: memcachedStore(send), storeTimeout: 60 });
  const session = sessions.start(new Request("http://localhost/"));
  session.set("count", 0);
  await session.save();
  const id = (await session.id()) ?? "";
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      const opened = sessions.open(id);
      await opened.update("count", (count = 0) => count + 1);
      await opened.save();
    }),
  );
  expect(await sessions.open(id).get("count")).toBe(100);
});

test("connect() rejects while there is no server, and connects again when there is one", async () => {
  const first = await startMemcached();
  const store = memcachedStore(connect(first.port));
  expect(await store.load(key)).toBeNull();
  await first.stop();
  await expect(store.load(key)).rejects.toThrow();
  await expect(store.load(key)).rejects.toThrow();
  const second = await startMemcached(first.port);
  expect(await store.load(key)).toBeNull();
  await second.stop();
});

test("connect() rejects what Memcached does not understand, and goes on", async () => {
  const own = connect(server.port);
  await expect(own("nonsense")).rejects.toThrow("ERROR");
  expect((await own(`mg session:${"0".repeat(64)} v c`)).code).toBe("EN");
});

test("memcached_store.ts counts visits when a client keeps its cookie", async () => {
  vi.stubEnv("MEMCACHED_PORT", String(server.port));
  const jar = cookieJar();
  const visit = async () => (await jar.fetch(example.fetch, "https://shop.example/")).text();
  expect([await visit(), await visit()]).toEqual(["Visit 1\n", "Visit 2\n"]);
});
