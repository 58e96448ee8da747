/**
 * The portable suite on Deno, from source.
 *
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as lib from "../../mod.ts";
import { cookieStore } from "../../src/stores/cookie.ts";
import { type DenoKv, denoKvStore } from "../../src/stores/deno_kv.ts";
import { fileStore } from "../../src/stores/file.ts";
import { portableCases } from "./cases.ts";
import { outcomesOf } from "./outcomes.ts";

declare const Deno: { openKv(path: string): Promise<DenoKv & Disposable> };

const directory = await mkdtemp(join(tmpdir(), "with-session-portable-"));
using kv = await Deno.openKv(join(directory, "kv.sqlite"));
const stores = { "file": () => fileStore({ directory: join(directory, "files") }), "Deno KV": () => denoKvStore(kv) };
const outcomes = await outcomesOf(portableCases({ ...lib, cookieStore, stores }));
console.log(JSON.stringify(outcomes));
await rm(directory, { recursive: true });
