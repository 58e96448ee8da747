import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
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
  /** Matches the line of the log that says that the server accepts connections. */
  readonly ready: RegExp;
  /** The output that has the log. Default `stderr`. The other one is ignored. */
  readonly log?: "stdout" | "stderr";
}

const running = new Set<ChildProcess>();
// A test file that fails while it starts its servers cannot stop those that run already. The runner ends the file's process by SIGTERM.
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
process.once("SIGTERM", () => process.exit(143));

/** Starts a server, and waits until it reports that it is ready. */
export async function launch({
  command,
  args,
  ready,
  log = "stderr",
  ...options
}: LaunchOptions): Promise<ServerProcess> {
  // No output is inherited: a server that is left over would hold the output of the tests open, and with it whoever reads it.
  const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  child[log === "stdout" ? "stderr" : "stdout"].resume();
  await once(child, "spawn");
  running.add(child);
  const exited = once(child, "exit").finally(() => running.delete(child));
  const output: string[] = [];
  for await (const line of createInterface({ input: child[log] })) {
    output.push(line);
    if (!ready.test(line)) continue;
    // Later output is not needed, but a full pipe would stop the server.
    child[log].resume();
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

/**
 * A port of 127.0.0.1 that is free. It lies below the ports that Linux, macOS and Windows give to outgoing connections
 * (32 768 and above), so that none of these takes it before the server has it, or while the server restarts.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_768);
    const server = createServer();
    const taken = new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(true)).once("listening", () => server.close(() => resolve(false)));
    });
    server.listen(port, "127.0.0.1");
    if (!(await taken)) return port;
  }
}
