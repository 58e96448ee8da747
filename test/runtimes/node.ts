/**
 * The portable suite on Node and Bun: this file is bundled for versions that cannot read TypeScript, and leaves
 * the built package outside, to be imported as users do.
 *
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as lib from "with-session";
import { cookieStore } from "with-session/stores/cookie";
import { fileStore } from "with-session/stores/file";
import { portableCases } from "./cases.ts";
import { outcomesOf } from "./outcomes.ts";

const directory = await mkdtemp(join(tmpdir(), "with-session-portable-"));
const outcomes = await outcomesOf(
  portableCases({ ...lib, cookieStore, stores: { file: () => fileStore({ directory }) } }),
);
await rm(directory, { recursive: true });
console.log(JSON.stringify(outcomes));
