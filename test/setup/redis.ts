import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "redis";
import { freePort, launch, type ServerProcess } from "./server_process.ts";

/** A Redis server for one test. */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
  /** Kills the server as a crash would, and starts it again on the same port with the same data. */
  restart(): Promise<void>;
  /** Kills the server as a crash would. */
  kill(): Promise<void>;
}

/** Options of {@linkcode startRedis}. */
export interface RedisServerOptions {
  /** The command that starts the server. Default `redis-server`. */
  readonly program?: readonly [string, ...string[]];
  /** Whether every write is on disk before it is acknowledged. Default false: the data are lost when the process ends. */
  readonly durable?: boolean;
  /** More options of Redis, as on its command line. */
  readonly args?: readonly string[];
}

/** Starts redis-server on a free port of 127.0.0.1, with a temporary folder for its data. */
export async function startRedis({
  program = ["redis-server"],
  durable = false,
  args = [],
}: RedisServerOptions = {}): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-redis-"));
  const port = await freePort();
  const persistence = durable ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"];
  const options = [
    "--port",
    String(port),
    "--bind",
    "127.0.0.1",
    "--dir",
    directory,
    "--save",
    "",
    ...persistence,
    ...args,
  ];
  const [command, ...before] = program;
  const start = (): Promise<ServerProcess> =>
    launch({ command, args: [...before, ...options], ready: /Ready to accept connections/, log: "stdout" });
  let server = await start();

  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return server.pid;
    },
    async stop() {
      await server.end("SIGKILL");
      await rm(directory, { recursive: true, force: true });
    },
    async restart() {
      await server.end("SIGKILL");
      server = await start();
    },
    kill: () => server.end("SIGKILL"),
  };
}

/** Three primaries that share the hash slots. */
export interface RedisCluster {
  readonly nodes: readonly RedisServer[];
  stop(): Promise<void>;
}

/** Starts a cluster of three nodes, and waits until each of them reports that the cluster is complete. */
export async function startRedisCluster(): Promise<RedisCluster> {
  const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "15000"];
  // The ports on which the nodes talk to each other. The default is the port plus 10 000, which may be too large.
  const buses = await Promise.all([1, 2, 3].map(() => freePort()));
  const nodes = await Promise.all(buses.map((bus) => startRedis({ args: [...args, "--cluster-port", String(bus)] })));
  const clients = await Promise.all(nodes.map(({ url }) => connected(url)));
  try {
    const share = Math.ceil(SLOTS / nodes.length);
    for (const [at, client] of clients.entries()) {
      const last = Math.min(SLOTS, (at + 1) * share) - 1;
      await client.sendCommand(["CLUSTER", "ADDSLOTSRANGE", String(at * share), String(last)]);
      await client.sendCommand(["CLUSTER", "SET-CONFIG-EPOCH", String(at + 1)]);
    }
    for (const [at, node] of nodes.entries()) {
      if (at > 0) await clients[0]?.sendCommand(["CLUSTER", "MEET", "127.0.0.1", String(node.port), String(buses[at])]);
    }
    for (const client of clients) {
      await until("the cluster is complete", async () => {
        const state = String(await client.sendCommand(["CLUSTER", "INFO"]));
        return state.includes("cluster_state:ok") && state.includes(`cluster_known_nodes:${nodes.length}`);
      });
    }
  } finally {
    for (const client of clients) client.destroy();
  }
  return {
    nodes,
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}

const SLOTS = 16_384;

/** A primary and its replica, watched by three Sentinels. */
export interface RedisSentinels {
  /** The name of the primary in its Sentinels. */
  readonly name: string;
  readonly sentinels: readonly { readonly host: string; readonly port: number }[];
  readonly primary: RedisServer;
  readonly replica: RedisServer;
  /** Waits until the replica has what the primary has. */
  synced(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a primary with a replica and three Sentinels, and waits until they know of each other. */
export async function startRedisSentinels(): Promise<RedisSentinels> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-sentinel-"));
  // By default a primary waits 5 s for more replicas before it sends its data to the first one.
  const primary = await startRedis({ args: ["--repl-diskless-sync-delay", "0"] });
  const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(primary.port)] });
  const processes: ServerProcess[] = [];
  const sentinels: { readonly host: string; readonly port: number }[] = [];
  for (let at = 0; at < 3; at++) {
    const port = await freePort();
    const file = join(directory, `${port}.conf`);
    const settings = [
      `port ${port}`,
      "bind 127.0.0.1",
      `dir ${directory}`,
      `sentinel monitor main 127.0.0.1 ${primary.port} 2`,
      // So long that the Sentinels do not replace a primary that is only slow.
      "sentinel down-after-milliseconds main 3000",
      "sentinel failover-timeout main 4000",
    ];
    await writeFile(file, `${settings.join("\n")}\n`);
    processes.push(
      await launch({ command: "redis-server", args: [file, "--sentinel"], ready: /\+monitor/, log: "stdout" }),
    );
    sentinels.push({ host: "127.0.0.1", port });
  }
  const watchers = await Promise.all(sentinels.map(({ port }) => connected(`redis://127.0.0.1:${port}`)));
  const client = await connected(primary.url);
  const synced = () =>
    until("the replica has every write", async () => {
      // WAIT covers only the writes of its own connection. Writes are replicated in order, so all writes before this one have arrived
      // too.
      await client.sendCommand(["SET", "synced", "1"]);
      return Number(await client.sendCommand(["WAIT", "1", "1000"])) > 0;
    });
  try {
    await synced();
    for (const watcher of watchers) {
      await until("the Sentinels know the replica and each other", async () => {
        const told = await watcher.sendCommand(["SENTINEL", "CKQUORUM", "main"]).catch(() => "");
        const replicas = await watcher.sendCommand(["SENTINEL", "REPLICAS", "main"]);
        const others = await watcher.sendCommand(["SENTINEL", "SENTINELS", "main"]);
        return (
          String(told).startsWith("OK 3") &&
          Array.isArray(replicas) &&
          replicas.length === 1 &&
          Array.isArray(others) &&
          others.length === 2
        );
      });
    }
  } finally {
    for (const watcher of watchers) watcher.destroy();
  }
  return {
    name: "main",
    sentinels,
    primary,
    replica,
    synced,
    async stop() {
      client.destroy();
      for (const process of processes) await process.end("SIGKILL");
      await Promise.all([primary.stop(), replica.stop()]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function connected(url: string) {
  return createClient({ url, RESP: 2 })
    .on("error", () => {})
    .connect();
}

/** Asks again until the condition holds, for at most two minutes, because the machine may be busy. */
async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 120_000;
  while (!(await isSo())) {
    if (performance.now() > giveUpAt) throw new Error(`It is not so after 120 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
