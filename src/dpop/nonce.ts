/**
 * Nonces show how old a proof is by the server's clock instead of the client's. A nonce is an instant with a signature,
 * so it needs no store.
 *
 * @module
 */
import { CLOCK_ERROR } from "../core/expiry.ts";
import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import { isEqual, signer } from "../crypto/hmac.ts";
import { deriveKey } from "../crypto/keys.ts";

/** In characters: an instant in base 36 with a sign, and more. */
const MAX_INSTANT_LENGTH = 12;

/** When a nonce was made, in epoch milliseconds; NaN if it holds no instant. It is not verified here: a client may have made it up. */
export function claimedInstant(nonce: string): number {
  const dot = nonce.indexOf(".");
  return dot < 1 || dot > MAX_INSTANT_LENGTH ? Number.NaN : Number.parseInt(nonce.slice(0, dot), 36);
}

/** Whether a nonce that was made at an instant is still valid. */
export function isRecent(madeAt: number, now: number, lifetime: number): boolean {
  return now - madeAt < (lifetime + CLOCK_ERROR) * 1000;
}

/** Whether a nonce was made here for a session with this secret. */
export function isOurs(nonce: string, secret: string): MaybePromise<boolean> {
  return chain(signed(secret, claimedInstant(nonce).toString(36)), (expected) => isEqual(expected, nonce));
}

function signed(secret: string, instant: string): MaybePromise<string> {
  return chain(deriveKey("dpop nonce", secret), (key) =>
    chain(signer(key)(instant), (signature) => `${instant}.${signature}`),
  );
}

/** Sends the client a new nonce (RFC 9449, 8.2). */
export async function writeNonce(headers: Headers, secret: string, now: number): Promise<void> {
  headers.set("DPoP-Nonce", await signed(secret, now.toString(36)));
  headers.append("Access-Control-Expose-Headers", "DPoP-Nonce");
  headers.set("Cache-Control", "no-store");
}

/**
 * The answer to a request whose proof has no nonce or an old one. The client tries again with the new nonce (RFC 9449,
 * 9).
 */
export async function askForNonce(secret: string, now: number): Promise<Response> {
  const headers = new Headers({
    "WWW-Authenticate": 'DPoP error="use_dpop_nonce", error_description="Sign again with the nonce of DPoP-Nonce"',
  });
  await writeNonce(headers, secret, now);
  headers.append("Access-Control-Expose-Headers", "WWW-Authenticate");
  return new Response(null, { status: 401, headers });
}
