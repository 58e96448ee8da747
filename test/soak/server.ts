/**
 * One server of the soak: the shop of the examples with a wrong clock. `<engine> <address> <seconds ahead>`. It reports its port, and on request its
 * memory and its unhandled rejections.
 *
 * @module
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { shop } from "../../examples/shop/shop.ts";
import { type EngineName, openStore } from "./engines.ts";
import { portOf, serve } from "./serve.ts";

/** A server's report about itself. */
export interface ServerState {
  /** Bytes of the heap in use after a garbage collection. */
  readonly heap: number;
  /** The messages of unhandled rejections and uncaught errors. */
  readonly unhandled: readonly string[];
}

const [engine = "", address = "", ahead = "0"] = process.argv.slice(2);
const { store, close } = openStore(engine as EngineName, address);
const handle = shop({ store, now: () => Date.now() + Number(ahead) * 1000 });
const unhandled: string[] = [];
for (const event of ["unhandledRejection", "uncaughtException"] as const) {
  process.on(event, (error: unknown) => {
    unhandled.push(`${event}: ${error instanceof Error ? error.stack : String(error)}`);
  });
}

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

const server = await serve(handle);
process.send?.({ port: portOf(server) });

// Once in twenty seconds, in all servers at the same time. Concurrent sweeps must not disturb each other.
setInterval(() => void Promise.resolve(store.prune?.(Date.now() - 600_000)).catch(() => {}), 20_000).unref();

process.on("message", (wish) => {
  if (wish === "state") {
    collect();
    process.send?.({ heap: process.memoryUsage().heapUsed, unhandled } satisfies ServerState);
  }
});
process.on("SIGTERM", () => {
  server.close(async () => {
    await close();
    process.exit(0);
  });
  server.closeIdleConnections();
});
// A server ends with the soak.
process.on("disconnect", () => process.exit(0));
