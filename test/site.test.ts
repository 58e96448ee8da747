import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { addressOfEntry, apiPages } from "../site/api.ts";
import { addressOf, SECTIONS } from "../site/navigation.ts";
import { onSite, pagesOfRepository } from "../site/pages.ts";
import { slugOf } from "../site/slug.ts";
import { type TypeNode, typeText } from "../site/types.ts";
import { ROOT } from "./setup/command.ts";
import { lintOutput } from "./setup/deno_doc.ts";
import { filesOf } from "./setup/documentation.ts";
import { entries } from "./setup/entries.ts";

const pages = new Map((await apiPages()).map((page) => [page.address, page]));

/** The names that an entry exports, according to its source. */
function exportsOf(source: string): string[] {
  const own = Array.from(
    source.matchAll(/^export (?:declare |abstract |async )*(?:function|class|interface|type|const) (\w+)/gm),
    ([, name = ""]) => name,
  );
  const lists = Array.from(source.matchAll(/^export (?:type )?\{([^}]*)\}/gm), ([, list = ""]) => list.split(","));
  const passedOn = lists.flat().map((each) =>
    each
      .trim()
      .replace(/^type /, "")
      .replace(/^\w+ as /, ""),
  );
  return [...new Set([...own, ...passedOn])].filter((name) => name !== "");
}

test.each(entries)("the API reference has each export of with-session $path", async ({ path, source }) => {
  const names = exportsOf(await readFile(join(ROOT, source), "utf8"));
  expect(names.length).toBeGreaterThan(0);
  const headings = Array.from(
    pages.get(addressOfEntry(path))?.markdown.matchAll(/^## `(\w+)(?:\(\))?`$/gm) ?? [],
    ([, name = ""]) => name,
  );
  expect(headings.toSorted()).toEqual(names.toSorted());
});

test("a page of the reference shows signature, sentence, parameters, result, errors, defaults and an example", () => {
  const page = pages.get("/api/signed-ids.html")?.markdown ?? "";
  const [, section = ""] = /^## `signedIds\(\)`\n(.*?)^## /ms.exec(page) ?? [];
  expect(section).toContain("function signedIds(options: SignedIdsOptions): TokenFormat");
  expect(section).toMatch(/^Signs the session ids that clients hold, /m);
  expect(section).toMatch(/^- `options`: \S/m);
  expect(section).toMatch(/^\*\*Returns\*\* \S/m);
  expect(section).toMatch(/^- `RangeError`: if a secret has fewer than 32 bytes\.$/m);
  expect(section).toMatch(/^\*\*Example\*\*\n\n```ts\nimport /m);
  expect(page).toMatch(/^- `acceptUnsigned`: .* Default: `false`\.$/m);
});

test("the reference links to the types of other entries, and shows no tag of a docstring", () => {
  expect(pages.get("/api/hono.html")?.markdown).toContain("[`Session`](/api/with-session.html#session)");
  // On this page, `Metadata` is a type parameter, not the export of the main entry.
  expect(pages.get("/api/user-sessions.html")?.markdown).not.toContain("with-session.html#metadata");
  const all = Array.from(pages.values(), ({ markdown }) => markdown.replaceAll(/^```.*?^```$/gms, "")).join("\n");
  expect(all.match(/\{@link|@default|@param|@throws|@returns/g)).toBeNull();
});

test("a kind of type that the reference cannot write is an error", () => {
  const unknown: TypeNode = JSON.parse('{ "kind": "array", "value": { "kind": "novelty" } }');
  expect(() => typeText(unknown)).toThrow("novelty");
});

test("the navigation has each page of docs/ once, and no file that is missing", async () => {
  const listed = SECTIONS.flatMap((section) => section.pages.map((page) => page.file));
  expect(new Set(listed).size).toBe(listed.length);
  expect(listed.filter((file) => file.startsWith("docs/")).toSorted()).toEqual(await filesOf(["docs/*.md"]));
  expect(await filesOf(listed)).toEqual(listed.toSorted());
  const addresses = (await pagesOfRepository()).map(addressOf);
  expect(new Set(addresses).size).toBe(addresses.length);
});

const CAPABILITIES = SECTIONS.find(({ text }) => text === "Capabilities")?.pages ?? [];

test.each(CAPABILITIES)("the page of $text says use, threat, cost and limits", async ({ file }) => {
  const page = await readFile(join(ROOT, file), "utf8");
  const [beginning = ""] = page.split(/^## /m, 1);
  expect(beginning.match(/^- \*\*\w+\*\*(?=: \S)/gm)).toEqual(["- **Use**", "- **Threat**", "- **Cost**"]);
  expect(page).toMatch(/^## Limits$/m);
});

test("a link leads to a page, or to the repository if the file has none, and code stays as it is", async () => {
  const page =
    "[`a`](../README.md) [b](errors.md#types) [c](../examples/cors.ts) [d](#here) [e](https://a.example) `[f](x.md)`\n\n```\n[g](x.md)\n```\n";
  expect(await onSite("docs/a_page.md", page)).toBe(
    "[`a`](/) [b](/errors.html#types) [c](https://github.com/with-session/with-session/blob/main/examples/cors.ts) [d](#here) [e](https://a.example) `[f](x.md)`\n\n```\n[g](x.md)\n```\n",
  );
});

test("an anchor is the one of GitHub", () => {
  expect(slugOf("`update(key, fn)`: when & why".replaceAll("`", ""))).toBe("updatekey-fn-when--why");
});

test("the lint of docstrings excuses foreign types and nothing else", () => {
  const foreign =
    "error[private-type-ref]: public type 'session' references private type 'Context'\n  --> src/hono.ts\n";
  const ours = "error[missing-jsdoc]: exported symbol is missing JSDoc documentation\n  --> src/hono.ts\n";
  const sum = "\nerror: Found 2 documentation lint errors.\n";
  expect(lintOutput("")).toEqual({ ok: true, output: "" });
  expect(lintOutput(foreign + sum)).toEqual({ ok: true, output: "" });
  expect(lintOutput(foreign + ours + sum)).toEqual({ ok: false, output: ours + sum });
  expect(lintOutput("error: Module not found\n").ok).toBe(false);
});
