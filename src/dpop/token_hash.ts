import { toBase64Url } from "../core/base64url.ts";

/**
 * The claim `ath` of a proof: the SHA-256 of the token in base64url (RFC 9449, 4.2). The client makes it as well, so it
 * uses WebCrypto, and not `sha256` of the core: the client would have to load that too.
 */
export async function hashOfToken(token: string): Promise<string> {
  return toBase64Url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token))));
}
