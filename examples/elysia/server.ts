import { Elysia } from "elysia";
import { SessionManager, withSession } from "with-session";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

const sessions = new SessionManager<Data>();
const redirect = (): Response => new Response(null, { status: 303, headers: { Location: "/" } });

const app = new Elysia()
  // Gives the handlers the session of this request. The wrapper below stores it.
  .derive(({ request }) => ({ session: sessions.start(request) }))
  .get("/", async ({ session }) => {
    const visits = await session.update("visits", (n = 0) => n + 1);
    return `Visit ${visits} of ${await session.get("user", "nobody")}\n`;
  })
  .get("/me", async ({ session }) => `You are ${await session.get("user", "nobody")}\n`)
  .head("/me", async ({ session }) => `You are ${await session.get("user", "nobody")}\n`)
  .get("/message", async ({ session }) => `Message: ${await session.get("message", "none")}\n`)
  .post("/like", async ({ session }) => `Likes ${await session.update("likes", (n = 0) => n + 1)}\n`)
  .post("/login", async ({ session, body }) => {
    const { user } = body as { user: string };
    await session.regenerate({ reauthenticated: true });
    session.set("user", user);
    session.flash("message", `Welcome, ${user}`);
    return redirect();
  })
  .post("/logout", async ({ session }) => {
    await session.destroy();
    return redirect();
  })
  .get(
    "/style.css",
    () => new Response("body { font-family: sans-serif }\n", { headers: { "Content-Type": "text/css" } }),
  );

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.env["PORT"] ?? 3000),
  fetch: withSession<Data>((request) => app.fetch(request), sessions),
});
