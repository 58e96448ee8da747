/**
 * `npm run setup`: the only command that may change the machine. As root on Debian, it installs what the tests need and the machine lacks.
 * Elsewhere it prints what to install, and which tests will not run.
 *
 * @module
 */
import { glob } from "node:fs/promises";
import { ROOT } from "./setup/command.ts";
import { installTools, testsWithout } from "./setup/tools.ts";
import { installValkey } from "./setup/valkey.ts";

const missing = await installTools();
if (missing.length === 0) console.log("Everything that the tests need is there.");
else console.log(`Please install ${missing.map((tool) => tool.package).join(", ")}.`);

const valkey = await installValkey();
if (valkey !== undefined) console.log(valkey);

const files: string[] = [];
for await (const file of glob("test/**/*.test.ts", { cwd: ROOT, exclude: ["**/node_modules/**"] })) files.push(file);
for (const [file, packages] of await testsWithout(missing, files.sort()))
  console.log(`Will not run: ${file} needs ${packages}`);
