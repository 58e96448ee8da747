import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createProject, deleteProjects, mustRun, type Project } from "./project.ts";

const COUNTER = `
import { withSession } from "with-session";
export const handle = withSession(async (_request, session) => {
  const visits = await session.update("visits", (n = 0) => n + 1);
  return new Response("Visit " + visits);
});
`;
/** Runs the bundle, which must not need other files. */
const RUN = `
const { handle } = await import(process.argv[2]);
const first = await handle(new Request("https://shop.example/"));
const cookie = first.headers.get("set-cookie").split(";")[0];
console.log(await (await handle(new Request("https://shop.example/", { headers: { cookie } }))).text());
`;
/** Words from stores and capabilities that a counter does not use. */
const UNUSED = /redis|dynamodb|postgres|memcached|cloudflare:|node:fs|__Host-bound/i;

let project: Project;

beforeAll(async () => {
  project = await createProject("bundlers", {
    "esbuild": "0.28.2",
    "rollup": "4.68.8",
    "@rollup/plugin-node-resolve": "16.0.3",
    "vite": "8.3.8",
    "webpack": "5.113.0",
  });
  await project.write({
    "counter.js": COUNTER,
    "run.mjs": RUN,
    "esbuild.mjs": `
      import { build } from "esbuild";
      await build({ entryPoints: ["counter.js"], bundle: true, format: "esm", minify: true, platform: "neutral", external: ["node:*"], outfile: "out/esbuild.mjs" });`,
    "rollup.mjs": `
      import { rollup } from "rollup";
      import { nodeResolve } from "@rollup/plugin-node-resolve";
      const bundle = await rollup({ input: "counter.js", plugins: [nodeResolve()], external: [/^node:/], onwarn(warning) { throw new Error(warning.message); } });
      await bundle.write({ file: "out/rollup.mjs", format: "esm" });`,
    "vite.mjs": `
      import { build } from "vite";
      await build({ logLevel: "warn", configFile: false, build: { outDir: "out", emptyOutDir: false, lib: { entry: "counter.js", formats: ["es"], fileName: () => "vite.mjs" } } });`,
    "webpack.mjs": `
      import webpack from "webpack";
      const stats = await new Promise((resolve, reject) => webpack({
        mode: "production", target: ["web", "es2022"], entry: "./counter.js", experiments: { outputModule: true }, performance: false,
        output: { path: process.cwd() + "/out", filename: "webpack.mjs", library: { type: "module" } },
      }, (error, result) => (error ? reject(error) : resolve(result))));
      if (stats.hasErrors() || stats.hasWarnings()) { console.error(stats.toString()); process.exitCode = 1; }`,
  });
});
afterAll(deleteProjects);

describe.each(["esbuild", "rollup", "vite", "webpack"])("%s", (bundler) => {
  test("bundles a counter without a warning, without what the counter does not use, and it runs", async () => {
    await mustRun(project.run("node", `${bundler}.mjs`));
    expect(await mustRun(project.run("node", "run.mjs", `./out/${bundler}.mjs`))).toBe("Visit 2\n");
    const text = await readFile(join(project.folder, "out", `${bundler}.mjs`), "utf8");
    expect(UNUSED.exec(text)?.[0]).toBeUndefined();
  });
});
