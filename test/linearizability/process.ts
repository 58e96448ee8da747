/**
 * One of several processes that record what they do to one session: `<engine> <address> <id> <recording>`. It
 * begins when it is told to, and tells of what it does on its output.
 */
import { once } from "node:events";
import { type EngineName, openStore } from "./engines.ts";
import { record, type Told } from "./history.ts";

const [engine = "", address = "", id = "", recording = ""] = process.argv.slice(2);
const { store } = await openStore(engine as EngineName, address);
// The first call takes longer: it opens the connection.
await store.load("0".repeat(64));
process.send?.("ready");
await once(process, "message");
// A file is written at once: what this process was about to do is known, even if it is killed while it does it.
const tell = (told: Told): boolean => process.stdout.write(`${JSON.stringify(told)}\n`);
await record(store, id, { ...JSON.parse(recording), tell });
process.exit(0);
