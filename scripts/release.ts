/**
 * `npm run release`: all steps of a release. npm gets a tarball, and JSR gets the sources.
 *
 * - `npm run release -- --dry-run` does everything except publishing, and leaves no files.
 * - `npm run release -- --pack <folder>` does the same, and puts the tarball into the folder, for `npm publish`.
 * - `npm run release -- --jsr` does the same, and publishes to JSR.
 *
 * @module
 */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { type Finished, ROOT, run } from "../test/setup/command.ts";
import { saysAnything, sectionOf } from "./changelog.ts";
import { type Manifest, readManifest, stage, withAbsoluteLinks } from "./stage.ts";

/** An error that stops the release. Its message says what to do. */
class Refused extends Error {}

const [mode = "", target] = process.argv.slice(2);
const isDryRun = mode === "--dry-run";
const folder = await mkdtemp(join(tmpdir(), "with-session-release-"));
try {
  await release();
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true });
}

async function release(): Promise<void> {
  if (!["--dry-run", "--pack", "--jsr"].includes(mode) || (mode === "--pack") !== (target !== undefined)) {
    throw new Refused("npm run release -- --dry-run, or --pack <folder>, or --jsr");
  }
  const manifest = await readManifest();
  await checkVersion(manifest);
  await checkChangelog(manifest);
  if (!isDryRun) await checkTree();

  const staged = join(folder, "package");
  await stage(staged).catch((error: unknown) => {
    throw new Refused(String(error));
  });
  await must(
    `${staged}: npm pack`,
    await run("npm", ["pack", staged, "--pack-destination", folder, "--loglevel", "error"]),
  );
  const tarball = join(folder, `${manifest.name}-${manifest.version}.tgz`);
  await must("publint", await run("publint", ["--strict", tarball]));
  await must("attw", await run("attw", [tarball, "--profile", "esm-only"]));
  await must("npm publish --dry-run", await run("npm", ["publish", tarball, "--dry-run", "--access", "public"]));
  await must("deno publish --dry-run", await run("deno", ["publish", "-q", "--dry-run", "--allow-dirty"]));
  if (isDryRun) console.log(`Version ${manifest.version} could be published.`);
  if (target !== undefined) await cp(tarball, join(resolve(target), basename(tarball)));
  if (mode === "--jsr") await publishToJsr(manifest);
}

async function checkVersion({ version }: Manifest): Promise<void> {
  const deno: { version: string } = JSON.parse(await readFile(join(ROOT, "deno.json"), "utf8"));
  if (deno.version !== version) {
    throw new Refused(`package.json has version ${version}, deno.json ${deno.version}. Make them the same.`);
  }
  const tag = process.env["GITHUB_REF_TYPE"] === "tag" ? process.env["GITHUB_REF_NAME"] : undefined;
  if (tag !== undefined && tag !== `v${version}`) {
    throw new Refused(`The tag is ${tag}, and package.json has version ${version}. The tag must be v${version}.`);
  }
  done(`version ${version}`);
}

async function checkChangelog({ version }: Manifest): Promise<void> {
  const changelog = await readFile(join(ROOT, "CHANGELOG.md"), "utf8");
  const released = sectionOf(changelog, version);
  // Before the release is prepared, its changes are under "Unreleased".
  const section = released ?? (isDryRun ? sectionOf(changelog, "Unreleased") : undefined);
  if (section === undefined) throw new Refused(`CHANGELOG.md has no section "## ${version}". Rename "## Unreleased".`);
  if (!saysAnything(section)) {
    const title = released === undefined ? "Unreleased" : version;
    throw new Refused(`The section "## ${title}" of CHANGELOG.md is empty. Say what has changed for users.`);
  }
  done(`changelog, section ${released === undefined ? "Unreleased" : version}`);
}

async function checkTree(): Promise<void> {
  const { stdout } = await run("git", ["status", "--porcelain"]);
  if (stdout !== "") throw new Refused(`These files are not committed:\n${stdout}`);
  done("everything is committed");
}

/** JSR takes the sources from this checkout, so the README has absolute links while they are published. */
async function publishToJsr(manifest: Manifest): Promise<void> {
  const readme = join(ROOT, "README.md");
  const before = await readFile(readme, "utf8");
  await writeFile(readme, withAbsoluteLinks(before, manifest));
  try {
    // JSR does not report an error for a version that it already has.
    await must("deno publish", await run("deno", ["publish", "--allow-dirty"], { live: true }));
  } finally {
    await writeFile(readme, before);
  }
}

async function must(what: string, { ok, output }: Finished): Promise<void> {
  if (!ok) throw new Refused(`FAILED ${what}\n${output}`);
  done(what.split(": ").at(-1) ?? what);
}

function done(what: string): void {
  console.log(`OK     ${what}`);
}
