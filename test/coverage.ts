/**
 * `npm run coverage`: the statements of `src/` that no test runs in this process. `coverage.md` must list exactly these, each with a reason. The
 * command runs the unit tests, the tests of the stores on real engines, and those of the requirements, the model and the faults. It does not run tests
 * that execute the source elsewhere (browsers, other runtimes, built packages) or that take hours (interleavings).
 *
 * With `-- --list` it prints the list that `coverage.md` should contain, with the present reasons.
 *
 * @module
 */
import { glob, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { ROOT, run } from "./setup/command.ts";
import { installTools, testsWithout } from "./setup/tools.ts";
import { unitTests } from "./setup/unit_tests.ts";

/** The part of Istanbul's report that is used here: how often each statement ran, and where it is. */
interface FileReport {
  readonly path: string;
  readonly s: Readonly<Record<string, number>>;
  readonly statementMap: Readonly<Record<string, { readonly start: Place; readonly end: Place }>>;
}

/** Lines are counted from one, columns from zero. */
interface Place {
  readonly line: number;
  readonly column: number;
}

/** A longer statement is cut to this number of characters. */
const MAX_LENGTH = 100;
const EXCEPT = /^test\/(?:docs|examples|exports|imports|types|workflows|site)\.test\.ts$|^test\/scripts\//;
/**
 * Tests that run the source in this process, in addition to the unit tests. The fast loop excludes them because they need
 * engines or time.
 */
const ALSO =
  /^test\/(?:exclusive_engines\.test\.ts$|(?:cookie_sessions|faults|model|read_your_writes|requirements|stores|testing|user_sessions)\/)/;
const REASONLESS = "not judged yet.";

process.exitCode = await measure();

async function measure(): Promise<number> {
  const files = await testFiles();
  const coverage = ["--coverage.enabled", "--coverage.reporter=json", "--coverage.reporter=text-summary"];
  const { ok } = await run("vitest", ["run", ...files, ...coverage], { live: true });
  if (!ok) return 1;
  const report: Readonly<Record<string, FileReport>> = JSON.parse(
    await readFile(join(ROOT, "coverage/coverage-final.json"), "utf8"),
  );
  const found = await uncovered(Object.values(report));
  const listed = listedIn(await readFile(join(ROOT, "test/coverage.md"), "utf8"));
  if (process.argv.includes("--list")) print(found, listed);
  const missing = [...found].filter((each) => !listed.has(each));
  const outdated = [...listed.keys()].filter((each) => !found.has(each));
  for (const each of missing) console.log(`No test runs it, and test/coverage.md gives no reason: ${each}`);
  for (const each of outdated) console.log(`test/coverage.md excuses what a test runs, or does not exist: ${each}`);
  console.log(`${found.size} statements are not run, ${listed.size} are listed`);
  return missing.length === 0 && outdated.length === 0 ? 0 : 1;
}

async function testFiles(): Promise<string[]> {
  const { together, apart } = await unitTests();
  const found = new Set([...together, ...apart].filter((file) => !EXCEPT.test(file)));
  for await (const each of glob("test/**/*.test.ts", { cwd: ROOT, exclude: ["**/node_modules/**"] })) {
    const file = each.replaceAll("\\", "/");
    if (ALSO.test(file)) found.add(file);
  }
  const files = [...found].sort();
  const blocked = await testsWithout(await installTools(), files);
  if (blocked.size > 0)
    throw new Error(`These tests need an engine, please install it: ${[...blocked.keys()].join(", ")}`);
  return files;
}

/** The statements that did not run, in the words of `coverage.md`. If one of them contains others, only the outer one is listed. */
async function uncovered(reports: readonly FileReport[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const { path, s, statementMap } of reports) {
    const lines = (await readFile(path, "utf8")).split("\n");
    let end: Place = { line: 0, column: 0 };
    const places = Object.entries(statementMap)
      .filter(([at]) => s[at] === 0)
      .map(([, place]) => place)
      .sort((one, other) => compare(one.start, other.start) || compare(other.end, one.end));
    for (const place of places) {
      if (compare(place.start, end) < 0) continue;
      end = place.end;
      const text = (lines[place.start.line - 1] ?? "")
        .slice(place.start.column, MAX_LENGTH + place.start.column)
        .trim();
      found.add(`${relative(ROOT, path).replaceAll("\\", "/")}: \`${text}\``);
    }
  }
  return found;
}

function compare(one: Place, other: Place): number {
  return one.line - other.line || one.column - other.column;
}

/** The statements in `coverage.md` with their reasons. Each is a line of a list under the name of its file. */
function listedIn(text: string): Map<string, string> {
  const listed = new Map<string, string>();
  let file = "";
  for (const line of text.split("\n")) {
    file = /^## `(.+)`$/.exec(line)?.[1] ?? file;
    const [, statement, reason] = /^- (`.+`): (\S.*)$/.exec(line) ?? [];
    if (statement !== undefined && reason !== undefined) listed.set(`${file}: ${statement}`, reason);
  }
  return listed;
}

function print(found: ReadonlySet<string>, listed: ReadonlyMap<string, string>): void {
  let before = "";
  for (const each of [...found].sort()) {
    const [file = "", statement = ""] = each.split(/: (.*)/s);
    if (file !== before) console.log(`\n## \`${file}\`\n`);
    before = file;
    console.log(`- ${statement}: ${listed.get(each) ?? REASONLESS}`);
  }
}
