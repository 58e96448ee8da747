import type { SessionOptions } from "./options.ts";
import { claimNames } from "./name_claims.ts";
import { kindOf } from "./kind_of.ts";
import { isPromise } from "./maybe_promise.ts";
import { isResponse } from "./response.ts";
import type { DefaultData, Session } from "./session.ts";
import { isManager, managerOf, requestIn, type SessionManager } from "./session_manager.ts";

/**
 * A handler with a session. `rest` holds the arguments that the runtime passes beside the request. The handler may
 * return undefined where the runtime allows it, as Bun does after `server.upgrade(request)`. The request may be of a
 * subclass, such as `NextRequest`.
 */
export type SessionHandler<Data extends object, Rest extends unknown[]> = {
  // A method's parameters are compared in both directions, so that a subclass of Request is accepted.
  handle(request: Request, session: Session<Data>, ...rest: Rest): Answer | Promise<Answer>;
}["handle"];

/**
 * The same handler as a function type. From it, the compiler infers the arguments of functions among the options. From
 * the method in {@linkcode SessionHandler} it does not.
 */
export type PlainHandler<Data extends object, Rest extends unknown[]> = (
  request: Request,
  session: Session<Data>,
  ...rest: Rest
) => Answer | Promise<Answer>;

/** The return value of a handler: a response, or nothing where the runtime allows it, as Bun does after `server.upgrade`. */
// oxlint-disable-next-line no-invalid-void-type -- a Bun handler that returns nothing
export type Answer = Response | undefined | void;

/** A handler without a session, as runtimes call it. `withSession` returns it. */
export type FetchHandler<Rest extends unknown[]> = (request: Request, ...rest: Rest) => Promise<Response>;

/**
 * Gives a handler its session. The session is loaded when the handler first reads it, and stored, if it was changed, when the handler is done. If
 * the handler does not use the session, its Response is returned as it is.
 *
 * @param handler Gets the request, the session, and the arguments that the runtime passes beside the request
 * @param options The options, or a `SessionManager` that several handlers share
 * @returns A handler for `Deno.serve`, a Worker's `fetch`, `Bun.serve` and everything else that calls it with a
 * Request. It rejects as the handler does, and with a `SessionError` if the session cannot be loaded or stored: see `onStoreError`
 * @throws {TypeError} If an option is unknown, of the wrong kind, or contradicts another one
 * @throws {RangeError} If a duration is not a positive number of seconds
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 *
 * export default {
 *   fetch: withSession(async (_request, session) => {
 *     const visits = await session.update("visits", (n = 0) => n + 1);
 *     return new Response(`Visit ${visits}\n`);
 *   }),
 * };
 * ```
 */
export function withSession<
  Data extends object = DefaultData,
  // oxlint-disable-next-line no-explicit-any -- what a runtime passes beside the request is the handler's to say
  Rest extends unknown[] = any[],
>(handler: PlainHandler<Data, Rest>, options?: SessionOptions<Data, Rest> | SessionManager<Data>): FetchHandler<Rest>;
/** The same for a handler whose request is of a subclass, such as `NextRequest`. */
export function withSession<
  Data extends object = DefaultData,
  // oxlint-disable-next-line no-explicit-any -- as above
  Rest extends unknown[] = any[],
>(handler: SessionHandler<Data, Rest>, options?: SessionOptions<Data, Rest> | SessionManager<Data>): FetchHandler<Rest>;
export function withSession<Data extends object, Rest extends unknown[]>(
  handler: SessionHandler<Data, Rest>,
  options: SessionOptions<Data, Rest> | SessionManager<Data> = {},
): FetchHandler<Rest> {
  if (typeof handler !== "function")
    throw new TypeError("withSession needs a handler: a function of a request and a session");
  const isShared = isManager<Data>(options);
  const manager = managerOf(options);
  const { policy, prepare } = manager;
  const wrapped = async (request: Request, ...rest: Rest): Promise<Answer> => {
    const given = Object(request);
    if (!Reflect.has(given, "headers") || Reflect.has(given, "rawHeaders") || requestIn(given) !== undefined)
      throw new TypeError("A handler of withSession takes a Request; for requests of Node there is nodeSession");
    const { session, isJoined } = manager.begin(request, rest, isShared);
    if (isJoined) return await handler(request, session, ...rest);
    let hasAnswer = false;
    try {
      const instead = prepare && (await prepare(request, session, rest));
      const answer = instead ?? (await handler(request, session, ...rest));
      assertAnswer(answer);
      const response = answer ?? undefined;
      hasAnswer = true;
      const finished = manager.finish(request, session, response, rest);
      return isPromise(finished) ? await finished : finished;
    } catch (error) {
      // A later commit must not store what the failed handler has recorded.
      if (!hasAnswer) manager.dropRecorded(session);
      await manager.discard(session);
      throw error;
    }
  };
  claimNames(wrapped, policy, handler);
  return wrapped as FetchHandler<Rest>;
}

/** Refuses an answer that is neither a Response nor undefined, before anything is stored. */
function assertAnswer(answer: unknown): void {
  if (answer === undefined || isResponse(answer)) return;
  throw new TypeError(
    `The handler of withSession must return a Response; it returned ${kindOf(answer)}, and nothing was stored`,
  );
}
