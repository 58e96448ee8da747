import { type ProofFault, verifyProofJwt } from "../crypto/proof_jwt.ts";
import { normalizeAddress } from "./address.ts";

/** Why the proof of a request is rejected. */
export type DpopFault =
  /** It has no `DPoP` header. */
  | "missing"
  | ProofFault
  /** A claim is absent or of the wrong kind. */
  | "claims"
  | "method"
  | "address"
  /** The proof has no nonce, or one that is too old or not of this session. */
  | "nonce"
  /** The proof is for another token. */
  | "token"
  /** The session is bound to another key. */
  | "binding"
  /** The session is not bound to a key, but must be. */
  | "unbound"
  | "replay";

/** A proof that is right for its request. Token, nonce, key and replays are checked once the session is known. */
export interface DpopProof {
  /** The thumbprint of the key that signed it (RFC 7638). */
  readonly thumbprint: string;
  readonly jti: string;
  /** The hash of the token that it is for. */
  readonly ath: string | undefined;
  readonly nonce: string | undefined;
  /** When the client says that it was made, in epoch seconds. */
  readonly iat: number;
}

/** The rules for a proof, beside its signature. */
interface DpopRules {
  readonly algorithms: readonly string[];
  /** The address of the request as the client knows it. */
  readonly address: string;
}

/** In characters. A UUID has 36. */
const MAX_JTI_LENGTH = 256;

/** Checks the claims of a proof about its request: the numbers 1 to 9 of RFC 9449, section 4.3. */
export async function checkProof(request: Request, { algorithms, address }: DpopRules): Promise<DpopProof | DpopFault> {
  const header = request.headers.get("DPoP");
  if (header === null) return "missing";
  // 1, 2: two headers arrive as one text with a comma, which no JWT has. 4 to 7: type, algorithm, signature, public key.
  const proof = await verifyProofJwt(header, { type: "dpop+jwt", algorithms });
  if (typeof proof === "string") return proof;
  // 3
  const { jti, htm, htu, iat, ath, nonce } = proof.claims;
  if (!isText(jti) || jti === "" || jti.length > MAX_JTI_LENGTH) return "claims";
  if (!isText(htm) || !isText(htu) || typeof iat !== "number" || !Number.isFinite(iat)) return "claims";
  if (!isOptionalText(ath) || !isOptionalText(nonce)) return "claims";
  // 8
  if (htm !== request.method) return "method";
  // 9
  const expected = normalizeAddress(address);
  if (expected === null || normalizeAddress(htu) !== expected) return "address";
  return { thumbprint: proof.thumbprint, jti, ath, nonce, iat };
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || isText(value);
}
