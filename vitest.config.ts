import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import deno from "./deno.json" with { type: "json" };

export default defineConfig({
  resolve: {
    alias: [
      // The package's name resolves to the source, as in the type check.
      ...Object.entries(deno.exports).map(([path, source]) => ({
        find: new RegExp(`^with-session${path.slice(1)}$`),
        replacement: fileURLToPath(new URL(source, import.meta.url)),
      })),
      // Next.js is not installed for the tests. examples/next runs with the real one.
      {
        find: /^next\/headers\.js$/,
        replacement: fileURLToPath(new URL("test/next/next_headers.ts", import.meta.url)),
      },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    // Tests start their own servers and browsers. More files at a time would starve each other on two cores.
    maxWorkers: 2,
    // The time limits end only tests that hang. Slow tests are expected: engines, browsers and processes on a busy machine need time.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 120_000 } },
    coverage: { include: ["mod.ts", "src/**"], reporter: ["text", "html"] },
  },
});
