import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";

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
