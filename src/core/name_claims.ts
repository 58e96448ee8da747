import type { Policy } from "./policy.ts";

type Claims = ReadonlyMap<string, Policy>;

/** The policies of the sessions of a wrapped handler or of a request, by the cookies and headers that they claim. */
const claims: WeakMap<object, Claims> = new WeakMap();

/**
 * Refuses two sessions in one request that share a cookie or a header: they would be the same session, or overwrite
 * each other's id. A handler that the same manager wraps twice has one session, and is accepted.
 *
 * @param owner The request, the context or the wrapped handler whose sessions are noted
 * @param inner For a wrapped handler: the handler that it calls, which may be wrapped as well
 * @throws {TypeError} If another manager has the cookie or the header
 */
export function claimNames(owner: object, policy: Policy, inner: object = owner): void {
  const all = new Map(claims.get(inner));
  for (const { kind, name, id } of policy.claims) {
    if ((all.get(id) ?? policy) !== policy) {
      throw new TypeError(
        `Two sessions of one request cannot share the ${kind} ${name}: pass one SessionManager to both, or give each its own ${kind} name and store prefix`,
      );
    }
    all.set(id, policy);
  }
  claims.set(owner, all);
}
