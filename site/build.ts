/**
 * `npm run docs`: builds the documentation as a site, in `site/dist/`. It installs the generator first, only in
 * `site/`. The arguments after `--` are passed to VitePress, such as `--base /with-session/`; `-- --open` then serves
 * the site on this machine.
 *
 * @module
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ROOT, run } from "../test/setup/command.ts";
import { writePages } from "./pages.ts";

/** The folder of the built site. */
export const SITE: string = join(ROOT, "site", "dist");

/** Builds the site. If that fails, the error has the generator's output. A broken link is such a failure. */
export async function buildSite(args: readonly string[] = []): Promise<void> {
  await install();
  await writePages();
  await succeed("node", [join("site", "node_modules", "vitepress", "bin", "vitepress.js"), "build", "site", ...args]);
}

async function install(): Promise<void> {
  const [installed, lock] = await Promise.all(
    ["node_modules/.package-lock.json", "package-lock.json"].map((file) =>
      stat(join(ROOT, "site", file)).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      ),
    ),
  );
  if (installed === undefined || lock === undefined || installed < lock || installed === 0)
    await succeed("npm", ["ci", "--prefix", "site"]);
}

async function succeed(command: string, args: readonly string[]): Promise<void> {
  const { ok, output } = await run(command, args);
  if (!ok) throw new Error(`${command} ${args.join(" ")} failed:\n${output}`);
}

if (import.meta.main) {
  const args = process.argv.slice(2);
  await buildSite(args.filter((each) => each !== "--open"));
  console.log("The site is in site/dist/.");
  if (args.includes("--open")) {
    const preview = [join("site", "node_modules", "vitepress", "bin", "vitepress.js"), "preview", "site"];
    await run("node", [...preview, "--host", "127.0.0.1"], { live: true });
  }
}
