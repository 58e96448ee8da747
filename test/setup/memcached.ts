import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { createInterface } from "node:readline";

/** A Memcached server of a test's own. */
export interface MemcachedServer {
  readonly port: number;
  /** Ends the server. */
  stop(): Promise<void>;
}

/** Starts memcached on 127.0.0.1, on a free port unless one is given. */
export async function startMemcached(port?: number): Promise<MemcachedServer> {
  port ??= await freePort();
  // As root it insists on a user; and only the most talkative says when it listens.
  const args = ["-l", "127.0.0.1", "-p", String(port), "-U", "0", "-u", "root", "-vv"];
  const server = spawn("memcached", args, { stdio: ["ignore", "ignore", "pipe"] });
  await once(server, "spawn");
  const exited = once(server, "exit");
  const said: string[] = [];
  for await (const line of createInterface({ input: server.stderr })) {
    said.push(line);
    if (!line.includes("server listening")) continue;
    // What it says later is of no interest, but must be taken off the pipe.
    server.stderr.resume();
    return {
      port,
      async stop() {
        server.kill("SIGKILL");
        await exited;
      },
    };
  }
  throw new Error(`memcached did not start:\n${said.join("\n")}`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
