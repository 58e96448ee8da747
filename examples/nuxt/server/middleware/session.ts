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

export default fromNodeMiddleware(nodeSession<Data>());
