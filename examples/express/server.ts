import express from "express";
import type { Session } from "with-session";
import { nodeSession } from "with-session/node";
import { userSessions } from "with-session/user-sessions";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

// Express's requests are Node's requests.
declare module "node:http" {
  interface IncomingMessage {
    session: Session<Data>;
  }
}

/** Lists the sessions of a user, for the page "Your devices". */
const users = userSessions<{ name: string }>();
const app = express();
// Assets come first, because they need no session.
app.get("/style.css", (_req, res) => void res.type("css").send("body { font-family: sans-serif }\n"));
app.use(express.urlencoded(), nodeSession<Data>({ plugins: [users] }));

app.get("/", async (req, res) => {
  const visits = await req.session.update("visits", (n = 0) => n + 1);
  res.send(`Visit ${visits} of ${await req.session.get("user", "nobody")}\n`);
});
app.get("/me", async (req, res) => {
  res.send(`You are ${await req.session.get("user", "nobody")}\n`);
});
app.get("/message", async (req, res) => {
  res.send(`Message: ${await req.session.get("message", "none")}\n`);
});
app.post("/like", async (req, res) => {
  res.send(`Likes ${await req.session.update("likes", (n = 0) => n + 1)}\n`);
});
app.post("/login", async (req, res) => {
  const user = String(req.body.user);
  await req.session.regenerate({ reauthenticated: true });
  await users.bind(req.session, user, { name: req.get("User-Agent") ?? "A browser" });
  req.session.set("user", user);
  req.session.flash("message", `Welcome, ${user}`);
  res.redirect(303, "/");
});
app.post("/logout", async (req, res) => {
  await req.session.destroy();
  res.redirect(303, "/");
});
app.get("/devices", async (req, res) => {
  const user = await req.session.get("user");
  if (user === undefined) return void res.status(401).send("Sign in first\n");
  const own = await users.handle(req.session);
  const devices = await users.list(user);
  res.json(devices.map(({ handle, metadata: { name } }) => ({ handle, name, isThisOne: handle === own })));
});
app.post("/devices", async (req, res) => {
  const user = await req.session.get("user");
  if (user === undefined) return void res.status(401).send("Sign in first\n");
  const handle: unknown = req.body?.handle;
  if (handle === undefined) await users.revokeAll(user, { except: req.session });
  // A form can contain any handle, so the handler checks that it is one of the user's own.
  else if ((await users.list(user)).some((device) => device.handle === handle)) await users.revoke(String(handle));
  res.redirect(303, "/devices");
});

app.listen(Number(process.env["PORT"] ?? 3000));
