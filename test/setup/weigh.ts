/**
 * The size of each entry and of a few programs, minified and gzipped, with all dependencies: `npm run sizes`.
 *
 * `npm run sizes -- --update` sets the budgets to the present sizes plus 3 %, and writes the sizes into the README.
 *
 * @module
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import type { Finished } from "./command.ts";
import { ROOT } from "./command.ts";
import { entries } from "./entries.ts";
import { importsOfSource, longestChain } from "./imports.ts";

const COUNTER = `
import { withSession } from "./mod.ts";
export default {
  fetch: withSession(async (_request, session) => {
    const visits = await session.update("visits", (n = 0) => n + 1);
    return new Response("Visit " + visits);
  }),
};`;

/** Programs that are weighed beside the entries: the visit counter, and the visit counter with more. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  "visit counter": [],
  "counter, Redis": ["./stores/redis"],
  "counter, signed ids, encryption, user sessions": ["./signed-ids", "./encryption", "./user-sessions"],
};

/**
 * The goals in gzipped bytes, for what an entry adds to the visit counter, or for the size of a program. They are reported only; a missed
 * goal is no failure.
 */
const GOALS: Readonly<Record<string, number>> = {
  "visit counter": 13 * 1024,
  "./stores/redis": 1.5 * 1024,
  "counter, signed ids, encryption, user sessions": 5 * 1024,
  "./csrf": 768,
  "./cross-origin": 768,
  "./exclusive": 768,
  "./nist": 768,
  "./user-sessions": 3 * 1024,
  "./read-your-writes": 3 * 1024,
};

const BUDGETS = join(ROOT, "test/setup/size_budgets.json");
const README = join(ROOT, "README.md");
const ROOM = 1.03;

interface Weight {
  readonly what: string;
  readonly minified: number;
  readonly gzipped: number;
  /** How many gzipped bytes it adds to a visit counter. */
  readonly added: number;
  /** Other entries of the package in its bundle. Each of them is a fault. */
  readonly strays: readonly string[];
}

/** Weighs everything, and compares the sizes with the budgets. */
export async function weigh(): Promise<Pick<Finished, "ok" | "output">> {
  const [weights, budgets, readme] = await Promise.all([weighAll(), readBudgets(), readFile(README, "utf8")]);
  const faults = weights.map((weight) => faultOf(weight, budgets));
  const stale = Object.keys(budgets).filter((what) => !weights.some((weight) => weight.what === what));
  const rows = weights.map((weight, index) => [
    weight.what,
    String(weight.minified),
    String(weight.gzipped),
    String(budgets[weight.what] ?? "none"),
    weight.added === 0 ? "" : `+${weight.added}`,
    [faults[index], missedGoal(weight)].filter(Boolean).join("; "),
  ]);
  const isTold = readme.includes(tableOf(weights));
  const output = [
    ...aligned([["in bytes, dependencies included", "minified", "gzipped", "budget", "to a counter", ""], ...rows]),
    ...stale.map((what) => `test/setup/size_budgets.json names ${what}, which is not there`),
    ...(isTold ? [] : ["README.md has other figures: npm run sizes -- --update"]),
    floors(),
    "",
  ].join("\n");
  return { ok: faults.every((fault) => fault === "") && stale.length === 0 && isTold, output };
}

async function weighAll(): Promise<Weight[]> {
  const alone = await bundled(COUNTER);
  const programs = Object.entries(PROGRAMS).map(async ([what, paths]): Promise<Weight> => {
    const { minified, gzipped } = await bundled(COUNTER + paths.map(exported).join("\n"));
    return { what, minified, gzipped, added: gzipped - alone.gzipped, strays: [] };
  });
  const all = entries.map(async ({ path, source }): Promise<Weight> => {
    const [own, together] = await Promise.all([bundled(exported(path)), bundled(COUNTER + exported(path))]);
    const strays = entries.filter((each) => each.source !== source && own.files.includes(each.source));
    return {
      what: path,
      minified: own.minified,
      gzipped: own.gzipped,
      added: path === "." ? 0 : together.gzipped - alone.gzipped,
      strays: strays.map((each) => each.path).filter((each) => !MAY_COME_ALONG.includes(each)),
    };
  });
  return await Promise.all([...programs, ...all]);
}

