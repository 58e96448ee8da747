import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { createInterface } from "node:readline";

/** A server process for one test. */
export interface ServerProcess {
  readonly pid: number;
  /** Sends a signal to the server, and waits until it has ended. Does nothing if the server has ended already. */
  end(signal: NodeJS.Signals): Promise<void>;
}

/** How to start a server. */
export interface LaunchOptions extends Pick<SpawnOptions, "uid" | "gid" | "cwd"> {
  readonly command: string;
  readonly args: readonly string[];
  /** Matches the line of the standard error output that says that the server accepts connections. */
  readonly ready: RegExp;
}

/** Starts a server, and waits until it reports that it is ready. */
export async function launch({ command, args, ready, ...options }: LaunchOptions): Promise<ServerProcess> {
  const child = spawn(command, args, { ...options, stdio: ["ignore", "ignore", "pipe"] });
  await once(child, "spawn");
  const exited = once(child, "exit");
  const output: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    output.push(line);
    if (!ready.test(line)) continue;
    // Later output is not needed, but a full pipe would stop the server.
    child.stderr.resume();
    return {
      pid: pidOf(child),
      async end(signal) {
        if (child.exitCode === null && child.signalCode === null) child.kill(signal);
        await exited;
      },
    };
  }
  throw new Error(`${command} did not start:\n${output.join("\n")}`);
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error("The server is not running");
  return child.pid;
}

/** A port of 127.0.0.1 that is free at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
