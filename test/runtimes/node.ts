/**
 * The portable suite on Node and Bun. This file is bundled for versions that cannot read TypeScript. The built package
 * is not part of the bundle, so it is imported as users import it.
 *
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as lib from "with-session";
import { cookieSessions } from "with-session/cookie-sessions";
import { crossOriginProtection } from "with-session/cross-origin";
import { csrfToken, verifyCsrfToken } from "with-session/csrf";
import { encryption } from "with-session/encryption";
import { exclusive } from "with-session/exclusive";
import { readYourWrites } from "with-session/read-your-writes";
import { signedIds } from "with-session/signed-ids";
import { userSessions } from "with-session/user-sessions";
import { fileStore } from "with-session/stores/file";
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

const directory = await mkdtemp(join(tmpdir(), "with-session-portable-"));
const outcomes = await outcomesOf(
  portableCases({ ...lib, ...capabilities, stores: { file: () => fileStore({ directory }) } }),
);
await rm(directory, { recursive: true });
console.log(JSON.stringify(outcomes));
