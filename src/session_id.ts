import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { nodeCrypto } from "./node_crypto.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ID_LENGTH = 32;
// 22 characters of 64 kinds are 132 bits; NIST SP 800-63B-4 §5.1 asks for 64, OWASP ASVS 5.0 7.2.3 for 128.
// No cookie holds more than the upper bound, which keeps a made-up header from being hashed at length.
const ID_SHAPE = /^[A-Za-z0-9_-]{22,4096}$/;

/** A new id: 192 bits from the runtime's cryptographic generator, as 32 characters that need no escaping. */
export function mintId(): string {
  let id = "";
  // 64 divides 256, so the low six bits of a random byte are as random as the byte.
  for (const byte of crypto.getRandomValues(new Uint8Array(ID_LENGTH))) id += ALPHABET[byte & 63];
  return id;
}

/** A name for one write: 48 bits, so that no two of one session ever meet. Runtimes make UUIDs in advance, which is faster. */
export function mintToken(): string {
  return crypto.randomUUID().slice(-12);
}

/** Whether a text has the shape of an id. Anything else costs no store call. */
export function isId(text: string): boolean {
  return ID_SHAPE.test(text);
}

const utf8 = new TextEncoder();

/**
 * The store key of an id: its SHA-256 in hexadecimal, so that whoever reads the store learns no id. WebCrypto
 * would need an await and, on Node, a hundred times as long for so short a text (see bench/README.md).
 */
export function keyOfId(id: string): string {
  return nodeCrypto()?.hash("sha256", id) ?? portableKeyOfId(id);
}

/** The same, on every runtime. */
export function portableKeyOfId(id: string): string {
  return bytesToHex(sha256(utf8.encode(id)));
}
