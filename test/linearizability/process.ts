/**
 * One of several processes that record their operations on one session: `<engine> <address> <id> <recording>`. It waits
 * for a signal to begin, and writes its messages to its output.
 */
import { once } from "node:events";
import { type EngineName, openStore } from "./engines.ts";
import { record, type Told } from "./history.ts";

const [engine = "", address = "", id = "", recording = ""] = process.argv.slice(2);
const { store } = await openStore(engine as EngineName, address);
// The first call takes longer, because it opens the connection.
await store.load("0".repeat(64));
process.send?.("ready");
await once(process, "message");
// Writes to a file are synchronous. What this process was about to do is known even if it is killed in the middle.
const tell = (told: Told): boolean => process.stdout.write(`${JSON.stringify(told)}\n`);
await record(store, id, { ...JSON.parse(recording), tell });
process.exit(0);
