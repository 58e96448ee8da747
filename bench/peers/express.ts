/**
 * express-session, on Node's own requests and responses without a socket. Its cost is the difference to the same
 * listener without it.
 *
 * @module
 */
import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import session from "express-session";
import type { Contender, Seen } from "../contender.ts";

interface Answered {
  readonly response: ServerResponse;
  readonly text: string;
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void;
type Counted = session.Session & { n?: number; user?: string };

/** express-session, and the same listener without it. */
export function nodePeers(): Contender[] {
  const all = [ofNode("bare listener", bare), ofNode("express-session", expressSession())];
  return all as unknown as Contender[];
}

const bare: Listener = (request, response) => void response.end(request.url);

function expressSession(): Listener {
  const middleware = session({
    secret: "a secret of at least 32 bytes, for the benchmark",
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 86_400_000, sameSite: "lax" },
  });
  return (request, response) => {
    const withSession = request as IncomingMessage & { session: Counted };
    middleware(withSession as never, response as never, () => {
      const { url } = request;
      if (url === "/idle") return void response.end(url);
      if (url === "/write") withSession.session.n = (withSession.session.n ?? 0) + 1;
      if (url !== "/login") return void response.end(String(withSession.session.n));
      const { n } = withSession.session;
      withSession.session.regenerate(() => {
        Object.assign(withSession.session, { n, user: "ada" });
        response.end(String(n));
      });
    });
  };
}

const socket = new Socket();

function ofNode(name: string, listener: Listener): Contender<IncomingMessage, Answered> {
  return {
    name,
    over: "bare listener",
    request(path, cookie) {
      const request = new IncomingMessage(socket);
      request.method = "GET";
      request.url = path;
      request.headers = cookie === undefined ? { host: "shop.example" } : { host: "shop.example", cookie };
      return request;
    },
    answer: (request) =>
      new Promise((resolve) => {
        const response = new ServerResponse(request);
        let text = "";
        const take = (chunk: unknown): void => {
          if (!response.headersSent) response.writeHead(200);
          if (typeof chunk === "string" || chunk instanceof Uint8Array) text += chunk.toString();
        };
        response.write = ((chunk: unknown) => {
          take(chunk);
          return true;
        }) as ServerResponse["write"];
        response.end = ((chunk?: unknown) => {
          take(chunk);
          resolve({ response, text });
          return response;
        }) as ServerResponse["end"];
        listener(request, response);
      }),
    seen({ response, text }): Seen {
      const cookie = response.getHeader("Set-Cookie");
      return {
        status: response.statusCode,
        cookie: (Array.isArray(cookie) ? cookie.at(-1) : cookie?.toString())?.split(";")[0],
        text: () => text,
      };
    },
  };
}
