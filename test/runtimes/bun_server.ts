/**
 * A server on Bun for test/bun.test.ts. It prints its port. Each path shows one way in which Bun's requests differ from those of other
 * runtimes.
 *
 * @module
 */
import { type Session, SessionManager, withSession } from "../../mod.ts";

interface Data {
  readonly visits: number;
}

/** The part of Bun that is used here. */
interface BunServer {
  readonly port: number;
  upgrade(request: Request, options: { readonly data: SocketData }): boolean;
}
interface SocketData {
  readonly after: () => unknown;
}
interface BunSocket {
  readonly data: SocketData;
  send(text: string): void;
}
declare const Bun: {
  serve(options: {
    readonly port: number;
    readonly hostname: string;
    fetch(request: Request, server: BunServer): Promise<Response>;
    readonly websocket: { open(socket: BunSocket): Promise<void> };
  }): BunServer;
};

const sessions = new SessionManager<Data>();
const late: Promise<unknown>[] = [];

/** What a handler does with its session before the request becomes a WebSocket, and 200 ms later. */
const upgrades: Record<
  string,
  { before?: (session: Session<Data>) => unknown; after: (session: Session<Data>) => unknown }
> = {
  "/upgrade/set": { before: (session) => session.set("visits", 8), after: (session) => session.get("visits") },
  "/upgrade/touch": { before: (session) => session.touch(), after: (session) => session.get("visits") },
  "/upgrade/first": { after: (session) => session.get("visits") },
  "/upgrade/update": { after: (session) => session.update("visits", (n = 0) => n + 1) },
  "/upgrade/regenerate": { before: (session) => session.regenerate(), after: (session) => session.get("visits") },
};

const handler = withSession<Data, [BunServer]>(async (request, session, server) => {
  const { pathname } = new URL(request.url);
  const upgrade = upgrades[pathname];
  if (upgrade !== undefined) {
    await upgrade.before?.(session);
    if (server.upgrade(request, { data: { after: () => upgrade.after(session) } })) return;
    return new Response("This is no handshake", { status: 400 });
  }
  if (pathname === "/begin") session.set("visits", 5);
  if (pathname === "/late") late.push(pause().then(() => session.get("visits")));
  if (pathname === "/late/update") late.push(pause().then(() => session.update("visits", (n = 0) => n + 1)));
  return Response.json(pathname === "/heard" ? await Promise.all(late.splice(0)) : null);
}, sessions);

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 200));
}

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: handler,
  websocket: { open: (socket) => pause().then(async () => socket.send(String(await socket.data.after()))) },
});
console.log(`port ${server.port}`);
