import { CompactSign, exportJWK, generateKeyPair, type JWK } from "jose";

/** A header client without the library's helper. It can also make wrong proofs. */
export interface Prover {
  readonly jwk: JWK;
  readonly privateJwk: JWK;
  readonly algorithm: string;
  /** Makes a proof with these claims and this header. */
  prove(claims: object, header?: object): Promise<string>;
}

export async function createProver(algorithm = "ES256"): Promise<Prover> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
  const jwk = await exportJWK(publicKey);
  return {
    jwk,
    privateJwk: await exportJWK(privateKey),
    algorithm,
    prove: async (claims, header = {}) =>
      await new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
        .setProtectedHeader({ alg: algorithm, typ: "dpop+jwt", jwk, ...header })
        .sign(privateKey),
  };
}

/** The hash of a token, as in the claim `ath`. */
export async function hashOf(token: string): Promise<string> {
  return Buffer.from(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token))).toString("base64url");
}
