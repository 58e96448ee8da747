/**
 * One of several processes that increment one number in one record: `<client> <url> <key> <times>`. It prints `.` after each
 * increment.
 */
import { CLIENTS } from "./clients.ts";
import { increment } from "./steps.ts";

const [client = "", url = "", key = "", times = ""] = process.argv.slice(2);
const opened = await CLIENTS[client]?.(url);
if (opened === undefined) throw new Error(`There is no client ${client}`);
for (let done = 0; done < Number(times); done++) {
  await increment(opened.store, key);
  process.stdout.write(".");
}
await opened.close();
