/**
 * The portable suite on Deno, from source.
 *
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as lib from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { crossOriginProtection } from "../../src/cross_origin.ts";
import { csrfToken, verifyCsrfToken } from "../../src/csrf.ts";
import { encryption } from "../../src/encryption.ts";
import { exclusive } from "../../src/exclusive.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { userSessions } from "../../src/user_sessions.ts";
import { type DenoKv, denoKvStore } from "../../src/stores/deno_kv.ts";
import { fileStore } from "../../src/stores/file.ts";
import { portableCases } from "./cases.ts";
import { outcomesOf } from "./outcomes.ts";

const capabilities = {
  cookieSessions,
  crossOriginProtection,
  csrfToken,
  encryption,
  exclusive,
  readYourWrites,
  signedIds,
  userSessions,
  verifyCsrfToken,
};

declare const Deno: { openKv(path: string): Promise<DenoKv & Disposable> };

const directory = await mkdtemp(join(tmpdir(), "with-session-portable-"));
using kv = await Deno.openKv(join(directory, "kv.sqlite"));
const stores = { "file": () => fileStore({ directory: join(directory, "files") }), "Deno KV": () => denoKvStore(kv) };
const outcomes = await outcomesOf(portableCases({ ...lib, ...capabilities, stores }));
console.log(JSON.stringify(outcomes));
await rm(directory, { recursive: true });
