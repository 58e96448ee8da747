import { nodeSession } from "with-session/node";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

declare module "node:http" {
  interface IncomingMessage {
    session: import("with-session").Session<Data>;
  }
}

const sessions = nodeSession<Data>();

export default defineEventHandler(({ context, node: { req, res } }) => {
  // While a page is rendered, `useFetch` calls a route without HTTP. Nitro hands it the context of the page's request.
  const { __unenv__: page } = req as { __unenv__?: typeof context };
  if (page?.session !== undefined) {
    req.session = page.session;
    return;
  }
  return new Promise<void>((resolve) => {
    sessions(req, res, (error) => {
      // A failure to store the session: nobody else answers any more.
      if (error !== undefined) res.writeHead(500).end();
      context.session = req.session;
      resolve();
    });
  });
});
