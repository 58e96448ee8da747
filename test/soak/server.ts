/**
 * One server of the soak: the shop of the examples, with a clock that is wrong. `<engine> <address> <seconds ahead>`. It tells its port, and answers
 * with its memory and its unhandled rejections when it is asked.
 *
 * @module
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { shop } from "../../examples/shop/shop.ts";
import { type EngineName, openStore } from "./engines.ts";

/** What a server tells of itself. */
export interface ServerState {
  /** Bytes of the heap that are in use after a collection. */
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

const server = createServer(async (incoming, outgoing) => {
  const { method = "GET", url = "/", headers } = incoming;
  const body = ["GET", "HEAD"].includes(method) ? null : await Array.fromAsync(incoming).then(Buffer.concat);
  const request = new Request(`http://${headers.host}${url}`, {
    method,
    headers: { "Cookie": headers.cookie ?? "", "Content-Type": headers["content-type"] ?? "" },
    body,
  });
  const response = await handle(request).catch((error: unknown) => {
    const told = error instanceof Error && "code" in error ? error.code : error;
    return Response.json({ error: String(told) }, { status: 503 });
  });
  outgoing.writeHead(response.status, [...response.headers].flat());
  outgoing.end(await response.text());
});
server.listen(0, "127.0.0.1", () => process.send?.({ port: (server.address() as AddressInfo).port }));

// Once in twenty seconds, in all servers at once: sweeps must not get in each other's way.
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
// A server does not outlive the soak.
process.on("disconnect", () => process.exit(0));
