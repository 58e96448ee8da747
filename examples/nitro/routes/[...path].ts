import { defineHandler, HTTPError, redirect } from "nitro/h3";
import { sessions } from "../utils/sessions.ts";

export default defineHandler(async ({ req, url }) => {
  const session = sessions.start(req);
  switch (`${req.method === "HEAD" ? "GET" : req.method} ${url.pathname}`) {
    case "GET /": {
      const visits = await session.update("visits", (n = 0) => n + 1);
      return `Visit ${visits} of ${await session.get("user", "nobody")}\n`;
    }
    case "GET /me":
      return `You are ${await session.get("user", "nobody")}\n`;
    case "GET /message":
      return `Message: ${await session.get("message", "none")}\n`;
    case "POST /like":
      return `Likes ${await session.update("likes", (n = 0) => n + 1)}\n`;
    case "POST /login": {
      const user = String((await req.formData()).get("user"));
      await session.regenerate({ reauthenticated: true });
      session.set("user", user);
      session.flash("message", `Welcome, ${user}`);
      return redirect("/", 303);
    }
    case "POST /logout":
      await session.destroy();
      return redirect("/", 303);
    default:
      throw new HTTPError({ status: 404 });
  }
});
