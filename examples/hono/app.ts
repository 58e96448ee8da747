import { Hono } from "hono";
import { csrf } from "hono/csrf";
import { session, type SessionEnv } from "with-session/hono";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

export const app: Hono<SessionEnv<Data>> = new Hono<SessionEnv<Data>>();
app.use(csrf());
app.use(session<Data>());

app.get("/", async (c) => {
  const visits = await c.var.session.update("visits", (n = 0) => n + 1);
  return c.text(`Visit ${visits} of ${await c.var.session.get("user", "nobody")}\n`);
});
app.get("/me", async (c) => c.text(`You are ${await c.var.session.get("user", "nobody")}\n`));
app.get("/message", async (c) => c.text(`Message: ${await c.var.session.get("message", "none")}\n`));
app.post("/like", async (c) => c.text(`Likes ${await c.var.session.update("likes", (n = 0) => n + 1)}\n`));
app.post("/login", async (c) => {
  const user = String((await c.req.parseBody())["user"]);
  await c.var.session.regenerate({ reauthenticated: true });
  c.var.session.set("user", user);
  c.var.session.flash("message", `Welcome, ${user}`);
  return c.redirect("/", 303);
});
app.post("/logout", async (c) => {
  await c.var.session.destroy();
  return c.redirect("/", 303);
});
app.get("/style.css", (c) => c.body("body { font-family: sans-serif }\n", 200, { "Content-Type": "text/css" }));
