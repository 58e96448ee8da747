import { SessionManager, withSession } from "with-session";
import { crossOriginProtection } from "with-session/cross-origin";
import { respond } from "./http.ts";
import { answer, type Data, SIGNED_OUT } from "./messages.ts";

const sessions = new SessionManager<Data>();

const handler = withSession<Data>(async (request, session) => {
  if (request.headers.get("Upgrade") !== "websocket") return await respond(request, session);
  const id = await session.id();
  if (id === null) return new Response("Please sign in\n", { status: 401 });
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.addEventListener("message", async ({ data }) => {
    const text = await answer(sessions, id, String(data));
    if (text === undefined) socket.close(SIGNED_OUT);
    else socket.send(text);
  });
  return response;
}, sessions);

Deno.serve({ port: Number(Deno.env.get("PORT") ?? 3000) }, crossOriginProtection(handler));
