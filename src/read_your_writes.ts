/**
 * Read-your-writes on an eventually consistent store, such as Workers KV: a client sees its own writes in every place,
 * and never an older state than it saw.
 *
 * @module
 */
import { assertKnown } from "./core/known_options.ts";
import type { Plugin } from "./core/plugin.ts";
import { isCookieTransport } from "./core/transport.ts";
import { sealerFor } from "./crypto/sealer.ts";
import type { Secrets } from "./crypto/secrets.ts";
import { type RecentWritesCookie, recentWritesCookie } from "./read_your_writes/recent_writes_cookie.ts";
import { readYourWritesRepository } from "./read_your_writes/repository.ts";

export type { Secrets } from "./crypto/secrets.ts";

/** Options of {@linkcode readYourWrites}. */
export interface ReadYourWritesOptions {
  /**
   * At least 32 bytes each, the current one first: a list, or a function of what the runtime passes beside the request.
   * The first one seals, all of them open.
   */
  readonly secrets: Secrets;
}

/**
 * Merges what an eventually consistent store shows with what the client has seen, which a sealed cookie beside the
 * session cookie holds for two minutes.
 *
 * ## Consistency
 * The last change of each key counts. A client sees its own writes, and never an older state than it saw, in whatever
 * place its requests arrive. A change that another writer has overwritten, because it did not see it, is stored again
 * with the next request of the client. After a logout, or after `regenerate` without a grace, no place shows the old
 * session to this client. The clocks of the servers may each be five minutes off.
 *
 * ## Costs
 * No call of the store more, except where the store shows a state that is too old, which is read up to three times. One
 * `Set-Cookie` more with each response after a write.
 *
 * ## Limits
 * - The window of two minutes is twice the store's `traits.staleness`, or twice 60 seconds
 *   (https://developers.cloudflare.com/kv/concepts/how-kv-works/#consistency). What takes longer to arrive is seen
 *   late.
 * - The cookie has at most 3 072 characters, and holds changes of the last twelve minutes, because the clocks may
 *   differ. The largest values are left out first. Where the store does not show one of those yet, the client sees the
 *   older value, and the event `stale` says so.
 * - A session that has begun within the window, and that neither the store nor the cookie has in full, fails with
 *   `ERR_STORE`.
 * - Clients that hold their token in a header keep no cookie and get nothing.
 *
 * @param options The secrets
 * @returns A plugin. Give it to one or several managers
 * @throws {TypeError} If there are no secrets, a secret is not a string, or, when a manager is made with it, the
 *   manager has no cookie or keeps its sessions in cookies
 * @throws {RangeError} If a secret has fewer than 32 bytes
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { readYourWrites } from "with-session/read-your-writes";
 * import { type CloudflareKvNamespace, cloudflareKvStore } from "with-session/stores/cloudflare-kv";
 *
 * interface Env {
 *   readonly SESSIONS: CloudflareKvNamespace;
 *   readonly SESSION_SECRET: string;
 * }
 *
 * export default {
 *   fetch: withSession(
 *     async (_request, session, _env: Env) => new Response(`Visit ${await session.update("visits", (n = 0) => n + 1)}`),
 *     {
 *       store: (env) => cloudflareKvStore(env.SESSIONS),
 *       plugins: [readYourWrites({ secrets: (env: Env) => [env.SESSION_SECRET] })],
 *     },
 *   ),
 * };
 * ```
 */
export function readYourWrites(options: ReadYourWritesOptions): Plugin {
  assertKnown(options, ["secrets"], "readYourWrites");
  const sealer = sealerFor("recent writes", options.secrets);
  const cookies = new WeakMap<object, RecentWritesCookie>();
  return {
    name: "read-your-writes",
    wrap(next) {
      if (next.tokenHoldsSession === true)
        throw new TypeError("readYourWrites needs a store: cookieSessions keeps each session in its token");
      return readYourWritesRepository(next, (op) => {
        const { session, request, transport } = op;
        // Clients without a session cookie keep none beside it either.
        if (session === undefined || request === undefined || !isCookieTransport(transport)) return undefined;
        const known = cookies.get(session);
        if (known !== undefined) return known;
        const cookie = recentWritesCookie(transport, sealer, op, request);
        cookies.set(session, cookie);
        return cookie;
      });
    },
    attach({ transports }) {
      if (!transports.some(isCookieTransport))
        throw new TypeError(
          "readYourWrites needs the session cookie: give the option cookie, or leave readYourWrites out",
        );
    },
    async respond(headers, op) {
      if (op.session !== undefined) await cookies.get(op.session)?.respond(headers, op);
    },
  };
}
