import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { ROOT } from "./command.ts";

/** The imports of a source file. Paths are relative to the checkout. */
export interface Imports {
  /** Files of the project whose code is loaded when the program runs. */
  readonly values: readonly string[];
  /** Files of the project from which only types are imported. */
  readonly types: readonly string[];
  /** Packages and modules of a runtime. */
  readonly packages: readonly string[];
}

/** Each file of `mod.ts` and `src/`, with what it imports. */
export function importsOfSource(): Map<string, Imports> {
  const files = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .map((file) => `src/${file.replaceAll("\\", "/")}`)
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"));
  return new Map(
    ["mod.ts", ...files.sort()].map((file) => [file, importsIn(file, readFileSync(join(ROOT, file), "utf8"))]),
  );
}

function importsIn(file: string, source: string): Imports {
  const values = new Set<string>();
  const types = new Set<string>();
  const packages = new Set<string>();
  const statements = source.matchAll(/^(?:import|export)\s+(type\s)?([^;"'`]*?)(?:from\s+)?"([^"\n]+)";/gm);
  for (const { 1: type, 2: names = "", 3: from = "" } of statements) {
    if (!from.startsWith(".")) packages.add(from);
    else if (type !== undefined || isTypesOnly(names)) types.add(posix.join(posix.dirname(file), from));
    else values.add(posix.join(posix.dirname(file), from));
  }
  for (const { 1: from = "" } of source.matchAll(/^(?! *(?:\*|\/\/)).*\bimport\("([^"\n]+)"\)/gm)) {
    if (from.startsWith(".")) values.add(posix.join(posix.dirname(file), from));
    else packages.add(from);
  }
  return { values: [...values], types: [...types].filter((each) => !values.has(each)), packages: [...packages] };
}

/** Whether the braces name only types: `{ type A, type B }`. */
function isTypesOnly(names: string): boolean {
  const list =
    /^\{([^}]*)\}\s*$/
      .exec(names.trim())?.[1]
      ?.split(",")
      .map((name) => name.trim()) ?? [];
  const named = list.filter((name) => name !== "");
  return named.length > 0 && named.every((name) => name.startsWith("type "));
}

/** The circles of imports, those of types alone included: each list of files ends with its first one. Of each circle, one way round is found. */
export function circlesIn(imports: ReadonlyMap<string, Imports>): readonly string[][] {
  const done = new Set<string>();
  const circles: string[][] = [];
  const visit = (file: string, above: readonly string[]): void => {
    const from = above.indexOf(file);
    if (from >= 0) circles.push([...above.slice(from), file]);
    if (from >= 0 || done.has(file)) return;
    const { values = [], types = [] } = imports.get(file) ?? {};
    for (const each of [...values, ...types]) visit(each, [...above, file]);
    done.add(file);
  };
  for (const file of imports.keys()) visit(file, []);
  return circles;
}

/**
 * The longest chain of imports that begins at a file: the number of levels that a reader, or a program that starts, must follow. Imports of
 * types alone do not count. The files must have no circles.
 */
export function longestChain(imports: ReadonlyMap<string, Imports>, from: string): readonly string[] {
  const known = new Map<string, readonly string[]>();
  const chainOf = (file: string): readonly string[] => {
    const found = known.get(file);
    if (found !== undefined) return found;
    const below = (imports.get(file)?.values ?? []).map(chainOf);
    const longest = below.reduce((best, each) => (each.length > best.length ? each : best), []);
    known.set(file, [file, ...longest]);
    return [file, ...longest];
  };
  return chainOf(from);
}
