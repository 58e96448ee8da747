import { assertDuration } from "../options/simple_checks.ts";
import { internalsOf } from "../session_internals.ts";
import type { AnySession } from "../session.ts";

/**
 * Whether the user of a session proved who they are within the last `seconds`, for pages that ask for a recent login.
 *
 * @param session The session of the request
 * @param seconds How old the proof may be
 * @returns False without a session, and for a session on which `regenerate({ reauthenticated: true })` was never called
 * @throws {RangeError} If `seconds` is not a positive number
 * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
 *
 * @example
 * ```ts
 * import { isFresh, withSession } from "with-session";
 *
 * export const handler = withSession(async (_request, session) =>
 *   (await isFresh(session, 300))
 *     ? new Response("Your bank details")
 *     : new Response(null, { status: 303, headers: { Location: "/login" } }),
 * );
 * ```
 */
export async function isFresh(session: AnySession, seconds: number): Promise<boolean> {
  assertDuration("isFresh: seconds", seconds);
  const internals = internalsOf(session);
  const { authenticatedAt } = await session.info();
  return authenticatedAt !== null && internals.policy.now() - authenticatedAt < seconds * 1000;
}
