/**
 * `npm run test:examples [-- part of a name …]`: starts each example for real, and walks through it over HTTP. It installs the frameworks first, in `examples/` alone.
 * With `--write` the table of results in `examples/README.md` is written anew.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Stack, STACKS } from "./examples/stacks.ts";
import { CHECKS } from "./examples/walk.ts";
import { ROOT, run } from "./setup/command.ts";
import { startRedis } from "./setup/redis.ts";
import { freePort } from "./setup/server_process.ts";

const EXAMPLES = join(ROOT, "examples");
const PATH = [join(EXAMPLES, "node_modules", ".bin"), join(ROOT, "node_modules", ".bin"), process.env["PATH"]].join(
  delimiter,
);

/** How an example came through. */
interface Result {
  readonly stack: Stack;
  readonly passed: number;
  readonly failures: readonly string[];
}

const wanted = process.argv.slice(2).filter((each) => each !== "--write");
await prepare();
const results: Result[] = [];
let typesFailed = 0;
if (wanted.length === 0) {
  const { code, output } = await finished(
    join(EXAMPLES, "node_modules", ".bin", "tsc"),
    ["-p", "tsconfig.json"],
    EXAMPLES,
  );
  typesFailed = code === 0 ? 0 : 1;
  console.log(code === 0 ? "✓ The types of the examples" : `✗ The types of the examples\n${output}`);
}
for (const stack of STACKS) {
  if (wanted.length > 0 && !wanted.some((part) => stack.name.toLowerCase().includes(part.toLowerCase()))) continue;
  const result = await walk(stack);
  results.push(result);
  console.log(
    `${result.failures.length === 0 ? "✓" : "✗"} ${stack.name}: ${result.passed} of ${result.passed + result.failures.length}`,
  );
  for (const failure of result.failures) console.log(`    ${failure}`);
}
if (process.argv.includes("--write")) await writeTable();
// What is not in a folder here, such as the shop, must not find this copy when the package has changed.
await rm(join(EXAMPLES, "node_modules", "with-session"), { recursive: true, force: true });
const passed = results.reduce((sum, result) => sum + result.passed, wanted.length === 0 ? 1 - typesFailed : 0);
const failed = results.reduce((sum, result) => sum + result.failures.length, typesFailed);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

/** Builds the package, installs the frameworks, and puts the package among them as its users get it. */
async function prepare(): Promise<void> {
  await succeed("tsdown", ["--logLevel", "warn"], ROOT);
  const modules = join(EXAMPLES, "node_modules");
  const isInstalled = await newer(join(modules, ".package-lock.json"), join(EXAMPLES, "package-lock.json"));
  if (!isInstalled) await succeed("npm", ["ci", "--no-audit", "--no-fund"], EXAMPLES);
  const own = join(modules, "with-session");
  await rm(own, { recursive: true, force: true });
  for (const part of ["dist", "package.json"]) await cp(join(ROOT, part), join(own, part), { recursive: true });
}

async function newer(one: string, other: string): Promise<boolean> {
  const [first, second] = await Promise.all([one, other].map((path) => stat(path).catch(() => undefined)));
  return first !== undefined && second !== undefined && first.mtimeMs >= second.mtimeMs;
}

