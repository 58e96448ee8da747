import { fromHex } from "../core/base64url.ts";
import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import { sha256 } from "../core/hash.ts";

/**
 * Derives a key of 32 bytes: one SHA-256 of the purpose and the secrets (the one-step derivation of NIST SP 800-56C, 4). A key for one purpose
 * does not work for another, and no key is the store key of an id, because its input begins with a bracket.
 *
 * @param purpose What the key is for, such as `"record"`
 * @param secrets Texts that together have 128 bits of entropy or more
 */
export function deriveKey(purpose: string, ...secrets: readonly string[]): MaybePromise<Uint8Array<ArrayBuffer>> {
  return chain(sha256(JSON.stringify([`with-session ${purpose}`, ...secrets])), (hex) => fromHex(hex));
}
