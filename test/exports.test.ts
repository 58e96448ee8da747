import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";
import deno from "../deno.json" with { type: "json" };
import manifest from "../package.json" with { type: "json" };
import { entries } from "./setup/entries.ts";

const root = new URL("../", import.meta.url);
/** Next.js is only on npm. */
const NOT_ON_JSR = ["./next"];

/** The values that a file exports, determined by a bundler, because some files need another runtime and cannot be imported here. */
async function exportedBy(source: string): Promise<string[]> {
  const { metafile } = await build({
    absWorkingDir: fileURLToPath(root),
    entryPoints: [source],
    outfile: "exports.js",
    bundle: true,
    format: "esm",
    packages: "external",
    external: ["cloudflare:*", "node:*"],
    metafile: true,
    write: false,
    logLevel: "error",
  });
  return Object.values(metafile.outputs).flatMap((output) => output.exports);
}

test("package.json and deno.json name the same version, licence and dependencies", () => {
  expect([deno.version, deno.license]).toEqual([manifest.version, manifest.license]);
  expect(deno.imports).toMatchObject(
    Object.fromEntries(
      Object.entries(manifest.dependencies).map(([name, version]) => [name, `npm:${name}@${version}`]),
    ),
  );
});

test("deno.json exports what package.json does, and resolves the package's own name to the same files", () => {
  const onJsr = entries.filter(({ path }) => !NOT_ON_JSR.includes(path));
  expect(deno.exports).toEqual(Object.fromEntries(onJsr.map(({ path, source }) => [path, `./${source}`])));
  const names = onJsr.map(({ path, source }) => [`with-session${path.slice(1)}`, `./${source}`]);
  expect(deno.imports).toMatchObject(Object.fromEntries(names));
});

test("package.json exports each file of src/ and src/stores/", () => {
  const files = ["src", "src/stores"].flatMap((folder) =>
    readdirSync(new URL(folder, root)).flatMap((name) => (name.endsWith(".ts") ? [`${folder}/${name}`] : [])),
  );
  const exported = entries.map(({ source }) => source).filter((source) => source !== "mod.ts");
  expect(files.toSorted()).toEqual(exported.toSorted());
});

test("package.json tells where the project is, for provenance", () => {
  const { homepage, bugs, repository, author, funding } = manifest;
  const address = repository.url.replace(/^git\+(.*)\.git$/, "$1");
  expect(address).toMatch(/^https:\/\/github\.com\/[\w-]+\/[\w.-]+$/);
  expect([homepage, bugs.url]).toEqual([`${address}#readme`, `${address}/issues`]);
  expect([author, funding.url]).toEqual([
    expect.stringContaining("github.com/"),
    expect.stringContaining("github.com/sponsors/"),
  ]);
});

describe.each(entries)("with-session $path", ({ path, source, code, types }) => {
  test(`${source} is the file that its export path says, and is built to the same path`, () => {
    const file = path === "." ? "mod" : path.slice(2).replaceAll("-", "_");
    expect(source).toBe(path === "." ? "mod.ts" : `src/${file}.ts`);
    expect([code, types]).toEqual([`dist/${file}.js`, `dist/${file}.d.ts`]);
    expect(existsSync(new URL(source, root))).toBe(true);
  });

  test(`${source} begins with a sentence for the module's page`, () => {
    expect(readFileSync(new URL(source, root), "utf8")).toMatch(/^\/\*\*\n \* \S.*\n(?: \*.*\n)*? \* @module\n \*\//);
  });

  test(`${path} exports these names and no others`, async () => {
    expect((await exportedBy(source)).toSorted()).toMatchSnapshot();
  });
});
