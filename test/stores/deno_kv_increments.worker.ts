/**
 * One of several processes, on Deno or Node, that increment one number in one session: `<file> <id> <times>`. Each time it also writes a
 * key that only it uses, and a process starts all increments at the same time. With a fourth argument, `in-turn`, it does neither.
 */
import process from "node:process";
import { SessionManager } from "../../mod.ts";
import { type DenoKv, denoKvStore } from "../../src/stores/deno_kv.ts";

declare const Deno: { openKv(path: string): Promise<DenoKv> } | undefined;

const [file = "", id = "", times = "", how = ""] = process.argv.slice(2);
const { openKv } = typeof Deno === "undefined" ? await import("@deno/kv") : Deno;
const kv: DenoKv = await openKv(file);
// Far more concurrent writers than any session has, so some wait for long.
const sessions = new SessionManager<Record<string, number>>({ store: denoKvStore(kv), storeTimeout: 120 });

async function increment(i: number): Promise<void> {
  const session = sessions.open(id);
  await session.update("count", (count = 0) => count + 1);
  if (how === "in-turn") return;
  session.set(`own-${process.pid}-${i}`, i);
  await session.save();
}

const all = Array.from({ length: Number(times) }, (_, i) => i);
if (how === "in-turn") for (const i of all) await increment(i);
else await Promise.all(all.map(increment));
process.exit(0);
