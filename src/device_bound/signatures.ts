import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import { isEqual, type Signer, signer } from "../crypto/hmac.ts";
import { deriveKey } from "../crypto/keys.ts";
import { type Keys, keyring, type Secrets, withAny } from "../crypto/secrets.ts";
import { type Binding, NAME } from "./binding.ts";

/** The server's signatures for one session. No client can make them, and they are not valid for another session. */
export interface Signatures {
  /** A text with its signature, for one purpose. */
  sign(purpose: string, text: string): MaybePromise<string>;
  /** The text that was signed for this purpose; null if the signature is wrong. */
  verify(purpose: string, signed: string): MaybePromise<string | null>;
}

/** Finds the signatures of a session. */
export type SignaturesOf = (
  binding: Pick<Binding, "secret">,
  runtimeArguments: readonly unknown[],
) => MaybePromise<Signatures>;

/** No text that is signed here is longer: they are numbers. */
const MAX_TEXT_LENGTH = 20;

/**
 * Signs with the secret of each session, which its record keeps, and also with the program's secrets if it has any. A
 * reader of the store knows the secret of a session but not its id. A thief of the cookie knows the id but not the
 * secret.
 */
export function signaturesUnder(secrets: Secrets | undefined): SignaturesOf {
  const resolve = secrets === undefined ? () => WITHOUT_SECRETS : keyring(secrets, (each) => [each]);
  return ({ secret }, runtimeArguments) =>
    chain(resolve(runtimeArguments), (inputs) => ({
      sign: (purpose, text) =>
        chain(signerOf(secret, inputs[0]), (sign) =>
          chain(sign(`${purpose} ${text}`), (signature) => `${text}.${signature}`),
        ),
      verify(purpose, signed) {
        const dot = signed.indexOf(".");
        if (dot < 1 || dot > MAX_TEXT_LENGTH) return null;
        const text = signed.slice(0, dot);
        return withAny(inputs, (input) =>
          chain(signerOf(secret, input), (sign) =>
            chain(sign(`${purpose} ${text}`), (expected) => (isEqual(expected, signed.slice(dot + 1)) ? text : null)),
          ),
        );
      },
    }));
}

/** The secret of a session is then the only one that signs. */
const WITHOUT_SECRETS: Keys<readonly string[]> = [[]];

function signerOf(secret: string, input: readonly string[]): MaybePromise<Signer> {
  return chain(deriveKey(NAME, secret, ...input), signer);
}
