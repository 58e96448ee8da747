/**
 * Bytes as text, in base64url without padding (RFC 4648, 5) and in hexadecimal, on every runtime; and their
 * concatenation.
 *
 * @module
 */

/** The text of bytes. */
export function toBase64Url(bytes: Uint8Array): string {
  let text = "";
  // One byte at a time: a call takes no more arguments than the stack has room for.
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

/** The bytes of a text of hexadecimal digits, in lowercase; in `bytes` from `start` on, if they are given. */
export function fromHex(
  text: string,
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(text.length / 2),
  start = 0,
): Uint8Array<ArrayBuffer> {
  for (let at = 0; at < text.length; at += 2)
    bytes[start + at / 2] = (digitOf(text.charCodeAt(at)) << 4) | digitOf(text.charCodeAt(at + 1));
  return bytes;
}

/** The value of the digit with this character code. It uses no table, whose time could depend on a secret. */
function digitOf(code: number): number {
  return (code & 15) + 9 * (code >> 6);
}

/** Concatenates two arrays of bytes. */
export function concat(start: Uint8Array, end: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(start.length + end.length);
  bytes.set(start);
  bytes.set(end, start.length);
  return bytes;
}
