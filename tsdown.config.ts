import { defineConfig } from "tsdown";
import { entries } from "./test/setup/entries.ts";

/** src/stores/file.ts becomes dist/stores/file.js: one entry for each export of package.json; what entries share becomes chunks. */
const entry = Object.fromEntries(
  entries.map(({ source, code }) => [code.slice("dist/".length, -".js".length), source]),
);

export default defineConfig({
  entry,
  format: "esm",
  platform: "neutral",
  target: "es2022",
  tsconfig: "tsconfig.src.json",
  dts: { oxc: true },
  fixedExtension: false,
  sourcemap: false,
  deps: { neverBundle: [/^node:/, /^cloudflare:/, /^next\//] },
});
