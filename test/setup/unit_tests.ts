import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "./command.ts";

/**
 * Marks of slow tests: imports that take time to start or need the built package, calls that try inputs until a time is over, and folders and files whose
 * tests play thousands of schedules.
 */
const SLOW =
  /\/engines\.ts"|interruptAfterTimeLimit|shop_process|setup\/(?:redis|valkey|upstash|memcached|postgres|mariadb|pgbouncer|workerd)|miniflare|@deno\/kv|chromium|firefox|webkit|linearizability|interleavings|child_process|dynalite|mysql2|better-sqlite3|pglite|libsql/;
const SLOW_FILES =
  /^test\/(?:browser|model|runtimes|stores|examples|interleavings|linearizability|packages|faults|soak)\/|\/(?:(?:limit_)?model|traces|many_sessions)\.test\.ts$/;

/** Calls that leave modules in another state for later test files in the same process. */
const CHANGES_MODULES = /\bvi\.(?:mock|doMock|resetModules)\(/;

/** Test files that need no engine, no browser and no other runtime. */
export interface UnitTests {
  /** They share one process and its modules, which saves more than half of the time. */
  readonly together: readonly string[];
  /** Each of them needs its own copy of the modules. */
  readonly apart: readonly string[];
}

/** The fast tests. */
export async function unitTests(): Promise<UnitTests> {
  const together: string[] = [];
  const apart: string[] = [];
  for await (const found of glob("test/**/*.test.ts", { cwd: ROOT, exclude: ["**/node_modules/**"] })) {
    const file = found.replaceAll("\\", "/");
    const text = await readFile(join(ROOT, file), "utf8");
    if (SLOW_FILES.test(file) || SLOW.test(text)) continue;
    (CHANGES_MODULES.test(text) ? apart : together).push(file);
  }
  return { together, apart };
}
