/**
 * Bytes as base64url without padding (RFC 4648, 5), on every runtime.
 *
 * @module
 */

/** The text of bytes. */
export function toBase64Url(bytes: Uint8Array): string {
  let text = "";
  // Not all at once: a call takes no more arguments than the stack has room for.
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The bytes of a text, which must be base64url. */
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  const characters = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = new Uint8Array(characters.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = characters.charCodeAt(at);
  return bytes;
}
