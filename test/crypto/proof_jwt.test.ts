import { calculateJwkThumbprint, CompactSign, exportJWK, generateKeyPair, type JWK } from "jose";
import { expect, test } from "vitest";
import {
  jwkToJson,
  MAX_PROOF_LENGTH,
  PROOF_ALGORITHMS,
  publicJwk,
  unverifiedClaims,
  verifyProofJwt,
} from "../../src/crypto/proof_jwt.ts";

const TYPE = "dpop+jwt";
const text = new TextEncoder();

interface Pair {
  readonly privateKey: Parameters<CompactSign["sign"]>[0];
  readonly jwk: JWK;
  readonly privateJwk: JWK;
}

async function pair(algorithm: string, options: object = {}): Promise<Pair> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true, ...options });
  return { privateKey, jwk: await exportJWK(publicKey), privateJwk: await exportJWK(privateKey) };
}

async function signed(
  algorithm: string,
  { privateKey, jwk }: Pair,
  header: object = {},
  payload = '{"jti":"1"}',
): Promise<string> {
  const full = { alg: algorithm, typ: TYPE, jwk, ...header };
  return await new CompactSign(text.encode(payload)).setProtectedHeader(full).sign(privateKey);
}

function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

const rules = { type: TYPE, algorithms: PROOF_ALGORITHMS };

// RFC 7518, 3.1; RFC 8037, 3.1; RFC 9864, 2.2.
const ALGORITHMS = [
  "ES256",
  "ES384",
  "ES512",
  "Ed25519",
  "EdDSA",
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
];

test.each(ALGORITHMS)("verifyProofJwt() accepts %s with the key in the header", async (algorithm) => {
  const keys = await pair(algorithm);
  const proof = await verifyProofJwt(await signed(algorithm, keys), rules);
  expect(proof).toMatchObject({ algorithm, claims: { jti: "1" }, thumbprint: expect.stringMatching(/^[\w-]{43}$/) });
});

// RFC 9449, figures 2 and 12, and the thumbprint of their key in figure 11.
const RFC9449_TOKEN_REQUEST =
  "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
const RFC9449_RESOURCE_REQUEST =
  "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

test("verifyProofJwt() accepts the examples of RFC 9449", async () => {
  expect(await verifyProofJwt(RFC9449_TOKEN_REQUEST, rules)).toMatchObject({
    claims: { jti: "-BwC3ESc6acc2lTc", htm: "POST", htu: "https://server.example.com/token", iat: 1562262616 },
    thumbprint: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
  });
  expect(await verifyProofJwt(RFC9449_RESOURCE_REQUEST, rules)).toMatchObject({
    claims: { htm: "GET", ath: "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo" },
    thumbprint: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
  });
});

// Proofs that Chromium 156 sent: registrations with each of the two algorithms, and a refresh with the first key.
const CHROMIUM_REGISTRATION =
  "eyJhbGciOiJFUzI1NiIsImp3ayI6eyJjcnYiOiJQLTI1NiIsImt0eSI6IkVDIiwieCI6IlNTLVlqQzZFOUFzd0dSbFBGZU1tUmkwVUg0eHhVTnRWYUZxOVRXeUZFVWciLCJ5IjoiRnZ0a3YxUjNnRGNDQjJwbm9GSUlVc0lLX25MYTBMY050WE5nTnNPLXJ1QSJ9LCJ0eXAiOiJkYnNjK2p3dCJ9.eyJqdGkiOiJhLWNoYWxsZW5nZSJ9.xnEXMJYJmVPe8gvvsSsUqzKQ99pIc_wTlPEO58EXTCeoAaWCu2rTAPas5ByZp8p95TQyMsHin0BGp5-ciaRQFw";
const CHROMIUM_REFRESH =
  "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRic2Mrand0In0.eyJqdGkiOiJjMSJ9.wZyumkJZhnZet7wIrif6dnmvWiGuecQPyhsQEEb_PsMRNmsvlAjndjl5C7X0HNji-Os9VylAA5me63Z-IslTiA";
