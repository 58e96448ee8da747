import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the checkout. */
export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));

/** How a command ended, and its output. */
export interface Finished {
  readonly ok: boolean;
  readonly stdout: string;
  /** Both streams, in the order in which their parts arrived. */
  readonly output: string;
}

/** How to run a command. */
export interface CommandOptions {
  /** Whether to print the output while the command runs. Default false. */
  readonly live?: boolean;
  /** Environment variables in addition to those of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Runs a command in the checkout, with the tools of node_modules first on the PATH, and waits for its end. A missing
 * command counts as failed.
 */
export function run(
  command: string,
  args: readonly string[] = [],
  { live = false, env = {} }: CommandOptions = {},
): Promise<Finished> {
  const path = [join(ROOT, "node_modules", ".bin"), process.env["PATH"]].join(delimiter);
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, PATH: path, ...env },
    // On Windows, npm's commands are batch files.
    shell: process.platform === "win32",
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    output += text;
    if (live) process.stdout.write(text);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    if (live) process.stderr.write(text);
  });
  return new Promise((resolve) => {
    child.on("error", (error) => resolve({ ok: false, stdout, output: `${output}${error.message}\n` }));
    child.on("close", (code) => resolve({ ok: code === 0, stdout, output }));
    // A process that the command left behind may hold its outputs open for ever.
    child.on("exit", () =>
      setTimeout(() => [child.stdout, child.stderr].map((stream) => stream.destroy()), 10_000).unref(),
    );
  });
}
