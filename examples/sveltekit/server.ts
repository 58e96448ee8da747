/**
 * SvelteKit's own server assumes that each client uses https, unless a proxy's header says otherwise. This server reports the real protocol, for use on your
 * own machine: `PROTOCOL_HEADER=x-forwarded-proto node server.ts`. Behind a proxy that sets the header, use `node build`.
 *
 * @module
 */
import { createServer, type RequestListener } from "node:http";

const path = "./build/handler.js";
const { handler } = (await import(path)) as { handler: RequestListener };

createServer((request, response) => {
  request.headers["x-forwarded-proto"] ??= "http";
  handler(request, response);
}).listen(Number(process.env["PORT"] ?? 3000));
