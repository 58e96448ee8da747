import { describe, expect, test } from "vitest";
import { SessionManager } from "../../mod.ts";
import { type RedisClient, redisStore } from "../../src/stores/redis.ts";
import { creation, key, later, now, present, saved } from "./redis_records.ts";

// How each client is called, and when it counts as closed, without a server. redis_clients.test.ts uses the real clients.

const value = "v1 11700000000000\n=a\n1";
const name = `session:${key}`;

describe("redisStore() sends a command", () => {
  /** The commands that a store sends through a client that records its calls. */
  async function sentBy(open: (record: (...args: unknown[]) => Promise<unknown>) => RedisClient): Promise<unknown[]> {
    const sent: unknown[] = [];
    const store = redisStore(
      open(async (...args) => {
        sent.push(args);
        return args.flat().includes("GET") || args[0] === "get" ? value : "OK";
      }),
    );
    await present(store);
    await saved(store, creation({ "=a": "1" }, later, now));
    return sent;
  }
  const set = (sent: unknown) => JSON.parse(JSON.stringify(sent).replaceAll(/write-[\w.-]+/g, "v1"));
  const words = [name, value, "NX", "PX", "60000"];

  test("through node-redis", async () => {
    const sent = await sentBy((sendCommand) => ({ sendCommand }));
    expect(set(sent)).toEqual([[["GET", name]], [["SET", ...words]]]);
  });

  test("through node-redis with a keyPrefix, which is put before the store's", async () => {
    for (const settings of [{ options: { keyPrefix: "shop:" } }, { _keyPrefix: "shop:" }]) {
      const sent = await sentBy((sendCommand) => ({ sendCommand, ...settings }));
      expect(set(sent)[0]).toEqual([["GET", `shop:${name}`]]);
    }
  });

  test("through a cluster of node-redis, with the key, to a primary", async () => {
    const sent = await sentBy((sendCommand) => ({ sendCommand, slots: [] }));
    expect(set(sent)).toEqual([
      [name, false, ["GET", name]],
      [name, false, ["SET", ...words]],
    ]);
  });

  test("through Sentinel of node-redis, to the primary", async () => {
    const sent = await sentBy((sendCommand) => ({ sendCommand, getMasterNode: () => ({}) }));
    expect(set(sent)).toEqual([
      [false, ["GET", name]],
      [false, ["SET", ...words]],
    ]);
  });

  test("through ioredis: by its named method, or by call where there is none", async () => {
    const named = await sentBy((record) => ({
      status: "ready",
      call: (...args) => record("call", ...args),
      get: (...args: unknown[]) => record("get", ...args),
    }));
    expect(set(named)).toEqual([
      ["get", name],
      ["call", "SET", words],
    ]);
  });

  test("through Bun's client", async () => {
    const sent = await sentBy((send) => ({ send, connected: true }));
    expect(set(sent)).toEqual([
      ["GET", [name]],
      ["SET", words],
    ]);
  });

  test("through GLIDE", async () => {
    const sent = await sentBy((customCommand) => ({ customCommand }));
    expect(set(sent)).toEqual([[["GET", name]], [["SET", ...words]]]);
  });
});

