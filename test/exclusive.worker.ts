import { SessionManager } from "../mod.ts";
import { exclusive } from "../src/exclusive.ts";
import { fileStore } from "../src/stores/file.ts";

/** A process that exchanges a token, or is killed while it does. */
const [directory = "", id = "", mode = ""] = process.argv.slice(2);
const sessions = new SessionManager<{ tokens?: { refresh: number } }>({ store: fileStore({ directory }) });
let ran = false;
const tokens = await exclusive(
  sessions.open(id),
  "tokens",
  async (before) => {
    ran = true;
    if (mode === "hang") {
      process.send?.("holds the lease");
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { refresh: (before?.refresh ?? 0) + 1 };
  },
  { lease: 2 },
);
process.send?.({ ran, refresh: tokens?.refresh });
process.disconnect();
