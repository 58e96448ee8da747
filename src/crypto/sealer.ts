import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import { aesKey, decrypt, encrypt } from "./aes_gcm.ts";
import { deriveKey } from "./keys.ts";
import { keyring, type Secrets, withAny } from "./secrets.ts";

/** Encrypts and authenticates texts for one purpose. The first secret seals; each of them opens. */
export interface Sealer {
  /** Makes the keys, so that wrong secrets show before anything depends on them. */
  prepare(runtimeArguments: readonly unknown[]): MaybePromise<unknown>;
  /** The sealed text, which is bound to `context`. */
  seal(text: string, context: string, runtimeArguments: readonly unknown[]): MaybePromise<string>;
  /** The text; null if it was sealed with another secret, for another purpose or for another context. */
  open(sealed: string, context: string, runtimeArguments: readonly unknown[]): MaybePromise<string | null>;
}

/**
 * A sealer for one purpose.
 *
 * @throws {TypeError} If `secrets` is not a list or is empty, or a secret is not a string
 * @throws {RangeError} If a secret has fewer than 32 bytes
 */
export function sealerFor(purpose: string, secrets: Secrets): Sealer {
  const keysOf = keyring(secrets, (secret) => chain(deriveKey(purpose, secret), aesKey));
  return {
    prepare: keysOf,
    seal: (text, context, runtimeArguments) =>
      chain(keysOf(runtimeArguments), ([current]) => encrypt(current, text, context)),
    open: (sealed, context, runtimeArguments) =>
      chain(keysOf(runtimeArguments), (keys) => withAny(keys, (key) => decrypt(key, sealed, context))),
  };
}
