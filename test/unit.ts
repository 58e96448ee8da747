/**
 * `npm run test:unit`: the fast loop. It runs each test file that needs no engine, no browser and no other runtime.
 *
 * @module
 */
import { run } from "./setup/command.ts";

const { ok } = await run("vitest", ["run", "--config", "test/setup/unit.config.ts", ...process.argv.slice(2)], {
  live: true,
});
process.exitCode = ok ? 0 : 1;
