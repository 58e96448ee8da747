import { beforeAll, expect, test } from "vitest";
import { checkProof, type DpopFault, type DpopProof } from "../../src/dpop/proof.ts";
import { createProver, hashOf, type Prover } from "./prover.ts";

const ADDRESS = "https://api.example.com/orders";
const RIGHT = { jti: "one", htm: "POST", htu: ADDRESS, iat: 1_700_000_000 };

let prover: Prover;

beforeAll(async () => {
  prover = await createProver();
});

async function check(
  proof: string | string[] | null,
  method = "POST",
  address = `${ADDRESS}?page=2`,
): Promise<DpopProof | DpopFault> {
  const headers = new Headers();
  for (const each of proof === null ? [] : [proof].flat()) headers.append("DPoP", each);
  const request = new Request(address, { method, headers });
  return await checkProof(request, { algorithms: ["ES256", "RS256"], address: request.url });
}

test("checkProof() accepts a proof for its request, query and fragment apart", async () => {
  const expected = { jti: "one", iat: 1_700_000_000, ath: undefined, nonce: undefined };
  expect(await check(await prover.prove(RIGHT))).toMatchObject(expected);
  expect(await check(await prover.prove({ ...RIGHT, htu: `${ADDRESS}?other#part` }))).toMatchObject(expected);
  const rsa = await createProver("RS256");
  expect(await check(await rsa.prove({ ...RIGHT, ath: await hashOf("token"), nonce: "n" }))).toMatchObject({
    ath: await hashOf("token"),
    nonce: "n",
  });
});

test("checkProof() refuses a request without a proof, and one with two (RFC 9449, 4.3, 1)", async () => {
  const proof = await prover.prove(RIGHT);
  expect(await check(null)).toBe("missing");
  expect(await check([proof, proof])).toBe("malformed");
});

test("checkProof() refuses what is no JWT (2), and one of a megabyte", async () => {
  expect(await check("proof")).toBe("malformed");
  expect(await check(`${await prover.prove(RIGHT)}.e30`)).toBe("malformed");
  expect(await check(await prover.prove({ ...RIGHT, padding: "v".repeat(2 ** 20) }))).toBe("malformed");
});

test.each([
  [{ jti: undefined }],
  [{ jti: "" }],
  [{ jti: 7 }],
  [{ jti: "v".repeat(257) }],
  [{ htm: undefined }],
  [{ htm: ["POST"] }],
  [{ htu: undefined }],
  [{ htu: {} }],
  [{ iat: undefined }],
  [{ iat: "1700000000" }],
  [{ iat: null }],
  [{ ath: 7 }],
  [{ nonce: null }],
])("checkProof() refuses a proof whose claims are absent or of another kind (3): %j", async (wrong) => {
  expect(await check(await prover.prove({ ...RIGHT, ...wrong }))).toBe("claims");
});

test("checkProof() refuses another type (4)", async () => {
  for (const typ of ["JWT", "dbsc+jwt", "DPOP+JWT", undefined])
    expect(await check(await prover.prove(RIGHT, { typ }))).toBe("type");
});

test("checkProof() refuses algorithms that are not asked for (5)", async () => {
  const header = Buffer.from(JSON.stringify({ alg: "none", typ: "dpop+jwt", jwk: prover.jwk })).toString("base64url");
  const payload = Buffer.from(JSON.stringify(RIGHT)).toString("base64url");
  expect(await check(`${header}.${payload}.AA`)).toBe("algorithm");
  expect(await check(await (await createProver("ES384")).prove(RIGHT))).toBe("algorithm");
});

test("checkProof() refuses a signature of another key (6), and a private key in the header (7)", async () => {
  const other = await createProver();
  expect(await check(await prover.prove(RIGHT, { jwk: other.jwk }))).toBe("signature");
  expect(await check(await prover.prove(RIGHT, { jwk: prover.privateJwk }))).toBe("key");
});

test("checkProof() refuses another method (8)", async () => {
  const proof = await prover.prove(RIGHT);
  expect(await check(proof, "PUT")).toBe("method");
  expect(await check(await prover.prove({ ...RIGHT, htm: "post" }))).toBe("method");
});

test.each([
  "https://api.example.com/orders/1",
  "https://api.example.com/Orders",
  "https://api.example.com/",
  "http://api.example.com/orders",
  "https://api.example.com:8443/orders",
  "https://evil.example/orders",
  "https://api.example.com.evil.example/orders",
  "https://api.example.com@evil.example/orders",
  "/orders",
  "",
])("checkProof() refuses a proof for %j (9)", async (htu) => {
  expect(await check(await prover.prove({ ...RIGHT, htu }))).toBe("address");
});

test.each([
  "HTTPS://API.EXAMPLE.COM/orders",
  "https://api.example.com:443/orders",
  "https://api.example.com/%6Frders",
  "https://api.example.com/x/../orders",
])("checkProof() accepts %s as another spelling of the address", async (htu) => {
  expect(await check(await prover.prove({ ...RIGHT, htu }))).toMatchObject({ jti: "one" });
});
