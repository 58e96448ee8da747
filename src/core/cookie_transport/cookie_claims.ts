import type { Policy } from "../policy.ts";

type Claims = ReadonlyMap<string, Policy>;

/** The policies of the sessions of a wrapped handler or of a request, by cookie name without its prefix, as on loopback. */
const claims: WeakMap<object, Claims> = new WeakMap();

/**
 * Refuses two sessions in one request that share a cookie: they would be the same session, or overwrite each other's
 * id. A handler that the same manager wraps twice has one session, and is accepted.
 *
 * @param owner The request, the context or the wrapped handler whose sessions are noted
 * @param inner For a wrapped handler: the handler that it calls, which may be wrapped as well
 * @throws {TypeError} If another manager has the cookie
 */
export function claimCookie(owner: object, policy: Policy, inner: object = owner): void {
  const { claimedCookie } = policy;
  const all = new Map(claims.get(inner));
  const other = claimedCookie === undefined ? undefined : all.get(claimedCookie);
  if (other !== undefined && other !== policy) {
    throw new TypeError(
      `Two sessions of one request cannot share the cookie ${policy.name}: pass one SessionManager to both, or give each its own cookie name and store prefix`,
    );
  }
  if (claimedCookie !== undefined) all.set(claimedCookie, policy);
  claims.set(owner, all);
}
