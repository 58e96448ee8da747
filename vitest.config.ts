import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import deno from "./deno.json" with { type: "json" };

export default defineConfig({
  resolve: {
    alias: [
      // What a test or an example imports by the package's name is the source, as in the type check.
      ...Object.entries(deno.exports).map(([path, source]) => ({
        find: new RegExp(`^with-session${path.slice(1)}$`),
        replacement: fileURLToPath(new URL(source, import.meta.url)),
      })),
      // Next.js is not among the packages of the tests: examples/next runs with it.
      {
        find: /^next\/headers\.js$/,
        replacement: fileURLToPath(new URL("test/next/next_headers.ts", import.meta.url)),
      },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    // Tests start servers and browsers of their own: more files at a time than this starve each other on two cores.
    maxWorkers: 2,
    // They end tests that hang, and no test that is slow: engines, browsers and processes on a busy machine take their time.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 120_000 } },
    coverage: { include: ["mod.ts", "src/**"], reporter: ["text", "html"] },
  },
});
