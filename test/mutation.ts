/**
 * `npm run mutation`: changes the source in one place at a time, and checks whether a test fails. `mutation.md` must list exactly the changes that no
 * test notices, each with a reason. `mutation/groups.ts` says which files are changed, and which tests run for them; `npm run mutation -- crypto csrf`
 * runs only these groups. If a group has run before, only the parts whose source or tests have changed are run again. If something else has changed, such
 * as code that tests share, `npm run mutation -- --fresh` runs everything again.
 *
 * `npm run mutation -- src/core/commit.ts` changes other files, and `npm run mutation -- --all` changes all of `src/`, which takes many hours. Both run
 * every unit test for each change, and print the score of each file and the changes that no test notices, without a verdict.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Group, GROUPS } from "./mutation/groups.ts";
import { ROOT, run } from "./setup/command.ts";

/** The part of Stryker's report that is used here (https://github.com/stryker-mutator/mutation-testing-elements). */
interface Report {
  readonly files: Readonly<Record<string, FileReport>>;
}

interface FileReport {
  readonly source: string;
  readonly mutants: readonly Mutant[];
}

interface Mutant {
  readonly status: string;
  readonly replacement: string;
  readonly location: { readonly start: Place; readonly end: Place };
}

/** Line and column are counted from one. */
interface Place {
  readonly line: number;
  readonly column: number;
}

const isFresh = process.argv.includes("--fresh");
const chosen = process.argv.slice(2).filter((each) => each !== "--fresh");
const names = chosen.length === 0 ? Object.keys(GROUPS) : chosen;
process.exitCode = names.every((name) => Object.hasOwn(GROUPS, name))
  ? await judge(names)
  : await measure(chosen[0] === "--all" ? ["src/**/*.ts"] : chosen);

async function measure(files: readonly string[]): Promise<number> {
  const report = await mutate(files, "");
  if (report === undefined) return 1;
  for (const each of survivorsIn(report)) console.log(`No test notices: ${each}`);
  printScores(report);
  return 0;
}

async function judge(groups: readonly string[]): Promise<number> {
  const files: Record<string, FileReport> = {};
  for (const name of groups) {
    const group: Group | undefined = GROUPS[name];
    const report = group && (await mutate(group.files, name));
    if (report === undefined) return 1;
    Object.assign(files, report.files);
  }
  const survivors = survivorsIn({ files });
  const excused = excusedIn(await readFile(join(ROOT, "test/mutation.md"), "utf8"));
  const isTaken = (each: string): boolean =>
    chosen.length === 0 || Object.hasOwn(files, each.slice(0, each.indexOf(":")));
  const unexcused = [...survivors].filter((each) => !excused.has(each));
  const outdated = [...excused].filter((each) => isTaken(each) && !survivors.has(each));
  printScores({ files });
  for (const each of unexcused) console.log(`No test notices, and test/mutation.md gives no reason: ${each}`);
  for (const each of outdated) console.log(`test/mutation.md excuses what is noticed, or does not exist: ${each}`);
  console.log(`${survivors.size} kinds of changes were not noticed`);
  return unexcused.length === 0 && outdated.length === 0 ? 0 : 1;
}

/** Changes files and runs the tests of a group; without a group, every unit test. Returns undefined if Stryker failed. */
async function mutate(files: readonly string[], group: string): Promise<Report | undefined> {
  const known = [
    "--incremental",
    "--incrementalFile",
    `coverage/mutation/${group}.json`,
    ...(isFresh ? ["--force"] : []),
  ];
  const { ok } = await run("stryker", ["run", "--mutate", files.join(","), ...(group === "" ? [] : known)], {
    live: true,
    env: { MUTATION_GROUP: group },
  });
  return ok ? await readReport() : undefined;
}

function printScores({ files }: Report): void {
  for (const [file, { mutants }] of Object.entries(files)) {
    const judged = mutants.filter(isJudgeable);
    console.log(`${file}: ${judged.filter(isNoticed).length} of ${judged.length} changes were noticed`);
  }
}

async function readReport(): Promise<Report> {
  return JSON.parse(await readFile(join(ROOT, "coverage/mutation.json"), "utf8"));
}

/** The changes that no test noticed, in the words of `mutation.md`. */
function survivorsIn({ files }: Report): Set<string> {
  const survivors = new Set<string>();
  for (const [file, { source, mutants }] of Object.entries(files)) {
    for (const mutant of mutants) {
      if (!isJudgeable(mutant) || isNoticed(mutant)) continue;
      const { location, replacement } = mutant;
      survivors.add(`${file}: \`${onOneLine(excerpt(source, location))}\` → \`${onOneLine(replacement)}\``);
    }
  }
  return survivors;
}

/** Changes in the texts of errors are ignored: see `mutation/messages.ts`. */
function isJudgeable({ status }: Mutant): boolean {
  return status !== "Ignored";
}

function isNoticed({ status }: Mutant): boolean {
  // With a timeout, the change makes the code run forever, and with a runtime error, the tests cannot be loaded. Both
  // would fail every test.
  return status === "Killed" || status === "Timeout" || status === "RuntimeError";
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
  // The end is cut first. On a single line, cutting the start first would shift the column of the end.
  lines.push(lines.pop()?.slice(0, end.column - 1) ?? "");
  lines.unshift(lines.shift()?.slice(start.column - 1) ?? "");
  return lines.join("\n");
}

function onOneLine(text: string): string {
  return text.replace(/\s+/g, " ");
}
