import { serve } from "@hono/node-server";
import { AutoRouter, type IRequest, text } from "itty-router";
import { type Session, withSession } from "with-session";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

const redirect = (): Response => new Response(null, { status: 303, headers: { Location: "/" } });

const router = AutoRouter<IRequest, [session: Session<Data>]>();
// `all` also answers HEAD.
router.all("/", async (_request, session) => {
  const visits = await session.update("visits", (n = 0) => n + 1);
  return text(`Visit ${visits} of ${await session.get("user", "nobody")}\n`);
});
router.all("/me", async (_request, session) => text(`You are ${await session.get("user", "nobody")}\n`));
router.all("/message", async (_request, session) => text(`Message: ${await session.get("message", "none")}\n`));
router.post("/like", async (_request, session) => text(`Likes ${await session.update("likes", (n = 0) => n + 1)}\n`));
router.post("/login", async (request, session) => {
  const user = String((await request.formData()).get("user"));
  await session.regenerate({ reauthenticated: true });
  session.set("user", user);
  session.flash("message", `Welcome, ${user}`);
  return redirect();
});
router.post("/logout", async (_request, session) => {
  await session.destroy();
  return redirect();
});
router.get(
  "/style.css",
  () => new Response("body { font-family: sans-serif }\n", { headers: { "Content-Type": "text/css" } }),
);

// The router passes further arguments on to its handlers.
const fetch = withSession<Data>((request, session) => router.fetch(request, session));
serve({ fetch, port: Number(process.env["PORT"] ?? 3000) });
