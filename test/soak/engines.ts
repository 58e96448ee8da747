/** The engines of the soak, and the faults of each. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "pg";
import { createClient } from "redis";
import type { SessionStore } from "with-session";
import { fileStore } from "with-session/stores/file";
import { postgresStore } from "with-session/stores/postgres";
import { redisStore } from "with-session/stores/redis";
import { startPostgres } from "../setup/postgres.ts";
import { startRedis } from "../setup/redis.ts";

export type EngineName = "Redis" | "Postgres" | "files";

/** An engine for several servers. */
export interface Engine {
  /** The address that servers open. It stays the same after a failover. */
  readonly address: string;
  /** The faults, by name. Each resolves when the engine is available again. None may lose an acknowledged write. */
  readonly troubles: Readonly<Record<string, () => Promise<void>>>;
  stop(): Promise<void>;
}

/** Opens a store in this process, as a user's program would. */
export function openStore(name: EngineName, address: string): { store: SessionStore; close(): Promise<void> } {
  if (name === "files") return { store: fileStore({ directory: address }), close: async () => {} };
  if (name === "Redis") {
    const client = createClient({ url: address }).on("error", () => {});
    void client.connect();
    return { store: redisStore(client), close: async () => client.destroy() };
  }
  const pool = new Pool({ connectionString: address, max: 8 }).on("error", () => {});
  return { store: postgresStore(pool), close: () => pool.end() };
}

export const engines: Readonly<Record<EngineName, () => Promise<Engine>>> = {
  Redis: startRedisPair,
  Postgres: startDatabase,
  files: startFolder,
};

async function startRedisPair(): Promise<Engine> {
  const options = { durable: true, args: ["--repl-diskless-sync-delay", "0"] };
  let [primary, replica] = await Promise.all([startRedis(options), startRedis(options)]);
  const way = await startWay(primary.port);
  const tell = async (port: number, command: string[]): Promise<string> => {
    const client = await createClient({ url: `redis://127.0.0.1:${port}` })
      .on("error", () => {})
      .connect();
    try {
      return String(await client.sendCommand(command));
    } finally {
      client.destroy();
    }
  };
  const roleOf = async (port: number): Promise<string> => (await tell(port, ["ROLE"])).split(",")[0] ?? "";
  // Not as a command-line argument: after a promotion and a restart, it must not follow the other server again.
  await tell(replica.port, ["REPLICAOF", "127.0.0.1", String(primary.port)]);
  return {
    address: `redis://127.0.0.1:${way.port}`,
    troubles: {
      "the engine is killed and started again": () => primary.restart(),
      async "the replica is promoted"() {
        // The switch-over waits for the replica. Without that, writes that are not yet replicated could be lost.
        await until(async () => (await tell(primary.port, ["WAIT", "1", "1000"])) !== "0");
        await tell(primary.port, ["FAILOVER", "TO", "127.0.0.1", String(replica.port)]);
        await until(async () => (await roleOf(replica.port)) === "master");
        [primary, replica] = [replica, primary];
        way.lead(primary.port);
        await until(async () => (await tell(primary.port, ["WAIT", "1", "1000"])) !== "0");
      },
      async "the engine stands still for six seconds"() {
        process.kill(primary.pid, "SIGSTOP");
        await pause(6000);
        process.kill(primary.pid, "SIGCONT");
      },
      "all connections are cut": async () => way.cut(),
    },
    async stop() {
      await way.stop();
      await Promise.all([primary.stop(), replica.stop()]);
    },
  };
}

async function startDatabase(): Promise<Engine> {
  const server = await startPostgres();
  const way = await startWay(server.port);
  return {
    address: server.url.replace(`:${server.port}/`, `:${way.port}/`),
    troubles: {
      async "the engine crashes and is started again"() {
        await server.crash();
        await server.restart();
      },
      "all connections are cut": async () => way.cut(),
    },
    async stop() {
      await way.stop();
      await server.stop();
    },
  };
}

async function startFolder(): Promise<Engine> {
  const address = await mkdtemp(join(tmpdir(), "with-session-soak-"));
  return { address, troubles: {}, stop: () => rm(address, { recursive: true, force: true }) };
}

/** A connection to a server that can be cut, and directed to another server. */
async function startWay(to: number): Promise<{
  readonly port: number;
  lead(port: number): void;
  cut(): void;
  stop(): Promise<void>;
}> {
  let target = to;
  const open = new Set<Socket>();
  const proxy = createServer((client) => {
    const server = connect(target, "127.0.0.1");
    for (const [from, onto] of [
      [client, server],
      [server, client],
    ] as const) {
      open.add(from);
      from
        .on("error", () => {})
        .on("close", () => {
          open.delete(from);
          onto.destroy();
        });
      from.pipe(onto);
    }
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const cut = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    port: (proxy.address() as AddressInfo).port,
    lead(port) {
      target = port;
      cut();
    },
    cut,
    async stop() {
      proxy.close();
      cut();
      await once(proxy, "close");
    },
  };
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 120_000;
  while (!(await isSo().catch(() => false))) {
    if (performance.now() > giveUpAt) throw new Error("The engine did not come back within two minutes");
    await pause(20);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
