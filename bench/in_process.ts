/**
 * The cost of a session in process, with the memory store, on every runtime. First all contenders run in one process,
 * then each one alone, because a program uses only one library.
 *
 * @module
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import workerd from "workerd/package.json" with { type: "json" };
import { median } from "./figures.ts";
import { type Cost, costsOf, type Lane, type Measure } from "./rounds.ts";

/** The costs on one runtime. */
export interface RuntimeCosts {
  readonly runtime: RuntimeName;
  readonly version: string;
  readonly costs: readonly Cost[];
}

export type RuntimeName = "Node" | "Deno" | "Bun" | "workerd";

export const RUNTIMES: readonly RuntimeName[] = ["Node", "Deno", "Bun", "workerd"];

/** The contenders that are also measured alone, because the targets concern them. */
const ALONE: Readonly<Record<RuntimeName, readonly string[]>> = {
  Node: [
    "bare handler",
    "by hand",
    "with-session",
    "with-session, signed ids",
    "with-session, encryption",
    "Remix session",
  ],
  Deno: ["bare handler", "by hand", "with-session"],
  Bun: ["bare handler", "by hand", "with-session"],
  workerd: ["bare handler", "by hand", "with-session"],
};

const run = promisify(execFile);
const commands: Readonly<Record<Exclude<RuntimeName, "workerd">, readonly [string, ...string[]]>> = {
  Node: [process.execPath],
  Deno: ["deno", "run", "--quiet", "--allow-all"],
  Bun: ["bun"],
};

/** How many rounds to measure, and how many milliseconds to warm up for each contender and case. */
export type Effort = Pick<Measure, "rounds" | "warm">;

/** Measures all contenders in one process of a runtime. */
export async function measureInProcess(runtime: RuntimeName, effort: Effort): Promise<RuntimeCosts> {
  if (runtime === "workerd") return { runtime, version: workerd.version, costs: await inWorkerd([undefined], effort) };
  return await inScript(async (script) => {
    const [command, ...args] = commands[runtime];
    const measure: Measure = { ...effort, share: 3, most: 1000 };
    const { stdout } = await run(command, [...args, script, JSON.stringify({ measure })], { maxBuffer: 2 ** 24 });
    return { runtime, version: await versionOf(runtime), costs: JSON.parse(stdout) as Cost[] };
  });
}

/**
 * Measures contenders that each have a process of a runtime. They take turns, and each is measured in several new processes, because the code that a compiler
 * makes of one program differs more from process to process than from round to round. The median of the processes counts.
 */
export async function measureAlone(runtime: RuntimeName, effort: Effort, processes: number): Promise<RuntimeCosts> {
  const runs: RuntimeCosts[] = [];
  while (runs.length < processes) runs.push(await measureOnce(runtime, effort));
  const [first] = runs;
  if (first === undefined) throw new RangeError("At least one process is needed");
  const costs = first.costs.map((cost, at) => {
    const times = runs.flatMap((each) => each.costs[at]?.microseconds ?? []);
    return times.length === 0 ? cost : { ...cost, microseconds: median(times) };
  });
  return { ...first, costs };
}

async function measureOnce(runtime: RuntimeName, effort: Effort): Promise<RuntimeCosts> {
  const names = ALONE[runtime];
  if (runtime === "workerd") return { runtime, version: workerd.version, costs: await inWorkerd(names, effort) };
  return await inScript(async (script) => {
    const remotes = await Promise.all(names.map((only) => openProcess(runtime, script, only)));
    try {
      const costs = await costsOfRemotes(remotes, { ...effort, share: 5, most: 2000 });
      return { runtime, version: await versionOf(runtime), costs };
    } finally {
      for (const { close } of remotes) await close();
    }
  });
}

/** Lanes in another process, which this process times. */
interface Remote {
  readonly lanes: readonly Pick<Lane, "contender" | "case" | "reason">[];
  readonly time: (lane: number, times: number) => Promise<number>;
  readonly close: () => Promise<unknown>;
}

