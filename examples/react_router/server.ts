import { serve } from "@hono/node-server";
import { serveStatic } from "@hono/node-server/serve-static";
import { Hono } from "hono";
import { createRequestHandler, type ServerBuild } from "react-router";

const path = "./build/server/index.js";
const handler = createRequestHandler((await import(path)) as ServerBuild);
const app = new Hono();
app.use(serveStatic({ root: "./build/client" }));
app.all("*", (c) => handler(c.req.raw));
serve({ fetch: app.fetch, port: Number(process.env["PORT"] ?? 3000) });
