import type { APIContext, MiddlewareNext } from "astro";
import { withSession } from "with-session";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

const sessions = withSession<Data, [APIContext, MiddlewareNext]>(async (_request, session, context, next) => {
  // Astro's own sessions use the name `context.session`, so this one has another name.
  context.locals.visitor = session;
  return await next();
});

// Pages that are rendered at build time have no session.
export const onRequest = (context: APIContext, next: MiddlewareNext): Promise<Response> =>
  context.isPrerendered ? next() : sessions(context.request, context, next);
