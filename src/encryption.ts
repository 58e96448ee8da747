/**
 * Encrypted records: a reader of the store learns no data.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { encryption } from "with-session/encryption";
 *
 * export default {
 *   fetch: withSession(async (_request, session) => new Response(String(await session.size())), {
 *     encryption: encryption(),
 *   }),
 * };
 * ```
 *
 * @module
 */
import { assertKnown } from "./core/known_options.ts";
import { chain, type MaybePromise } from "./core/maybe_promise.ts";
import type { RecordCodec } from "./core/record_codec.ts";
import { SEALED_FIELD } from "./core/record_fields.ts";
import { aesKey, type AesKey, decrypt, encrypt } from "./crypto/aes_gcm.ts";
import { deriveKey } from "./crypto/keys.ts";
import { type Keys, keyring, optionalSecrets, type Secrets, withAny } from "./crypto/secrets.ts";

export type { RecordCodec } from "./core/record_codec.ts";
export type { Secrets } from "./crypto/secrets.ts";

/** How records are encrypted. */
export interface EncryptionOptions {
  /**
   * Secrets of at least 32 bytes each, the current one first, or a function that returns them. The first one encrypts,
   * all of them decrypt. Without secrets, a reader of the store who knows an id can read that record.
   *
   * @default Only the id is used
   */
  readonly secrets?: Secrets;
  /**
   * Whether records that are not encrypted are accepted, for sessions that began before encryption was turned on. They
   * are encrypted when they are stored next. Keep it set until such sessions have expired.
   *
   * @default {false}
   */
  readonly acceptPlain?: boolean | undefined;
}

/**
 * Encrypts the data of a session and their names with AES-256-GCM, for the option `encryption`. The key is derived from
 * the session id, which the store never sees, and from the secret if there is one. A record is bound to its key in the
 * store and to its metadata. The store key and the metadata stay readable.
 *
 * @param options The secrets, and whether plain records are accepted
 * @returns The value of the option `encryption`
 * @throws {TypeError} If a secret is not a string, `acceptPlain` is not a boolean, or an option is unknown
 * @throws {RangeError} If a secret has fewer than 32 bytes
 *
 * @example
 * ```ts
 * import { SessionManager } from "with-session";
 * import { encryption } from "with-session/encryption";
 *
 * const sessions = new SessionManager({
 *   encryption: encryption({ secrets: ["a secret of at least 32 bytes, for this example"] }),
 * });
 * ```
 */
export function encryption(options: EncryptionOptions = {}): RecordCodec {
  assertKnown(options, ["secrets", "acceptPlain"], "encryption");
  const { acceptPlain = false } = options;
  const secrets = optionalSecrets(options);
  if (typeof acceptPlain !== "boolean") throw new TypeError("encryption: acceptPlain must be a boolean");
  const resolve = secrets === undefined ? () => WITHOUT_SECRETS : keyring(secrets, (secret) => secret);

  return {
    seal(fields, id, key, { runtimeArguments }, metadata) {
      const data = JSON.stringify([...fields]);
      return chain(resolve(runtimeArguments), ([secret]) =>
        chain(keyOf(id, secret), (aesKey) =>
          chain(encrypt(aesKey, data, boundTo(key, metadata)), (sealed) => new Map([[SEALED_FIELD, sealed]])),
        ),
      );
    },
    open(fields, id, key, { runtimeArguments }, metadata) {
      const sealed = fields.get(SEALED_FIELD);
      if (sealed === undefined) return acceptPlain ? fields : null;
      const bound = boundTo(key, metadata);
      return chain(resolve(runtimeArguments), (list) =>
        chain(
          withAny(list, (secret) => chain(keyOf(id, secret), (aesKey) => decrypt(aesKey, sealed, bound))),
          (data) => (data === null ? null : new Map<string, string>(JSON.parse(data))),
        ),
      );
    },
  };
}

const WITHOUT_SECRETS: Keys<string> = [""];

function keyOf(id: string, secret: string): MaybePromise<AesKey> {
  return chain(deriveKey("record", id, secret), aesKey);
}

function boundTo(key: string, metadata: string): string {
  return `${key} ${metadata}`;
}
