/**
 * Sessions for Hono: a middleware that gives each request its session, as `c.var.session`.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { claimNames } from "./core/name_claims.ts";
import { assertObject, inheriting } from "./core/known_options.ts";
import type { SessionOptions } from "./core/options.ts";
import type { DefaultData, Session } from "./core/session.ts";
import { isManager, managerOf, type SessionManager } from "./core/session_manager.ts";

/** The environment of a Hono app whose requests have a session, under the name `As`. */
export interface SessionEnv<Data extends object = DefaultData, As extends string = "session"> {
  /** The variables of the context, which handlers read as `c.var`. */
  Variables: { [Name in As]: Session<Data> };
}

/** The options of the middleware: those of `withSession`, whose functions get the Hono context. */
export interface HonoSessionOptions<Data extends object = DefaultData, As extends string = "session">
  // oxlint-disable-next-line no-explicit-any -- whatever bindings the app has
  extends SessionOptions<Data, [context: Context<any>]> {
  /** The name under which handlers find the session. With several sessions, give each its own. @default {"session"} */
  readonly as?: As | undefined;
}

/**
 * Gives each request its session. It is stored when the handler is done, also if the handler threw an `HTTPException`.
 * If the handler throws any other error, changes that are not stored yet are dropped. What `save()` and `update` have
 * stored before reaches the client with the response of `onError`.
 *
 * @param options The options, or a `SessionManager` to be shared
 * @returns A middleware for `app.use`. It throws a `SessionError` if the session cannot be loaded or stored
 * @throws {TypeError} If an option is unknown, of the wrong kind, or contradicts another one
 * @throws {RangeError} If a duration is not a positive number of seconds
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
export function session<Data extends object = DefaultData, As extends string = "session">(
  options: HonoSessionOptions<Data, As> | SessionManager<Data> = {},
): MiddlewareHandler<SessionEnv<Data, As>> {
  if (Reflect.has(Object(options), "req"))
    throw new TypeError("session was given a context in place of options: write app.use(session())");
  // SessionManager checks the names.
  assertObject(options, "store", "session");
  const isShared = isManager<Data>(options);
  const { as = "session", ...others } = isShared ? {} : options;
  const manager = managerOf<Data, [Context]>(isShared ? options : inheriting(others, options));
  if (typeof as !== "string" || as === "") throw new TypeError("session: as must be the name of a variable");
  const { policy } = manager;
  return async (c, next) => {
    const request = c.req.raw;
    // Middlewares share nothing but the context, so this is only known when a request comes.
    claimNames(c, policy);
    const { session, isJoined } = manager.begin(request, [c], true);
    c.set(as as As, session);
    if (isJoined) return await next();
    onError(c, (error) => {
      if (!isHttpException(error)) manager.dropRecorded(session);
    });
    try {
      const instead = await manager.prepare?.(request, session, [c]);
      if (instead === undefined) await next();
      else c.res = instead;
      // No handler has answered. Hono throws then, and a response of this middleware would hide that.
      if (!c.finalized) return void (await manager.discard(session));
      const response = await manager.finish(request, session, c.res, [waitUntilOf(c)]);
      if (response === c.res) return undefined;
      // If a response replaces another one, Hono overwrites the cookies of the new one with those of the old one. So
      // the old one is removed first.
      c.res = undefined;
      c.res = response;
      return undefined;
    } catch (error) {
      await manager.discard(session);
      throw error;
    }
  };
}

/**
 * Calls `listener` when Hono sets `c.error`. Hono does so before it calls the application's own `onError`, which may
 * use the session as well.
 */
function onError(c: Context, listener: (error: Error) => void): void {
  let noted = c.error;
  // With several sessions, each middleware adds its listener.
  const before = Object.getOwnPropertyDescriptor(c, "error");
  Object.defineProperty(c, "error", {
    configurable: true,
    enumerable: true,
    get: () => noted,
    set(error: Error | undefined) {
      noted = error;
      before?.set?.call(c, error);
      if (error !== undefined) listener(error);
    },
  });
}

function isHttpException(error: Error): boolean {
  return "getResponse" in error && typeof error.getResponse === "function";
}

function waitUntilOf(c: Context): { waitUntil(promise: Promise<unknown>): void } | undefined {
  try {
    return c.executionCtx;
  } catch {
    // Hono throws if the runtime has no such context.
    return undefined;
  }
}
