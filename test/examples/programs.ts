import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { delimiter, join } from "node:path";
import { ROOT } from "../setup/command.ts";
import { freePort } from "../setup/server_process.ts";

/** The folder of the examples. */
export const EXAMPLES: string = join(ROOT, "examples");

/** A command and its arguments. */
export type Command = readonly [string, ...string[]];

/** The folder in which a program runs, and its additional environment variables. */
export interface Surroundings {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A running server. */
export interface Program {
  readonly origin: string;
  /** The end of its output. */
  output(): string;
  /** Ends the program and all processes that it started, and waits for their end. */
  stop(): Promise<void>;
}

/** How a command ended. */
export interface Finished {
  readonly code: number | null;
  readonly output: string;
}

/** In milliseconds. Only a command that hangs takes longer. */
const MAX_COMMAND_TIME = 900_000;
const MAX_START_TIME = 300_000;
/** Another program may take a port between the search for a free one and the start. */
const TRIES = 3;

const PATH = [join(EXAMPLES, "node_modules", ".bin"), join(ROOT, "node_modules", ".bin"), process.env["PATH"]].join(
  delimiter,
);
const running = new Set<ChildProcess>();
const givenPorts = new Set<number>();

// All started programs end with this process, however it ends.
process.on("exit", () => running.forEach(kill));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));

/** Runs a command to its end. */
export async function finish(command: Command, surroundings: Surroundings): Promise<Finished> {
  const { child, ended, output } = launch(command, surroundings);
  const timer = setTimeout(() => kill(child), MAX_COMMAND_TIME);
  const code = await ended;
  clearTimeout(timer);
  return { code, output: output() };
}

/** Runs a command to its end. If it fails, throws with its output. */
export async function succeed(command: Command, surroundings: Surroundings): Promise<void> {
  const { code, output } = await finish(command, surroundings);
  if (code !== 0) throw new Error(`${command.join(" ")} failed:\n${output.slice(-3000)}`);
}

/** Starts a server on a free port, with `$PORT` in its arguments, and waits until it answers. */
export async function start(command: Command, surroundings: Surroundings): Promise<Program> {
  let said = "";
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const port = await portOfItsOwn();
    const origin = `http://127.0.0.1:${port}`;
    const [name, ...args] = command;
    const { child, ended, output } = launch([name, ...args.map((arg) => arg.replace("$PORT", String(port)))], {
      cwd: surroundings.cwd,
      env: { ...surroundings.env, PORT: String(port), HOST: "127.0.0.1", HOSTNAME: "127.0.0.1" },
    });
    const stop = async (): Promise<void> => {
      kill(child);
      await ended;
    };
    if (await answers(origin, ended)) return { origin, output, stop };
    await stop();
    said = output();
  }
  throw new Error(`It does not start:\n${said}`);
}

/** Waits until a server answers. Returns false if its program ends before. */
async function answers(origin: string, ended: Promise<unknown>): Promise<boolean> {
  const over = new AbortController();
  const signal = AbortSignal.any([over.signal, AbortSignal.timeout(MAX_START_TIME)]);
  void ended.then(() => over.abort());
  while (!signal.aborted) {
    const answer = await fetch(`${origin}/style.css`, { signal }).catch(() => undefined);
    await answer?.text().catch(() => "");
    if (answer !== undefined && answer.status < 500 && !signal.aborted) return true;
    await sleep(50, undefined, { signal }).catch(() => undefined);
  }
  return false;
}

/** A port that no other program of this run gets. */
async function portOfItsOwn(): Promise<number> {
  const port = await freePort();
  if (givenPorts.has(port)) return await portOfItsOwn();
  givenPorts.add(port);
  return port;
}

interface Launched {
  readonly child: ChildProcess;
  /** Resolves with the exit code when the program and all processes that hold its output have ended. */
  readonly ended: Promise<number | null>;
  output(): string;
}

/** Starts a program in a new process group, so that its children end with it. */
function launch([name, ...args]: Command, { cwd, env = {} }: Surroundings): Launched {
  const child = spawn(name, args, {
    cwd,
    env: environment(env),
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  running.add(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-20_000)));
  child.on("error", (error) => (output += `${error.message}\n`));
  const ended = once(child, "close").then(
    () => child.exitCode,
    () => null,
  );
  void ended.then(() => running.delete(child));
  return { child, ended, output: () => output };
}

function kill({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // A missing group is an error only if its first process still runs.
    if (exitCode === null && signalCode === null) throw error;
  }
}

function environment(more: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const { NODE_ENV: _, ...inherited } = process.env;
  return {
    ...inherited,
    PATH,
    CI: "1",
    NO_COLOR: "1",
    NODE_NO_WARNINGS: "1",
    NEXT_TELEMETRY_DISABLED: "1",
    ASTRO_TELEMETRY_DISABLED: "1",
    WRANGLER_SEND_METRICS: "false",
    ...more,
  };
}