async function costsOfRemotes(remotes: readonly Remote[], measure: Measure): Promise<Cost[]> {
  const places = remotes.flatMap((remote) => remote.lanes.map((lane, index) => ({ remote, lane, index })));
  const time = async (at: number, times: number): Promise<number> => {
    const place = places[at];
    return (await place?.remote.time(place.index, times)) ?? Number.NaN;
  };
  return await costsOf(
    places.map(({ lane }) => lane),
    time,
    measure,
  );
}

async function openProcess(runtime: Exclude<RuntimeName, "workerd">, script: string, only: string): Promise<Remote> {
  const [command, ...args] = commands[runtime];
  const child = spawn(command, [...args, script, JSON.stringify({ only })], { stdio: "pipe" });
  // Peers warn about defaults that are intended here. The warnings are shown only if the process ends early.
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`${only} on ${runtime} has ended: ${said}`);
    return value;
  };
  return {
    lanes: JSON.parse(await next()),
    async time(lane, times) {
      child.stdin.write(`${lane} ${times}\n`);
      return Number(await next());
    },
    async close() {
      child.stdin.end();
      await once(child, "exit");
    },
  };
}

async function inWorkerd(names: readonly (string | undefined)[], effort: Effort): Promise<Cost[]> {
  const script = await bundle("worker.ts", "neutral");
  const remotes: Remote[] = [];
  try {
    for (const only of names) remotes.push(await openWorker(script, only));
    return await costsOfRemotes(remotes, { ...effort, share: 10, most: 3000 });
  } finally {
    for (const { close } of remotes) await close();
  }
}

async function openWorker(script: string, only: string | undefined): Promise<Remote> {
  const worker = new Miniflare({
    modules: true,
    script,
    compatibilityDate: "2026-01-01",
    compatibilityFlags: ["nodejs_compat"],
    bindings: only === undefined ? {} : { ONLY: only },
    // A peer warns about its unsigned cookies, which are intended here.
    handleRuntimeStdio: (...streams: Readable[]) => streams.forEach((stream) => stream.resume()),
  });
  const url = await worker.ready;
  const ask = async (lane: number, times: number): Promise<number> => {
    const start = performance.now();
    const response = await fetch(`${url.href}?lane=${lane}&times=${times}`);
    if (!response.ok) throw new Error(`workerd answered ${response.status}: ${await response.text()}`);
    await response.arrayBuffer();
    return performance.now() - start;
  };
  const lanes = (await (await fetch(url)).json()) as Remote["lanes"];
  // The time of the question itself is not part of the lane's cost.
  let idle = Infinity;
  for (let time = 0; time < 200; time++) idle = Math.min(idle, await ask(0, 0));
  return {
    lanes,
    time: async (lane, times) => Math.max(0, (await ask(lane, times)) - idle),
    close: () => worker.dispose(),
  };
}

async function versionOf(runtime: Exclude<RuntimeName, "workerd">): Promise<string> {
  const { stdout } = await run(commands[runtime][0], ["--version"]);
  return /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? "";
}

/** Writes the contenders into one script, and deletes it after use. */
async function inScript<T>(use: (script: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-bench-"));
  const script = join(directory, "bench.mjs");
  try {
    await writeFile(script, await bundle("process.ts", "node"));
    return await use(script);
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function bundle(entry: string, platform: "node" | "neutral"): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`./runtimes/${entry}`, import.meta.url))],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    platform,
    mainFields: ["module", "main"],
    conditions: ["svelte", "module", "production", "import"],
    external: ["node:*"],
    define: { "process.env.NODE_ENV": '"production"' },
    // Some peers are CommonJS, and load Node's modules with require.
    banner:
      platform === "node"
        ? { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' }
        : {},
    tsconfigRaw: {},
    logLevel: "error",
  });
  return outputFiles[0]?.text ?? "";
}
