/**
 * Sessions for Hono: a middleware that gives each request its session, as `c.var.session`.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import type { SessionOptions } from "./options.ts";
import {
  beginSession,
  claimCookie,
  finishSession,
  isEager,
  isGuarded,
  refusalOf,
  SessionManager,
  type WaitUntil,
} from "./session_manager.ts";
import { closeSession, type Session, type UntypedData, usedParts } from "./session.ts";

/** The environment of a Hono app whose requests have a session, under the name `As`. */
export interface SessionEnv<Data extends object = UntypedData, As extends string = "session"> {
  /** What `c.var` has. */
  Variables: { [Name in As]: Session<Data> };
}

/** The options of the middleware: those of `withSession`, whose store function gets the Hono context. */
export interface HonoSessionOptions<Data extends object = UntypedData, As extends string = "session">
  // oxlint-disable-next-line no-explicit-any -- whatever bindings the app has
  extends SessionOptions<Data, [context: Context<any>]> {
  /** The name under which handlers find the session; another one for each when there are several. @default {"session"} */
  readonly as?: As;
}

/**
 * Gives each request its session. It is stored when the handler is done; a handler that throws stores nothing.
 *
 * @param options The options, or a `SessionManager` to be shared
 * @returns A middleware for `app.use`. It throws a `SessionError` if the session cannot be loaded or stored
 * @throws {TypeError} If an option is of the wrong kind, or contradicts another one
 * @throws {RangeError} If a duration is not one
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { session, type SessionEnv } from "with-session/hono";
 *
 * const app = new Hono<SessionEnv<{ visits: number }>>();
 * app.use(session());
 * app.get("/", async (c) => c.text(`${await c.var.session.update("visits", (n = 0) => n + 1)}`));
 * ```
 */
export function session<Data extends object = UntypedData, As extends string = "session">(
  options: HonoSessionOptions<Data, As> | SessionManager<Data> = {},
): MiddlewareHandler<SessionEnv<Data, As>> {
  const isShared = options instanceof SessionManager;
  const sessions = isShared ? options : new SessionManager<Data>(options);
  const name = options instanceof SessionManager ? undefined : options.as;
  return async (c, next) => {
    const refusal = isGuarded(sessions) ? await refusalOf(sessions, c.req.raw) : undefined;
    if (refusal !== undefined) return refusal;
    const session = beginSession(sessions, c.req.raw, [c], isShared);
    noteCookie(c, sessions);
    c.set((name ?? "session") as As, session);
    try {
      if (isEager(sessions)) await session.size();
      await next();
      if (c.error !== undefined || usedParts(session) === undefined) return undefined;
      const isRedirect = c.res.status >= 300 && c.res.status < 400;
      const response = await finishSession(sessions, session, c.res, isRedirect ? undefined : waitUntilOf(c));
      if (response === c.res) return undefined;
      // Hono copies the former response's cookies over a new one's, unless there is no former one.
      c.res = undefined;
      c.res = response;
      return undefined;
    } finally {
      closeSession(session);
    }
  };
}

/** Middlewares know nothing of each other before they meet in a request. */
function noteCookie<Data extends object>(c: Context, sessions: SessionManager<Data>): void {
  c.set(COOKIES, claimCookie(sessions, c.get(COOKIES)));
}

/** The variable of the context that has the cookies of its sessions. */
const COOKIES = "with-session cookies";

function waitUntilOf(c: Context): WaitUntil | undefined {
  try {
    const { executionCtx } = c;
    return (promise) => executionCtx.waitUntil(promise);
  } catch {
    // Hono throws where the runtime has no such context.
    return undefined;
  }
}
