/**
 * The shop on Node: it connects `node:http` with a Fetch handler, and keeps sessions in a folder.
 *
 * `PORT` is the port (8787), `SESSION_DIR` the folder for the sessions (by default one under the system's temporary directory),
 * `SHOP_STORE` another store than a folder: see store.ts. `SHOP_STORE_TIMEOUT` is the time limit of the store in seconds (5). Stop
 * it and start it again: baskets and logins are still there.
 *
 * @module
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { openStore } from "./store.ts";
import { shop } from "./shop.ts";

const directory = process.env["SESSION_DIR"] || join(tmpdir(), "with-session-shop");
const place = process.env["SHOP_STORE"] || `file:${directory}`;
const { store, close } = await openStore(place);
const handle = shop({ store, storeTimeout: Number(process.env["SHOP_STORE_TIMEOUT"] || 5) });
const server = createServer((incoming, outgoing) => void serve(incoming, outgoing));

// Files do not expire by themselves. This removes what has expired while the shop was closed.
await store.prune?.(Date.now());
server.listen(Number(process.env["PORT"] || 8787), "127.0.0.1", () => {
  const address = server.address();
  const port = typeof address === "object" ? address?.port : address;
  console.log(`The shop is open at http://localhost:${port} (sessions in ${place.replace(/\/\/.*@/, "//")})`);
});
server.on("error", (error) => {
  console.error(`The shop cannot open: ${error.message}. PORT chooses another port.`);
  process.exitCode = 1;
});

// The open requests are answered. Then the process ends, because nothing keeps it alive.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => server.close(() => void close()));

async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  try {
    const request = toRequest(incoming);
    const response = request === null ? new Response("Bad request\n", { status: 400 }) : await handle(request);
    await send(response, outgoing);
  } catch (error) {
    console.error(error);
    if (!outgoing.headersSent) outgoing.writeHead(500, { "Content-Type": "text/plain" });
    outgoing.end("The shop has a problem. Please try again.\n");
  }
}

/** The same request for Fetch; null if Fetch cannot express it, such as a TRACE or an invalid Host. */
function toRequest(incoming: IncomingMessage): Request | null {
  const { method = "GET", url = "/", headersDistinct } = incoming;
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(headersDistinct)) {
    for (const value of values) headers.append(name, value);
  }
  const hasBody = method !== "GET" && method !== "HEAD";
  // A handler may stop reading a body that is too long. The connection stays open for the answer.
  const body = hasBody ? ReadableStream.from(incoming.iterator({ destroyOnReturn: false })) : null;
  const init = { method, headers, body, duplex: "half" } as const;
  try {
    return new Request(`http://${headers.get("Host")}${url}`, init);
  } catch {
    return null;
  }
}

async function send(response: Response, outgoing: ServerResponse): Promise<void> {
  outgoing.statusCode = response.status;
  for (const [name, value] of response.headers) outgoing.appendHeader(name, value);
  if (response.body === null) outgoing.end();
  else await pipeline(response.body, outgoing);
}
