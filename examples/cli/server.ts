import { serve } from "@hono/node-server";
import { withSession } from "with-session";

interface Data {
  user?: string;
  runs?: number;
}

// A program without cookies keeps the id itself. It sends an empty `X-Session-Id` to ask for one.
const fetch = withSession<Data>(
  async (request, session) => {
    const { pathname } = new URL(request.url);
    if (request.method === "POST" && pathname === "/login") {
      await session.regenerate({ reauthenticated: true });
      session.set("user", await request.text());
      return new Response("Signed in\n");
    }
    if (request.method === "POST" && pathname === "/logout") {
      await session.destroy();
      return new Response("Signed out\n");
    }
    const user = await session.get("user");
    if (user === undefined) return new Response("Please sign in\n", { status: 401 });
    return new Response(`Run ${await session.update("runs", (n = 0) => n + 1)} of ${user}\n`);
  },
  { cookie: false, header: "X-Session-Id" },
);
serve({ fetch, port: Number(process.env["PORT"] ?? 3000) });