describe("a client that has closed for good", () => {
  const closed: Record<string, () => RedisClient> = {
    "node-redis": () => ({ sendCommand: async () => value, isOpen: false }),
    "ioredis": () => ({ status: "end", call: async () => value }),
    "GLIDE": () => ({ customCommand: async () => value, isClosed: true }),
  };

  test.each(Object.entries(closed))("is not used, and another one is opened: %s", async (_name, open) => {
    await expect(Promise.resolve(redisStore(open()).load(key))).rejects.toMatchObject({ code: "ERR_STORE" });
    let opened = 0;
    const store = redisStore(() => (++opened === 1 ? open() : { sendCommand: async () => value }));
    await expect(Promise.resolve(store.load(key))).rejects.toThrow(/client is closed/);
    for (let i = 0; i < 3; i++) expect((await present(store)).version).toBe("v1");
    expect(opened).toBe(2);
  });

  test.each(Object.entries(closed))("makes the program's function open the store anew: %s", async (_name, open) => {
    const client = { ...open(), isOpen: true, status: "ready", isClosed: false };
    let opened = 0;
    const sessions = new SessionManager({
      store: async () => redisStore(++opened === 1 ? client : { sendCommand: async () => null }),
    });
    const read = () => sessions.open("a".repeat(32)).get("a");
    await read();
    await read();
    expect(opened).toBe(1);
    Object.assign(client, open());
    expect(await Promise.all([read(), read(), read()])).toEqual([undefined, undefined, undefined]);
    expect(opened).toBe(2);
  });

  test("opens nothing anew in a store that opens its clients itself", () => {
    const store = redisStore(() => ({ sendCommand: async () => value, isOpen: false }));
    expect(store.isClosed?.()).toBe(false);
  });

  test("does not make the program's function open the store anew if it is one of Bun's, which may connect again", async () => {
    const store = redisStore({
      connected: false,
      send: async () => {
        throw new Error("Connection closed");
      },
    } as RedisClient);
    for (let i = 0; i < 2; i++) await expect(Promise.resolve(store.load(key))).rejects.toThrow();
    expect(store.isClosed?.()).toBe(false);
  });

  test("is one of Bun's only if a command fails while it is not connected", async () => {
    const clients = Array.from({ length: 2 }, () => ({ connected: true, isLost: false }));
    let opened = 0;
    const store = redisStore(() => {
      const client = clients[opened++];
      if (client === undefined) throw new Error("No more clients");
      return {
        get connected() {
          return client.connected;
        },
        send: async () => {
          if (client.isLost) throw new Error("Connection closed");
          return value;
        },
      };
    });
    const [first, second] = clients;
    if (first === undefined || second === undefined) throw new Error("No clients");
    await present(store);
    // The client is reconnecting, and its commands wait for that.
    first.connected = false;
    await present(store);
    await present(store);
    expect(opened).toBe(1);
    // If a command fails on a connection, the client does not count as closed.
    Object.assign(first, { connected: true, isLost: true });
    for (let i = 0; i < 2; i++) await expect(Promise.resolve(store.load(key))).rejects.toThrow("Connection closed");
    expect(opened).toBe(1);
    first.connected = false;
    await expect(Promise.resolve(store.load(key))).rejects.toThrow("Connection closed");
    second.connected = false;
    for (let i = 0; i < 3; i++) await present(store);
    expect(opened).toBe(2);
    // A client that has failed once and is connected again is used.
    second.isLost = true;
    await expect(Promise.resolve(store.load(key))).rejects.toThrow("Connection closed");
    Object.assign(second, { connected: true, isLost: false });
    await present(store);
    expect(opened).toBe(2);
  });
});

test("redisStore() refuses what is no client when it is created, or when the function gives it", async () => {
  const text: unknown = "redis://localhost";
  for (const wrong of [undefined, null, {}, text, { send: true }, Promise.resolve({ sendCommand: async () => null })]) {
    // @ts-expect-error None of these is a client.
    expect(() => redisStore(wrong)).toThrow(
      expect.objectContaining({ message: expect.stringContaining("needs a client of") }),
    );
  }
  // @ts-expect-error An empty object is no client.
  await expect(Promise.resolve(redisStore(() => ({})).load(key))).rejects.toThrow(/redisStore\(\) needs a client of/);
  const cluster = { status: "ready", call: async () => null, options: { scaleReads: "slave" } };
  expect(() => redisStore(cluster)).toThrow(/scaleReads/);
  for (const options of [undefined, {}, { scaleReads: undefined }, { scaleReads: "master" }]) {
    const client = { ...cluster, options };
    expect(() => redisStore(client)).not.toThrow();
  }
});
