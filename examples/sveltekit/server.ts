/**
 * SvelteKit's own server believes that each client came over https, unless a proxy's header says otherwise. This one tells the truth on a machine of your own:
 * `PROTOCOL_HEADER=x-forwarded-proto node server.ts`. Behind a proxy that sets the header, `node build` does.
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
