import { freePort, launch, type ServerProcess } from "./server_process.ts";

/** A Memcached server of a test's own. */
export interface MemcachedServer {
  readonly port: number;
  /** Ends the server, and all that it holds with it. */
  stop(): Promise<void>;
  /** Starts a server that was stopped, empty, on the same port. */
  restart(): Promise<void>;
}

/** Starts memcached on a free port of 127.0.0.1, with further arguments of its command line. */
export async function startMemcached(...more: readonly string[]): Promise<MemcachedServer> {
  const port = await freePort();
  // As root it insists on another user; and only the most talkative says when it listens.
  const asUser = process.getuid?.() === 0 ? ["-u", "nobody"] : [];
  const args = ["-l", "127.0.0.1", "-p", String(port), "-U", "0", ...asUser, "-vv", ...more];
  const start = (): Promise<ServerProcess> => launch({ command: "memcached", args, ready: /server listening/ });
  let server = await start();
  return {
    port,
    stop: () => server.end("SIGKILL"),
    async restart() {
      server = await start();
    },
  };
}