const CHROMIUM_RSA_REGISTRATION =
  "eyJhbGciOiJSUzI1NiIsImp3ayI6eyJlIjoiQVFBQiIsImt0eSI6IlJTQSIsIm4iOiIyLWs0cV84ekt4MXB0QmVSczAyLUxXbk1wdVVScGE4SFlQakc3akNsZDE1SzRVbmlvNmxRZ011enpSNkRzV19kcEFZZ04xYlBUNktmcmd3b1lXR1JGLWJHQVpJTDZKM3M5a0pkNGYzbnJkdVZveksxVHVKQnBxUnlpTzA2TGhod0lUM1hfV1IzLTh3aERfRkVWUFl3QkNfZFFfYnFhbGdXQlpzY0tOY0YyZzNsVFlrT0RWMGhfdUxHYm1WbFpMdDFLOW81OWI1cGRESTFPVjUxRnlUekZ0RDVJTmh6akxRcVFFREkydDMtRU9EcTdhY0pqMTB2Y2tBSVBtNld1SHlyeGVFS0xnTE92Qnl0Y3Q5alpsbWx1SkJ2TE51eGZkajk4Q3piZmNuX1R6OTlPaUlrM2tfd18yZlpEUGR5X0JGWm5jSEZkZmZubUczQnFZVkozOHBQLVEifSwidHlwIjoiZGJzYytqd3QifQ.eyJqdGkiOiJhLWNoYWxsZW5nZSJ9.lybGo9w89R7ixcVvxKmXjVbZGVjS-K4hV3FSxlp_hM5bMZQzw22ntlu2Ca6a6aQECcGQZlllZogzKHOIOtr5WRPkrNzA-t1glg9iqeZ2itBUG5-0ONNXlqlrYj2mRHjmb3m2imZ5thZkMT26SC5WQtHe8JHpNPVfm2trnJLwhHuy70S8JIsOM2TAiTRNU0sMYiA2E2y2KjGZyBU5cdwm5sxlMpYYaI7c7ANIW8P1k6hwYZS0ZSC7SPecoMbG-QASF1iUy-Knym8zmC4C8KyN_YUSf2DjxkWUg0x9dxIdbk8ydvubOc1GFzklALF8O-iqlfTPtUhQWnOCikDOg_M2rA";

test("verifyProofJwt() accepts what Chromium has sent", async () => {
  const type = "dbsc+jwt";
  const algorithms = ["ES256", "RS256"];
  const proof = await verifyProofJwt(CHROMIUM_REGISTRATION, { type, algorithms });
  expect(proof).toMatchObject({ algorithm: "ES256", claims: { jti: "a-challenge" } });
  const rsa = await verifyProofJwt(CHROMIUM_RSA_REGISTRATION, { type, algorithms });
  expect(rsa).toMatchObject({ algorithm: "RS256", claims: { jti: "a-challenge" } });
  if (typeof proof === "string" || typeof rsa === "string") throw new Error("The signatures are right");
  expect(await verifyProofJwt(CHROMIUM_REFRESH, { type, algorithms, key: proof.key })).toMatchObject({
    claims: { jti: "c1" },
  });
  expect(await verifyProofJwt(CHROMIUM_REFRESH, { type, algorithms })).toBe("key");
  expect(await verifyProofJwt(CHROMIUM_REFRESH, { type, algorithms, key: rsa.key })).toBe("signature");
});

test("verifyProofJwt() refuses a JWT of another type", async () => {
  const keys = await pair("RS256");
  const proof = await signed("RS256", keys, { typ: "JWT" });
  expect(await verifyProofJwt(proof, rules)).toBe("type");
  expect(await verifyProofJwt(proof, { ...rules, type: "JWT" })).toMatchObject({ algorithm: "RS256" });
});

