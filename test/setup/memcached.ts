import { freePort, launch, type ServerProcess } from "./server_process.ts";

/** A Memcached server for one test. */
export interface MemcachedServer {
  readonly port: number;
  /** Ends the server. Its data are lost. */
  stop(): Promise<void>;
  /** Starts a stopped server again on the same port, without data. */
  restart(): Promise<void>;
}

/** Starts memcached on a free port of 127.0.0.1, with additional command-line arguments. */
export async function startMemcached(...more: readonly string[]): Promise<MemcachedServer> {
  const port = await freePort();
  // As root, memcached needs the name of another user. Only the highest verbosity reports when the server listens.
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
