import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import type { Session } from "with-session";
import { nodeSession } from "with-session/node";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

const sessions = nodeSession<Data>();

async function handle(request: IncomingMessage & { session: Session<Data> }, response: ServerResponse): Promise<void> {
  const { session } = request;
  const redirect = (): unknown => response.writeHead(303, { Location: "/" }).end();
  // A HEAD is answered like a GET. Node leaves the body out.
  switch (`${request.method === "HEAD" ? "GET" : request.method} ${request.url}`) {
    case "GET /": {
      const visits = await session.update("visits", (n = 0) => n + 1);
      response.end(`Visit ${visits} of ${await session.get("user", "nobody")}\n`);
      break;
    }
    case "GET /me":
      response.end(`You are ${await session.get("user", "nobody")}\n`);
      break;
    case "GET /message":
      response.end(`Message: ${await session.get("message", "none")}\n`);
      break;
    case "POST /like":
      response.end(`Likes ${await session.update("likes", (n = 0) => n + 1)}\n`);
      break;
    case "POST /login": {
      const user = new URLSearchParams(await text(request)).get("user") ?? "";
      await session.regenerate({ reauthenticated: true });
      session.set("user", user);
      session.flash("message", `Welcome, ${user}`);
      redirect();
      break;
    }
    case "POST /logout":
      await session.destroy();
      redirect();
      break;
    case "GET /style.css":
      response.setHeader("Content-Type", "text/css").end("body { font-family: sans-serif }\n");
      break;
    default:
      response.writeHead(404).end("Not found\n");
  }
}

const server = createServer((request, response) => {
  sessions(request, response, async (error) => {
    try {
      if (error === undefined) await handle(request as IncomingMessage & { session: Session<Data> }, response);
      else response.writeHead(500).end("Something went wrong\n");
    } catch (thrown) {
      console.error(thrown);
      response.destroy();
    }
  });
});
server.listen(Number(process.env["PORT"] ?? 3000));
