import manifest from "../../package.json" with { type: "json" };

/** One export of the package. */
export interface Entry {
  /** The export path, such as `./stores/file`. */
  readonly path: string;
  /** The source file, relative to the checkout, such as `src/stores/file.ts`. */
  readonly source: string;
  /** The built file and its types, such as `dist/stores/file.js`. */
  readonly code: string;
  readonly types: string;
}

/** All exports of `package.json` that are code. */
export const entries: readonly Entry[] = Object.entries(manifest.exports).flatMap(([path, target]) => {
  if (typeof target === "string") return [];
  const code = target.default.slice("./".length);
  const name = code.slice("dist/".length, -".js".length);
  return [{ path, source: name === "mod" ? "mod.ts" : `src/${name}.ts`, code, types: target.types.slice("./".length) }];
});
