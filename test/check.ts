/**
 * `npm run check`: every check of the project that runs no tests, one line each.
 *
 * @module
 */
import { glob, stat } from "node:fs/promises";
import { join } from "node:path";
import deno from "../deno.json" with { type: "json" };
import { type Finished, ROOT, run } from "./setup/command.ts";
import { lintDocstrings } from "./setup/deno_doc.ts";
import { checkDocumentation } from "./setup/documentation.ts";
import { entries } from "./setup/entries.ts";
import { weigh } from "./setup/weigh.ts";
import { lintWorkflows } from "./setup/workflows.ts";

async function checkAll(): Promise<number> {
  const sources = Object.values(deno.exports);
  const checks: Record<string, () => Promise<Pick<Finished, "ok" | "output">>> = {
    "tsc: source, tests, examples": () => run("tsc"),
    "tsc: source against web standards": () => run("tsc", ["-p", "tsconfig.src.json"]),
    "oxlint": () => run("oxlint", ["--deny-warnings"]),
    "oxfmt": () => run("oxfmt", ["--check"]),
    "deno check": async () =>
      run("deno", [
        "check",
        "-q",
        "--unstable-kv",
        ...sources,
        "test/runtimes/deno.ts",
        "examples/shop/deno_server.ts",
        ...(await filesNamed("**/*_test.deno.ts")),
      ]),
    "tsc: examples in the documentation": checkDocumentation,
    "deno lint": () => run("deno", ["lint", "-q"]),
    "deno doc --lint": lintDocstrings,
    "deno publish": () => run("deno", ["publish", "-q", "--dry-run", "--allow-dirty"]),
    "build": () => run("tsdown", ["--logLevel", "warn"]),
    "entries of the build": checkBuild,
    "publint": () => run("publint", ["--strict"]),
    "attw": () => run("attw", ["--pack", ".", "--profile", "esm-only"]),
    "release --dry-run": () => run("node", ["scripts/release.ts", "--dry-run"]),
    "actionlint": lintWorkflows,
    "sizes": weigh,
  };
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    const { ok, output } = await check();
    console.log(`${ok ? "OK    " : "FAILED"} ${name}`);
    if (!ok) failed += 1;
    if (!ok || name === "sizes") console.log(output);
  }
  console.log(failed === 0 ? "Everything is in order." : `${failed} of ${Object.keys(checks).length} failed.`);
  return failed === 0 ? 0 : 1;
}

/** Each export has code and types, and no other file in the package is large. */
async function checkBuild(): Promise<Pick<Finished, "ok" | "output">> {
  const faults: string[] = [];
  for (const { path, code, types } of entries) {
    for (const file of [code, types]) {
      const size = await stat(join(ROOT, file)).then(
        (found) => found.size,
        () => 0,
      );
      if (size === 0) faults.push(`${path}: there is no ${file}`);
    }
  }
  for await (const file of glob("dist/**/*.*", { cwd: ROOT })) {
    const { size } = await stat(join(ROOT, file));
    if (file.endsWith(".map")) faults.push(`${file} is a source map`);
    else if (size > LARGEST_FILE) faults.push(`${file} has ${size} bytes`);
  }
  return { ok: faults.length === 0, output: faults.join("\n") };
}

/** In bytes: the size of the chunk that contains the core with its comments, and some room. */
const LARGEST_FILE = 250_000;

async function filesNamed(pattern: string): Promise<string[]> {
  const files: string[] = [];
  const exclude = ["**/node_modules/**", "dist/**", ".git/**"];
  for await (const file of glob(pattern, { cwd: ROOT, exclude })) files.push(file);
  return files.sort();
}

process.exitCode = await checkAll();
