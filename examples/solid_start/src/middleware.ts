import { createMiddleware } from "@solidjs/start/middleware";
import { withSession } from "with-session";
import { type Data, sessions } from "./sessions";

// Whoever asks for the session of this request, as `sessions.start(request)`, gets the one that is stored here.
const middleware = withSession<Data, [next: () => unknown]>(
  async (_request, _session, next) => (await next()) as Response,
  sessions,
);

export default createMiddleware([(event, next) => middleware(event.req, next)]);
