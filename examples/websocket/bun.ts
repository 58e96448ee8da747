import { SessionManager, withSession } from "with-session";
import { crossOriginProtection } from "with-session/cross-origin";
import { respond } from "./http.ts";
import { answer, type Data, SIGNED_OUT } from "./messages.ts";

const sessions = new SessionManager<Data>();

const handler = withSession<Data, [server: Bun.Server<{ id: string }>]>(async (request, session, server) => {
  if (request.headers.get("Upgrade") !== "websocket") return await respond(request, session);
  const id = await session.id();
  if (id === null) return new Response("Please sign in\n", { status: 401 });
  // Bun sends the response itself if it upgrades the connection.
  return server.upgrade(request, { data: { id } }) ? undefined : new Response("No upgrade\n", { status: 400 });
}, sessions);

Bun.serve<{ id: string }>({
  hostname: "127.0.0.1",
  port: Number(process.env["PORT"] ?? 3000),
  fetch: crossOriginProtection(handler),
  websocket: {
    async message(socket, message) {
      const text = await answer(sessions, socket.data.id, String(message));
      if (text === undefined) socket.close(SIGNED_OUT);
      else socket.send(text);
    },
  },
});
