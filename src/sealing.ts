const utf8 = new TextEncoder();

/**
 * Encrypts and authenticates a text, so that only who knows `secret` can read it, and only for `purpose`:
 * AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce, under a key that HKDF-SHA-256 (RFC 5869) derives.
 */
export async function seal(secret: string, purpose: string, text: string): Promise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(12));
  const key = await deriveKey(secret, purpose);
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, key, utf8.encode(text));
  return toBase64(nonce) + toBase64(new Uint8Array(sealed));
}

/** The text that {@linkcode seal} was given, or null if secret, purpose or a single bit differ. */
export async function unseal(secret: string, purpose: string, sealed: string): Promise<string | null> {
  try {
    const key = await deriveKey(secret, purpose);
    const iv = fromBase64(sealed.slice(0, NONCE_CHARACTERS));
    const data = fromBase64(sealed.slice(NONCE_CHARACTERS));
    return new TextDecoder().decode(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, data));
  } catch {
    return null;
  }
}

// 12 bytes are 16 characters of base64 and need no padding.
const NONCE_CHARACTERS = 16;

async function deriveKey(secret: string, purpose: string): Promise<CryptoKey> {
  const material = await crypto.subtle.importKey("raw", utf8.encode(secret), "HKDF", false, ["deriveKey"]);
  return crypto.subtle.deriveKey(
    { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: utf8.encode(`with-session ${purpose}`) },
    material,
    { name: "AES-GCM", length: 256 },
    false,
    ["encrypt", "decrypt"],
  );
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
