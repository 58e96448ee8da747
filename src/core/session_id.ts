/**
 * Session ids, and names of writes.
 *
 * @module
 */
/** The characters of an id. There are 64, so one stands for six bits. */
export const ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ID_LENGTH = 32;
// 22 characters of 64 kinds are 132 bits; NIST SP 800-63B-4 §5.1 asks for 64, OWASP ASVS 5.0 7.2.3 for 128.
// No cookie holds more than the upper bound, so a longer text is not hashed.
const ID_SHAPE = /^[A-Za-z0-9_-]{22,4096}$/;
const DEFAULT_ID_SHAPE = /^[A-Za-z0-9_-]{32}$/;

/** A new id: 192 bits from the runtime's cryptographic generator, as 32 characters that need no escaping. */
export function createId(): string {
  const codes = [];
  // 64 divides 256, so the low six bits of a random byte are as random as the byte.
  for (const byte of crypto.getRandomValues(new Uint8Array(ID_LENGTH))) codes.push(ID_ALPHABET.charCodeAt(byte & 63));
  return String.fromCharCode(...codes);
}

/** Whether a text has the shape of an id of any generator: 22 to 4096 characters of `A-Z a-z 0-9 - _`. */
export function isId(text: string): boolean {
  return ID_SHAPE.test(text);
}

/** Whether {@linkcode createId} can have made a text. Any other text is rejected without a store call. */
export function isDefaultId(text: string): boolean {
  return DEFAULT_ID_SHAPE.test(text);
}

let prefix = "";
let used = ID_ALPHABET.length;

/**
 * A name for one write, unique within a session: 16 characters of `A-Z a-z 0-9 - _`. Random bits are drawn once for 64
 * names, because a name need not be secret.
 */
export function createWriteId(): string {
  if (used === ID_ALPHABET.length) {
    // Runtimes make UUIDs in advance, so this is the fastest source. The last 15 characters have 56 random bits.
    prefix = crypto.randomUUID().slice(-15);
    used = 0;
  }
  return prefix + ID_ALPHABET.charAt(used++);
}
