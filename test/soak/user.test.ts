/** Proves that the soak notices faults: its users, on stores that break a promise, and on a correct one. */
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { shop } from "../../examples/shop/shop.ts";
import { memoryStore, type SessionStore } from "../../mod.ts";
import { soon } from "../setup/sessions.ts";
import { portOf, serve } from "./serve.ts";
import { type Counts, newCounts, User } from "./user.ts";

/** What two users find in this many steps each, on two servers that share a store. */
async function find(store: SessionStore, steps: number): Promise<Counts> {
  const servers = await Promise.all([serve(shop({ store })), serve(shop({ store }))]);
  onTestFinished(async () => {
    for (const server of servers) {
      server.closeAllConnections();
      await once(server.close(), "close");
    }
  });
  const urls = servers.map((server) => `http://127.0.0.1:${portOf(server)}`);
  const counts = newCounts();
  const users = ["ada", "bob"].map((name) => new User(name, () => urls, counts, 0));
  await Promise.all(
    users.map(async (user) => {
      for (let step = 0; step < steps; step++) await user.step();
      await user.look();
    }),
  );
  return counts;
}

test("a sound store gives no reason to complain", async () => {
  const { lost, revived, signedOut, others, done } = await find(memoryStore(), 300);
  expect({ lost, revived, signedOut, others }).toEqual({ lost: [], revived: [], signedOut: [], others: [] });
  // The actions are chosen at random. In this many steps, each of these happens many times.
  expect([...done.keys()]).toEqual(
    expect.arrayContaining(["start", "read", "add", "add, six at once", "log in", "log out", "try an ended session"]),
  );
});

test("a store that overwrites what it should compare loses updates", async () => {
  const store = memoryStore();
  const { lost } = await find(
    {
      ...store,
      load: async (key) => await soon(await store.load(key)),
      async save(key, write) {
        const current = await store.load(key);
        return await soon(await store.save(key, { ...write, expected: current?.version ?? null }));
      },
    },
    300,
  );
  expect(lost).not.toEqual([]);
});

test("a store that deletes nothing revives sessions", async () => {
  const { revived } = await find({ ...memoryStore(), delete: () => {} }, 300);
  expect(revived).not.toEqual([]);
});

test("a store that forgets signs users out", async () => {
  const store = memoryStore();
  let loads = 0;
  const { signedOut } = await find({ ...store, load: (key) => (++loads % 50 === 0 ? null : store.load(key)) }, 300);
  expect(signedOut).not.toEqual([]);
});
