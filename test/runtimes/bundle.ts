import { fileURLToPath } from "node:url";
import { build, type BuildOptions } from "esbuild";
import manifest from "../../package.json" with { type: "json" };

const root: string = fileURLToPath(new URL("../..", import.meta.url));

/** The built package. As esbuild's `external`, it is imported from its place, not bundled. */
export const BUILT: string = `${root}dist/*`;

const builtFiles: Record<string, string> = Object.fromEntries(
  Object.entries(manifest.exports).flatMap(([path, target]) =>
    typeof target === "string" ? [] : [[`with-session${path.slice(1)}`, `${root}${target.default.slice(2)}`]],
  ),
);

/** The text of one script that contains a file of this folder, the suite and the built package. */
export async function bundle(entry: string, options: BuildOptions): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(entry, import.meta.url))],
    alias: builtFiles,
    bundle: true,
    target: "es2022",
    // Otherwise the paths in tsconfig.json would resolve to the source.
    tsconfigRaw: {},
    logLevel: "error",
    ...options,
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}
