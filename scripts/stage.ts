/**
 * The folder that is published. It has the build, a manifest with only the fields that a user needs, and texts whose
 * links lead to the repository.
 *
 * @module
 */
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT, run } from "../test/setup/command.ts";

/** The part of `package.json` that is read here. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly repository: { readonly type: string; readonly url: string };
  readonly [field: string]: unknown;
}

/** The fields that only this checkout needs. */
const NOT_PUBLISHED = ["scripts", "workspaces", "devDependencies", "overrides", "allowScripts"];
/** Texts beside the code. Their relative links are made absolute. */
const TEXTS = ["README.md", "CHANGELOG.md", "SECURITY.md"];

/**
 * Builds the package into a new folder, which `npm pack` and `npm publish` take.
 *
 * @param folder The new folder. It is created; nothing else should be in it
 * @throws {Error} If the build fails
 */
export async function stage(folder: string): Promise<Manifest> {
  const manifest = await readManifest();
  await mkdir(folder, { recursive: true });
  const { ok, output } = await run("tsdown", ["--out-dir", join(folder, "dist"), "--logLevel", "warn"]);
  if (!ok) throw new Error(`The build failed:\n${output}`);
  await writeFile(join(folder, "package.json"), `${JSON.stringify(published(manifest), null, 2)}\n`);
  await cp(join(ROOT, "LICENSE"), join(folder, "LICENSE"));
  for (const text of TEXTS) {
    const source = await readFile(join(ROOT, text), "utf8");
    await writeFile(join(folder, text), withAbsoluteLinks(source, manifest));
  }
  return manifest;
}

/** The `package.json` of the checkout. */
export async function readManifest(): Promise<Manifest> {
  return JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
}

/** A manifest without the fields that only the checkout needs. */
export function published(manifest: Manifest): Record<string, unknown> {
  return Object.fromEntries(Object.entries(manifest).filter(([field]) => !NOT_PUBLISHED.includes(field)));
}

/** The page of the repository, such as `https://github.com/owner/name`. */
export function addressOf({ repository }: Manifest): string {
  return repository.url.replace(/^git\+/, "").replace(/\.git$/, "");
}

/** A text of Markdown whose relative links lead to the files of this version in the repository. */
export function withAbsoluteLinks(markdown: string, manifest: Manifest): string {
  const base = addressOf(manifest);
  const tag = `v${manifest.version}`;
  return markdown.replace(/(!?)(\[[^\]]*\])\((?!#|[a-z][a-z+.-]*:)(?:\.\/)?([^)\s]+)\)/g, (_, mark, text, path) => {
    const view = mark === "!" ? "raw" : "blob";
    return `${mark}${text}(${base}/${view}/${tag}/${path})`;
  });
}
