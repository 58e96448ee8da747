import Hapi, { type Request } from "@hapi/hapi";
import { type Session, SessionManager } from "with-session";
import { nodeSession } from "with-session/node";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

const sessions = new SessionManager<Data>({
  onEvent(event) {
    if (event.type === "failed") console.error(event.during, event.error.code, event.detail);
  },
});
const middleware = nodeSession<Data>(sessions);
const sessionOf = ({ raw }: Request): Session<Data> => (raw.req as unknown as { session: Session<Data> }).session;

const server = Hapi.server({ host: "127.0.0.1", port: Number(process.env["PORT"] ?? 3000) });
server.ext(
  "onRequest",
  ({ raw: { req, res } }, h) => new Promise((resolve) => middleware(req, res, () => resolve(h.continue))),
);
server.route([
  {
    method: "GET",
    path: "/",
    async handler(request) {
      const session = sessionOf(request);
      const visits = await session.update("visits", (n = 0) => n + 1);
      return `Visit ${visits} of ${await session.get("user", "nobody")}\n`;
    },
  },
  {
    method: "GET",
    path: "/me",
    handler: async (request) => `You are ${await sessionOf(request).get("user", "nobody")}\n`,
  },
  {
    method: "GET",
    path: "/message",
    handler: async (request) => `Message: ${await sessionOf(request).get("message", "none")}\n`,
  },
  {
    method: "POST",
    path: "/like",
    handler: async (request) => `Likes ${await sessionOf(request).update("likes", (n = 0) => n + 1)}\n`,
  },
  {
    method: "POST",
    path: "/login",
    async handler(request, h) {
      const { user } = request.payload as { user: string };
      const session = sessionOf(request);
      await session.regenerate({ reauthenticated: true });
      session.set("user", user);
      session.flash("message", `Welcome, ${user}`);
      return h.redirect("/").code(303);
    },
  },
  {
    method: "POST",
    path: "/logout",
    async handler(request, h) {
      await sessionOf(request).destroy();
      return h.redirect("/").code(303);
    },
  },
  {
    method: "GET",
    path: "/style.css",
    handler: (_request, h) => h.response("body { font-family: sans-serif }\n").type("text/css"),
  },
]);
await server.start();
