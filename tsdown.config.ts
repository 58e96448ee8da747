import { defineConfig } from "tsdown";
import { entries } from "./test/setup/entries.ts";

/**
 * src/stores/file.ts becomes dist/stores/file.js. Each export of package.json is an entry, and code that entries share is put into
 * chunks.
 */
const entry = Object.fromEntries(
  entries.map(({ source, code }) => [code.slice("dist/".length, -".js".length), source]),
);

/**
 * A process opens each file that it imports, and this takes longer than compiling it. So the core is one file. The code that clients and stores use
 * without the core is a second file. Otherwise a page's script for DPoP would contain the whole core. A pattern must not match declarations (`.d.ts`):
 * they would be put into a chunk of code, and would be lost.
 */
const groups = [
  {
    name: "records",
    test: /src\/core\/(known_options|errors|kind_of|record_(fields|text|size)|maybe_promise|base64url)\.ts$/,
    priority: 2,
  },
  { name: "core", test: /src\/core\/[^.]+\.ts$/, priority: 1 },
];

export default defineConfig({
  entry,
  format: "esm",
  platform: "neutral",
  target: "es2022",
  tsconfig: "tsconfig.src.json",
  dts: { oxc: true },
  fixedExtension: false,
  sourcemap: false,
  outputOptions: { codeSplitting: { groups } },
  deps: { neverBundle: [/^node:/, /^cloudflare:/, /^next\//] },
});
