import { glob, readFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { expect, test } from "vitest";
import { GROUPS } from "../mutation/groups.ts";

const root = new URL("../", import.meta.url);

/** The tests that a map names: a file, and words of the test's name. */
function namedIn(map: string): { file: string; words: string }[] {
  return Array.from(map.matchAll(/`([\w/.]+\.ts)`: ((?:"[^"]+"(?:, )?)+)/g)).flatMap(([, file = "", list = ""]) =>
    Array.from(list.matchAll(/"([^"]+)"/g), ([, words = ""]) => ({ file, words })),
  );
}

test.each([
  ["requirements/pitfalls.md", 90],
  ["requirements/security.md", 50],
  ["requirements/databases.md", 60],
  ["checklist.md", 100],
])("%s names tests that exist", async (name, least) => {
  const named = namedIn(await readFile(new URL(name, root), "utf8"));
  const missing: string[] = [];
  for (const { file, words } of named) {
    const source = await readFile(new URL(file, root), "utf8").catch(() => "");
    if (!source.includes(words)) missing.push(`${file}: ${words}`);
  }
  expect(missing).toEqual([]);
  expect(named.length).toBeGreaterThan(least);
});

test("security.md has each clause with which a test is tagged", async () => {
  const map = await readFile(new URL("requirements/security.md", root), "utf8");
  const files = new Set(namedIn(map).map(({ file }) => file));
  const missing: string[] = [];
  for (const file of files) {
    const source = await readFile(new URL(file, root), "utf8");
    const clauses = Array.from(source.matchAll(/\[ASVS ([\d.]+)\]/g), ([, clause = ""]) => clause);
    missing.push(...clauses.filter((clause) => !map.includes(clause)).map((clause) => `${file}: ${clause}`));
  }
  expect(missing).toEqual([]);
});

test("checklist.md has each number of the list of capabilities", async () => {
  const map = await readFile(new URL("checklist.md", root), "utf8");
  const numbers = Array.from(map.matchAll(/^\| (\d+) \|/gm), ([, number]) => Number(number));
  expect(numbers).toEqual(Array.from({ length: 62 }, (_, at) => at + 1));
});

test("pitfalls.md has each line of the second list", async () => {
  const map = await readFile(new URL("requirements/pitfalls.md", root), "utf8");
  const second = map.slice(map.indexOf("## Second list"));
  const rows = second.split("\n").filter((line) => /^\| (?:\d+|–) \|/.test(line));
  const numbers = new Set(rows.flatMap((row) => row.match(/^\| (\d+) \|/)?.[1] ?? []).map(Number));
  expect([...numbers].sort((one, other) => one - other)).toEqual(Array.from({ length: 56 }, (_, at) => at + 1));
  // Each row must name a test.
  expect(rows.filter((row) => namedIn(row).length === 0)).toEqual([]);
});

/** The files of the checkout that match a pattern. A pattern with several alternatives must match a file with each of them. */
async function filesOf(pattern: string): Promise<string[]> {
  const [whole, list = ""] = /\{(.+)\}/.exec(pattern) ?? [];
  const patterns = whole === undefined ? [pattern] : list.split(",").map((each) => pattern.replace(whole, each));
  const files: string[] = [];
  for (const each of patterns) {
    const found = await Array.fromAsync(glob(each, { cwd: new URL("../", root) }));
    files.push(...(found.length === 0 ? [`nothing: ${each}`] : found));
  }
  return files;
}

/** Whether a file has code that runs, and not only types and exports of other files. */
async function hasCode(file: string): Promise<boolean> {
  const source = await readFile(new URL(`../${file}`, root), "utf8");
  const code = stripTypeScriptTypes(source).replaceAll(/\/\*.*?\*\/|\/\/.*$/gms, "");
  return code.replaceAll(/^(?:import|export) .*?(?:from )?".+?";$|^export \{\s*\};?$/gms, "").trim() !== "";
}

test("mutation/groups.ts has each file with code in one group, and names only files that exist", async () => {
  const groups = Object.values(GROUPS);
  const changed = (await Promise.all(groups.flatMap(({ files }) => files.map(filesOf)))).flat();
  const tests = (await Promise.all(groups.flatMap((group) => group.tests.map(filesOf)))).flat();
  expect([...changed, ...tests].filter((each) => each.startsWith("nothing"))).toEqual([]);
  expect(changed.filter((each, at) => changed.indexOf(each) < at)).toEqual([]);
  const sources = (await filesOf("src/**/*.ts")).filter((each) => !each.endsWith(".d.ts"));
  const left: string[] = [];
  for (const file of sources) if (!changed.includes(file) && (await hasCode(file))) left.push(file);
  expect(left).toEqual([]);
});

test("mutation.md names only files that exist, each with its count", async () => {
  const map = await readFile(new URL("mutation.md", root), "utf8");
  const counted = Array.from(map.matchAll(/^\| `(src\/.+?)` \|/gm), ([, file = ""]) => file);
  const excused = Array.from(map.matchAll(/^## `(src\/.+)`$/gm), ([, file = ""]) => file);
  const files = (await Promise.all([...counted, ...excused].map(filesOf))).flat();
  expect(files.filter((each) => each.startsWith("nothing"))).toEqual([]);
  expect(excused.filter((each) => !counted.includes(each))).toEqual([]);
});
