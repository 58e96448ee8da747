import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, concatBytes } from "@noble/hashes/utils.js";
import { type NodeCrypto, nodeCrypto } from "./node_crypto.ts";

const utf8 = new TextEncoder();

/** AES-256-GCM under one key: what it gives ends with the tag, and what it is given does. */
export interface SealingKey {
  encrypt(nonce: Bytes, text: Bytes, bond: Bytes): Uint8Array | Promise<Uint8Array>;
  /** Throws, or rejects, if key, nonce, bond or a single bit differ. */
  decrypt(nonce: Bytes, sealed: Bytes, bond: Bytes): Uint8Array | Promise<Uint8Array>;
}

/** One that answers at once. */
interface NodeKey extends SealingKey {
  encrypt(nonce: Bytes, text: Bytes, bond: Bytes): Bytes;
  decrypt(nonce: Bytes, sealed: Bytes, bond: Bytes): Uint8Array;
}

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Encrypts and authenticates a text, so that only who knows `secret` can read it, only for `purpose` and only beside
 * the same `bond`, a text that is authenticated with it but not in it:
 * AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce, under a key that HKDF-SHA-256 (RFC 5869) derives.
 */
export async function seal(secret: string, purpose: string, text: string, bond = ""): Promise<string> {
  return await sealWith(await sealingKey(secret, purpose), text, bond);
}

/** The same, with a key that was derived before. */
export async function sealWith(key: SealingKey, text: string, bond: string): Promise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  return toBase64(nonce) + toBase64(await key.encrypt(nonce, utf8.encode(text), utf8.encode(bond)));
}

/** The text that {@linkcode seal} was given, or null if secret, purpose, bond or a single bit differ. */
export async function unseal(secret: string, purpose: string, sealed: string, bond = ""): Promise<string | null> {
  return await unsealWith(await sealingKey(secret, purpose), sealed, bond);
}

/** The same, with a key that was derived before. */
export async function unsealWith(key: SealingKey, sealed: string, bond: string): Promise<string | null> {
  try {
    const nonce = fromBase64(sealed.slice(0, NONCE_CHARACTERS));
    const data = fromBase64(sealed.slice(NONCE_CHARACTERS));
    // Node's crypto takes a tag of four bytes as well, which can be guessed.
    if (data.length < TAG_BYTES) return null;
    return new TextDecoder().decode(await key.decrypt(nonce, data, utf8.encode(bond)));
  } catch {
    return null;
  }
}

const NONCE_BYTES = 12;
// 12 bytes are 16 characters of base64 and need no padding.
const NONCE_CHARACTERS = 16;
const TAG_BYTES = 16;

/** A key for one purpose, on whatever the runtime has. */
export async function sealingKey(secret: string, purpose: string): Promise<SealingKey> {
  const node = nodeCiphers();
  return node === null ? webKey(await deriveKey(secret, purpose)) : nodeKey(node, bytesOfKey(secret, purpose));
}

let ciphers: NodeCrypto | null | undefined;

/** Node's crypto, if its ciphers are there and do their work. */
function nodeCiphers(): NodeCrypto | null {
  return ciphers === undefined ? (ciphers = findCiphers()) : ciphers;
}

function findCiphers(): NodeCrypto | null {
  const node = nodeCrypto();
  return node !== null && isSound(node) ? node : null;
}

/** Whether a key of zeros gives what it must, takes it, and takes nothing else. */
function isSound(node: NodeCrypto): boolean {
  const [nonce, nothing] = [new Uint8Array(NONCE_BYTES), new Uint8Array()];
  try {
    const { encrypt, decrypt } = nodeKey(node, new Uint8Array(32));
    const tag = encrypt(nonce, nothing, nothing);
    if (bytesToHex(tag) !== TAG_OF_NOTHING) return false;
    decrypt(nonce, tag, nothing);
    try {
      decrypt(nonce, new Uint8Array(TAG_BYTES), nothing);
    } catch {
      return true;
    }
  } catch {
    // Some only throw, those of workerd 1.20260730 where text or bond is empty; and those of another realm give bytes of that realm.
  }
  return false;
}

/** Test case 13 of the specification of GCM (McGrew and Viega). */
const TAG_OF_NOTHING = "530f8afbc74536b9a963b4f1c4cb738b";

/** With Node's crypto, several times faster than WebCrypto, which is another thread's work there. */
function nodeKey({ createCipheriv, createDecipheriv }: NodeCrypto, key: Bytes): NodeKey {
  return {
    encrypt(nonce, text, bond) {
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      cipher.setAAD(bond);
      return concatBytes(cipher.update(text), cipher.final(), cipher.getAuthTag());
    },
    decrypt(nonce, sealed, bond) {
      const decipher = createDecipheriv("aes-256-gcm", key, nonce);
      decipher.setAAD(bond);
      decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
      return concatBytes(decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final());
    },
  };
}

/** With WebCrypto, as every runtime has it. */
export function webKey(key: CryptoKey): SealingKey {
  const { subtle } = crypto;
  const algorithm = (iv: Bytes, additionalData: Bytes) => ({ name: "AES-GCM", iv, additionalData });
  return {
    encrypt: async (nonce, text, bond) => new Uint8Array(await subtle.encrypt(algorithm(nonce, bond), key, text)),
    decrypt: async (nonce, sealed, bond) => new Uint8Array(await subtle.decrypt(algorithm(nonce, bond), key, sealed)),
  };
}

/** A key of WebCrypto for AES-256-GCM, which is of no use for another purpose. */
export function deriveKey(secret: string, purpose: string): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", bytesOfKey(secret, purpose), "AES-GCM", false, ["encrypt", "decrypt"]);
}

/** HKDF here takes a third of the time that WebCrypto takes for it. */
function bytesOfKey(secret: string, purpose: string): Bytes {
  return new Uint8Array(hkdf(sha256, utf8.encode(secret), undefined, utf8.encode(`with-session ${purpose}`), 32));
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
