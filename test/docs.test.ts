import { readFile, writeFile } from "node:fs/promises";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { describe, expect, test } from "vitest";
import manifest from "../package.json" with { type: "json" };
import { storeCases } from "../src/testing.ts";
import { ROOT, run } from "./setup/command.ts";
import { checkDocumentation, documentedBlocks, filesOf, PAGES } from "./setup/documentation.ts";
import { temporaryDirectory } from "./setup/sessions.ts";

const pages = new Map<string, string>();
for (const file of await filesOf(PAGES)) pages.set(file, await readFile(join(ROOT, file), "utf8"));

/** Words and phrases for which there is a plainer expression. "If there is none" is plain. */
const DIALECT =
  /\b(?:(?<!there )is none|whoever|wherever|of late|hears?|to hear|of (?:its|their) own|leads? nowhere|all the same|no use|worth nothing|shall|(?:is|are) told by|nobody knows|makes? no sense)\b/i;
/** The six headings of each store. */
const HEADINGS = ["Setup", "Example", "How expiry behaves", "Key format", "Consistency", "Limits"];

/** The text of a page, without its code. */
function proseOf(page: string): string {
  return page.replace(/^```.*?^```$/gms, "").replaceAll(/`[^`\n]*`/g, "code");
}

/** The anchors that GitHub gives to headings. */
function anchorsOf(page: string): Set<string> {
  const counts = new Map<string, number>();
  const anchors = new Set<string>();
  for (const [, title = ""] of page.replace(/^```.*?^```$/gms, "").matchAll(/^#{1,6} (.*)$/gm)) {
    const text = title.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = text.replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");
    const count = counts.get(slug) ?? 0;
    counts.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}

/** The relative links of a page whose file or heading does not exist. */
function brokenLinks(file: string, page: string): string[] {
  const targets = Array.from(
    proseOf(page).matchAll(/\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$/gm),
    ([, one, other]) => one ?? other ?? "",
  );
  return targets.filter((target) => {
    if (/^[a-z]+:/i.test(target)) return false;
    const [path = "", anchor] = target.split("#", 2);
    if (path === "") return !anchorsOf(page).has(anchor ?? "");
    const found = posix.join(dirname(file), path);
    if (!existsSync(join(ROOT, found))) return true;
    return anchor !== undefined && !anchorsOf(pages.get(found) ?? readFileSync(join(ROOT, found), "utf8")).has(anchor);
  });
}

test("each block of TypeScript in the pages and the docstrings compiles as a user's own file", async () => {
  const blocks = await documentedBlocks();
  expect(new Set(blocks.map(({ file }) => file)).size).toBeGreaterThan(40);
  const { output } = await checkDocumentation();
  expect(output).toBe("");
});

test("each program that opens a client of node-redis or pg listens for its errors, which would end the process", async () => {
  const programs = await documentedBlocks();
  for (const file of await filesOf(["examples/*.ts", "examples/*/*.ts"]))
    programs.push({ file, line: 1, code: await readFile(join(ROOT, file), "utf8") });
  const opening = programs.filter(({ code }) => /\bfrom "redis"|\bnew Pool\(/.test(code));
  expect(opening.length).toBeGreaterThan(5);
  expect(opening.filter(({ code }) => !/\.on\("error"/.test(code)).map(({ file, line }) => `${file}:${line}`)).toEqual(
    [],
  );
});

describe.each([...pages])("%s", (file, page) => {
  test("its relative links lead to files and headings that are there", () => {
    expect(brokenLinks(file, page)).toEqual([]);
  });

  test("it is written in plain English", () => {
    const lines = proseOf(page).split("\n");
    expect(lines.filter((line) => DIALECT.test(line))).toEqual([]);
  });

  test("each of its blocks is closed and names its language", () => {
    const fences = Array.from(page.matchAll(/^```(.*)$/gm), ([, language = ""]) => language);
    expect(fences.length % 2).toBe(0);
    expect(fences.filter((_, at) => at % 2 === 1).join("")).toBe("");
  });
});

