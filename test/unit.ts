/**
 * `npm run test:unit`: the fast loop. It runs each test file that needs no engine, no browser and no other runtime.
 *
 * @module
 */
import { glob, readFile } from "node:fs/promises";
import { ROOT, run } from "./setup/command.ts";

/** What a test imports that takes time to start, and folders whose tests play thousands of schedules. */
const SLOW =
  /setup\/(?:redis|valkey|upstash|memcached|postgres|mariadb|pgbouncer|workerd)|miniflare|@deno\/kv|chromium|firefox|webkit|linearizability|interleavings|child_process|dynalite|mysql2|better-sqlite3|pglite|libsql/;
const SLOW_FOLDERS = /^test\/(?:browser|faults|model|runtimes|stores|examples|linearizability|packages)\//;

const files: string[] = [];
for await (const found of glob("test/**/*.test.ts", { cwd: ROOT, exclude: ["**/node_modules/**"] })) {
  const file = found.replaceAll("\\", "/");
  if (!SLOW_FOLDERS.test(file) && !SLOW.test(await readFile(file, "utf8"))) files.push(file);
}
const { ok } = await run("vitest", ["run", ...files.sort(), ...process.argv.slice(2)], { live: true });
process.exitCode = ok ? 0 : 1;
