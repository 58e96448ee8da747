/** The store cases of the kit in another runtime: `<client> <url>`. Prints how many cases passed, and which failed. */
import { storeCases } from "../../../src/testing/store_cases.ts";
import { CLIENTS } from "./clients.ts";

const [client = "", url = ""] = process.argv.slice(2);
const opened = await CLIENTS[client]?.(url);
if (opened === undefined) throw new Error(`There is no client ${client}`);
const failed: string[] = [];
for (const { name, run } of storeCases()) {
  await run(() => opened.store).catch((error: unknown) => failed.push(`${name}: ${String(error)}`));
}
await opened.close();
console.log(JSON.stringify({ passed: storeCases().length - failed.length, failed }));
