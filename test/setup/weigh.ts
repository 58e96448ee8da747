import { gzipSync } from "node:zlib";
import { build, type BuildOptions } from "esbuild";
import deno from "../../deno.json" with { type: "json" };
import type { Finished } from "./command.ts";
import { ROOT } from "./command.ts";

const VISIT_COUNTER = `
import { withSession } from "./mod.ts";
export default {
  fetch: withSession(async (_request, session) => {
    const visits = await session.update("visits", (n = 0) => n + 1);
    return new Response("Visit " + visits);
  }),
};`;

/** What a store may add to a program, in gzipped bytes. The Redis ones bring the Lua that Redis runs. */
const STORE_BUDGET = 1_500;
const LUA_BUDGET = 2_500;
/** The cookie store brings a vault of its own. */
const VAULT_BUDGET = 2_000;
/** What it weighs today, with a little room: it is to shrink to a fifth, and must not grow. */
const COUNTER_BUDGET = 30_800;

interface Weight {
  readonly what: string;
  readonly minified: number;
  readonly gzipped: number;
  readonly budget: number;
  /** The stores in it that it has no business with. */
  readonly strays: readonly string[];
}

/** Weighs every export, minified and gzipped, and looks for stores that an export pulls in. */
export async function weigh(): Promise<Pick<Finished, "ok" | "output">> {
  const weights = await Promise.all([
    weight(
      "visit counter, dependencies included",
      { stdin: { contents: VISIT_COUNTER, resolveDir: ROOT } },
      COUNTER_BUDGET,
    ),
    ...Object.entries(deno.exports).map(([path, source]) => weightOfExport(path, source)),
  ]);
  const ok = weights.every(({ gzipped, budget, strays }) => gzipped <= budget && strays.length === 0);
  return { ok, output: table(weights) };
}

function weightOfExport(path: string, source: string): Promise<Weight> {
  const isStore = path.startsWith("./stores/");
  const options: BuildOptions = { entryPoints: [source], packages: "external", external: ["cloudflare:*"] };
  if (!isStore) return weight(path, options, Infinity);
  // A program has these already, in the core.
  const core = ["errors", "expiry", "record", "record_text", "sealing", "session_id", "vault"].map(
    (name) => `*/${name}.ts`,
  );
  const external = [...(options.external ?? []), ...core];
  const budget = path.includes("redis") ? LUA_BUDGET : path.includes("cookie") ? VAULT_BUDGET : STORE_BUDGET;
  return weight(path, { ...options, external }, budget);
}

async function weight(what: string, options: BuildOptions, budget: number): Promise<Weight> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: ROOT,
    bundle: true,
    minify: true,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    write: false,
    metafile: true,
    ...options,
  });
  const code = outputFiles?.[0]?.contents ?? new Uint8Array();
  const stores = Object.entries(deno.exports).filter(([path]) => path.startsWith("./stores/"));
  // Memory is the default, so it comes with everything but the other stores.
  const own = what.startsWith("./stores/") ? what : "./stores/memory";
  const strays = stores.filter(([path, source]) => path !== own && source.slice(2) in (metafile?.inputs ?? {}));
  return {
    what,
    minified: code.length,
    gzipped: gzipSync(code, { level: 9 }).length,
    budget,
    strays: strays.map(([path]) => path),
  };
}

function table(weights: readonly Weight[]): string {
  const rows = weights.map(({ what, minified, gzipped, budget, strays }) => [
    what,
    String(minified),
    String(gzipped),
    budget === Infinity ? "" : String(budget),
    [gzipped > budget ? "too large" : "", strays.length > 0 ? `pulls in ${strays.join(", ")}` : ""]
      .filter(Boolean)
      .join("; "),
  ]);
  const all = [["in bytes", "minified", "gzipped", "budget", ""], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = ([what = "", ...cells]: string[]): string =>
    [what.padEnd(widths[0] ?? 0), ...cells.map((cell, index) => cell.padStart(widths[index + 1] ?? 0))]
      .join("  ")
      .trimEnd();
  return `${all.map(line).join("\n")}\n`;
}
