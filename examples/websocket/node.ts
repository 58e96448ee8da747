import { createServer, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import { SessionManager, withSession } from "with-session";
import { crossOriginProtection } from "with-session/cross-origin";
import { WebSocketServer } from "ws";
import { respond } from "./http.ts";
import { answer, type Data, SIGNED_OUT } from "./messages.ts";

const sessions = new SessionManager<Data>();
const server = createServer(getRequestListener(crossOriginProtection(withSession<Data>(respond, sessions))));
const sockets = new WebSocketServer({ noServer: true });

server.on("upgrade", (incoming, connection, head) => {
  // An error without a listener ends the process. A client causes one when it resets the connection.
  connection.on("error", console.error);
  upgrade(incoming, connection, head).catch((error) => {
    console.error(error);
    connection.end("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n");
  });
});
server.listen(Number(process.env["PORT"] ?? 3000));

async function upgrade(incoming: IncomingMessage, connection: Duplex, head: Buffer): Promise<void> {
  const { host = "", cookie = "", origin } = incoming.headers;
  // A page of another origin would use the visitor's cookie. A program sends no origin.
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`)
    return void connection.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n");
  // Only the cookie is needed here. A client may send a host that makes no URL, so the host is passed as a header.
  const request = new Request("http://localhost/", { headers: { Host: host, Cookie: cookie } });
  const id = await sessions.start(request).id();
  if (id === null) return void connection.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n");
  sockets.handleUpgrade(incoming, connection, head, (socket) => {
    // Such as a frame that breaks the protocol. The connection is closed afterwards.
    socket.on("error", console.error);
    socket.on("message", async (message) => {
      const text = await answer(sessions, id, String(message));
      if (text === undefined) socket.close(SIGNED_OUT);
      else socket.send(text);
    });
  });
}
