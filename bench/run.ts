/**
 * `npm run bench`: the cost of a session, compared with the bare handler, with code written by hand, and with the peers. It takes half an hour, and
 * writes `results.json`, the tables of `README.md` (and one in the project's README), and `chart.svg`. `-- wire contention` measures only those parts
 * and keeps the other results; `-- quick` takes two minutes and writes nothing; `-- --json` prints the figures as JSON.
 *
 * @module
 */
import { readFile, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { run } from "../test/setup/command.ts";
import { measureSteps, weighParts } from "./anatomy.ts";
import { chartOf } from "./chart.ts";
import { measureContention } from "./contention.ts";
import { measureDevices } from "./devices.ts";
import { measureCrowds, measureOptions, measureSizes } from "./growth.ts";
import { EVERY_ENGINE } from "./engines.ts";
import { type Effort, measureAlone, measureInProcess, RUNTIMES, type RuntimeCosts } from "./in_process.ts";
import peers from "./package.json" with { type: "json" };
import { measureLatency } from "./latency.ts";
import { type PauseName, PAUSES } from "./pauses.ts";
import type { ChoiceCost, PartName, Parts, Results } from "./results.ts";
import { measureCounters, weighEntries } from "./size.ts";
import { tablesOf } from "./tables.ts";
import { measureWire } from "./wire.ts";

const words = process.argv.slice(2);
const isQuick = words.includes("quick");
const isForMachines = words.includes("--json");

const parts: { readonly [Name in PartName]: () => Promise<Parts[Name]> } = {
  alone: () =>
    onEveryRuntime(
      (runtime, effort) => measureAlone(runtime, effort, isQuick ? 1 : 7),
      isQuick ? { rounds: 8, warm: 150 } : { rounds: 25, warm: 800 },
    ),
  inProcess: () => onEveryRuntime(measureInProcess, isQuick ? { rounds: 3, warm: 10 } : { rounds: 40, warm: 300 }),
  steps: () => measureSteps(isQuick ? 10 : 300),
  wire: () => measureWire(isQuick ? { rounds: 3, sessionsEach: 10 } : { rounds: 30, sessionsEach: 1000 }),
  latency: () =>
    measureLatency(isQuick ? { rounds: 100, seconds: 0.3, sessions: 8 } : { rounds: 3000, seconds: 12, sessions: 64 }),
  sizes: () => measureSizes(isQuick ? 5 : 40),
  options: () => measureOptions(isQuick ? 5 : 60),
  crowds: () =>
    isQuick
      ? measureCrowds([100_000], [1_000])
      : measureCrowds([1_000, 10_000, 100_000, 1_000_000], [1_000, 10_000, 100_000]),
  contention: () =>
    isQuick
      ? measureContention({
          names: ["file", "sqlite", "redis", "deno kv"],
          crowds: [
            [1, 256],
            [4, 64],
          ],
          seconds: 1,
        })
      : measureContention({
          names: EVERY_ENGINE,
          crowds: [
            [1, 1],
            [1, 16],
            [1, 256],
            [4, 64],
          ],
          seconds: 4,
        }),
  pauses: async () =>
    isQuick
      ? []
      : measureContention({
          names: ["file", "redis", "deno kv", "upstash"],
          crowds: [
            [4, 1],
            [4, 64],
          ],
          seconds: 5,
          pauses: Object.keys(PAUSES) as PauseName[],
        }),
  devices: () =>
    isQuick ? measureDevices(["memory", "redis"], [10, 100]) : measureDevices(EVERY_ENGINE, [10, 100, 1_000]),
  entries: weighEntries,
  counters: () => measureCounters(isQuick ? 3 : 25),
  shares: weighParts,
  choices: async () => {
    const script = fileURLToPath(new URL("./peers/choices.ts", import.meta.url));
    const { ok, stdout, output } = await run(process.execPath, [script, isQuick ? "30" : "200"]);
    if (!ok) throw new Error(output);
    return JSON.parse(stdout) as ChoiceCost[];
  },
};

async function onEveryRuntime(
  measure: (runtime: (typeof RUNTIMES)[number], effort: Effort) => Promise<RuntimeCosts>,
  effort: Effort,
): Promise<RuntimeCosts[]> {
  const all: RuntimeCosts[] = [];
  for (const runtime of RUNTIMES) all.push(await measure(runtime, effort));
  return all;
}

/** Tables whose place is on another page. */
const ELSEWHERE: Readonly<Record<string, string>> = { latency: "../README.md" };

await main();

async function main(): Promise<void> {
  await installPeers();
  const { ok, output } = await run("tsdown", ["--logLevel", "error"]);
  if (!ok) throw new Error(`The package could not be built:\n${output}`);
  const asked = (Object.keys(parts) as PartName[]).filter((name) => words.includes(name));
  const names = asked.length > 0 ? asked : (Object.keys(parts) as PartName[]);
  const today = new Date().toISOString().slice(0, 10);
  let results = { ...(isQuick ? {} : await readResults()), ...circumstances() } as Results;
  for (const name of names) {
    const begun = performance.now();
    const measured = await parts[name]();
    results = { ...results, dates: { ...results.dates, [name]: today }, [name]: measured };
    if (!isForMachines) console.error(`Measured ${name} in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
    // A failure of a later part must not lose what was measured.
    if (!isQuick) await write(results);
  }
  if (isForMachines) console.log(JSON.stringify(results, null, 2));
  else for (const table of Object.values(tablesOf(results))) console.log(`\n${table}`);
  // An open client of an engine could keep the process alive.
  process.exit(0);
}

/** Installs the packages in the `package.json` beside this file, unless they are installed. */
async function installPeers(): Promise<void> {
  const cwd = fileURLToPath(new URL(".", import.meta.url));
  const installed = await Promise.all(
    Object.entries(peers.dependencies).map(async ([name, version]) => {
      const manifest = await readFile(`${cwd}node_modules/${name}/package.json`, "utf8").catch(() => "{}");
      return (JSON.parse(manifest) as { version?: string }).version === version;
    }),
  );
  if (installed.every(Boolean)) return;
  // Peer dependencies of the peers are whole frameworks, and are not needed.
  const flags = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--legacy-peer-deps"];
  const { ok, output } = await run("npm", ["install", "--prefix", cwd, ...flags]);
  if (!ok) throw new Error(`The peers could not be installed:\n${output}`);
}

function circumstances(): Pick<Results, "machine" | "versions"> {
  const cpu = cpus()[0]?.model ?? "unknown";
  const machine = { cpu, cores: cpus().length, node: process.versions.node };
  return { machine, versions: peers.dependencies };
}

function at(name: string): URL {
  return new URL(name, import.meta.url);
}

async function readResults(): Promise<Partial<Results>> {
  return JSON.parse(await readFile(at("results.json"), "utf8").catch(() => "{}")) as Partial<Results>;
}

async function write(results: Results): Promise<void> {
  await writeFile(at("results.json"), JSON.stringify(results, null, 2));
  await run("oxfmt", ["bench/results.json"]);
  if (results.inProcess !== undefined) await writeFile(at("chart.svg"), chartOf(results));
  for (const [name, table] of Object.entries(tablesOf(results))) {
    const page = at(ELSEWHERE[name] ?? "README.md");
    const text = await readFile(page, "utf8");
    const place = new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- end -->)`);
    if (!place.test(text)) throw new Error(`${page.pathname} has no place for the table "${name}"`);
    await writeFile(
      page,
      text.replace(place, (_all, before: string, after: string) => `${before}\n${table}\n\n${after}`),
    );
  }
}
