import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { csrf } from "hono/csrf";
import { Pool } from "pg";
import { SessionManager } from "with-session";
import { session, type SessionEnv } from "with-session/hono";
import { postgresStore } from "with-session/stores/postgres";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

const pool = new Pool({ connectionString: process.env["DATABASE_URL"] ?? "postgres://127.0.0.1:6432/postgres" });
// A pooler closes idle connections. The pool opens new ones, so the program need not react.
pool.on("error", (error) => console.error(`An idle connection was closed: ${error.message}`));

const sessions = new SessionManager<Data>({ store: postgresStore(pool) });
setInterval(() => sessions.prune().catch(console.error), 3_600_000).unref();

const app = new Hono<SessionEnv<Data>>();
app.use(csrf());
app.use(session(sessions));

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

serve({ fetch: app.fetch, port: Number(process.env["PORT"] ?? 3000) });
