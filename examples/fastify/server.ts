import fastify from "fastify";
import type { Session } from "with-session";
import { nodeSession } from "with-session/node";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

declare module "fastify" {
  interface FastifyRequest {
    session: Session<Data>;
  }
}

const app = fastify();
const sessions = nodeSession<Data>();
app.decorateRequest("session");
app.addHook("onRequest", (request, reply, done) => {
  sessions(request.raw, reply.raw, (error) => {
    request.session = (request.raw as unknown as { session: Session<Data> }).session;
    done(error as Error | undefined);
  });
});
app.addContentTypeParser("application/x-www-form-urlencoded", { parseAs: "string" }, (_request, body, done) => {
  done(null, Object.fromEntries(new URLSearchParams(String(body))));
});

app.get("/", async ({ session }) => {
  const visits = await session.update("visits", (n = 0) => n + 1);
  return `Visit ${visits} of ${await session.get("user", "nobody")}\n`;
});
app.get("/me", async ({ session }) => `You are ${await session.get("user", "nobody")}\n`);
app.get("/message", async ({ session }) => `Message: ${await session.get("message", "none")}\n`);
app.post("/like", async ({ session }) => `Likes ${await session.update("likes", (n = 0) => n + 1)}\n`);
app.post<{ Body: { user: string } }>("/login", async ({ session, body }, reply) => {
  await session.regenerate({ reauthenticated: true });
  session.set("user", body.user);
  session.flash("message", `Welcome, ${body.user}`);
  return reply.redirect("/", 303);
});
app.post("/logout", async ({ session }, reply) => {
  await session.destroy();
  return reply.redirect("/", 303);
});
app.get("/style.css", async (_request, reply) => reply.type("text/css").send("body { font-family: sans-serif }\n"));

await app.listen({ port: Number(process.env["PORT"] ?? 3000) });
