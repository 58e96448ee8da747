import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** Serves a handler on a free port of 127.0.0.1. If the handler throws, the answer is 503 with the code of the error. */
export async function serve(handle: (request: Request) => Promise<Response>): Promise<Server> {
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
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
