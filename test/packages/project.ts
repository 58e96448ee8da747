import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { vi } from "vitest";
import { stage } from "../../scripts/stage.ts";
import { type Finished, ROOT, run } from "../setup/command.ts";

// The time of an installation depends on the registry and the machine, not on the package.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });

/** A folder with a program that a user of the package could have written. */
export interface Project {
  readonly folder: string;
  /** Writes files, by name. */
  write(files: Readonly<Record<string, string>>): Promise<void>;
  /** Runs a program in the folder. */
  run(program: string, ...args: string[]): Promise<Finished>;
}

// Tools stay installed between runs; projects do not.
const CACHE = join(ROOT, "node_modules", ".cache", "with-session-packages");
const created: string[] = [];

/** Deletes the projects of this process. Call it in `afterAll`. */
export async function deleteProjects(): Promise<void> {
  await Promise.all(created.splice(0).map((folder) => rm(folder, { recursive: true, force: true })));
}

let packed: Promise<string> | undefined;

/** The tarball that would be published, made once for each test file. */
export function tarball(): Promise<string> {
  return (packed ??= pack());
}

async function pack(): Promise<string> {
  const folder = await temporary("pack");
  await stage(join(folder, "package"));
  await mustRun(run("npm", ["pack", join(folder, "package"), "--pack-destination", folder, "--loglevel", "error"]));
  const name = (await readdir(folder)).find((file) => file.endsWith(".tgz")) ?? "";
  return join(folder, name);
}

/** A new project outside of the checkout, into which npm has installed the tarball and `dependencies`. */
export async function createProject(
  name: string,
  dependencies: Readonly<Record<string, string>> = {},
): Promise<Project> {
  const project = await emptyProject(name, { "with-session": `file:${await tarball()}`, ...dependencies });
  await mustRun(project.run("npm", "install", ...QUIET));
  return project;
}

const QUIET = ["--no-audit", "--no-fund", "--loglevel", "error", "--prefer-offline"];

/** A new project without installed packages. */
export async function emptyProject(name: string, dependencies: Readonly<Record<string, string>>): Promise<Project> {
  const folder = await temporary(name);
  const project = projectIn(folder);
  await project.write({ "package.json": JSON.stringify({ name, private: true, type: "module", dependencies }) });
  return project;
}

function projectIn(folder: string): Project {
  return {
    folder,
    async write(files) {
      for (const [file, text] of Object.entries(files)) {
        await mkdir(dirname(join(folder, file)), { recursive: true });
        await writeFile(join(folder, file), text);
      }
    },
    run: (program, ...args) => runIn(folder, program, args),
  };
}

/**
 * A folder with tools from npm in `node_modules`. They are installed once, and kept for the next run.
 *
 * @param dependencies Exact versions by name, as in a package.json
 */
export async function tools(name: string, dependencies: Readonly<Record<string, string>>): Promise<Project> {
  const version = Object.values(dependencies)
    .join("_")
    .replaceAll(/[^\w.]+/g, "-");
  const folder = join(CACHE, `${name}_${version}`);
  if (existsSync(folder)) return projectIn(folder);
  // Another test file may install the same tools. The first one moves the folder into its place.
  const project = await emptyProject(name, dependencies);
  await mustRun(project.run("npm", "install", ...QUIET));
  await mkdir(CACHE, { recursive: true });
  // Copied to a temporary name first, so that an interruption leaves no incomplete tool.
  const copy = `${folder}.${process.pid}`;
  await cp(project.folder, copy, { recursive: true, verbatimSymlinks: true });
  await rename(copy, folder).catch(async (error: unknown) => {
    await rm(copy, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  });
  return projectIn(folder);
}

async function temporary(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `with-session-${name}-`));
  created.push(folder);
  return folder;
}

/** Throws with the output of a command if it has failed. */
export async function mustRun(finished: Promise<Finished>): Promise<string> {
  const { ok, output, stdout } = await finished;
  if (!ok) throw new Error(output);
  return stdout;
}

/**
 * Like `run` of the checkout, but in another folder, whose own tools come first on the PATH. The checkout's Node, Deno and
 * Bun come last.
 */
function runIn(cwd: string, program: string, args: readonly string[]): Promise<Finished> {
  const bin = (folder: string): string => join(folder, "node_modules", ".bin");
  const path = [bin(cwd), bin(ROOT), process.env["PATH"]].join(delimiter);
  // A project must not inherit the variables that npm and Vitest set for this one. Those for certificates, proxies and
  // registries stay.
  const foreign =
    /^(?:npm_(?:package|lifecycle|command|execpath|node)|VITEST|NODE_(?:ENV|OPTIONS)$|(?:TEST|MODE|DEV|PROD|SSR)$)/;
  const env = { ...process.env, PATH: path, NO_COLOR: "1" };
  for (const name of Object.keys(env).filter((each) => foreign.test(each))) Reflect.deleteProperty(env, name);
  const child = spawn(program, args, {
    cwd,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
  return new Promise((resolve) => {
    child.on("error", (error) => resolve({ ok: false, stdout, output: `${output}${error.message}\n` }));
    child.on("close", (code) => resolve({ ok: code === 0, stdout, output }));
  });
}
