/**
 * `npm run mutation`: changes the code that keeps secrets and sessions apart, piece by piece, and looks whether a test notices. `mutation.md` must list
 * the changes that none notices, and no others: with a reason. Which files are changed is in `stryker.config.json`.
 *
 * `npm run mutation -- src/core/commit.ts` changes other files, and `npm run mutation -- --all` all of `src/`, which takes hours. Both hold them against
 * every unit test, print the score of each file and the changes that no test notices, and judge nothing.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT, run } from "./setup/command.ts";

/** The part of Stryker's report that is of interest (https://github.com/stryker-mutator/mutation-testing-elements). */
interface Report {
  readonly files: Readonly<Record<string, { readonly source: string; readonly mutants: readonly Mutant[] }>>;
}

interface Mutant {
  readonly status: string;
  readonly replacement: string;
  readonly location: { readonly start: Place; readonly end: Place };
}

/** Both count from one. */
interface Place {
  readonly line: number;
  readonly column: number;
}

/** How many of a hundred changes must be noticed. It may rise, and must not fall. */
const LEAST_SCORE = 90;

const chosen = process.argv.slice(2);
process.exitCode =
  chosen.length === 0 ? await mutate() : await measure(chosen[0] === "--all" ? ["src/**/*.ts"] : chosen);

async function measure(files: readonly string[]): Promise<number> {
  const { ok } = await run("stryker", ["run", "--mutate", files.join(",")], {
    live: true,
    env: { MUTATION_TESTS: "unit" },
  });
  if (!ok) return 1;
  const report = await readReport();
  for (const each of survivorsIn(report)) console.log(`No test notices: ${each}`);
  for (const [file, found] of Object.entries(report.files)) {
    const { mutants } = found;
    const noticed = mutants.filter(({ status }) => isNoticed(status)).length;
    console.log(`${file}: ${noticed} of ${mutants.length} changes were noticed`);
  }
  console.log(`${scoreOf(report).toFixed(1)} % of the mutants were noticed`);
  return 0;
}

async function mutate(): Promise<number> {
  const { ok } = await run("stryker", ["run"], { live: true });
  if (!ok) return 1;
  const report = await readReport();
  const survivors = survivorsIn(report);
  const excused = excusedIn(await readFile(join(ROOT, "test/mutation.md"), "utf8"));
  const unexcused = [...survivors].filter((each) => !excused.has(each));
  const outdated = [...excused].filter((each) => !survivors.has(each));
  for (const each of unexcused) console.log(`No test notices, and test/mutation.md gives no reason: ${each}`);
  for (const each of outdated) console.log(`test/mutation.md excuses what is noticed, or does not exist: ${each}`);
  const score = scoreOf(report);
  console.log(`${score.toFixed(1)} % of the mutants were noticed, ${survivors.size} kinds were not`);
  return score >= LEAST_SCORE && unexcused.length === 0 && outdated.length === 0 ? 0 : 1;
}

async function readReport(): Promise<Report> {
  return JSON.parse(await readFile(join(ROOT, "coverage/mutation.json"), "utf8"));
}

/** The changes that no test noticed, in the words of `mutation.md`. */
function survivorsIn({ files }: Report): Set<string> {
  const survivors = new Set<string>();
  for (const [file, { source, mutants }] of Object.entries(files)) {
    for (const { status, location, replacement } of mutants) {
      if (isNoticed(status)) continue;
      survivors.add(`${file}: \`${onOneLine(excerpt(source, location))}\` → \`${onOneLine(replacement)}\``);
    }
  }
  return survivors;
}

function isNoticed(status: string): boolean {
  // A mutant that never ends would fail every test, and so would one with which the tests cannot be loaded.
  return status === "Killed" || status === "Timeout" || status === "RuntimeError";
}

function scoreOf({ files }: Report): number {
  const all = Object.values(files).flatMap(({ mutants }) => mutants);
  return (100 * all.filter(({ status }) => isNoticed(status)).length) / all.length;
}

/** The changes for which `mutation.md` gives a reason: lines of a list under the name of their file. */
function excusedIn(text: string): Set<string> {
  const excused = new Set<string>();
  let file = "";
  for (const line of text.split("\n")) {
    file = /^## `(.+)`$/.exec(line)?.[1] ?? file;
    const change = /^- (`.+` → `.*`): \S/.exec(line)?.[1];
    if (change !== undefined) excused.add(`${file}: ${change}`);
  }
  return excused;
}

function excerpt(source: string, { start, end }: Mutant["location"]): string {
  const lines = source.split("\n").slice(start.line - 1, end.line);
  // The end first: on a single line, cutting the start would move it.
  lines.push(lines.pop()?.slice(0, end.column - 1) ?? "");
  lines.unshift(lines.shift()?.slice(start.column - 1) ?? "");
  return lines.join("\n");
}

function onOneLine(text: string): string {
  return text.replace(/\s+/g, " ");
}