async function succeed(command: string, args: readonly string[], cwd: string): Promise<void> {
  const { code, output } = await finished(command, args, cwd);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${output}`);
}

async function finished(
  command: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number | null; output: string }> {
  const child = spawn(command, args, { cwd, env: environment(env), stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  const [code] = await once(child, "close");
  return { code: typeof code === "number" ? code : null, output };
}

function environment(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const { NODE_ENV: _, ...inherited } = process.env;
  return {
    ...inherited,
    PATH,
    CI: "1",
    NO_COLOR: "1",
    NODE_NO_WARNINGS: "1",
    NEXT_TELEMETRY_DISABLED: "1",
    ASTRO_TELEMETRY_DISABLED: "1",
    WRANGLER_SEND_METRICS: "false",
    ...more,
  };
}

async function walk(stack: Stack): Promise<Result> {
  const cwd = join(EXAMPLES, stack.folder);
  const redis = stack.needs === "redis" ? await startRedis() : undefined;
  try {
    for (const [command, ...args] of stack.prepare ?? []) await succeed(command, args, cwd);
    return await walkServer(stack, cwd, redis === undefined ? {} : { REDIS_URL: redis.url });
  } catch (error) {
    return { stack, passed: 0, failures: [`It does not start: ${textOf(error)}`] };
  } finally {
    await redis?.stop();
  }
}

async function walkServer(stack: Stack, cwd: string, env: Readonly<Record<string, string>>): Promise<Result> {
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const [command, ...args] = stack.start;
  // A group of its own, so that what it starts ends with it.
  const child = spawn(
    command,
    args.map((arg) => arg.replace("$PORT", String(port))),
    {
      cwd,
      env: environment({ ...env, PORT: String(port), HOST: "127.0.0.1", HOSTNAME: "127.0.0.1" }),
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  const ended = once(child, "close");
  try {
    await answering(
      origin,
      () => child.exitCode !== null,
      () => output,
    );
    if (stack.client !== undefined) {
      const result = await runClient(stack, stack.client, cwd, origin);
      if (result.failures.length > 0 && output !== "") console.log(`The program said:\n${output.slice(-3000)}`);
      return result;
    }
    const failures: string[] = [];
    let passed = 0;
    for (const check of [...CHECKS, ...(stack.more ?? [])]) {
      if (Object.keys(stack.except ?? {}).some((part) => check.name.startsWith(part))) continue;
      try {
        await check.run(origin, stack.isSecure === true);
        passed++;
      } catch (error) {
        failures.push(`${check.name}: ${textOf(error)}`);
      }
    }
    if (failures.length > 0 && output !== "") console.log(`The program said:\n${output.slice(-3000)}`);
    return { stack, passed, failures };
  } finally {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGKILL");
    await ended;
  }
}

/** Lets an example's own client check it. */
async function runClient(
  stack: Stack,
  [command, ...args]: readonly [string, ...string[]],
  cwd: string,
  origin: string,
): Promise<Result> {
  const { code, output } = await finished(command, args, cwd, { ORIGIN: origin });
  const lines = output.split("\n");
  const passed = lines.filter((line) => line.startsWith("ok - ")).length;
  const failures = lines.filter((line) => line.startsWith("not ok - ")).map((line) => line.slice("not ok - ".length));
  return {
    stack,
    passed,
    failures:
      failures.length === 0 && (code !== 0 || passed === 0) ? [`The client failed:\n${output.slice(-3000)}`] : failures,
  };
}

/** Waits until a server answers. */
async function answering(origin: string, hasEnded: () => boolean, output: () => string): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    if (hasEnded()) break;
    const answer = await fetch(`${origin}/style.css`, { signal: AbortSignal.timeout(30_000) }).catch(() => undefined);
    await answer?.text();
    if (answer !== undefined && answer.status < 500) return;
    await sleep(100);
  }
  throw new Error(`no answer from ${origin}\n${output().slice(-3000)}`);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Writes the table of results between its two marks. */
async function writeTable(): Promise<void> {
  const file = join(EXAMPLES, "README.md");
  const rows = results.map(
    ({ stack, passed: count, failures }) =>
      `| [${stack.name}](${stack.folder}/) | ${count} of ${count + failures.length} |`,
  );
  const table = ["| Example | Checks passed |", "| --- | --- |", ...rows].join("\n");
  const text = await readFile(file, "utf8");
  await writeFile(
    file,
    text.replace(/<!-- results -->[^]*<!-- end -->/, () => `<!-- results -->\n\n${table}\n\n<!-- end -->`),
  );
  await run("oxfmt", [file]);
}
