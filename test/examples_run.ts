/**
 * `npm run test:examples [-- part of a name …]`: starts each example, two at a time, and walks through it over HTTP. It first installs the frameworks, only in
 * `examples/`. With `--write`, it rewrites the table of results in `examples/README.md`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Command,
  EXAMPLES,
  finish,
  type Finished,
  start,
  succeed,
  type Surroundings,
} from "./examples/programs.ts";
import { type Need, type Stack, STACKS } from "./examples/stacks.ts";
import { CHECKS } from "./examples/walk.ts";
import { ROOT, run } from "./setup/command.ts";
import { startPgBouncer } from "./setup/pgbouncer.ts";
import { startPostgres } from "./setup/postgres.ts";
import { startRedis } from "./setup/redis.ts";

/** The result of one example. */
interface Result {
  readonly passed: number;
  readonly failures: readonly string[];
  /** Why the walk was not possible. */
  readonly obstacle?: string;
}

const AT_ONCE = 2;
const INSTALLATIONS = 3;
const MODULES = join(EXAMPLES, "node_modules");
/** The built package in the folder of the frameworks. */
const OWN = join(MODULES, "with-session");

const wanted = process.argv.slice(2).filter((each) => each !== "--write");
const stacks = STACKS.filter(({ name }) => wanted.length === 0 || wanted.some((part) => includes(name, part)));
// Removed at the end, because programs outside of these folders, such as the shop, would otherwise load this copy after
// the package has changed.
process.on("exit", () => rmSync(OWN, { recursive: true, force: true }));
const obstacle = await prepare();
const results = new Map<Stack, Result>();
// Examples with a build come first, so that no long build is left for the end.
const queue = [...stacks].sort((one, two) => Number(two.prepare !== undefined) - Number(one.prepare !== undefined));
const typesFailed = wanted.length > 0 || obstacle !== undefined ? 0 : Number(!(await haveTypes()));
await Promise.all(Array.from({ length: AT_ONCE }, workOff));
if (process.argv.includes("--write")) await writeTable();
const typesPassed = wanted.length > 0 || obstacle !== undefined ? 0 : 1 - typesFailed;
const passed = [...results.values()].reduce((sum, result) => sum + result.passed, typesPassed);
const failed = [...results.values()].reduce((sum, result) => sum + result.failures.length, typesFailed);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

function includes(name: string, part: string): boolean {
  return name.toLowerCase().includes(part.toLowerCase());
}

/**
 * Builds the package, installs the frameworks, and copies the package beside them as its users get it. Returns why the frameworks are missing, if they
 * are.
 */
async function prepare(): Promise<string | undefined> {
  await succeed(["tsdown", "--logLevel", "warn"], { cwd: ROOT });
  const refusal = await install();
  await rm(OWN, { recursive: true, force: true });
  for (const part of ["dist", "package.json"]) await cp(join(ROOT, part), join(OWN, part), { recursive: true });
  return refusal;
}

/** Installs the frameworks, unless the installed ones match the lock file. */
async function install(): Promise<string | undefined> {
  const mark = join(MODULES, ".installed-for");
  const lock = createHash("sha256")
    .update(await readFile(join(EXAMPLES, "package-lock.json")))
    .digest("hex");
  if ((await readFile(mark, "utf8").catch(() => "")) === lock) return undefined;
  let last: Finished | undefined;
  for (let attempt = 0; attempt < INSTALLATIONS; attempt++) {
    // The registry may be busy, so the next attempt waits.
    if (attempt > 0) await sleep(10_000 * attempt);
    last = await finish(["npm", "ci", "--no-audit", "--no-fund"], { cwd: EXAMPLES });
    if (last.code === 0) {
      await writeFile(mark, lock);
      return undefined;
    }
    console.log(`npm ci failed:\n${last.output.slice(-3000)}`);
  }
  return "its packages cannot be installed";
}

async function haveTypes(): Promise<boolean> {
  const { code, output } = await finish([join(MODULES, ".bin", "tsc"), "-p", "tsconfig.json"], { cwd: EXAMPLES });
  console.log(code === 0 ? "✓ The types of the examples" : `✗ The types of the examples\n${output}`);
  return code === 0;
}

