/**
 * JWTs with which a client proves that it holds a private key: `dpop+jwt` (RFC 9449) and `dbsc+jwt` (Device Bound
 * Session Credentials).
 *
 * @module
 */
import { calculateJwkThumbprint, compactVerify, importJWK } from "jose";
import type { JsonValue } from "../core/metadata.ts";
import { fromBase64Url } from "../core/base64url.ts";
import { isObject } from "../core/kind_of.ts";

/** Algorithms of signatures with a key pair, as JOSE names them (RFC 7518, 3.1; RFC 8037; RFC 9864). */
export const PROOF_ALGORITHMS: readonly string[] = [
  "ES256",
  "ES384",
  "ES512",
  "Ed25519",
  "EdDSA",
  "PS256",
  "PS384",
  "PS512",
  "RS256",
  "RS384",
  "RS512",
];

/** A public key with the members that name it, and no others (RFC 7638, 3.2). */
export type PublicJwk = Readonly<Record<string, string>> & { readonly kty: string };

/** Why a text is not a proof. */
export type ProofFault = "malformed" | "type" | "algorithm" | "key" | "signature";

/** A proof with a valid signature. Its claims are not checked yet. */
interface ProofJwt {
  readonly algorithm: string;
  readonly claims: Readonly<Record<string, unknown>>;
  readonly key: PublicJwk;
  /** The thumbprint of the key, SHA-256 in base64url (RFC 7638). */
  readonly thumbprint: string;
}

/** The requirements for a proof. */
interface ProofRules {
  /** The `typ` of its header, such as `dpop+jwt`. */
  readonly type: string;
  readonly algorithms: readonly string[];
  /** The key that must have signed it; if it is absent, the header must carry the key. */
  readonly key?: PublicJwk;
}

/** In characters. A longer text is not parsed. A proof with an RSA key of 4 096 bits has about 2 000. */
export const MAX_PROOF_LENGTH = 8192;
/** In base64url characters: 4 096 bits. The cost of verifying grows with the square of the key's size. */
const MAX_MODULUS_LENGTH = 683;
/** In base64url characters: 32 bits, which is more than the usual exponent 65 537 needs. */
const MAX_EXPONENT_LENGTH = 6;

const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  EC: ["crv", "x", "y"],
  OKP: ["crv", "x"],
  RSA: ["e", "n"],
};
/** The members of a private or a symmetric key (RFC 7518, 6). */
const PRIVATE = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/** Reads a proof and verifies its signature, or returns what is wrong with it. It does not throw, whatever a client sends. */
export async function verifyProofJwt(
  text: string,
  { type, algorithms, key: known }: ProofRules,
): Promise<ProofJwt | ProofFault> {
  const header = partOf(text, 0);
  if (header === null) return "malformed";
  if (header["typ"] !== type) return "type";
  const { alg, jwk } = header;
  if (typeof alg !== "string" || !algorithms.includes(alg)) return "algorithm";
  const carried = jwk === undefined ? null : publicJwk(jwk);
  const key = known ?? carried;
  if (key === null || (jwk !== undefined && (carried === null || !isSameKey(carried, key)))) return "key";
  const payload = await verifiedPayload(text, key, alg);
  if (payload === null) return "signature";
  const claims = parseObject(payload);
  return claims === null
    ? "malformed"
    : { algorithm: alg, claims, key, thumbprint: await calculateJwkThumbprint({ ...key }) };
}

/**
 * The payload, if the signature is valid; null otherwise. It is also null if the key does not fit the algorithm, if a
 * point is not on the curve, or if a critical header is unknown.
 */
async function verifiedPayload(text: string, key: PublicJwk, algorithm: string): Promise<string | null> {
  try {
    const { payload } = await compactVerify(text, await importJWK({ ...key }, algorithm), { algorithms: [algorithm] });
    return new TextDecoder().decode(payload);
  } catch {
    return null;
  }
}

/** The claims of a proof, without verifying its signature; null if there are none. */
export function unverifiedClaims(text: string): Readonly<Record<string, unknown>> | null {
  return partOf(text, 1);
}

/**
 * Reads a value as a public key. Null if it is not one, if it holds a private key as well, or if it is larger than any real key.
 */
export function publicJwk(value: unknown): PublicJwk | null {
  if (!isObject(value) || PRIVATE.some((name) => name in value)) return null;
  const { kty } = value;
  const members = typeof kty === "string" && Object.hasOwn(MEMBERS, kty) ? MEMBERS[kty] : undefined;
  if (typeof kty !== "string" || members === undefined) return null;
  const key: Record<string, string> & { kty: string } = { kty };
  for (const name of members) {
    const member = value[name];
    if (typeof member !== "string" || member === "") return null;
    key[name] = member;
  }
  const isTooLarge = (key["n"] ?? "").length > MAX_MODULUS_LENGTH || (key["e"] ?? "").length > MAX_EXPONENT_LENGTH;
  return isTooLarge ? null : key;
}

/** A public key as JSON. */
export function jwkToJson(key: PublicJwk): JsonValue {
  return { ...key };
}

/** One of the three parts of a JWT: 0 for the header, 1 for the claims. Null if the text is not a JWT, or the part is not an object. */
function partOf(text: string, index: 0 | 1): Readonly<Record<string, unknown>> | null {
  if (text.length > MAX_PROOF_LENGTH || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) return null;
  try {
    return parseObject(new TextDecoder().decode(fromBase64Url(text.split(".")[index] ?? "")));
  } catch {
    return null;
  }
}

function isSameKey(left: PublicJwk, right: PublicJwk): boolean {
  return ["kty", "crv", "x", "y", "e", "n"].every((name) => left[name] === right[name]);
}

function parseObject(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
