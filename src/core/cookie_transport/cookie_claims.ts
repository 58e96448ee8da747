import type { Policy } from "../policy.ts";

/** For each wrapped handler, the policies of its sessions by cookie name: the name without its prefix, as used on loopback. */
const claims: WeakMap<object, ReadonlyMap<string, Policy>> = new WeakMap();

/**
 * Refuses two sessions in one request that share a cookie: they would be the same session, or overwrite each other's
 * id. A handler that the same manager wraps twice has one session, and is accepted.
 *
 * @throws {TypeError} If the handler is already wrapped by another manager with the same cookie
 */
export function assertOneCookieEach(wrapped: object, handler: object, policy: Policy): void {
  claims.set(wrapped, withClaim(claims.get(handler), policy));
}

/** The claims, with the cookie of one more manager. @throws {TypeError} If another manager has the cookie */
export function withClaim(
  before: ReadonlyMap<string, Policy> | undefined,
  policy: Policy,
): ReadonlyMap<string, Policy> {
  const { claimedCookie } = policy;
  const all = new Map(before);
  if (claimedCookie === undefined) return all;
  const other = all.get(claimedCookie);
  if (other !== undefined && other !== policy) {
    throw new TypeError(
      `Two sessions of one request cannot share the cookie ${policy.name}: pass one SessionManager to both, or give each its own cookie name and store prefix`,
    );
  }
  return all.set(claimedCookie, policy);
}
