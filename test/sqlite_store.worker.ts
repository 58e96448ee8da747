/** One of several processes that increment one number in one session: `<file> <id> <times>`. */
import { DatabaseSync } from "node:sqlite";
import { SessionManager } from "../mod.ts";
import { sqliteStore } from "../examples/sqlite_store.ts";

const [file = "", id = "", times = ""] = process.argv.slice(2);
const store = sqliteStore(new DatabaseSync(file, { timeout: 5000 }));
const sessions = new SessionManager<Record<string, number>>({ store });

for (let done = 1; done <= Number(times); done++) {
  const session = sessions.open(id);
  await session.update("count", (count = 0) => count + 1);
  session.set(`own-${process.pid}`, done);
  await session.save();
}