test("publicJwk() keeps what the thumbprint is made of, as in RFC 7638, 3.1", async () => {
  const n =
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
  const key = { kty: "RSA", n, e: "AQAB", alg: "RS256", kid: "2011-04-29" };
  expect(publicJwk(key)).toEqual({ kty: "RSA", e: "AQAB", n });
  expect(await calculateJwkThumbprint({ ...publicJwk(key) })).toBe("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
});

test("publicJwk() refuses what has a member of a private or a symmetric key, and an empty member", () => {
  const keys = [
    { kty: "RSA", n: "AQAB", e: "AQAB" },
    { kty: "EC", crv: "P-256", x: "AQAB", y: "AQAB" },
    { kty: "OKP", crv: "Ed25519", x: "AQAB" },
  ];
  for (const key of keys) {
    expect(publicJwk(key)).toEqual(key);
    for (const name of ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"])
      expect(publicJwk({ ...key, [name]: "AQAB" }), name).toBeNull();
    for (const name of Object.keys(key)) expect(publicJwk({ ...key, [name]: "" }), name).toBeNull();
  }
});

test("publicJwk() takes the largest modulus and exponent, and none that is a character longer", () => {
  const largest = { kty: "RSA", n: "v".repeat(683), e: "v".repeat(6) };
  expect(publicJwk(largest)).toEqual(largest);
  expect(publicJwk({ ...largest, n: "v".repeat(684) })).toBeNull();
  expect(publicJwk({ ...largest, e: "v".repeat(7) })).toBeNull();
});

test("jwkToJson() gives all members", () => {
  expect(jwkToJson({ kty: "OKP", crv: "Ed25519", x: "AQAB" })).toEqual({ kty: "OKP", crv: "Ed25519", x: "AQAB" });
});

test("verifyProofJwt() refuses alg none, and a MAC under the public key", async () => {
  const keys = await pair("ES256");
  const none = `${part({ alg: "none", typ: TYPE, jwk: keys.jwk })}.${part({ jti: "1" })}.`;
  expect(await verifyProofJwt(none, rules)).toBe("malformed");
  expect(await verifyProofJwt(`${none}AA`, rules)).toBe("algorithm");
  const secret = text.encode(JSON.stringify(keys.jwk));
  const mac = await new CompactSign(text.encode("{}"))
    .setProtectedHeader({ alg: "HS256", typ: TYPE, jwk: { ...keys.jwk } })
    .sign(secret);
  expect(await verifyProofJwt(mac, rules)).toBe("algorithm");
  expect(await verifyProofJwt(mac, { ...rules, algorithms: ["HS256"] })).toBe("signature");
});

test("verifyProofJwt() refuses a key that is private, symmetric, absent, of another kind or off the curve", async () => {
  const keys = await pair("ES256");
  const rsa = await pair("RS256");
  const sign = (jwk: unknown): Promise<string> => signed("ES256", keys, { jwk });
  expect(await verifyProofJwt(await sign(keys.jwk), rules)).toMatchObject({ algorithm: "ES256" });
  expect(await verifyProofJwt(await sign(keys.privateJwk), rules)).toBe("key");
  expect(await verifyProofJwt(await sign({ ...keys.jwk, d: "" }), rules)).toBe("key");
  expect(await verifyProofJwt(await sign({ kty: "oct", k: "c2VjcmV0" }), rules)).toBe("key");
  expect(await verifyProofJwt(await sign({ kty: "__proto__" }), rules)).toBe("key");
  expect(await verifyProofJwt(await sign(undefined), rules)).toBe("key");
  expect(await verifyProofJwt(await sign("key"), rules)).toBe("key");
  expect(await verifyProofJwt(await sign(null), rules)).toBe("key");
  expect(await verifyProofJwt(await sign({ ...keys.jwk, x: 7 }), rules)).toBe("key");
  expect(await verifyProofJwt(await sign(rsa.jwk), rules)).toBe("signature");
  expect(await verifyProofJwt(await sign({ ...keys.jwk, y: keys.jwk.x }), rules)).toBe("signature");
});

test("verifyProofJwt() refuses RSA keys that are too short to be safe, or so long that they cost too much", async () => {
  const rsa = await pair("RS256");
  expect(await verifyProofJwt(await signed("RS256", rsa), rules)).toMatchObject({ algorithm: "RS256" });
  const short = {
    kty: "RSA",
    e: "AQAB",
    n: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W",
  };
  expect(await verifyProofJwt(await signed("RS256", rsa, { jwk: short }), rules)).toBe("signature");
  expect(await verifyProofJwt(await signed("RS256", rsa, { jwk: { ...short, n: "v".repeat(684) } }), rules)).toBe(
    "key",
  );
  expect(await verifyProofJwt(await signed("RS256", rsa, { jwk: { ...rsa.jwk, e: "v".repeat(300) } }), rules)).toBe(
    "key",
  );
});

test("verifyProofJwt() refuses a changed payload, another key's signature, and a header that it must understand and does not", async () => {
  const keys = await pair("ES256");
  const other = await pair("ES256");
  const [header = "", , signature = ""] = (await signed("ES256", keys)).split(".");
  expect(await verifyProofJwt(`${header}.${part({ jti: "2" })}.${signature}`, rules)).toBe("signature");
  expect(await verifyProofJwt(await signed("ES256", other, { jwk: keys.jwk }), rules)).toBe("signature");
  const critical = part({ alg: "ES256", typ: TYPE, jwk: keys.jwk, crit: ["exp"], exp: 1 });
  expect(await verifyProofJwt(`${critical}.${part({ jti: "1" })}.${signature}`, rules)).toBe("signature");
});

test("verifyProofJwt() takes a known key in place of the header's, and refuses another one in the header", async () => {
  const keys = await pair("ES256");
  const other = await pair("ES256");
  const key = publicJwk(keys.jwk);
  if (key === null) throw new Error("The key is public");
  const known = { ...rules, key };
  expect(await verifyProofJwt(await signed("ES256", keys, { jwk: undefined }), known)).toMatchObject({
    algorithm: "ES256",
  });
  expect(await verifyProofJwt(await signed("ES256", keys), known)).toMatchObject({ algorithm: "ES256" });
  expect(await verifyProofJwt(await signed("ES256", other), known)).toBe("key");
  expect(await verifyProofJwt(await signed("ES256", other, { jwk: undefined }), known)).toBe("signature");
});

test.each(["ES256", "RS256", "Ed25519"])(
  "verifyProofJwt() refuses a header whose %s key differs from the known one in one member, or is none",
  async (algorithm) => {
    const keys = await pair(algorithm);
    const key = publicJwk(keys.jwk);
    if (key === null) throw new Error("The key is public");
    const known = { ...rules, key };
    expect(await verifyProofJwt(await signed(algorithm, keys), known)).toMatchObject({ algorithm });
    for (const name of Object.keys(key)) {
      const jwk = { ...keys.jwk, [name]: "other" };
      expect(await verifyProofJwt(await signed(algorithm, keys, { jwk }), known), name).toBe("key");
    }
    for (const jwk of [null, "key", {}, keys.privateJwk])
      expect(await verifyProofJwt(await signed(algorithm, keys, { jwk }), known)).toBe("key");
  },
);

test.each([
  "",
  ".",
  "..",
  "a.b",
  "a.b.c",
  "abcde.abcde.c",
  "a.b.c.d",
  "é.b.c",
  "a, b",
  "e30.e30.AA",
  "bnVsbA.e30.AA",
  "W10.e30.AA",
  "!.e30.AA",
])("verifyProofJwt() refuses %j and does not throw", async (malformed) => {
  expect(["malformed", "type"]).toContain(await verifyProofJwt(malformed, rules));
  expect(unverifiedClaims(malformed)).toBeOneOf([null, expect.anything()]);
});

test("unverifiedClaims() reads the second of three parts, and nothing of a text with more or other characters", () => {
  const proof = `${part({ typ: TYPE })}.${part({ jti: "1" })}.AA`;
  expect(unverifiedClaims(proof)).toEqual({ jti: "1" });
  for (const other of [`!${proof}`, `${proof}!`, `${proof}.AA`, `AA.${proof}`, ` ${proof}`, `${proof}\n`])
    expect(unverifiedClaims(other), other).toBeNull();
});

test("unverifiedClaims() reads a text of the greatest length, and none that is a character longer", () => {
  const start = `${part({ typ: TYPE })}.${part({ jti: "1" })}.`;
  expect(unverifiedClaims(start.padEnd(MAX_PROOF_LENGTH, "A"))).toEqual({ jti: "1" });
  expect(unverifiedClaims(start.padEnd(MAX_PROOF_LENGTH + 1, "A"))).toBeNull();
});

test("verifyProofJwt() refuses a payload that is no object", async () => {
  const keys = await pair("ES256");
  for (const payload of ["[]", "null", '"text"', "7", "{", ""])
    expect(await verifyProofJwt(await signed("ES256", keys, {}, payload), rules)).toBe("malformed");
});

test("verifyProofJwt() does not parse a text of a megabyte", async () => {
  const keys = await pair("ES256");
  const long = await signed("ES256", keys, { padding: "v".repeat(MAX_PROOF_LENGTH) });
  let isParsed = false;
  const parse = JSON.parse;
  JSON.parse = (...given: Parameters<typeof parse>): unknown => {
    isParsed = true;
    return parse(...given);
  };
  try {
    expect(await verifyProofJwt(long, rules)).toBe("malformed");
    expect(await verifyProofJwt("v".repeat(2 ** 20), rules)).toBe("malformed");
    expect(await verifyProofJwt(`${"v".repeat(2 ** 19)}.${"v".repeat(2 ** 19)}.v`, rules)).toBe("malformed");
    expect(unverifiedClaims(long)).toBe(null);
    expect(isParsed).toBe(false);
    await verifyProofJwt(await signed("ES256", keys), rules);
    expect(isParsed).toBe(true);
  } finally {
    JSON.parse = parse;
  }
});
