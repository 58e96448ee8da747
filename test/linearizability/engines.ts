import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { openKv } from "@deno/kv";
import { Redis as Upstash } from "@upstash/redis";
import { createClient } from "redis";
import type { SessionStore } from "../../mod.ts";
import { denoKvStore } from "../../src/stores/deno_kv.ts";
import { durableObjectStore } from "../../src/stores/durable_object.ts";
import { fileStore } from "../../src/stores/file.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { sqliteStore } from "../../src/stores/sqlite.ts";
import { upstashRedisStore } from "../../src/stores/upstash_redis.ts";
import { startRedis } from "../setup/redis.ts";
import { startUpstash } from "../setup/upstash.ts";

/** An engine that several processes can use. */
export interface Engine {
  /** The address at which a process reaches it. */
  readonly address: string;
  /**
   * From now on, makes calls fail with this probability, in the ways in which calls of this engine fail. If only
   * connections can be broken, it breaks them now. Returns how many calls or connections it has broken since it was
   * last called.
   */
  readonly disturb: (chance: number) => number | Promise<number>;
  readonly stop: () => Promise<void>;
}

/** Starts an engine. */
export const engines: Readonly<Record<EngineName, () => Promise<Engine>>> = {
  "file": () => startFolder(),
  "sqlite": () => startFolder("sessions.sqlite"),
  "redis": () => startRedisEngine(),
  "redis hash": () => startRedisEngine(),
  "upstash": () => startUpstashEngine(),
  "upstash hash": () => startUpstashEngine(),
  "deno kv": () => startFolder("kv.sqlite"),
  "durable object": () => startDurableObjects(),
};

export type EngineName =
  | "file"
  | "sqlite"
  | "redis"
  | "redis hash"
  | "upstash"
  | "upstash hash"
  | "deno kv"
  | "durable object";

/** A store in this process, and how to close its engine. */
export interface OpenedStore {
  readonly store: SessionStore;
  readonly close: () => void;
}

/** Opens an engine's store, in this process. */
export async function openStore(name: EngineName, address: string): Promise<OpenedStore> {
  switch (name) {
    case "file":
      return { store: fileStore({ directory: address }), close: () => {} };
    case "sqlite": {
      const database = new DatabaseSync(address);
      database.exec("PRAGMA journal_mode = WAL");
      return { store: sqliteStore(database), close: () => database.close() };
    }
    case "redis":
    case "redis hash": {
      const client = await createClient({ url: address })
        .on("error", () => {})
        .connect();
      const store = name === "redis" ? redisStore(client) : redisStore(client, { layout: "hash" });
      return { store, close: () => client.destroy() };
    }
    case "upstash":
    case "upstash hash": {
      const client = new Upstash({ url: address, token: "token-of-the-test", retry: { retries: 5, backoff: () => 1 } });
      const store = name === "upstash" ? upstashRedisStore(client) : upstashRedisStore(client, { layout: "hash" });
      return { store, close: () => {} };
    }
    case "deno kv": {
      const kv = await openKv(address);
      return { store: denoKvStore(kv), close: () => kv.close() };
    }
    case "durable object": {
      const store = durableObjectStore({
        idFromName: (key) => key,
        get: (key) => ({ fetch: (_url, init) => fetch(`${address}${String(key)}`, init) }),
      });
      return { store, close: () => {} };
    }
  }
}

async function startFolder(file = ""): Promise<Engine> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-histories-"));
  return {
    address: join(directory, file),
    disturb: () => 0,
    stop: () => rm(directory, { recursive: true, force: true }),
  };
}

async function startRedisEngine(): Promise<Engine> {
  const server = await startRedis();
  const admin = await createClient({ url: server.url })
    .on("error", () => {})
    .connect();
  return {
    address: server.url,
    // A client in the middle of a command loses its connection, and does not learn whether the command was done.
    disturb: async (chance) =>
      Math.random() < chance ? Number(await admin.sendCommand(["CLIENT", "KILL", "TYPE", "normal"])) : 0,
    async stop() {
      admin.destroy();
      await server.stop();
    },
  };
}

async function startUpstashEngine(): Promise<Engine> {
  const server = await startRedis();
  const proxy = await startUpstash(server.url);
  let faults = 0;
  return {
    address: proxy.url,
    disturb(chance) {
      const before = faults;
      faults = 0;
      proxy.fault = () => {
        if (Math.random() >= chance) return undefined;
        faults++;
        return Math.random() < 0.5 ? "drop after" : Math.random() < 0.5 ? "drop before" : { status: 500 };
      };
      return before;
    },
    async stop() {
      await proxy.stop();
      await server.stop();
    },
  };
}

async function startDurableObjects(): Promise<Engine> {
  // Imported here, because a process that only opens stores must not wait for the import of workerd.
  const { startWorker } = await import("../setup/workerd.ts");
  const worker = await startWorker(new URL("./durable_object.worker.ts", import.meta.url), {
    host: "127.0.0.1",
    durableObjects: { SESSIONS: { className: "SessionObject", useSQLite: true } },
  });
  const address = (await worker.ready).href;
  return {
    address,
    disturb: async (chance) => Number(await (await fetch(address, { body: String(chance), method: "PUT" })).text()),
    stop: () => worker.dispose(),
  };
}
