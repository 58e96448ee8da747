import { sha256 } from "@noble/hashes/sha2.js";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ID_LENGTH = 32;
// 22 characters of 64 kinds are 132 bits; NIST SP 800-63B-4 §5.1 asks for 64, OWASP ASVS 5.0 7.2.3 for 128.
// No cookie holds more than the upper bound, which keeps a made-up header from being hashed at length.
const ID_SHAPE = /^[A-Za-z0-9_-]{22,4096}$/;

/** A new id: 192 bits from the runtime's cryptographic generator, as 32 characters that need no escaping. */
export function mintId(): string {
  return randomText(ID_LENGTH);
}

/** A name for one write: 60 bits, so that no two of one session ever meet. */
export function mintToken(): string {
  return randomText(10);
}

function randomText(length: number): string {
  let text = "";
  // 64 divides 256, so the low six bits of a random byte are as random as the byte.
  for (const byte of crypto.getRandomValues(new Uint8Array(length))) text += ALPHABET[byte & 63];
  return text;
}

/** Whether a text has the shape of an id. Anything else costs no store call. */
export function isId(text: string): boolean {
  return ID_SHAPE.test(text);
}

const utf8 = new TextEncoder();
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/**
 * The store key of an id: its SHA-256 in hexadecimal, so that whoever reads the store learns no id. WebCrypto
 * would need an await and, on Node, twenty times as long for so short a text (see bench/README.md).
 */
export function keyOfId(id: string): string {
  let key = "";
  for (const byte of sha256(utf8.encode(id))) key += HEX[byte];
  return key;
}
