import { text } from "node:stream/consumers";
import Koa, { type Context } from "koa";
import type { Session } from "with-session";
import { nodeSession } from "with-session/node";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

const app = new Koa();
const sessions = nodeSession<Data>();
app.use(
  (ctx, next) =>
    new Promise((resolve) => {
      // If the session cannot be stored, the error comes after the handler, and Koa answers it.
      sessions(ctx.req, ctx.res, (error) => resolve(error === undefined ? next() : ctx.onerror(error as Error)));
    }),
);

app.use(async (ctx: Context) => {
  const { session } = ctx.req as unknown as { session: Session<Data> };
  switch (`${ctx.method === "HEAD" ? "GET" : ctx.method} ${ctx.path}`) {
    case "GET /": {
      const visits = await session.update("visits", (n = 0) => n + 1);
      ctx.body = `Visit ${visits} of ${await session.get("user", "nobody")}\n`;
      break;
    }
    case "GET /me":
      ctx.body = `You are ${await session.get("user", "nobody")}\n`;
      break;
    case "GET /message":
      ctx.body = `Message: ${await session.get("message", "none")}\n`;
      break;
    case "POST /like":
      ctx.body = `Likes ${await session.update("likes", (n = 0) => n + 1)}\n`;
      break;
    case "POST /login": {
      const user = new URLSearchParams(await text(ctx.req)).get("user") ?? "";
      await session.regenerate({ reauthenticated: true });
      session.set("user", user);
      session.flash("message", `Welcome, ${user}`);
      ctx.redirect("/");
      break;
    }
    case "POST /logout":
      await session.destroy();
      ctx.redirect("/");
      break;
    case "GET /style.css":
      ctx.type = "css";
      ctx.body = "body { font-family: sans-serif }\n";
      break;
    default:
  }
});

app.listen(Number(process.env["PORT"] ?? 3000));
