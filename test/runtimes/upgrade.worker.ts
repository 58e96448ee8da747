/**
 * A Worker that answers with WebSockets, and keeps sessions in Workers KV.
 *
 * @module
 */
import { type Session, withSession } from "../../mod.ts";
import { type CloudflareKvNamespace, cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";

interface Data {
  readonly visits: number;
}

interface Env {
  readonly KV: CloudflareKvNamespace;
}

/** The part of workerd's sockets that is used here. */
interface Socket extends EventTarget {
  accept(): void;
  send(text: string): void;
}
declare const WebSocketPair: new () => readonly [client: Socket, server: Socket];

/** What a handler does with its session before the request becomes a WebSocket, and when a message arrives. */
const ways: Record<
  string,
  { before?: (session: Session<Data>) => unknown; after: (session: Session<Data>) => unknown }
> = {
  "/set": { before: (session) => session.set("visits", 5), after: (session) => session.get("visits") },
  "/read": { before: (session) => session.get("visits"), after: (session) => session.get("visits") },
  "/touch": { before: (session) => session.touch(), after: (session) => session.get("visits") },
  "/regenerate": { before: (session) => session.regenerate(), after: (session) => session.get("visits") },
  "/first": { after: (session) => session.get("visits") },
  "/update": { after: (session) => session.update("visits", (n = 0) => n + 1) },
};

const worker: { fetch(request: Request, env: Env): Promise<Response> } = {
  fetch: withSession<Data, [Env]>(
    async (request, session) => {
      const { before, after } = ways[new URL(request.url).pathname] ?? { after: () => "no such way" };
      await before?.(session);
      const [client, server] = Object.values(new WebSocketPair()) as [Socket, Socket];
      server.accept();
      server.addEventListener("message", () => {
        const tell = (value: unknown): void => server.send(String(value));
        Promise.resolve(after(session)).then(tell, (error: unknown) => tell(Reflect.get(Object(error), "code")));
      });
      const init: ResponseInit & { readonly webSocket: Socket } = { status: 101, webSocket: client };
      return new Response(null, init);
    },
    { store: (env) => cloudflareKvStore(env.KV) },
  ),
};
export default worker;