/** The core imports the default store. */
const MAY_COME_ALONG = ["./stores/memory"];

function exported(path: string): string {
  return `export * from "./${entries.find((entry) => entry.path === path)?.source ?? path}";`;
}

async function bundled(contents: string): Promise<{ minified: number; gzipped: number; files: readonly string[] }> {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: ROOT, loader: "ts" },
    absWorkingDir: ROOT,
    bundle: true,
    minify: true,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    mainFields: ["module", "main"],
    write: false,
    metafile: true,
    // A runtime, a framework or the user's own client provides these.
    external: ["node:*", "cloudflare:*", "next/*", "@aws-sdk/*"],
  });
  const code = outputFiles[0]?.contents ?? new Uint8Array();
  return { minified: code.length, gzipped: gzipSync(code, { level: 9 }).length, files: Object.keys(metafile.inputs) };
}

function faultOf({ what, gzipped, strays }: Weight, budgets: Readonly<Record<string, number>>): string {
  const budget = budgets[what];
  const faults = [];
  if (budget === undefined) faults.push("has no budget: npm run sizes -- --update");
  else if (gzipped > budget) faults.push(`too large by ${gzipped - budget}`);
  if (strays.length > 0) faults.push(`pulls in ${strays.join(", ")}`);
  return faults.join("; ");
}

function missedGoal({ what, gzipped, added }: Weight): string {
  const goal = GOALS[what];
  return goal === undefined || (added === 0 ? gzipped : added) <= goal ? "" : `above the goal of ${goal}`;
}

/** The number of levels of imports, for a reader and for a program that starts. */
function floors(): string {
  const chain = longestChain(importsOfSource(), "mod.ts");
  return `Imports from mod.ts have ${chain.length} floors (goal: 8): ${chain.map((file) => file.replace(/^src\//, "")).join(" → ")}`;
}

async function readBudgets(): Promise<Record<string, number>> {
  return JSON.parse(await readFile(BUDGETS, "utf8"));
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map(([what = "", ...cells]) => {
    const last = cells.pop() ?? "";
    const figures = cells.map((cell, index) => cell.padStart(widths[index + 1] ?? 0));
    return [what.padEnd(widths[0] ?? 0), ...figures, last].join("  ").trimEnd();
  });
}

/** The table in the README. */
function tableOf(weights: readonly Weight[]): string {
  const kilobytes = (bytes: number): string => (bytes / 1024).toFixed(1);
  const counter = weights.find(({ what }) => what === "visit counter")?.gzipped ?? 0;
  const added = (isMeant: (what: string) => boolean): string =>
    weights
      .filter(({ what, added: more }) => what.startsWith("./") && more > 0 && !UNTOLD.includes(what) && isMeant(what))
      .sort((one, other) => one.added - other.added)
      .map(({ what, added: more }) => `\`${what.slice(2).replace("stores/", "")}\` ${kilobytes(more)}`)
      .join(" · ");
  const isStore = (what: string): boolean => what.startsWith("./stores/");
  const isMiddleware = (what: string): boolean => MIDDLEWARES.includes(what);
  return [
    "| minified and gzipped | KB |",
    "| --- | --- |",
    `| the first program above | ${kilobytes(counter)} |`,
    `| a middleware adds | ${added(isMiddleware)} |`,
    `| a capability adds | ${added((what) => !isStore(what) && !isMiddleware(what))} |`,
    `| a store adds | ${added(isStore)} |`,
  ].join("\n");
}

const MIDDLEWARES: readonly string[] = ["./hono", "./next", "./node"];
/** Not in the table: the first is part of each program, and the second of none. */
const UNTOLD: readonly string[] = ["./stores/memory", "./testing"];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes("--update")) {
    const weights = await weighAll();
    const budgets = weights.map(({ what, gzipped }) => [what, Math.ceil(gzipped * ROOM)]);
    await writeFile(BUDGETS, `${JSON.stringify(Object.fromEntries(budgets), null, 2)}\n`);
    const readme = await readFile(README, "utf8");
    const place = /(?<=<!-- sizes -->\n)[^]*?(?=<!-- end -->)/;
    await writeFile(
      README,
      readme.replace(place, () => `\n${tableOf(weights)}\n\n`),
    );
  }
  const { ok, output } = await weigh();
  console.log(output);
  process.exitCode = ok ? 0 : 1;
}
