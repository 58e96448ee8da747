/**
 * What a session costs in process, with the memory store, beside the peers, on every runtime.
 *
 * @module
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import workerd from "workerd/package.json" with { type: "json" };
import { type Cost, costsOf, type Lane } from "./rounds.ts";

/** The costs on one runtime. */
export interface RuntimeCosts {
  readonly runtime: RuntimeName;
  readonly version: string;
  readonly costs: readonly Cost[];
}

export type RuntimeName = "Node" | "Deno" | "Bun" | "workerd";

export const RUNTIMES: readonly RuntimeName[] = ["Node", "Deno", "Bun", "workerd"];

const run = promisify(execFile);
const commands: Readonly<Record<Exclude<RuntimeName, "workerd">, readonly string[]>> = {
  Node: [process.execPath],
  Deno: ["deno", "run", "--quiet", "--allow-all"],
  Bun: ["bun"],
};

/** Measures the contenders on one runtime. */
export async function measureInProcess(runtime: RuntimeName, rounds: number): Promise<RuntimeCosts> {
  if (runtime === "workerd") return await measureInWorkerd(rounds);
  const [command = "", ...args] = commands[runtime];
  const directory = await mkdtemp(join(tmpdir(), "with-session-bench-"));
  const script = join(directory, "bench.mjs");
  try {
    await writeFile(script, await bundle("process.ts", "node"));
    const { stdout } = await run(command, [...args, script, JSON.stringify({ rounds })], { maxBuffer: 2 ** 24 });
    const { stdout: version } = await run(command, ["--version"]);
    return { runtime, version: /\d+\.\d+\.\d+/.exec(version)?.[0] ?? "", costs: JSON.parse(stdout) as Cost[] };
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function measureInWorkerd(rounds: number): Promise<RuntimeCosts> {
  const worker = new Miniflare({
    modules: true,
    script: await bundle("worker.ts", "neutral"),
    compatibilityDate: "2026-01-01",
    compatibilityFlags: ["nodejs_compat"],
    // A peer warns of its unsigned cookies, which are meant here.
    handleRuntimeStdio: (...streams: Readable[]) => streams.forEach((stream) => stream.resume()),
  });
  const url = await worker.ready;
  try {
    const lanes = (await (await fetch(url)).json()) as Pick<Lane, "contender" | "case" | "reason">[];
    const ask = async (lane: number, times: number): Promise<number> => {
      const start = performance.now();
      const response = await fetch(`${url.href}?lane=${lane}&times=${times}`);
      if (!response.ok) throw new Error(`workerd answered ${response.status}: ${await response.text()}`);
      await response.arrayBuffer();
      return performance.now() - start;
    };
    // What the question itself takes is no cost of the lane's.
    let idle = Infinity;
    for (let time = 0; time < 200; time++) idle = Math.min(idle, await ask(0, 0));
    const time = async (lane: number, times: number): Promise<number> => Math.max(0, (await ask(lane, times)) - idle);
    const costs = await costsOf(lanes, time, { rounds, share: 10, most: 3000 });
    return { runtime: "workerd", version: workerd.version, costs };
  } finally {
    await worker.dispose();
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
    // Some peers are CommonJS, and ask for Node's modules by require.
    banner:
      platform === "node"
        ? { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' }
        : {},
    tsconfigRaw: {},
    logLevel: "error",
  });
  return outputFiles[0]?.text ?? "";
}
