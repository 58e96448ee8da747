import { glob, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Finished, ROOT, run } from "./command.ts";
import { GLOBALS, MODULES, NODE_GLOBALS } from "./documentation_types.ts";

/** Under node_modules, so that the examples can import their clients. */
const FOLDER: string = join(ROOT, "node_modules", ".cache", "with-session-examples");

/** The pages that users read. */
export const PAGES: readonly string[] = [
  "README.md",
  "SECURITY.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  ".github/SUPPORT.md",
  "docs/**/*.md",
];

/** A block of TypeScript in a page or in a docstring. */
export interface Block {
  readonly file: string;
  readonly line: number;
  readonly code: string;
}

/** The files that match, sorted. */
export async function filesOf(patterns: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for await (const file of glob([...patterns], { cwd: ROOT })) files.push(file.replaceAll("\\", "/"));
  return files.sort();
}

/** Each block of TypeScript in the pages and the docstrings, except those marked `ts ignore`. */
export async function documentedBlocks(): Promise<Block[]> {
  const blocks: Block[] = [];
  for (const file of await filesOf(["mod.ts", "src/**/*.ts", ...PAGES])) {
    blocks.push(...blocksOf(file, await readFile(join(ROOT, file), "utf8")));
  }
  return blocks;
}

/** Type-checks each block as a file of a user's project. */
export async function checkDocumentation(): Promise<Finished> {
  await rm(FOLDER, { recursive: true, force: true });
  const blocks = await documentedBlocks();
  // A block that declares something for a whole project is compiled as a project of its own.
  const apart = blocks.filter(({ code }) => /^declare (?:module|global)/m.test(code));
  const together = blocks.filter((block) => !apart.includes(block));
  const outcomes = [await compile("all", together, GLOBALS + NODE_GLOBALS)];
  for (const block of apart) outcomes.push(await compile(nameOf(block), [block], GLOBALS));
  return {
    ok: outcomes.every(({ ok }) => ok),
    stdout: outcomes.map(({ stdout }) => stdout).join(""),
    output: outcomes.map(({ output }) => output).join(""),
  };
}

async function compile(project: string, blocks: readonly Block[], globals: string): Promise<Finished> {
  const folder = join(FOLDER, project);
  await mkdir(folder, { recursive: true });
  const up = "../../../..";
  const config = {
    extends: `${up}/tsconfig.json`,
    include: [".", `${up}/test/setup/web_types.d.ts`, `${up}/src/next/next_headers.d.ts`],
    exclude: [],
  };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify(config));
  await writeFile(join(folder, "globals.d.ts"), globals);
  await writeFile(join(folder, "modules.d.ts"), MODULES);
  for (const block of blocks) await writeFile(join(folder, `${nameOf(block)}.ts`), `${programOf(block)}\nexport {};\n`);
  return await run("tsc", ["-p", folder, "--noUnusedLocals", "false", "--noUnusedParameters", "false"]);
}

function nameOf({ file, line }: Block): string {
  return `${file.replaceAll(/\W/g, "_")}_line_${line}`;
}

/**
 * A fragment without imports gets the two names that each page has introduced, on the same line, so that line numbers
 * stay the same.
 */
function programOf({ code }: Block): string {
  if (/^(?:import|declare module) /m.test(code)) return code;
  return `import { SessionManager, withSession } from "with-session"; ${code}`;
}

function blocksOf(file: string, source: string): Block[] {
  return Array.from(source.matchAll(/^( *\* |)```ts\n(.*?)^\1```$/gms), ({ 1: margin = "", 2: code = "", index }) => ({
    file,
    line: source.slice(0, index).split("\n").length,
    code: code
      .split("\n")
      .map((text) => text.slice(margin.length))
      .join("\n"),
  }));
}
