import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { Miniflare, type MiniflareOptions } from "miniflare";

/** Starts a Worker in workerd, bundled from its source, with whatever bindings it needs. */
export async function startWorker(source: URL, bindings: Partial<MiniflareOptions> = {}): Promise<Miniflare> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(source)],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    tsconfig: fileURLToPath(new URL("../../tsconfig.json", import.meta.url)),
  });
  const worker = new Miniflare({
    modules: true,
    script: outputFiles.map(({ text }) => text).join(""),
    compatibilityDate: "2026-01-01",
    ...bindings,
  } as MiniflareOptions);
  await worker.ready;
  return worker;
}