/** Takes stacks from the queue until it is empty. */
async function workOff(): Promise<void> {
  for (let stack = queue.shift(); stack !== undefined; stack = queue.shift()) {
    const result = obstacle === undefined ? await walk(stack) : blocked(obstacle);
    results.set(stack, result);
    const { length } = result.failures;
    const lines = [
      `${length === 0 ? "✓" : "✗"} ${stack.name}: ${result.passed} of ${result.passed + length}`,
      ...result.failures.map((failure) => `    ${failure}`),
    ];
    console.log(lines.join("\n"));
  }
}

function blocked(reason: string, details: string = reason): Result {
  return { passed: 0, failures: [details], obstacle: reason };
}

async function walk(stack: Stack): Promise<Result> {
  const cwd = join(EXAMPLES, stack.folder);
  let needed: Needed | undefined;
  try {
    needed = await startNeed(stack.needs);
    for (const command of stack.prepare ?? []) await succeed(command, { cwd });
    return await walkThrough(stack, { cwd, env: needed.env });
  } catch (error) {
    return blocked("it does not start", textOf(error));
  } finally {
    await needed?.stop();
  }
}

/** A server beside the program, and the variable with its address. */
interface Needed {
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

async function startNeed(need: Need | undefined): Promise<Needed> {
  if (need === "redis") {
    const redis = await startRedis();
    return { env: { REDIS_URL: redis.url }, stop: () => redis.stop() };
  }
  if (need === "pgbouncer") {
    const postgres = await startPostgres();
    const pooler = await startPgBouncer(postgres.port).catch(async (error: unknown) => {
      await postgres.stop();
      throw error;
    });
    return { env: { DATABASE_URL: pooler.url }, stop: () => pooler.stop().then(() => postgres.stop()) };
  }
  return { env: {}, stop: () => Promise.resolve() };
}

async function walkThrough(stack: Stack, surroundings: Surroundings): Promise<Result> {
  const program = await start(stack.start, surroundings);
  try {
    const result =
      stack.client === undefined
        ? await runChecks(stack, program.origin)
        : await runClient(stack.client, { cwd: surroundings.cwd, env: { ORIGIN: program.origin } });
    if (result.failures.length > 0) console.log(`${stack.name} said:\n${program.output().slice(-3000)}`);
    return result;
  } finally {
    await program.stop();
  }
}

async function runChecks({ more = [], except = {}, isSecure = false }: Stack, origin: string): Promise<Result> {
  const failures: string[] = [];
  let count = 0;
  for (const check of [...CHECKS, ...more]) {
    if (Object.keys(except).some((part) => check.name.startsWith(part))) continue;
    try {
      await check.run(origin, isSecure);
      count++;
    } catch (error) {
      failures.push(`${check.name}: ${textOf(error)}`);
    }
  }
  return { passed: count, failures };
}

/** Runs the example's own client as its check. */
async function runClient(client: Command, surroundings: Surroundings): Promise<Result> {
  const { code, output } = await finish(client, surroundings);
  const lines = output.split("\n");
  const count = lines.filter((line) => line.startsWith("ok - ")).length;
  const failures = lines.filter((line) => line.startsWith("not ok - ")).map((line) => line.slice("not ok - ".length));
  if (failures.length === 0 && (code !== 0 || count === 0)) return blocked("its client fails", output.slice(-3000));
  return { passed: count, failures };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Writes the table of results between its two markers. */
async function writeTable(): Promise<void> {
  const file = join(EXAMPLES, "README.md");
  const rows = stacks.map((stack) => {
    const { passed: count, failures, obstacle: reason } = results.get(stack) ?? blocked("not reached");
    return `| [${stack.name}](${stack.folder}/) | ${reason ?? `${count} of ${count + failures.length}`} |`;
  });
  const table = ["| Example | Checks passed |", "| --- | --- |", ...rows].join("\n");
  const text = await readFile(file, "utf8");
  await writeFile(
    file,
    text.replace(/<!-- results -->[^]*<!-- end -->/, () => `<!-- results -->\n\n${table}\n\n<!-- end -->`),
  );
  await run("oxfmt", [file]);
}
