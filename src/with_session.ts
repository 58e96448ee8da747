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

/** A handler with a session. `rest` is whatever the runtime passes beside the request. */
export type SessionHandler<Data extends object, Rest extends unknown[]> = (
  request: Request,
  session: Session<Data>,
  ...rest: Rest
) => Response | Promise<Response>;

/** What a wrapped handler is to a runtime: a handler without a session. */
export type FetchHandler<Rest extends unknown[]> = (request: Request, ...rest: Rest) => Promise<Response>;

/**
 * Gives a handler its session. The session is read when the handler first asks, and stored, if it was changed,
 * when the handler is done; a request that leaves it alone gets the handler's very Response.
 *
 * @param handler Gets the request, the session, and whatever the runtime passes beside the request
 * @param options The options, or a `SessionManager` to be shared
 * @returns A handler for `Deno.serve`, a Worker's `fetch`, `Bun.serve`, and whatever calls with a Request. It rejects
 * as the handler does, and with a `SessionError` if the session cannot be loaded or stored: see `onStoreError`
 * @throws {TypeError} If an option is of the wrong kind, or contradicts another one
 * @throws {RangeError} If a duration is not one
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
  Data extends object = UntypedData,
  // oxlint-disable-next-line no-explicit-any -- what a runtime passes beside the request is the handler's to say
  Rest extends unknown[] = any[],
>(
  handler: SessionHandler<Data, Rest>,
  options: SessionOptions<Data, Rest> | SessionManager<Data> = {},
): FetchHandler<Rest> {
  if (typeof handler !== "function")
    throw new TypeError("withSession needs a handler: a function of a request and a session");
  const isShared = options instanceof SessionManager;
  const sessions = isShared ? options : new SessionManager<Data>(options);
  const cookies = claimCookie(sessions, cookiesOf.get(handler));
  const guards = isGuarded(sessions);
  const loads = isEager(sessions);
  const wrapped: FetchHandler<Rest> = async (request, ...rest) => {
    const refusal = guards ? await refusalOf(sessions, request) : undefined;
    if (refusal !== undefined) return refusal;
    const session = beginSession(sessions, request, rest, isShared);
    try {
      if (loads) await session.size();
      const response = await handler(request, session, ...rest);
      if (!response) throw new TypeError("The handler of withSession returned no Response");
      if (usedParts(session) === undefined) return response;
      return await finishSession(sessions, session, response, isRedirect(response) ? undefined : waitUntilOf(rest));
    } finally {
      // Also when the handler has thrown: what is still under way in it can tell the client nothing any more.
      closeSession(session);
    }
  };
  cookiesOf.set(wrapped, cookies);
  return wrapped;
}

/** The cookies of what `withSession` has made, in case it is wrapped again. */
const cookiesOf: WeakMap<object, readonly string[]> = new WeakMap();

/** A browser follows a redirect at once, and would find the session as it was before. */
function isRedirect(response: Response): boolean {
  return response.status >= 300 && response.status < 400 && response.headers.has("Location");
}

/** The `waitUntil` of the first argument that has one: a Worker's `ctx`, for one. */
function waitUntilOf(rest: readonly unknown[]): WaitUntil | undefined {
  for (const each of rest) {
    if (typeof each === "object" && each !== null && "waitUntil" in each) {
      const { waitUntil } = each;
      if (typeof waitUntil === "function") return (promise) => waitUntil.call(each, promise);
    }
  }
  return undefined;
}
