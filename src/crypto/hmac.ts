/**
 * HMAC-SHA-256 (RFC 2104), and a comparison that does not leak by its time.
 *
 * @module
 */
import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import { concat, fromHex } from "../core/base64url.ts";
import { sha256 } from "../core/hash.ts";

/** Signs texts under one key: 43 characters of base64url. */
export type Signer = (text: string) => MaybePromise<string>;

/**
 * A signer for a key of 32 bytes. It returns its result without a promise if the runtime has Node's crypto. Two hashes
 * over prepared pads take an eighth of the time of Node's HMAC object.
 */
export function signer(key: Uint8Array): Signer {
  const inner = padded(key, 0x36, ROOM);
  const innerText = inner.subarray(BLOCK);
  const outer = padded(key, 0x5c, DIGEST);
  return (text) => {
    const { read, written } = utf8.encodeInto(text, innerText);
    const length = BLOCK + written;
    const message =
      read === text.length ? inner.subarray(0, length) : concat(inner.subarray(0, BLOCK), utf8.encode(text));
    return chain(sha256(message), (digest) => sha256(fromHex(digest, outer, BLOCK), "base64url"));
  };
}

/** Compares two texts. If they have the same length, the time does not show where they differ. */
export function isEqual(left: string, right: string): boolean {
  let difference = left.length ^ right.length;
  for (let at = 0; at < left.length; at++) difference |= left.charCodeAt(at) ^ right.charCodeAt(at);
  return difference === 0;
}

const utf8 = new TextEncoder();
/** The block of SHA-256, in bytes. */
const BLOCK = 64;
const DIGEST = 32;
/** Room for an id and a name; a longer text gets a buffer for itself. */
const ROOM = 512;

function padded(key: Uint8Array, pad: number, room: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(BLOCK + room).fill(pad, 0, BLOCK);
  for (const [at, byte] of key.entries()) bytes[at] = byte ^ pad;
  return bytes;
}
