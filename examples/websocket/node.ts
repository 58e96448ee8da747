import { createServer } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { SessionManager, withSession } from "with-session";
import { WebSocketServer } from "ws";
import { respond } from "./http.ts";
import { answer, type Data, SIGNED_OUT } from "./messages.ts";

const sessions = new SessionManager<Data>();
const server = createServer(getRequestListener(withSession<Data>(respond, sessions)));
const sockets = new WebSocketServer({ noServer: true });

server.on("upgrade", async (incoming, connection, head) => {
  // Only the cookie is needed here. A client may send a host that makes no URL, so the host is passed as a header.
  const { host = "", cookie = "" } = incoming.headers;
  const request = new Request("http://localhost/", { headers: { Host: host, Cookie: cookie } });
  const id = await sessions.start(request).id();
  if (id === null) return void connection.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n");
  sockets.handleUpgrade(incoming, connection, head, (socket) => {
    socket.on("message", async (message) => {
      const text = await answer(sessions, id, String(message));
      if (text === undefined) socket.close(SIGNED_OUT);
      else socket.send(text);
    });
  });
});
server.listen(Number(process.env["PORT"] ?? 3000));
