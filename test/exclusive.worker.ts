import { once } from "node:events";
import { SessionManager } from "../mod.ts";
import { exclusive } from "../src/exclusive.ts";
import { type EngineName, openStore } from "./linearizability/engines.ts";

/**
 * A process that exchanges a token in several requests at the same time, or is killed during the exchange: `<engine> <address> <id>
 * <requests> <mode>`.
 */
const [engine = "", address = "", id = "", requests = "", mode = ""] = process.argv.slice(2);
const { store } = await openStore(engine as EngineName, address);
const sessions = new SessionManager<{ tokens?: { refresh: number } }>({ store, storeTimeout: 60 });
let runs = 0;

const opened = Array.from({ length: Number(requests) }, () => sessions.open(id));
if (mode === "exchange") {
  await Promise.all(opened.map((session) => session.get("tokens")));
  process.send?.("has loaded the sessions");
  await once(process, "message");
}

async function exchange(session: (typeof opened)[number]): Promise<number | undefined> {
  const tokens = await exclusive(
    session,
    "tokens",
    async (before) => {
      runs++;
      if (mode === "hang") {
        process.send?.("holds the lease");
        await new Promise((resolve) => setTimeout(resolve, 600_000));
      }
      return { refresh: (before?.refresh ?? 0) + 1 };
    },
    // The lease of the killed process must end soon. In the other mode, a slow process must not lose its lease.
    { lease: mode === "hang" ? 2 : 600 },
  );
  return tokens?.refresh;
}

const told = await Promise.all(opened.map(exchange));
process.send?.({ runs, told });
// An open client of an engine could keep the process alive.
process.once("disconnect", () => process.exit(0)).disconnect();
