import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { onTestFinished } from "vitest";

type Handle = (request: Request) => Promise<Response>;

/** Serves a Fetch handler on a free port until the test ends, and returns its origin. */
export async function serve(handle: Handle, host = "localhost"): Promise<string> {
  const server = createServer((incoming, outgoing) => void answer(handle, incoming, outgoing));
  const port = await listen(server);
  onTestFinished(() => void server.close().closeAllConnections());
  return `http://${host}:${port}`;
}

let hosts = 0;

/**
 * A host that no other test of the file uses, because cookies ignore ports. Each host is a separate site that can have
 * subdomains, and every browser resolves it to this machine (RFC 6761, 6.3).
 */
export function newHost(): string {
  return `site${++hosts}.localhost`;
}

/** Listens on a free port, and returns it. */
export async function listen(server: Pick<Server, "listen" | "address">): Promise<number> {
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  return typeof address === "object" ? (address?.port ?? 0) : 0;
}

/** Converts a request from node:http to Fetch, and the response back. */
export async function answer(
  handle: Handle,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  scheme: "http" | "https" = "http",
): Promise<void> {
  const { method = "GET", url = "/", headersDistinct } = incoming;
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(headersDistinct)) {
    for (const value of values) headers.append(name, value);
  }
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const body = method === "GET" || method === "HEAD" ? {} : { body: Buffer.concat(chunks) };
  // Browsers request an icon by themselves. Such a request could race with those of the test.
  if (url === "/favicon.ico") return void outgoing.writeHead(404).end();
  const request = new Request(`${scheme}://${headers.get("Host")}${url}`, { method, headers, ...body });
  // As a server does when its handler throws. A request with a retired id may make it throw.
  const response = await Promise.resolve(handle(request)).catch(
    () => new Response("The handler failed", { status: 500 }),
  );
  for (const [name, value] of response.headers) outgoing.appendHeader(name, value);
  outgoing.writeHead(response.status).end(await response.text());
}

/** A page with this markup in its body. */
export function html(body: string, headers: Record<string, string> = {}, status = 200): Response {
  return new Response(`<!doctype html><title>A page</title>${body}`, {
    status,
    headers: { "Content-Type": "text/html; charset=utf-8", ...headers },
  });
}
