/**
 * Sessions without a server store: each session lies sealed in its client's cookie.
 *
 * ## Setup
 * Give `secrets`. There is nothing to run, to open or to install.
 *
 * ## How expiry behaves
 * The token holds when the session began and was last used, and the server judges that: an old cookie is rejected
 * however long a client keeps it. "Last seen" moves with a new cookie, once in the touch interval.
 *
 * ## Key format
 * AES-256-GCM under a key that is derived from the secret and the purpose, bound to the cookie's name: a token that was
 * sealed for another cookie or another purpose does not open. With a revocation store, at most one small record for
 * each id lies under a SHA-256 of the id, which is sealed in the cookie.
 *
 * ## Consistency
 * The client holds the only copy, and may present each one that it was given until that one expires. So nothing that
 * must not be rolled back belongs in it, and of two requests at once the later response wins. Without `revocation`,
 * `destroy` and `regenerate` only remove or replace the cookie of that client.
 *
 * With `revocation`, a session that was ended is rejected as soon as that store shows it. Of two requests that
 * regenerate one session, one wins. A request that is under way stores nothing more. During the grace of `regenerate({
 * grace })` the old copy can be read, not written, and it ends with its successor. After a rotation by age, what is
 * changed in an older copy is sealed under the new id, until the client has used that one, and for a minute in any case.
 *
 * | request | calls of the revocation store |
 * | --- | --- |
 * | reads | 1 load |
 * | writes | 2 loads |
 * | logs out, or regenerates | 1 load, 1 save |
 *
 * A note is kept for as long as a copy of the session can live, and ten minutes longer for skewed clocks. Where
 * `setTimeouts` lets a session live longer than the options do, that is noted as well, with one save more.
 *
 * ## Limits
 * Browsers keep 4 096 octets of a cookie's name and value (RFC 6265bis, 5.7), which holds about 2 900 bytes of data.
 * `chunks` splits a larger session over several cookies. A session that is too large throws `ERR_COOKIE_TOO_LARGE`, and
 * the old cookie stays. `userSessions`, `readYourWrites`, `signedIds` and `encryption` need a store.
 *
 * @module
 */
import { CookieRepository } from "./cookie_sessions/cookie_repository.ts";
import { assertKnown } from "./core/known_options.ts";
import type { MaybePromise } from "./core/maybe_promise.ts";
import type { RepositorySource } from "./core/repository_source.ts";
import type { SessionStore } from "./core/store.ts";
import { isSessionStore } from "./core/store_answers.ts";
import { sealerFor } from "./crypto/sealer.ts";
import type { Secrets } from "./crypto/secrets.ts";

export type { RepositorySource } from "./core/repository_source.ts";
export type { Secrets } from "./crypto/secrets.ts";

/** Options of {@linkcode cookieSessions}. */
export interface CookieSessionsOptions {
  /**
   * At least 32 bytes each, the current one first: a list, or a function of what the runtime passes beside the request.
   * The first one seals, all of them open.
   */
  readonly secrets: Secrets;
  /**
   * A store, or a function of what the runtime passes beside the request that returns one. It is noted there that
   * sessions were ended or regenerated, so that copies of their cookies are rejected. It never sees data.
   *
   * @default Nothing is noted: a copy is valid until it expires
   */
  readonly revocation?: SessionStore | ((...rest: never[]) => MaybePromise<SessionStore>);
  /**
   * Over how many cookies one session may be split, 1 to 16. Each request carries them all, and most servers accept 8
   * to 16 KiB of headers, so 3 is safe.
   *
   * @default {1}
   */
  readonly chunks?: number;
}

/** WebKit keeps 16 cookies of 4 000 octets (WebKitGTK 2.50). */
const MOST_CHUNKS = 16;

/**
 * Keeps each session sealed in its client's cookie, in place of a store: give it as the option `store`.
 *
 * @param options Secrets, revocation store, number of cookies
 * @returns What the option `store` takes. Give it to one or several managers
 * @throws {TypeError} If an option is unknown, there are no secrets, a secret is not a string, or `revocation` is
 *   neither a store nor a function
 * @throws {RangeError} If a secret has fewer than 32 bytes, or `chunks` is not a whole number from 1 to 16
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { cookieSessions } from "with-session/cookie-sessions";
 *
 * export function serve(secrets: string[]) {
 *   return withSession(
 *     async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => n + 1)}`),
 *     { store: cookieSessions({ secrets }) },
 *   );
 * }
 * ```
 */
export function cookieSessions(options: CookieSessionsOptions): RepositorySource {
  assertKnown(options, ["secrets", "revocation", "chunks"], "cookieSessions");
  const { secrets, revocation, chunks = 1 } = options;
  if (!(Number.isSafeInteger(chunks) && chunks >= 1 && chunks <= MOST_CHUNKS)) {
    throw new RangeError(`cookieSessions: chunks must be a whole number from 1 to ${MOST_CHUNKS}`);
  }
  if (revocation !== undefined && typeof revocation !== "function" && !isSessionStore(revocation)) {
    throw new TypeError("cookieSessions: revocation must be a session store, or a function that returns one");
  }
  const sealer = sealerFor("cookie session", secrets);
  return {
    repositorySource: true,
    chunks,
    revocation,
    createRepository: (settings) =>
      new CookieRepository(sealer, { ...settings, hasRevocation: revocation !== undefined }),
  };
}
