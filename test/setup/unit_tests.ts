import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "./command.ts";

/** What a test imports that takes time to start or needs the built package, and folders whose tests play thousands of schedules. */
const SLOW =
  /shop_process|setup\/(?:redis|valkey|upstash|memcached|postgres|mariadb|pgbouncer|workerd)|miniflare|@deno\/kv|chromium|firefox|webkit|linearizability|interleavings|child_process|dynalite|mysql2|better-sqlite3|pglite|libsql/;
const SLOW_FOLDERS =
  /^test\/(?:browser|model|runtimes|stores|examples|interleavings|linearizability|packages|faults)\//;

/** The test files that need no engine, no browser and no other runtime. */
export async function unitTests(): Promise<string[]> {
  const files: string[] = [];
  for await (const found of glob("test/**/*.test.ts", { cwd: ROOT, exclude: ["**/node_modules/**"] })) {
    const file = found.replaceAll("\\", "/");
    if (!SLOW_FOLDERS.test(file) && !SLOW.test(await readFile(join(ROOT, file), "utf8"))) files.push(file);
  }
  return files.sort();
}
