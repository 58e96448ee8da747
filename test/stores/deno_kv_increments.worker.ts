/**
 * One of several processes, on Deno or Node, that increment one number in one session: `<file> <id> <times>`. Each
 * time it also writes a key of its own. All increments of a process are under way at once.
 */
import process from "node:process";
import { SessionManager } from "../../mod.ts";
import { type DenoKv, denoKvStore } from "../../src/stores/deno_kv.ts";

declare const Deno: { openKv(path: string): Promise<DenoKv> } | undefined;

const [file = "", id = "", times = ""] = process.argv.slice(2);
const { openKv } = typeof Deno === "undefined" ? await import("@deno/kv") : Deno;
const kv: DenoKv = await openKv(file);
// Far more writers at once than any session has: some wait long for their turn.
const sessions = new SessionManager<Record<string, number>>({ store: denoKvStore(kv), storeTimeout: 120 });

await Promise.all(
  Array.from({ length: Number(times) }, async (_, i) => {
    const session = sessions.open(id);
    await session.update("count", (count = 0) => count + 1);
    session.set(`own-${process.pid}-${i}`, i);
    await session.save();
  }),
);
process.exit(0);
