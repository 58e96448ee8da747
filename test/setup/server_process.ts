import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { createInterface } from "node:readline";

/** A server of a test's own. */
export interface ServerProcess {
  readonly pid: number;
  /** Ends the server by a signal, and waits until it has ended. A server that has ended already stays as it is. */
  end(signal: NodeJS.Signals): Promise<void>;
}

/** What a server is started with. */
export interface LaunchOptions extends Pick<SpawnOptions, "uid" | "gid" | "cwd"> {
  readonly command: string;
  readonly args: readonly string[];
  /** What a line of the standard error output holds when the server accepts connections. */
  readonly ready: RegExp;
}

/** Starts a server, and waits until it says that it is ready. */
export async function launch({ command, args, ready, ...options }: LaunchOptions): Promise<ServerProcess> {
  const child = spawn(command, args, { ...options, stdio: ["ignore", "ignore", "pipe"] });
  await once(child, "spawn");
  const exited = once(child, "exit");
  const output: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    output.push(line);
    if (!ready.test(line)) continue;
    // What it says later is of no interest, but must be taken off the pipe.
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

/** A port of 127.0.0.1 that is free for the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
