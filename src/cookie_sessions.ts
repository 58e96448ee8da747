/**
 * Sessions without a store on the server: each session is kept, sealed, in its client's cookie.
 *
 * ## Setup
 * Give `secrets`. There is nothing to run, to open or to install.
 *
 * ## How expiry behaves
 * The sealed text says when the session began and when it was last used. The server checks the timeouts against that,
 * so an expired cookie is rejected even if the client still keeps it. The text also says when it ends by the timeouts
 * that were in force when it was sealed, so longer timeouts apply from the next cookie on. "Last seen" is renewed with a new cookie, at most
 * once in each touch interval.
 *
 * ## Key format
 * The cookie is encrypted with AES-256-GCM. The key is derived from the secret and the purpose, and the text is bound
 * to the cookie's name, so a token that was sealed for another cookie or another purpose is rejected. A revocation
 * store holds at most one small record for each id. The key of that record is a SHA-256 of the id; the id itself is
 * sealed in the cookie.
 *
 * ## Consistency
 * The client holds the only copies of a session, and can present each of them until it expires. So do not keep anything
 * in a session that must not be rolled back. If two requests change a session at once, the later response wins. Without
 * `revocation`, `destroy` and `regenerate` only remove or replace the cookie of that client.
 *
 * With `revocation`:
 *
 * - A session that was ended is rejected as soon as the revocation store shows it.
 * - If two requests regenerate one session, one of them wins.
 * - After a session was ended or regenerated, other requests that are still under way store nothing.
 * - During the grace of `regenerate({ grace })`, the old copy can be read but not written. It ends with its successor.
 * - After a rotation by age, a change that arrives with an older copy is sealed under the new id. That is so for at
 *   least a minute, and afterwards until the client has used the new id.
 *
 * | request | calls of the revocation store |
 * | --- | --- |
 * | reads | 1 load |
 * | writes | 2 loads |
 * | logs out, or regenerates | 1 load, 1 save |
 *
 * The revocation store keeps a note for as long as a copy of the session can live, and ten minutes longer because of
 * clock skew. If `setTimeouts` lets a session live longer than the options do, that is noted as well, which costs one
 * more save.
 *
 * ## Limits
 * Browsers keep 4 096 octets of a cookie's name and value (RFC 6265bis, 5.7), which holds about 2 900 bytes of data.
 * `chunks` splits a larger session over several cookies. A session that is too large throws `ERR_COOKIE_TOO_LARGE`, and
 * the old cookie stays. `userSessions`, `readYourWrites`, `signedIds` and `encryption` need a store.
 *
 * @module
 */
import { MAX_CHUNKS, splitting } from "./cookie_sessions/chunks.ts";
import { CookieRepository } from "./cookie_sessions/cookie_repository.ts";
import { assertKnown } from "./core/known_options.ts";
import type { MaybePromise } from "./core/maybe_promise.ts";
import type { RepositorySource } from "./core/repository/repository_source.ts";
import type { SessionStore } from "./core/store.ts";
import { isSessionStore } from "./core/store_answers.ts";
import { sealerFor } from "./crypto/sealer.ts";
import type { Secrets } from "./crypto/secrets.ts";

export type { CookieValue } from "./core/cookie_transport/cookie_header.ts";
export type { CookieSplitting } from "./core/cookie_transport/cookie_splitting.ts";
export type { RepositorySettings, RepositorySource } from "./core/repository/repository_source.ts";
export type { Secrets } from "./crypto/secrets.ts";

/** Options of {@linkcode cookieSessions}. */
export interface CookieSessionsOptions {
  /**
   * At least 32 bytes each, the current one first: a list, or a function of the arguments that the runtime passes after
   * the request. The first one encrypts, all of them decrypt.
   */
  readonly secrets: Secrets;
  /**
   * A store, or a function that returns one and gets the arguments that the runtime passes after the request. It
   * records which sessions were ended or regenerated, so copies of their cookies are rejected. It never sees data.
   *
   * @default Nothing is noted: a copy is valid until it expires
   */
  readonly revocation?: SessionStore | ((...rest: never[]) => MaybePromise<SessionStore>) | undefined;
  /**
   * The most cookies over which one session may be split, 1 to 16. Each request carries them all, and most servers
   * accept 8 to 16 KiB of headers, so 3 is safe.
   *
   * @default {1}
   */
  readonly chunks?: number | undefined;
}

/**
 * Keeps each session sealed in its client's cookie, in place of a store: give it as the option `store`.
 *
 * @param options Secrets, revocation store, number of cookies
 * @returns The value of the option `store`, for one or several managers
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
  if (!(Number.isSafeInteger(chunks) && chunks >= 1 && chunks <= MAX_CHUNKS)) {
    throw new RangeError(`cookieSessions: chunks must be a whole number from 1 to ${MAX_CHUNKS}`);
  }
  if (revocation !== undefined && typeof revocation !== "function" && !isSessionStore(revocation)) {
    throw new TypeError("cookieSessions: revocation must be a session store, or a function that returns one");
  }
  const sealer = sealerFor("cookie session", secrets);
  return {
    repositorySource: true,
    splitting: splitting(chunks),
    revocation: revocation ?? NO_STORE,
    createRepository(settings) {
      if (settings.ids !== undefined || settings.encryption !== undefined)
        throw new TypeError("cookieSessions() signs and encrypts what it keeps: leave out ids and encryption");
      if (settings.endsOnReuse && revocation === undefined)
        throw new TypeError(
          'rotateEvery.onReuse "destroy" needs the revocation of cookieSessions(): without it, no old copy is recognised',
        );
      return new CookieRepository(sealer, { ...settings, hasRevocation: revocation !== undefined });
    },
  };
}

/** Takes the place of the store if there is no `revocation`: only the client keeps the session. */
const NO_STORE: SessionStore = {
  traits: { consistency: "strong", compareAndSet: true, maxBytes: 0 },
  load: () => null,
  save: noStore,
  delete: noStore,
};

function noStore(): never {
  throw new TypeError("cookieSessions() without revocation has no store");
}
