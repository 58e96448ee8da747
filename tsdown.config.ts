import { defineConfig } from "tsdown";
import deno from "./deno.json" with { type: "json" };

/** src/stores/file.ts becomes dist/stores/file.js: one entry for each export; what entries share becomes chunks. */
const entry = Object.fromEntries(
  Object.values(deno.exports).map((source) => [source.replace(/^\.\/(src\/)?/, "").replace(/\.ts$/, ""), source]),
);

export default defineConfig({
  entry,
  format: "esm",
  platform: "neutral",
  target: "es2022",
  tsconfig: "tsconfig.src.json",
  dts: { oxc: true },
  sourcemap: true,
  fixedExtension: false,
  deps: { neverBundle: [/^node:/, /^cloudflare:/] },
});
