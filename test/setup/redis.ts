import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** A Redis server of a test's own. */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
  /** Kills the server as a crash would, and starts it again on the same port and data. */
  restart(): Promise<void>;
}

/** Options of {@linkcode startRedis}. */
export interface RedisServerOptions {
  /** Whether every write is on disk before it is acknowledged. Default false: nothing outlives the process. */
  readonly durable?: boolean;
  /** More of Redis's own options, as on its command line. */
  readonly args?: readonly string[];
}

/** Starts redis-server on a free port of 127.0.0.1, with a temporary folder for its data. */
export async function startRedis({ durable = false, args = [] }: RedisServerOptions = {}): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-redis-"));
  const port = await freePort();
  const persistence = durable ? ["--appendonly", "yes", "--appendfsync", "always"] : ["--appendonly", "no"];
  const command = [
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
  let server = await launch(command);

  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return pidOf(server);
    },
    async stop() {
      await end(server);
      await rm(directory, { recursive: true, force: true });
    },
    async restart() {
      await end(server);
      server = await launch(command);
    },
  };
}

async function launch(args: string[]): Promise<ChildProcess> {
  const server = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] });
  await once(server, "spawn");
  const said: string[] = [];
  for await (const line of createInterface({ input: server.stdout })) {
    said.push(line);
    if (!line.includes("Ready to accept connections")) continue;
    // What it says later is of no interest, but must be taken off the pipe.
    server.stdout.resume();
    return server;
  }
  throw new Error(`redis-server did not start:\n${said.join("\n")}`);
}

async function end(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const exited = once(server, "exit");
  process.kill(pidOf(server), "SIGKILL");
  await exited;
}

function pidOf(server: ChildProcess): number {
  if (server.pid === undefined) throw new Error("redis-server is not running");
  return server.pid;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
