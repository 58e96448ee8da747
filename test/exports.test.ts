import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import deno from "../deno.json" with { type: "json" };
import manifest from "../package.json" with { type: "json" };

const root = new URL("../", import.meta.url);
const entries = Object.entries(deno.exports);

test("package.json and deno.json name the same version, licence and dependencies", () => {
  expect([deno.version, deno.license]).toEqual([manifest.version, manifest.license]);
  expect(deno.imports).toMatchObject(
    Object.fromEntries(
      Object.entries(manifest.dependencies).map(([name, version]) => [name, `npm:${name}@${version}`]),
    ),
  );
});

test("package.json exports what deno.json does, built to the same path", () => {
  const built = entries.map(([path, source]) => {
    const file = source.replace(/^\.\/(src\/)?/, "./dist/").replace(/\.ts$/, "");
    return [path, { types: `${file}.d.ts`, default: `${file}.js` }];
  });
  expect(manifest.exports).toEqual({ ...Object.fromEntries(built), "./package.json": "./package.json" });
});

describe.each(entries)("with-session %s", (path, source) => {
  test(`${source} is the file that its export path says`, () => {
    const file = path === "." ? "./mod" : `./src${path.slice(1).replaceAll("-", "_")}`;
    expect(source).toBe(`${file}.ts`);
    expect(existsSync(new URL(source, root))).toBe(true);
  });

  test(`${path} exports these names and no others`, async () => {
    const names = Object.keys(await import(/* @vite-ignore */ new URL(source, root).href));
    expect(names.toSorted()).toMatchSnapshot();
  });
});
