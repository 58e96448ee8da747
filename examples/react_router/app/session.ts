import { createContext, type RouterContextProvider } from "react-router";
import { type Session, withSession } from "with-session";

export interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

/** `context.get(session)` is the request's session, in each loader and action. */
export const session = createContext<Session<Data>>();

type Rest = [context: Readonly<RouterContextProvider>, next: () => Promise<Response>];

const sessions = withSession<Data, Rest>(async (_request, own, context, next) => {
  context.set(session, own);
  return await next();
});

/** The middleware of the root route. */
export const sessionMiddleware = (
  { request, context }: { request: Request; context: Readonly<RouterContextProvider> },
  next: () => Promise<Response>,
): Promise<Response> => sessions(request, context, next);
