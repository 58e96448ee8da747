import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";

const utf8 = new TextEncoder();

/**
 * Encrypts and authenticates a text, so that only who knows `secret` can read it, only for `purpose` and only beside
 * the same `bond`, a text that is authenticated with it but not in it:
 * AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce, under a key that HKDF-SHA-256 (RFC 5869) derives.
 */
export async function seal(secret: string, purpose: string, text: string, bond = ""): Promise<string> {
  return await sealWith(await deriveKey(secret, purpose), text, bond);
}

/** The same, with a key that was derived before. */
export async function sealWith(key: CryptoKey, text: string, bond: string): Promise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(12));
  const algorithm = { name: "AES-GCM", iv: nonce, additionalData: utf8.encode(bond) };
  const sealed = await crypto.subtle.encrypt(algorithm, key, utf8.encode(text));
  return toBase64(nonce) + toBase64(new Uint8Array(sealed));
}

/** The text that {@linkcode seal} was given, or null if secret, purpose, bond or a single bit differ. */
export async function unseal(secret: string, purpose: string, sealed: string, bond = ""): Promise<string | null> {
  return await unsealWith(await deriveKey(secret, purpose), sealed, bond);
}

/** The same, with a key that was derived before. */
export async function unsealWith(key: CryptoKey, sealed: string, bond: string): Promise<string | null> {
  try {
    const iv = fromBase64(sealed.slice(0, NONCE_CHARACTERS));
    const data = fromBase64(sealed.slice(NONCE_CHARACTERS));
    const algorithm = { name: "AES-GCM", iv, additionalData: utf8.encode(bond) };
    return new TextDecoder().decode(await crypto.subtle.decrypt(algorithm, key, data));
  } catch {
    return null;
  }
}

// 12 bytes are 16 characters of base64 and need no padding.
const NONCE_CHARACTERS = 16;

/** A key for AES-256-GCM, which is of no use for another purpose. WebCrypto alone would take three times as long for it. */
export function deriveKey(secret: string, purpose: string): Promise<CryptoKey> {
  const bytes = hkdf(sha256, utf8.encode(secret), undefined, utf8.encode(`with-session ${purpose}`), 32);
  return crypto.subtle.importKey("raw", new Uint8Array(bytes), "AES-GCM", false, ["encrypt", "decrypt"]);
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  // Not all at once: a call takes no more arguments than the stack has room for.
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
