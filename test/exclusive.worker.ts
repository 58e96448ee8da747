import { SessionManager } from "../mod.ts";
import { exclusive } from "../src/exclusive.ts";
import { type EngineName, openStore } from "./linearizability/engines.ts";

/** A process that exchanges a token in several requests at once, or is killed while it does: `<engine> <address> <id> <requests> <mode>`. */
const [engine = "", address = "", id = "", requests = "", mode = ""] = process.argv.slice(2);
const { store } = await openStore(engine as EngineName, address);
const sessions = new SessionManager<{ tokens?: { refresh: number } }>({ store, storeTimeout: 60 });
let runs = 0;

async function exchange(): Promise<number | undefined> {
  const tokens = await exclusive(
    sessions.open(id),
    "tokens",
    async (before) => {
      runs++;
      if (mode === "hang") {
        process.send?.("holds the lease");
        await new Promise((resolve) => setTimeout(resolve, 600_000));
      }
      return { refresh: (before?.refresh ?? 0) + 1 };
    },
    { lease: 2 },
  );
  return tokens?.refresh;
}

const told = await Promise.all(Array.from({ length: Number(requests) }, exchange));
process.send?.({ runs, told });
// A client of an engine may still hold the process.
process.once("disconnect", () => process.exit(0)).disconnect();
