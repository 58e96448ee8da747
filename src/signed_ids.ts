/**
 * Signed session ids: a forged id is rejected before the store is asked.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { signedIds } from "with-session/signed-ids";
 *
 * export default {
 *   fetch: withSession(async (_request, session) => new Response(String(await session.size())), {
 *     ids: signedIds({ secrets: ["at least 32 bytes, which a real program takes from its environment"] }),
 *   }),
 * };
 * ```
 *
 * @module
 */
import { assertKnown } from "./core/known_options.ts";
import { chain } from "./core/maybe_promise.ts";
import { isId } from "./core/session_id.ts";
import type { TokenFormat } from "./core/token_format.ts";
import { isEqual, type Signer, signer } from "./crypto/hmac.ts";
import { deriveKey } from "./crypto/keys.ts";
import { keyring, type Secrets, withAny } from "./crypto/secrets.ts";

export type { TokenFormat } from "./core/token_format.ts";
export type { Secrets } from "./crypto/secrets.ts";

/** How ids are signed. */
export interface SignedIdsOptions {
  /**
   * Secrets of at least 32 bytes each, the current one first, or a function that returns them. The first one signs, all
   * of them verify. A client whose id was signed with an older secret gets the new signature.
   */
  readonly secrets: Secrets;
  /**
   * Whether ids without a signature are accepted, for sessions that began before ids were signed. Their clients get the
   * signature. Keep it set until such sessions have expired. @default {false}
   */
  readonly acceptUnsigned?: boolean | undefined;
}

/**
 * Signs the session ids that clients hold, for the option `ids`: HMAC-SHA-256 (RFC 2104), bound to the name of the
 * cookie or header.
 *
 * @param options The secrets, and whether unsigned ids are accepted
 * @returns The value of the option `ids`
 * @throws {TypeError} If a secret is not a string, `acceptUnsigned` is not a boolean, or an option is unknown
 * @throws {RangeError} If a secret has fewer than 32 bytes
 *
 * @example
 * ```ts
 * import { SessionManager } from "with-session";
 * import { signedIds } from "with-session/signed-ids";
 *
 * const sessions = new SessionManager({
 *   ids: signedIds({ secrets: ["the current secret, of at least 32 bytes", "the one before, of at least 32 bytes"] }),
 * });
 * ```
 */
export function signedIds(options: SignedIdsOptions): TokenFormat {
  assertKnown(options, ["secrets", "acceptUnsigned"], "signedIds");
  const { secrets, acceptUnsigned = false } = options;
  if (typeof acceptUnsigned !== "boolean") throw new TypeError("signedIds: acceptUnsigned must be a boolean");
  const signers = keyring(secrets, (secret) => chain(deriveKey("id", secret), signer));
  /** The token that was verified or made last. The core asks for the token of the same id next, so it is not signed again. */
  let last: { readonly token: string; readonly id: string; readonly name: string; readonly sign: Signer } | undefined;

  return {
    toToken(id, { name, runtimeArguments }) {
      return chain(signers(runtimeArguments), ([sign]) => {
        if (last?.id === id && last.name === name && last.sign === sign) return last.token;
        return chain(sign(signedText(name, id)), (signature) => {
          const token = `${id}.${signature}`;
          last = { token, id, name, sign };
          return token;
        });
      });
    },
    toId(token, { presentedName, runtimeArguments }) {
      const dot = token.indexOf(".");
      const id = dot < 0 ? token : token.slice(0, dot);
      // Checked before anything is hashed, which also limits the length.
      if (!isId(id)) return null;
      if (dot < 0) return acceptUnsigned ? id : null;
      const signature = token.slice(dot + 1);
      const text = signedText(presentedName, id);
      return chain(signers(runtimeArguments), (list) =>
        withAny(list, (sign) =>
          chain(sign(text), (expected) => {
            if (!isEqual(expected, signature)) return null;
            last = { token, id, name: presentedName, sign };
            return id;
          }),
        ),
      );
    },
  };
}

/** A name has no `=`, so two different pairs never have the same text. */
function signedText(name: string, id: string): string {
  return `${name}=${id}`;
}
