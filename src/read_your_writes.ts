/**
 * Read-your-writes on an eventually consistent store, such as Workers KV: a client sees its own writes in every place,
 * and never an older state than it has seen.
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
   * At least 32 bytes each, the current one first: a list, or a function of the arguments that the runtime passes after
   * the request. The first one encrypts, all of them decrypt.
   */
  readonly secrets: Secrets;
}

/**
 * Merges the record that an eventually consistent store shows with the changes that the client has seen. A sealed
 * cookie beside the session cookie holds these changes for two minutes.
 *
 * ## Consistency
 * The last change of each key wins. A client sees its own writes, and never an older state than it has seen, in every
 * place where its requests arrive. If another writer does not see a change and overwrites it, the client's next request
 * stores the change again. After a logout, or after `regenerate` without a grace, no place shows the old session to
 * this client. The clock of each server may be five minutes off.
 *
 * ## Costs
 * No additional store call, unless the store shows a state that is too old. Then the record is read up to three times.
 * Each response after a write has one more `Set-Cookie`.
 *
 * ## Limits
 * - The window of two minutes is twice the store's `traits.staleness`, or twice 60 seconds
 *   (https://developers.cloudflare.com/kv/concepts/how-kv-works/#consistency). A write that takes longer to reach a
 *   place is seen there late.
 * - The cookie has at most 3 072 characters, and holds changes of the last twelve minutes, because the clocks may
 *   differ. The largest values are left out first. If the store does not show such a value yet, the client sees the
 *   older value, and the event `stale` is emitted.
 * - A session that began within the window, and that neither the store nor the cookie holds completely, fails with
 *   `ERR_STORE`.
 * - A client that sends its token in a header has no such cookie, so this plugin does nothing for it.
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
        // A client without a session cookie has no cookie beside it either.
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
