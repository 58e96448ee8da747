import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ROOT } from "./setup/command.ts";
import { entries } from "./setup/entries.ts";
import { circlesIn, importsOfSource, longestChain } from "./setup/imports.ts";

const imports = importsOfSource();
const files = [...imports.keys()];

/** The modules that a store may import: its interface, the errors, and the functions that write a record and check options. */
const FOR_STORES = [
  "store",
  "store_answers",
  "errors",
  "record_fields",
  "record_text",
  "record_size",
  "maybe_promise",
  "known_options",
].map((name) => `src/core/${name}.ts`);
/** The longest chain of imports, from `mod.ts` or any other file. */
const MAX_FLOORS = 8;
const MAX_LINES = 300;

/** The imports of the files under `folder` for which `isAllowed` is false, including those of types. */
function strays(folder: string, isAllowed: (to: string, from: string) => boolean): string[] {
  return files
    .filter((file) => file.startsWith(folder))
    .flatMap((file) => {
      const { values = [], types = [] } = imports.get(file) ?? {};
      return [...values, ...types].filter((to) => !isAllowed(to, file)).map((to) => `${file} imports ${to}`);
    });
}

describe("imports", () => {
  test("src/core/ imports from src/core/, and its default store", () => {
    expect(strays("src/core/", (to) => to.startsWith("src/core/") || to === "src/stores/memory.ts")).toEqual([]);
  });

  test("src/crypto/ imports from itself, and from src/core/", () => {
    expect(strays("src/crypto/", (to) => /^src\/(?:core|crypto)\//.test(to))).toEqual([]);
  });

  test("a store imports its interface, the errors, and other files of stores", () => {
    expect(strays("src/stores/", (to) => to.startsWith("src/stores/") || FOR_STORES.includes(to))).toEqual([]);
  });

  test("a store that is an entry imports no other one", () => {
    const stores = entries.map(({ source }) => source).filter((source) => source.startsWith("src/stores/"));
    expect(strays("src/stores/", (to, from) => to === from || !stores.includes(to))).toEqual([]);
  });

  test("a capability imports no other capability", () => {
    const isOwn = (to: string, from: string): boolean =>
      from.split("/")[1]?.replace(/\.ts$/, "") === to.split("/")[1]?.replace(/\.ts$/, "");
    const isBelow = (to: string): boolean => /^src\/(?:core|crypto)\//.test(to);
    // Allowed exceptions: the kit opens sessions on its own stores, Next.js's bundles share the default store, and the client of DPoP is in the same folder as
    // the server's side.
    const isKnown = (to: string, from: string): boolean =>
      (/^src\/(?:testing|next\.ts)/.test(from) && to === "src/stores/memory.ts") ||
      (from === "src/dpop_client.ts" && to.startsWith("src/dpop/"));
    const capabilities = (to: string, from: string): boolean =>
      /^src\/(?:core|crypto|stores)\//.test(from) || isOwn(to, from) || isBelow(to) || isKnown(to, from);
    expect(strays("src/", capabilities)).toEqual([]);
  });

  test("src/*.ts are exactly the exports", () => {
    const top = files.filter((file) => /^src\/[^/]+\.ts$/.test(file));
    const exported = entries.map(({ source }) => source).filter((source) => /^src\/[^/]+\.ts$/.test(source));
    expect(top.toSorted()).toEqual(exported.toSorted());
  });

  test("no files import each other in a circle, not even for types", () => {
    expect(circlesIn(imports).map((circle) => circle.join(" → "))).toEqual([]);
  });

  test("no chain of imports has more than 8 floors", () => {
    const longest = files.map((file) => longestChain(imports, file)).reduce((a, b) => (b.length > a.length ? b : a));
    expect(longest.length, longest.join(" → ")).toBeLessThanOrEqual(MAX_FLOORS);
  });

  test("modules of a runtime are named only in the files that are for it", () => {
    const named = files.flatMap((file) =>
      (imports.get(file)?.packages ?? [])
        .filter((name) => /^(?:node|cloudflare|next)[:/]/.test(name))
        .map((name) => `${file}: ${name}`),
    );
    expect(named.filter((each) => !/^src\/(?:node|next|stores\/(?:file|mysql))[./]/.test(each))).toEqual([]);
  });

  test(`no file of src/ has more than ${MAX_LINES} lines`, () => {
    const long = files
      .map((file) => ({ file, lines: readFileSync(join(ROOT, file), "utf8").trimEnd().split("\n").length }))
      .filter(({ lines }) => lines > MAX_LINES);
    expect(long).toEqual([]);
  });
});
