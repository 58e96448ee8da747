import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { check, ORIGIN } from "../check.ts";

const folder = await mkdtemp(join(tmpdir(), "with-session-cli-"));
const file = join(folder, "session");

async function shop(...args: string[]): Promise<string> {
  const env = { ...process.env, SHOP_SESSION: file };
  return await promisify(execFile)(process.execPath, ["shop.ts", ...args], { env }).then(
    ({ stdout }) => stdout,
    ({ stdout }: { stdout: string }) => stdout,
  );
}

await check("Without a session nothing is kept", async () => {
  assert.equal(await shop("run"), "Please sign in\n");
  await assert.rejects(stat(file));
});

await check("A login keeps the id in a file of the owner's own", async () => {
  assert.equal(await shop("login", "Ada"), "Signed in\n");
  assert.match(await readFile(file, "utf8"), /^[\w-]{32}$/);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
});

await check("Each run goes on with the session", async () => {
  assert.equal(await shop("run"), "Run 1 of Ada\n");
  assert.equal(await shop("run"), "Run 2 of Ada\n");
});

await check("A second login renews the id, and the old one is worth nothing", async () => {
  const before = await readFile(file, "utf8");
  await shop("login", "Bob");
  assert.notEqual(await readFile(file, "utf8"), before);
  const old = await fetch(`${ORIGIN}/run`, { headers: { "X-Session-Id": before } });
  assert.equal(old.status, 401);
  assert.equal(await shop("run"), "Run 3 of Bob\n");
});

await check("A logout removes the file, and no answer has a cookie", async () => {
  assert.equal(await shop("logout"), "Signed out\n");
  await assert.rejects(stat(file));
  assert.deepEqual(
    (
      await fetch(`${ORIGIN}/login`, { method: "POST", body: "Eve", headers: { "X-Session-Id": "" } })
    ).headers.getSetCookie(),
    [],
  );
});

await rm(folder, { recursive: true });
