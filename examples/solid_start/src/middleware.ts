import { createMiddleware } from "@solidjs/start/middleware";
import { withSession } from "with-session";
import { type Data, sessions } from "./sessions";

// `sessions.start(request)` in a route gives this same session, which is stored here.
const middleware = withSession<Data, [next: () => unknown]>(
  async (_request, _session, next) => (await next()) as Response,
  sessions,
);

export default createMiddleware([(event, next) => middleware(event.req, next)]);
