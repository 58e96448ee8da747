/**
 * The docstrings of all entries as Deno reads them, and the errors that it finds in them.
 *
 * @module
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import deno from "../../deno.json" with { type: "json" };
import { type Finished, ROOT, run } from "./command.ts";
import { entries } from "./entries.ts";

/**
 * Runs `deno doc` over the sources of all entries. An import map names the types of Next.js, because Next.js is not installed
 * here.
 */
export async function denoDoc(...flags: string[]): Promise<Finished> {
  const folder = await mkdtemp(join(tmpdir(), "with-session-doc-"));
  try {
    const map = join(folder, "imports.json");
    await writeFile(map, JSON.stringify({ imports: importsByFile() }));
    const sources = entries.map(({ source }) => source);
    return await run("deno", ["doc", "-q", ...flags, "--import-map", map, ...sources], { env: { NO_COLOR: "1" } });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Fails for an export, a member or a parameter without documentation, and for a type that an entry shows but does not export. */
export async function lintDocstrings(): Promise<Pick<Finished, "ok" | "output">> {
  const { output } = await denoDoc("--lint");
  return lintOutput(output);
}

/** Judges the output of `deno doc --lint`. */
export function lintOutput(output: string): Pick<Finished, "ok" | "output"> {
  const parts = output.split(/^(?=error\[)/m);
  const ours = parts.filter((part) => part.startsWith("error[") && !FOREIGN.test(part));
  // If Deno ends early for another reason, its output holds no finding. That must not pass for a clean run.
  const failed = /^error: (?!Found \d+ documentation lint error)/m.test(output);
  return { ok: ours.length === 0 && !failed, output: failed ? output : ours.join("") };
}

/** Types of Hono and of the AWS SDK appear in signatures. If we exported them, their documentation would become part of ours. */
const FOREIGN =
  /^error\[private-type-ref\]: .* references private type '(?:Context|MiddlewareHandler|(?:Get|Put|Delete)ItemCommand)'$/m;

function importsByFile(): Record<string, string> {
  const targets = Object.entries({ ...deno.imports, "next/headers.js": "./src/next/next_headers.d.ts" });
  return Object.fromEntries(
    targets.map(([name, target]) => [name, target.startsWith("./") ? pathToFileURL(join(ROOT, target)).href : target]),
  );
}
