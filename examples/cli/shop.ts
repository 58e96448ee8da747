/**
 * `node shop.ts login Ada`, `node shop.ts run`, `node shop.ts logout`. The id is kept in a file that only its owner can read.
 *
 * @module
 */
import { readFile, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

const file = process.env["SHOP_SESSION"] ?? join(homedir(), ".shop-session");
const origin = process.env["ORIGIN"] ?? "http://127.0.0.1:3000";
const [command = "run", user = ""] = process.argv.slice(2);

const id = await readFile(file, "utf8").catch(() => "");
const response = await fetch(`${origin}/${command}`, {
  headers: { "X-Session-Id": id },
  ...(command === "run" ? {} : { method: "POST", body: user }),
});
// An empty header means that the session has ended.
const told = response.headers.get("X-Session-Id");
if (told === "") await rm(file, { force: true });
else if (told !== null) await writeFile(file, told, { mode: 0o600 });
process.stdout.write(await response.text());
process.exitCode = response.ok ? 0 : 1;
