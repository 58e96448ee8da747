/**
 * SHA-256, and a pad that is made with it.
 *
 * @module
 */
import { chain, type MaybePromise } from "./maybe_promise.ts";
import { fromHex, toBase64Url } from "./base64url.ts";
import { builtinModule } from "./runtime.ts";
import { ID_ALPHABET } from "./session_id.ts";

/** The part of `node:crypto` that this package uses. */
export interface NodeCrypto {
  hash(algorithm: "sha256", data: string | Uint8Array, form: Form): string;
  createSecretKey(key: Uint8Array): NodeKey;
  createCipheriv(algorithm: "aes-256-gcm", key: NodeKey, nonce: Uint8Array): NodeCipher;
  createDecipheriv(algorithm: "aes-256-gcm", key: NodeKey, nonce: Uint8Array): NodeDecipher;
}

/** A key of `node:crypto`. */
export interface NodeKey {
  readonly type: string;
}

/** The bytes that `node:crypto` returns. */
interface NodeBytes {
  toString(form: "base64url"): string;
}

interface NodeCipher {
  setAAD(additionalData: Uint8Array): void;
  update(text: string, from: "utf8"): NodeBytes;
  final(): NodeBytes;
  getAuthTag(): NodeBytes;
}

interface NodeDecipher {
  setAAD(additionalData: Uint8Array): void;
  setAuthTag(tag: Uint8Array): void;
  update(text: string, from: "base64url", to: "utf8"): string;
  final(to: "utf8"): string;
}

let found: NodeCrypto | null | undefined;

/**
 * Node's crypto, which Deno, Bun and Workers with `nodejs_compat` also have; null where it is absent. It returns its
 * result without a promise. WebCrypto needs a promise and, on Node, another thread.
 */
export function nodeCrypto(): NodeCrypto | null {
  // It is loaded on first use and not on import, because loading it takes longer than the rest of this package.
  return found === undefined ? (found = findNodeCrypto()) : found;
}

function findNodeCrypto(): NodeCrypto | null {
  try {
    const crypto = builtinModule<NodeCrypto>("node:crypto");
    // Some bundlers replace it by functions that only throw, and some runtimes can hash only texts.
    return crypto?.hash("sha256", new Uint8Array(BLOCK * 2), "base64url").startsWith(DIGEST_OF_ZEROS) === true
      ? crypto
      : null;
  } catch {
    return null;
  }
}

/** How the hash of 64 zero bytes begins. That is enough to recognise another function. */
const DIGEST_OF_ZEROS = "9aX9QtFqIDAnmO9u";

/** 64 lowercase hexadecimal digits, or 43 characters. Bytes are not a form: Node needs three times as long for them. */
type Form = "hex" | "base64url";

/** The SHA-256 of bytes, or of a text in UTF-8. It answers at once where the runtime has Node's crypto. */
export function sha256(data: string | Uint8Array, form: Form = "hex"): MaybePromise<string> {
  const node = nodeCrypto();
  return node === null ? webSha256(data, form) : node.hash("sha256", data, form);
}

async function webSha256(data: string | Uint8Array, form: Form): Promise<string> {
  const input = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data);
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", input));
  if (form === "base64url") return toBase64Url(bytes);
  let hex = "";
  for (const byte of bytes) hex += (byte | 0x100).toString(16).slice(1);
  return hex;
}

const PLAIN_TEXT = /^[A-Za-z0-9_-]*$/;
const TAG_LENGTH = 16;
const BLOCK = 32;

/**
 * Hides a text of `A-Z a-z 0-9 - _`, such as an id, so that it can be read only with `secret`. This takes two hashes
 * and no cipher. The result has the same alphabet. `secret` must have 128 bits of entropy or more, which ids have.
 *
 * The result begins with a tag of secret and text. The pad depends on the tag, so that no pad is used for two texts.
 */
export function pad(text: string, secret: string): MaybePromise<string> {
  return chain(tagOf(text, secret), (tag) => chain(combine(text, `${tag} ${secret}`, 0), (padded) => tag + padded));
}

/** The text that {@linkcode pad} was given; null if it was given another secret, or if `padded` is not its result. */
export function unpad(padded: string, secret: string): MaybePromise<string | null> {
  if (!PLAIN_TEXT.test(padded)) return null;
  const tag = padded.slice(0, TAG_LENGTH);
  return chain(combine(padded.slice(TAG_LENGTH), `${tag} ${secret}`, 0), (text) =>
    chain(tagOf(text, secret), (expected) => (expected === tag ? text : null)),
  );
}

// No id has a space, so no hash here is the store key of an id.
function tagOf(text: string, secret: string): MaybePromise<string> {
  return chain(sha256(`with-session tag ${secret} ${text}`), (hex) => hex.slice(0, TAG_LENGTH));
}

/** Combines the number of each character with six bits of the pad, by exclusive or. Doing it twice gives the text again. */
function combine(text: string, secret: string, from: number): MaybePromise<string> {
  if (from >= text.length) return "";
  return chain(sha256(`with-session pad ${from} ${secret}`), (hex) => {
    const bytes = fromHex(hex);
    let combined = "";
    for (let at = 0; at < BLOCK && from + at < text.length; at++)
      combined += ID_ALPHABET.charAt(ID_ALPHABET.indexOf(text.charAt(from + at)) ^ ((bytes[at] ?? 0) & 63));
    return chain(combine(text, secret, from + BLOCK), (rest) => combined + rest);
  });
}
