/**
 * `npm run rename -- <owner>/<name>`: moves the project to another repository. It changes the addresses in
 * `package.json`. In all texts of the checkout it changes the old address, the sponsors' page of the old owner and the
 * old scope on JSR. The name on npm stays.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT } from "../test/setup/command.ts";
import { addressOf, type Manifest } from "./stage.ts";

/** The files that are changed: text files that can hold addresses. */
const TEXT = /\.(?:md|json|ya?ml|ts|svg)$|CODEOWNERS$/;

/** The old and the new repository, as `<owner>/<name>`. */
export interface Move {
  readonly from: string;
  readonly to: string;
}

/** A text with the addresses of the new repository. `npmName` is the package's name on npm, and on JSR within the scope. */
export function renamed(text: string, { from, to }: Move, npmName: string): string {
  const [oldOwner = ""] = from.split("/");
  const [newOwner = ""] = to.split("/");
  const end = "(?![\\w-])";
  return text
    .replaceAll(new RegExp(`github\\.com/${escaped(from)}${end}`, "g"), () => `github.com/${to}`)
    .replaceAll(
      new RegExp(`github\\.com/sponsors/${escaped(oldOwner)}${end}`, "g"),
      () => `github.com/sponsors/${newOwner}`,
    )
    .replaceAll(new RegExp(`github\\.com/${escaped(oldOwner)}(?=[)"\\s])`, "g"), () => `github.com/${newOwner}`)
    .replaceAll(
      new RegExp(`@${escaped(oldOwner.toLowerCase())}/${escaped(npmName)}${end}`, "g"),
      () => `@${newOwner.toLowerCase()}/${npmName}`,
    );
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** Changes the files under `root` that git knows or does not ignore. Returns the files that were changed. */
export async function renameAll(root: string, to: string): Promise<string[]> {
  if (!/^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\/[\w.-]+$/.test(to)) {
    throw new TypeError("The new place must be <owner>/<name>, as in: npm run rename -- octocat/with-session");
  }
  const manifest: Manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const from = new URL(addressOf(manifest)).pathname.slice(1);
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  const changed: string[] = [];
  for (const file of files.split("\n").filter((each) => TEXT.test(each) && each !== "package-lock.json")) {
    const before = await readFile(join(root, file), "utf8").catch(() => undefined);
    if (before === undefined) continue;
    const after = renamed(before, { from, to }, manifest.name);
    if (after === before) continue;
    await writeFile(join(root, file), after);
    changed.push(file);
  }
  return changed;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const changed = await renameAll(ROOT, process.argv[2] ?? "");
    for (const file of changed) console.log(file);
    console.log(`${changed.length} files were changed. Look at the difference, then commit it.`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