/** The comments and messages of a file as running text. Code in backticks is replaced. */
function proseOfSource(source: string): string {
  return source.replaceAll(/`[^`\n]*`/g, "code").replaceAll(/\s*\n\s*(?:\*(?!\/)|\/\/)?\s*/g, " ");
}

test("comments and messages of src/ are written in plain English", async () => {
  const files = await filesOf(["mod.ts", "src/**/*.ts"]);
  expect(files.length).toBeGreaterThan(90);
  const found: string[] = [];
  for (const file of files) {
    const text = proseOfSource(await readFile(join(ROOT, file), "utf8"));
    for (const { index, 0: words } of text.matchAll(new RegExp(DIALECT, "gi")))
      found.push(`${file}: ${words}: …${text.slice(Math.max(0, index - 60), index + 60)}…`);
  }
  expect(found).toEqual([]);
});

test("proseOfSource() joins the lines of a comment, so that words on two lines are found", () => {
  expect(proseOfSource("/**\n * A session that is\n * none.\n */")).toMatch(DIALECT);
  expect(proseOfSource("// A session that is\n  // none.")).toMatch(DIALECT);
  expect(proseOfSource("/** Null if there is none. */")).not.toMatch(DIALECT);
});

test("brokenLinks() finds a missing file and a missing heading", () => {
  const page =
    "[a](../README.md) [b](nowhere.md) [c](errors.md#no) [d](#here-and-now) [e](#there) [f](https://a.example)\n\n## Here `and` now!\n";
  expect(brokenLinks("docs/a_page.md", page)).toEqual(["nowhere.md", "errors.md#no", "#there"]);
});

test("README.md or another page links to each page of docs/", () => {
  const linked = new Set<string>();
  for (const [file, page] of pages) {
    for (const [, target = ""] of page.matchAll(/\]\(([^)\s#]+)/g)) linked.add(posix.join(dirname(file), target));
  }
  const lonely = [...pages.keys()].filter((file) => file.startsWith("docs/") && !linked.has(file));
  expect(lonely).toEqual([]);
});

describe("docs/stores.md", () => {
  const sections = (pages.get("docs/stores.md") ?? "").split(/^## /m).slice(1);

  test.each(
    sections
      .filter((section) => !section.startsWith("Moving"))
      .map((section) => [section.split("\n", 1)[0] ?? "", section] as const),
  )("%s has the same headings as all stores", (_name, section) => {
    const found = Array.from(section.matchAll(/^\*\*([^.*]+)\.\*\*/gm), ([, heading = ""]) => heading);
    expect(found.filter((heading) => heading !== "Eviction")).toEqual(HEADINGS);
  });

  test("it has an example of each store that is exported", async () => {
    const { default: deno } = await import("../deno.json", { with: { type: "json" } });
    const stores = Object.keys(deno.exports).filter(
      (path) => path.startsWith("./stores/") && path !== "./stores/memory",
    );
    const missing = stores.filter(
      (path) => !sections.some((section) => section.includes(`"with-session${path.slice(1)}"`)),
    );
    expect(missing).toEqual([]);
  });
});

test("docs/options.md has each option of the core", async () => {
  const source = await readFile(join(ROOT, "src/core/options/resolve_options.ts"), "utf8");
  const table = /^const CHECKS[^{]*\{(.*?)^\};$/ms.exec(source)?.[1] ?? "";
  const names = Array.from(table.matchAll(/^ {2}(\w+):/gm), ([, name = ""]) => name);
  expect(names.length).toBeGreaterThan(20);
  const page = pages.get("docs/options.md") ?? "";
  expect(names.filter((name) => !page.includes(`\n| \`${name}\` |`))).toEqual([]);
});

test("CONTRIBUTING.md maps files and folders that are there, and each export", async () => {
  const [, map = ""] = /^```\n(mod\.ts.*?)^```$/ms.exec(pages.get("CONTRIBUTING.md") ?? "") ?? [];
  const all = await filesOf(["mod.ts", "src/**/*.ts", "{test,docs,examples,bench}/**/*.*", "site/*.ts"]);
  const names = new Set(
    all.flatMap((file) => [
      `${file.split("/").at(-1)}`,
      ...file
        .split("/")
        .slice(0, -1)
        .map((folder) => `${folder}/`),
    ]),
  );
  const mapped: readonly string[] = map.match(/[\w.]+(?:\.ts|\/)(?=[\s:;,]|$)/g) ?? [];
  expect(mapped.length).toBeGreaterThan(60);
  expect(mapped.filter((name) => !names.has(name))).toEqual([]);
  const entries = all.filter((file) => /^src\/[^/]+\.ts$/.test(file)).map((file) => file.slice("src/".length));
  expect(entries.filter((name) => !mapped.includes(name))).toEqual([]);
});

