import { H3, redirect } from "h3";
import { serve } from "srvx";
import { type Session, SessionManager, withSession } from "with-session";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

const sessions = new SessionManager<Data>();
/** The session of this request. The wrapper below stores it. */
const sessionOf = ({ req }: { req: Request }): Session<Data> => sessions.start(req);

const app = new H3();
app.get("/", async (event) => {
  const visits = await sessionOf(event).update("visits", (n = 0) => n + 1);
  return `Visit ${visits} of ${await sessionOf(event).get("user", "nobody")}\n`;
});
app.on("", "/me", async (event) => `You are ${await sessionOf(event).get("user", "nobody")}\n`);
app.get("/message", async (event) => `Message: ${await sessionOf(event).get("message", "none")}\n`);
app.post("/like", async (event) => `Likes ${await sessionOf(event).update("likes", (n = 0) => n + 1)}\n`);
app.post("/login", async (event) => {
  const user = String((await event.req.formData()).get("user"));
  await sessionOf(event).regenerate({ reauthenticated: true });
  sessionOf(event).set("user", user);
  sessionOf(event).flash("message", `Welcome, ${user}`);
  return redirect("/", 303);
});
app.post("/logout", async (event) => {
  await sessionOf(event).destroy();
  return redirect("/", 303);
});
app.get(
  "/style.css",
  () => new Response("body { font-family: sans-serif }\n", { headers: { "Content-Type": "text/css" } }),
);

serve({
  hostname: "127.0.0.1",
  port: Number(process.env["PORT"] ?? 3000),
  fetch: withSession<Data>((request) => app.fetch(request), sessions),
});
