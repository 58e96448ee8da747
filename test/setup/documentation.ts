import { glob, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Finished, ROOT, run } from "./command.ts";

// Under node_modules, so that the examples find the clients that they import.
const FOLDER: string = join(ROOT, "node_modules", ".cache", "with-session-examples");

/** What `wrangler types` would write for the Workers among the examples. */
const WORKER_TYPES = `
import type { CloudflareKvNamespace } from "with-session/stores/cloudflare-kv";
declare global {
  interface Env { SESSIONS: CloudflareKvNamespace }
  interface ExecutionContext { waitUntil(promise: Promise<unknown>): void }
  const Deno: { openKv(): Promise<import("with-session/stores/deno-kv").DenoKv>; serve(handler: (request: Request) => Promise<Response>): void };
}`;

/** Type-checks every example of the docstrings, and every whole program of the README, as a user's own file. */
export async function checkDocumentation(): Promise<Finished> {
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER, { recursive: true });
  const config = {
    extends: "../../../tsconfig.json",
    include: [".", "../../../test/setup/web_types.d.ts"],
    exclude: [],
  };
  await writeFile(join(FOLDER, "tsconfig.json"), JSON.stringify(config));
  await writeFile(join(FOLDER, "worker_types.d.ts"), WORKER_TYPES);
  for await (const file of glob(["mod.ts", "src/**/*.ts", "README.md"], { cwd: ROOT })) {
    const source = await readFile(join(ROOT, file), "utf8");
    for (const { code, line } of blocks(source)) {
      // The README has fragments as well, which stand for themselves.
      if (file.endsWith(".md") && !code.includes("export default")) continue;
      await writeFile(join(FOLDER, `${file.replaceAll(/\W/g, "_")}_line_${line}.ts`), `${code}\nexport {};\n`);
    }
  }
  return await run("tsc", ["-p", FOLDER, "--noUnusedLocals", "false", "--noUnusedParameters", "false"]);
}

function blocks(source: string): { code: string; line: number }[] {
  return Array.from(source.matchAll(/^( *\* |)```ts\n(.*?)^\1```$/gms), ({ 1: margin = "", 2: code = "", index }) => ({
    code: code
      .split("\n")
      .map((text) => text.slice(margin.length))
      .join("\n"),
    line: source.slice(0, index).split("\n").length,
  }));
}
