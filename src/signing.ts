import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";

/** The form in which ids travel. */
export interface WireForm {
  /** What the client is told of an id. */
  toWire(id: string): string;
  /** The id of what a client presented, and the form in which it is to travel by now; null if it was not made here. */
  fromWire(presented: string): Claim | null;
}

/** What a client presented, and could not have made up. */
export interface Claim {
  readonly id: string;
  readonly wire: string;
}

/** Ids that travel as they are. */
export const PLAIN: WireForm = { toWire: (id) => id, fromWire: (presented) => ({ id: presented, wire: presented }) };

/**
 * Ids that travel signed, so that a forged one is turned away before the store is asked: HMAC-SHA-256 (RFC 2104). The
 * first secret signs, all of them verify; comparing takes the same time wherever two texts differ.
 */
export function signedForm(secrets: readonly string[]): WireForm {
  // What a key is in HMAC is worked out once, and takes half the time of a signature.
  const keys = secrets.map((secret) => hmac.create(sha256, keyFor("id", secret)));
  const sign = (key: (typeof keys)[number], id: string): string =>
    toBase64Url(key.clone().update(utf8.encode(id)).digest());
  return {
    toWire: (id) => `${id}.${sign(keys[0]!, id)}`,
    fromWire(presented) {
      const dot = presented.indexOf(".");
      if (dot === -1 || dot > LONGEST_ID) return null;
      const id = presented.slice(0, dot);
      const signature = presented.slice(dot + 1);
      // Every key is tried, so that the time does not tell which one it was.
      const signatures = keys.map((key) => sign(key, id));
      const isOurs = signatures.map((each) => isEqual(each, signature)).includes(true);
      return isOurs ? { id, wire: `${id}.${signatures[0]}` } : null;
    },
  };
}

/** A key for one purpose: what was made for another is worth nothing here. */
export function keyFor(purpose: string, secret: string): Uint8Array {
  return hmac(sha256, utf8.encode(secret), utf8.encode(`with-session ${purpose}`));
}

const utf8 = new TextEncoder();
const LONGEST_ID = 4096;

/** Compares in a time that does not tell where two texts of one length differ. */
export function isEqual(left: string, right: string): boolean {
  let difference = left.length ^ right.length;
  for (let at = 0; at < left.length; at++) difference |= left.charCodeAt(at) ^ right.charCodeAt(at);
  return difference === 0;
}

/** Bytes as base64url without padding (RFC 4648, 5). */
export function toBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