test("docs/decisions/014-dependencies.md has each dependency, and no other one", () => {
  const { dependencies, devDependencies, peerDependencies } = manifest;
  const page = pages.get("docs/decisions/014-dependencies.md") ?? "";
  const named = Array.from(page.matchAll(/^\| `([^`]+)`/gm), ([, name = ""]) => name);
  const installed = [dependencies, devDependencies, peerDependencies].flatMap((each) => Object.keys(each));
  expect([...new Set(named)].toSorted()).toEqual([...new Set(installed)].toSorted());
});

test("docs/errors.md has each code of SessionError", async () => {
  const source = await readFile(join(ROOT, "src/core/errors.ts"), "utf8");
  const codes = new Set(Array.from(source.matchAll(/\| "(ERR_\w+)"/g), ([, code = ""]) => code));
  expect(codes.size).toBeGreaterThan(10);
  const page = pages.get("docs/errors.md") ?? "";
  expect([...codes].filter((code) => !page.includes(`\n| \`${code}\` |`))).toEqual([]);
});

test("docs/events.md has each event, and docs/why-signed-out.md each reason", async () => {
  const source = await readFile(join(ROOT, "src/core/events.ts"), "utf8");
  const events = source.slice(source.indexOf("type SessionHappening")).split("\n/**", 1)[0] ?? "";
  const types = Array.from(events.matchAll(/\btype:([^;}]+)/g), ([, words = ""]) => words.match(/\w+/g) ?? []).flat();
  expect(types.length).toBeGreaterThan(10);
  expect(types.filter((type) => !pages.get("docs/events.md")?.includes(`\n| \`${type}\` |`))).toEqual([]);
  const reasons =
    source.slice(source.indexOf("type RejectReason"), source.indexOf("(string & {})")).match(/(?<=\| ")\w+/g) ?? [];
  expect(reasons.length).toBeGreaterThan(10);
  // The library reports it to users as `retired`.
  const told = reasons.filter((reason) => reason !== "replaced");
  expect(told.filter((reason) => !pages.get("docs/why-signed-out.md")?.includes(`\`${reason}\``))).toEqual([]);
});

test("docs/plugins.md shows the plugin of examples/country_plugin.ts", async () => {
  const [block] = (await documentedBlocks()).filter(
    ({ file, code }) => file === "docs/plugins.md" && code.includes("countryPlugin"),
  );
  const body = block?.code.replace(/^import .*\n+/gm, "").trim() ?? "";
  expect(body).not.toBe("");
  expect(await readFile(join(ROOT, "examples/country_plugin.ts"), "utf8")).toContain(body);
});

test("the programs of docs/testing.md for node:test pass under node --test", async () => {
  const blocks = (await documentedBlocks()).filter(
    ({ file, code }) => file === "docs/testing.md" && code.includes('from "node:test"'),
  );
  expect(blocks.filter(({ code }) => code.includes("seedSession")).length).toBeGreaterThan(0);
  const { default: deno } = await import("../deno.json", { with: { type: "json" } });
  const sources: Readonly<Record<string, string>> = deno.exports;
  const directory = await temporaryDirectory();
  const files = blocks.map(({ code }, at) => {
    const ours = /"with-session(\/[\w/-]+)?"/g;
    const source = code.replace(ours, (_, path = "") => JSON.stringify(join(ROOT, sources[`.${path}`] ?? "")));
    return { file: join(directory, `${at}.test.ts`), source };
  });
  for (const { file, source } of files) await writeFile(file, source);
  const { stdout } = await run(process.execPath, ["--test", "--test-reporter=tap", ...files.map(({ file }) => file)]);
  expect(stdout).toMatch(new RegExp(`# pass ${files.length}\n# fail 0\n`));
});

describe("the store in docs/writing-a-store.md", async () => {
  const [block] = (await documentedBlocks()).filter(
    ({ file, code }) => file === "docs/writing-a-store.md" && code.includes("mapStore"),
  );
  const { stripTypeScriptTypes } = await import("node:module");
  const source = stripTypeScriptTypes(block?.code ?? "");
  const { mapStore } = await import(/* @vite-ignore */ `data:text/javascript,${encodeURIComponent(source)}`);

  test.each(storeCases())("$name", ({ run }) => run(() => mapStore()));
});
