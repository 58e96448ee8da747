import type { Policy } from "./policy.ts";

/** The policies of the sessions of each wrapped handler, by the name of the cookie without its prefix, as it travels on loopback. */
const claims: WeakMap<object, ReadonlyMap<string, Policy>> = new WeakMap();

/**
 * Refuses two sessions in one request that share a cookie: they would be one and the same, or overwrite each other's id. The same manager twice
 * is one session.
 *
 * @throws {TypeError} If a handler that is wrapped once more has the cookie already
 */
export function assertOneCookieEach(wrapped: object, handler: object, policy: Policy): void {
  claims.set(wrapped, withClaim(claims.get(handler), policy));
}

/** The claims with one more. @throws {TypeError} If another manager has the cookie */
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
      `Two sessions of one request cannot share the cookie ${policy.name}: give each its own name and its own store prefix`,
    );
  }
  return all.set(claimedCookie, policy);
}
