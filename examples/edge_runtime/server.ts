import { EdgeRuntime, runServer } from "edge-runtime";
import { build } from "esbuild";

const { outputFiles } = await build({
  entryPoints: ["edge.ts"],
  bundle: true,
  write: false,
  format: "iife",
  target: "es2022",
});
const runtime = new EdgeRuntime({ initialCode: outputFiles.map(({ text }) => text).join("") });
await runServer({ runtime, host: "127.0.0.1", port: Number(process.env["PORT"] ?? 3000) });
