/**
 * The pages that VitePress builds: the repository's pages under the addresses of the site, and the API reference.
 *
 * @module
 */
import { glob, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { ROOT } from "../test/setup/command.ts";
import { apiPages } from "./api.ts";
import { addressOf, REPOSITORY, SECTIONS } from "./navigation.ts";

/** The folder that VitePress reads. It is written anew with each build. */
export const PAGES: string = join(ROOT, "site", "pages");

/** Writes all pages. */
export async function writePages(): Promise<void> {
  await rm(PAGES, { recursive: true, force: true });
  for (const file of await pagesOfRepository()) {
    const address = addressOf(file);
    if (address === undefined) throw new Error(`${file} has no address`);
    await write(address, await onSite(file, await readFile(join(ROOT, file), "utf8")));
  }
  const api = await apiPages();
  for (const { address, markdown } of api) await write(address, markdown);
  const items = api.map(({ text, address }) => ({ text: text.replace("with-session/", ""), link: address }));
  await writeFile(join(PAGES, "api", "entries.json"), JSON.stringify(items));
}

/** Each file with a page: the files that the navigation lists, and the decisions. */
export async function pagesOfRepository(): Promise<string[]> {
  const files = new Set(SECTIONS.flatMap(({ pages }) => pages.map(({ file }) => file)));
  for await (const file of glob("docs/**/*.md", { cwd: ROOT })) files.add(file.replaceAll("\\", "/"));
  return [...files];
}

async function write(address: string, markdown: string): Promise<void> {
  const file = join(PAGES, address.endsWith("/") ? `${address}index.md` : address.replace(/\.html$/, ".md"));
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, markdown);
}

/** A page with its links as the site has them. A file without a page is linked to the repository. */
export async function onSite(file: string, markdown: string): Promise<string> {
  // In code, a text that looks like a link is not changed.
  const parts = markdown.split(/(^```.*?^```$|`[^`\n]*`)/gms);
  const linked: string[] = [];
  for (const part of parts) linked.push(part.startsWith("`") ? part : await withLinks(file, part));
  return linked.join("");
}

async function withLinks(file: string, text: string): Promise<string> {
  const targets = new Map<string, string>();
  const pattern = /(\]\(|^\[[^\]]+\]: )([^)\s]+)/gm;
  for (const [, , target = ""] of text.matchAll(pattern)) targets.set(target, await linkFrom(file, target));
  return text.replaceAll(pattern, (_all, before: string, target: string) => before + (targets.get(target) ?? target));
}

async function linkFrom(file: string, target: string): Promise<string> {
  if (/^[a-z]+:|^#/i.test(target)) return target;
  const [path = "", anchor] = target.split("#", 2);
  const found = relative(ROOT, join(ROOT, dirname(file), path)).replaceAll("\\", "/");
  const address = addressOf(found);
  const hash = anchor === undefined ? "" : `#${anchor}`;
  if (address !== undefined) return address + hash;
  const isFolder = (await stat(join(ROOT, found))).isDirectory();
  return `${REPOSITORY}/${isFolder ? "tree" : "blob"}/main/${found}${hash}`;
}
