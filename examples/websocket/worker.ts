import { SessionManager, withSession } from "with-session";
import { crossOriginProtection } from "with-session/cross-origin";
import { respond } from "./http.ts";
import { answer, type Data, SIGNED_OUT } from "./messages.ts";

declare const WebSocketPair: new () => [client: WebSocket, server: WebSocket & { accept(): void }];

// Here each isolate keeps its own sessions in memory. In production a Worker runs in many isolates, so give it a store, as the other
// examples of Workers do.
const sessions = new SessionManager<Data>();

const handler = withSession<Data>(async (request, session) => {
  if (request.headers.get("Upgrade") !== "websocket") return await respond(request, session);
  const id = await session.id();
  if (id === null) return new Response("Please sign in\n", { status: 401 });
  const [client, server] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket & { accept(): void }];
  server.accept();
  server.addEventListener("message", async ({ data }) => {
    const text = await answer(sessions, id, String(data));
    if (text === undefined) server.close(SIGNED_OUT);
    else server.send(text);
  });
  return new Response(null, { status: 101, webSocket: client } as ResponseInit);
}, sessions);

export default { fetch: crossOriginProtection(handler) };
