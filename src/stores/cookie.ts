/**
 * Sessions without a server: the whole session, sealed, in the client's cookie. For a chain of secrets, as `secrets` has it.
 *
 * ## Setup
 *
 * Give `secrets`; there is nothing to run, to open or to install: `jose` comes with this package.
 *
 * ## How expiry behaves
 *
 * When the session began and was last used is sealed with it, and judged on the server: an old cookie is no session, however
 * long a client keeps it. "Last seen" moves with a new cookie, once in the touch interval.
 *
 * ## Key format
 *
 * A JWE in compact form (RFC 7516; `dir` and `A256GCM`, RFC 7518), under a key that HKDF-SHA-256 derives from the secret, the
 * purpose and the cookie's name: what was sealed for another cookie, or for something else, does not open. With a revocation
 * store, one record lies under the SHA-256 of a random name that is sealed in the cookie, and never seen elsewhere.
 *
 * ## Consistency
 *
 * The client holds the only copy, and may present any that it was ever given until that one expires: nothing that must not
 * be rolled back belongs in it, and of two requests at once the later answer wins. Without `revocation`, `destroy` and
 * `regenerate` ask the client to forget, and no more. With it, what was ended or regenerated is refused from then on, as soon
 * as that store shows it; two regenerations have one heir, and a request that is under way writes no more. That costs one read
 * for a request that uses its session, another for one that writes, and one small record for each logout and regeneration,
 * which is kept until the absolute timeout is over, so that no copy outlives it. What that cannot know is a longer absolute timeout that
 * another copy got by `setTimeouts`, or a longer idle timeout where there is no absolute one: call `regenerate` with it.
 *
 * ## Limits
 *
 * 4 096 octets of name and value, which is about 2 800 bytes of data: more throws `ERR_COOKIE_TOO_LARGE`.
 *
 * @module
 */
import { SealedVault, sealer } from "../sealed_vault.ts";
import type { StoreTraits } from "../store.ts";
import { type RevocationStore, SealedSessions } from "../vault.ts";

/** Options of {@linkcode cookieStore}. */
export interface CookieStoreOptions {
  /**
   * Any store, or a function of what the handler gets beside the request that returns one. There it is noted that a session
   * was ended or regenerated, so that copies of its cookie are refused. It never sees data.
   *
   * @default Nothing is noted: a copy is good until it expires
   */
  readonly revocation?: RevocationStore;
}

/**
 * Keeps each session with its client, sealed in the cookie. It needs `secrets`.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { cookieStore } from "with-session/stores/cookie";
 *
 * export function serve(secrets: string[]) {
 *   return withSession(
 *     async (_request, session) => {
 *       const visits = await session.update("visits", (n = 0) => n + 1);
 *       return new Response(`Visit ${visits}\n`);
 *     },
 *     { store: cookieStore(), secrets },
 *   );
 * }
 * ```
 */
export function cookieStore({ revocation }: CookieStoreOptions = {}): SealedSessions {
  if (revocation !== undefined && typeof revocation !== "function" && typeof revocation?.create !== "function") {
    throw new TypeError("revocation must be a session store, or a function that returns one");
  }
  const sealerFor = sealer();
  return new SealedSessions(TRAITS, revocation, (core) => new SealedVault(core, sealerFor(core)));
}

const TRAITS: StoreTraits = {
  compareAndSet: false,
  consistency: "strong",
  persistent: true,
  shared: true,
  minTtl: 0,
  maxBytes: 4096,
};
