import { Hono } from "hono";
import { csrf } from "hono/csrf";
import { session, type SessionEnv } from "with-session/hono";
import { userSessions } from "with-session/user-sessions";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

/** Lists the sessions of a user, for the page "Your devices". */
const users = userSessions<{ name: string }>();
export const app: Hono<SessionEnv<Data>> = new Hono<SessionEnv<Data>>();
app.use(csrf());
app.use(session<Data>({ plugins: [users] }));

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
  await users.bind(c.var.session, user, { name: c.req.header("User-Agent") ?? "A browser" });
  c.var.session.set("user", user);
  c.var.session.flash("message", `Welcome, ${user}`);
  return c.redirect("/", 303);
});
app.post("/logout", async (c) => {
  await c.var.session.destroy();
  return c.redirect("/", 303);
});
app.get("/devices", async (c) => {
  const user = await c.var.session.get("user");
  if (user === undefined) return c.text("Sign in first\n", 401);
  const own = await users.handle(c.var.session);
  const devices = await users.list(user);
  return c.json(devices.map(({ handle, metadata: { name } }) => ({ handle, name, isThisOne: handle === own })));
});
app.post("/devices", async (c) => {
  const user = await c.var.session.get("user");
  if (user === undefined) return c.text("Sign in first\n", 401);
  const { handle } = await c.req.parseBody();
  if (handle === undefined) await users.revokeAll(user, { except: c.var.session });
  // A form can contain any handle, so the handler checks that it is one of the user's own.
  else if ((await users.list(user)).some((device) => device.handle === handle)) await users.revoke(String(handle));
  return c.redirect("/devices", 303);
});
app.get("/style.css", (c) => c.body("body { font-family: sans-serif }\n", 200, { "Content-Type": "text/css" }));
