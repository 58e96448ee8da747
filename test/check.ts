/**
 * `npm run check`: everything that can be said of the project without running its tests, one line each.
 *
 * @module
 */
import { glob } from "node:fs/promises";
import deno from "../deno.json" with { type: "json" };
import { type Finished, ROOT, run } from "./setup/command.ts";
import { checkDocumentation } from "./setup/documentation.ts";
import { weigh } from "./setup/weigh.ts";

process.exitCode = await checkAll();

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
    // Hono's own types stand in the middleware's signature, and are not documented to Deno's taste.
    "deno doc --lint": () =>
      run("deno", ["doc", "-q", "--lint", ...sources.filter((source) => !source.endsWith("hono.ts"))]),
    "deno publish": () => run("deno", ["publish", "-q", "--dry-run", "--allow-dirty"]),
    "build": () => run("tsdown", ["--logLevel", "warn"]),
    "npm pack": () => run("npm", ["pack", "--dry-run"]),
    "publint": () => run("publint", ["--strict"]),
    "attw": () => run("attw", ["--pack", ".", "--profile", "esm-only"]),
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

async function filesNamed(pattern: string): Promise<string[]> {
  const files: string[] = [];
  const exclude = ["**/node_modules/**", "dist/**", ".git/**"];
  for await (const file of glob(pattern, { cwd: ROOT, exclude })) files.push(file);
  return files.sort();
}
