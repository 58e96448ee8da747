import { createClient } from "redis";
import { type Session, withSession } from "with-session";
import { redisStore } from "with-session/stores/redis";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

async function handle(request: Request, session: Session<Data>): Promise<Response> {
  const { pathname } = new URL(request.url);
  switch (`${request.method === "HEAD" ? "GET" : request.method} ${pathname}`) {
    case "GET /": {
      const visits = await session.update("visits", (n = 0) => n + 1);
      return new Response(`Visit ${visits} of ${await session.get("user", "nobody")}\n`);
    }
    case "GET /me":
      return new Response(`You are ${await session.get("user", "nobody")}\n`);
    case "GET /message":
      return new Response(`Message: ${await session.get("message", "none")}\n`);
    case "POST /like":
      return new Response(`Likes ${await session.update("likes", (n = 0) => n + 1)}\n`);
    case "POST /login": {
      const user = String((await request.formData()).get("user"));
      await session.regenerate({ reauthenticated: true });
      session.set("user", user);
      session.flash("message", `Welcome, ${user}`);
      return redirect("/");
    }
    case "POST /logout":
      await session.destroy();
      return redirect("/");
    case "GET /style.css":
      return new Response("body { font-family: sans-serif }\n", { headers: { "Content-Type": "text/css" } });
    default:
      return new Response("Not found\n", { status: 404 });
  }
}

function redirect(location: string): Response {
  return new Response(null, { status: 303, headers: { Location: location } });
}

const url = process.env["REDIS_URL"] ?? "redis://127.0.0.1:6379";
// Without a listener for errors, node-redis ends the process when the connection breaks.
const store = redisStore(() => createClient({ url }).on("error", console.error).connect());
Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.env["PORT"] ?? 3000),
  fetch: withSession<Data>(handle, { store }),
});
