/**
 * AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits, in one format: the mark `1`, the nonce, the tag and the ciphertext, all in
 * base64url. One key may encrypt 2³² texts (NIST SP 800-38D, 8.3).
 *
 * @module
 */
import type { MaybePromise } from "../core/maybe_promise.ts";
import { fromBase64Url, toBase64Url } from "./base64url.ts";
import { type NodeCrypto, nodeCrypto } from "./hash.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The mark of the format. A text that begins with another one was encrypted by another version. */
const MARK = "1";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const NONCE_END = MARK.length + 16;
const TAG_END = NONCE_END + 22;
const SHAPE = /^1[A-Za-z0-9_-]{38,}$/;

/**
 * Encrypts a text and authenticates it together with `additionalData`, which is not in the result.
 *
 * @param key 32 bytes, of {@linkcode deriveKey}
 */
export function encrypt(key: Bytes, text: string, additionalData: string): MaybePromise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const node = soundNodeCrypto();
  return node === null
    ? webEncrypt(key, nonce, text, additionalData)
    : nodeEncrypt(node, key, nonce, text, additionalData);
}

/** The text that {@linkcode encrypt} was given; null if the key, `additionalData` or a single bit differs. It does not throw. */
export function decrypt(key: Bytes, sealed: string, additionalData: string): MaybePromise<string | null> {
  if (!SHAPE.test(sealed)) return null;
  const node = soundNodeCrypto();
  return node === null ? webDecrypt(key, sealed, additionalData) : nodeDecrypt(node, key, sealed, additionalData);
}

const utf8 = new TextEncoder();

function format(nonce: string, tag: string, ciphertext: string): string {
  return MARK + nonce + tag + ciphertext;
}

/**
 * Node's ciphers take and give texts, which spares the copies; they are several times faster than WebCrypto, which works in another thread. With a
 * key object they are set up three times as fast as with the key's bytes.
 */
function nodeEncrypt(node: NodeCrypto, key: Bytes, nonce: Bytes, text: string, additionalData: string): string {
  const cipher = node.createCipheriv("aes-256-gcm", node.createSecretKey(key), nonce);
  cipher.setAAD(utf8.encode(additionalData));
  const ciphertext = cipher.update(text, "utf8", "base64url") + cipher.final("base64url");
  return format(toBase64Url(nonce), toBase64Url(cipher.getAuthTag()), ciphertext);
}

function nodeDecrypt(node: NodeCrypto, key: Bytes, sealed: string, additionalData: string): string | null {
  try {
    const nonce = fromBase64Url(sealed.slice(MARK.length, NONCE_END));
    const decipher = node.createDecipheriv("aes-256-gcm", node.createSecretKey(key), nonce);
    decipher.setAAD(utf8.encode(additionalData));
    decipher.setAuthTag(fromBase64Url(sealed.slice(NONCE_END, TAG_END)));
    return decipher.update(sealed.slice(TAG_END), "base64url", "utf8") + decipher.final("utf8");
  } catch {
    return null;
  }
}

/** Keys of WebCrypto. Kept as values: some runtimes bind a promise to one request. */
const imported = new WeakMap<Bytes, CryptoKey>();

async function webKey(key: Bytes): Promise<CryptoKey> {
  const known =
    imported.get(key) ?? (await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]));
  imported.set(key, known);
  return known;
}

function algorithm(iv: Bytes, additionalData: string): { name: "AES-GCM"; iv: Bytes; additionalData: Bytes } {
  return { name: "AES-GCM", iv, additionalData: utf8.encode(additionalData) };
}

async function webEncrypt(key: Bytes, nonce: Bytes, text: string, additionalData: string): Promise<string> {
  const sealed = new Uint8Array(
    await crypto.subtle.encrypt(algorithm(nonce, additionalData), await webKey(key), utf8.encode(text)),
  );
  return format(
    toBase64Url(nonce),
    toBase64Url(sealed.subarray(-TAG_BYTES)),
    toBase64Url(sealed.subarray(0, -TAG_BYTES)),
  );
}

async function webDecrypt(key: Bytes, sealed: string, additionalData: string): Promise<string | null> {
  try {
    const nonce = fromBase64Url(sealed.slice(MARK.length, NONCE_END));
    const tag = fromBase64Url(sealed.slice(NONCE_END, TAG_END));
    const ciphertext = fromBase64Url(sealed.slice(TAG_END));
    const data = new Uint8Array(ciphertext.length + tag.length);
    data.set(ciphertext);
    data.set(tag, ciphertext.length);
    const text = await crypto.subtle.decrypt(algorithm(nonce, additionalData), await webKey(key), data);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(text);
  } catch {
    return null;
  }
}

let sound: NodeCrypto | null | undefined;

function soundNodeCrypto(): NodeCrypto | null {
  return sound === undefined ? (sound = findSound()) : sound;
}

/** Node's crypto, if its ciphers do their work, also on empty texts. Some only throw: those of workerd 1.20260730 where a text is empty. */
function findSound(): NodeCrypto | null {
  const node = nodeCrypto();
  if (node === null) return null;
  try {
    const [key, nonce] = [new Uint8Array(32), new Uint8Array(NONCE_BYTES)];
    for (const { text, additionalData, tag, ciphertext } of KNOWN) {
      const sealed = format("A".repeat(16), tag, ciphertext);
      const forged = format("A".repeat(16), "A".repeat(22), ciphertext);
      if (nodeEncrypt(node, key, nonce, text, additionalData) !== sealed) return null;
      if (nodeDecrypt(node, key, sealed, additionalData) !== text) return null;
      if (nodeDecrypt(node, key, forged, additionalData) !== null) return null;
    }
    return node;
  } catch {
    return null;
  }
}

/** Under a key and a nonce of zeros. The first is test case 13 of the specification of GCM (McGrew and Viega). */
const KNOWN = [
  { text: "", additionalData: "", tag: "Uw-K-8dFNrmpY7TxxMtziw", ciphertext: "" },
  { text: "ä€", additionalData: "ü", tag: "SJeOOE6vyJJYyKuvddU8DA", ciphertext: "DQOiv-E" },
];
