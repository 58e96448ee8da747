/**
 * Login, visits and logout in Hono. Deno, Bun and Workers serve the default export directly. On Node,
 * `@hono/node-server` does.
 *
 * @module
 */
import { Hono } from "hono";
import { csrf } from "hono/csrf";
import { session } from "with-session/hono";
import type { SessionEnv } from "with-session/hono";

interface Data {
  user?: string;
  visits?: number;
}

const app = new Hono<SessionEnv<Data>>();
app.use(csrf());
app.use(session<Data>());

app.get("/", async (c) => {
  const visits = await c.var.session.update("visits", (n = 0) => n + 1);
  return c.text(`Visit ${visits} of ${await c.var.session.get("user", "somebody")}\n`);
});

app.post("/login", async (c) => {
  const { user } = await c.req.parseBody();
  if (typeof user !== "string" || user === "") return c.text("Who is it?\n", 400);
  await c.var.session.regenerate({ reauthenticated: true });
  c.var.session.set("user", user);
  return c.redirect("/", 303);
});

app.post("/logout", async (c) => {
  await c.var.session.destroy();
  return c.redirect("/", 303);
});

export default app;
