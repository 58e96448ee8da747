import { serve } from "@hono/node-server";
import { serveStatic } from "@hono/node-server/serve-static";
import { Hono } from "hono";

const path = "./dist/server/entry-server.js";
const { default: server } = (await import(path)) as { default: { fetch(request: Request): Promise<Response> } };
const app = new Hono();
app.use(serveStatic({ root: "./dist/client" }));
app.all("*", (c) => server.fetch(c.req.raw));
serve({ fetch: app.fetch, port: Number(process.env["PORT"] ?? 3000) });
