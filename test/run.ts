/**
 * `npm test`: installs what is needed, runs every suite, and ends with one line with the totals.
 *
 * @module
 */
import { glob, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BUILT, bundle } from "./runtimes/bundle.ts";
import type { Outcomes } from "./runtimes/outcomes.ts";
import { ROOT, run } from "./setup/command.ts";
import { findNode20, installTools, testsWithout } from "./setup/tools.ts";
import { unitTests } from "./setup/unit_tests.ts";

/** The oldest compatibility date that the README names. */
const OLDEST_WORKER = "2024-09-26";

/** The result of a suite. */
interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

const temporary = await mkdtemp(join(tmpdir(), "with-session-test-"));
process.exitCode = await runAll().finally(() => rm(temporary, { recursive: true }));

async function runAll(): Promise<number> {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  const suites: Record<string, () => Promise<Tally>> = {
    "The build": () => command("tsdown", "--logLevel", "warn"),
    "Types, and the tests of types": () => command("tsc"),
    "Unit tests on Node": unitTestsOnNode,
    "Other tests on Node": otherTestsOnNode,
    "Tests on Deno": denoTests,
    "The portable suite on Node 20": portableOnNode20,
    "The portable suite on this Node": () => portableOn(process.execPath),
    "The portable suite on Bun": () => portableOn("bun"),
    "The portable suite on Deno": () => portable("deno", "run", "-A", "--unstable-kv", "test/runtimes/deno.ts"),
    "The portable suite on workerd": () => portable(process.execPath, "test/runtimes/workerd.ts", OLDEST_WORKER),
    "The portable suite on workerd with Node's modules": () =>
      portable(process.execPath, "test/runtimes/workerd.ts", "2026-01-01", "nodejs_compat"),
    "The portable suite on edge-runtime": () => portable(process.execPath, "test/runtimes/edge.ts"),
  };
  for (const [name, suite] of Object.entries(suites)) {
    const tally = await suite();
    console.log(`${name}: ${text(tally)}`);
    sum.passed += tally.passed;
    sum.failed += tally.failed;
    sum.skipped += tally.skipped;
  }
  console.log(text(sum));
  return sum.failed === 0 && sum.passed > 0 ? 0 : 1;
}

function text({ passed, failed, skipped }: Tally): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/** A command that counts as one test. */
async function command(name: string, ...args: string[]): Promise<Tally> {
  const { ok } = await run(name, args, { live: true });
  return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 };
}

/** The tests that need no engine run as in `npm run test:unit`: they share a process, which saves a minute. */
async function unitTestsOnNode(): Promise<Tally> {
  return await vitest("--config", "test/setup/unit.config.ts");
}

async function otherTestsOnNode(): Promise<Tally> {
  const { together, apart } = await unitTests();
  const unit = [...together, ...apart];
  const files = await filesNamed("test/**/*.test.ts");
  const missing = await installTools();
  const blocked = await testsWithout(
    missing,
    files.filter((file) => !unit.includes(file)),
  );
  if (missing.length > 0) {
    const packages = missing.map((tool) => tool.package).join(", ");
    console.log(`Please install ${packages}. Skipped without: ${[...blocked.keys()].join(", ")}`);
  }
  const excluded = [...unit, ...blocked.keys()].flatMap((file) => ["--exclude", file]);
  const tally = await vitest(...excluded);
  return { ...tally, skipped: tally.skipped + blocked.size };
}

async function vitest(...args: string[]): Promise<Tally> {
  const report = join(temporary, "vitest.json");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const { ok } = await run("vitest", ["run", ...reporters, ...args], { live: true });
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = await readReport(report);
  await rm(report, { force: true });
  // A file that cannot be imported reports no failed tests, and an error outside of every test fails only the run.
  const broken = testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0).length;
  const failed = numFailedTests + broken;
  return {
    passed: numPassedTests,
    failed: failed === 0 && !ok ? 1 : failed,
    skipped: numPendingTests + numTodoTests,
  };
}

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
}

async function readReport(path: string): Promise<VitestReport> {
  const none =
    '{ "numPassedTests": 0, "numFailedTests": 0, "numPendingTests": 0, "numTodoTests": 0, "testResults": [] }';
  return JSON.parse(await readFile(path, "utf8").catch(() => none));
}

async function denoTests(): Promise<Tally> {
  const files = await filesNamed("test/**/*_test.deno.ts");
  if (files.length === 0) return { passed: 0, failed: 0, skipped: 0 };
  const args = ["test", "-A", "--unstable-kv", "--no-check", ...files];
  const { ok, output } = await run("deno", args, { live: true, env: { NO_COLOR: "1" } });
  const count = (word: string): number =>
    Number(new RegExp(`^(?:ok|FAILED) \\|.*?(\\d+) ${word}`, "m").exec(output)?.[1] ?? 0);
  const failed = count("failed");
  return { passed: count("passed"), failed: failed === 0 && !ok ? 1 : failed, skipped: count("ignored") };
}

async function portableOnNode20(): Promise<Tally> {
  const node = await findNode20();
  if (node !== undefined) return await portableOn(node);
  console.log("Skipped: there is no Node 20, please put one on the PATH");
  return { passed: 0, failed: 0, skipped: 1 };
}

/** Runs the portable suite on a runtime that imports the built package itself. */
async function portableOn(runtime: string): Promise<Tally> {
  const script = join(temporary, "portable.mjs");
  await writeFile(script, await bundle("node.ts", { format: "esm", platform: "node", external: [BUILT] }));
  return await portable(runtime, script);
}

async function portable(...[runtime, ...args]: [string, ...string[]]): Promise<Tally> {
  const { ok, stdout, output } = await run(runtime, args);
  const outcomes = ok ? outcomesIn(stdout) : undefined;
  if (outcomes === undefined) console.error(output);
  const { passed, failed } = outcomes ?? { passed: 0, failed: [{ name: "The runner", error: "said nothing of use" }] };
  for (const { name, error } of failed) console.error(`✗ ${name}\n${error}\n`);
  return { passed, failed: failed.length, skipped: 0 };
}

/** The runner's last line, if it has the expected form. */
function outcomesIn(stdout: string): Outcomes | undefined {
  const line = stdout.trim().split("\n").at(-1) ?? "";
  return line.startsWith("{") ? JSON.parse(line) : undefined;
}

async function filesNamed(pattern: string): Promise<string[]> {
  const files: string[] = [];
  for await (const file of glob(pattern, { cwd: ROOT, exclude: ["**/node_modules/**"] })) files.push(file);
  return files.sort();
}
