import { createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { isEqual, keyFor, PLAIN, signedForm, toBase64Url } from "../src/signing.ts";

const SECRET = "a secret of at least thirty-two bytes";
const OLDER = "an older secret of thirty-two bytes or more";
const ID = "aB3_-aB3_-aB3_-aB3_-aB";

/** The signature by another implementation than the one under test. */
const signatureOf = (id: string, secret: string): string => {
  const key = createHmac("sha256", secret).update("with-session id").digest();
  return createHmac("sha256", key).update(id).digest("base64url");
};

describe("signedForm()", () => {
  test("signs with the first secret, by HMAC-SHA-256 under a key for ids alone", () => {
    expect(signedForm([SECRET, OLDER]).toWire(ID)).toBe(`${ID}.${signatureOf(ID, SECRET)}`);
  });

  test.each([SECRET, OLDER])("takes what any of its secrets signed, such as %j", (secret) => {
    expect(signedForm([SECRET, OLDER]).fromWire(`${ID}.${signatureOf(ID, secret)}`)).toEqual({
      id: ID,
      wire: `${ID}.${signatureOf(ID, SECRET)}`,
    });
  });

  test.each(["a", "ä", ID])("gives back what toWire() made of %j", (id) => {
    const form = signedForm([SECRET]);
    expect(form.fromWire(form.toWire(id))).toEqual({ id, wire: form.toWire(id) });
  });

  test.each([
    ["another secret signed it", `${ID}.${signatureOf(ID, `${SECRET}!`)}`],
    ["the signature is another id's", `${ID}.${signatureOf(`${ID}A`, SECRET)}`],
    ["it was signed for another purpose", `${ID}.${createHmac("sha256", SECRET).update(ID).digest("base64url")}`],
    ["there is no signature", ID],
    ["the signature is empty", `${ID}.`],
    ["the signature is cut off", `${ID}.${signatureOf(ID, SECRET).slice(0, -1)}`],
    ["something follows the signature", `${ID}.${signatureOf(ID, SECRET)}A`],
    ["there is nothing", ""],
  ])("gives null when %s", (_name, wire) => {
    expect(signedForm([SECRET, OLDER]).fromWire(wire)).toBeNull();
  });

  test("hashes no id that is longer than a cookie may be", () => {
    const form = signedForm([SECRET]);
    const longest = "a".repeat(4096);
    expect(form.fromWire(form.toWire(longest))?.id).toBe(longest);
    expect(form.fromWire(form.toWire(`${longest}a`))).toBeNull();
  });
});

test("PLAIN leaves ids as they are, both ways", () => {
  expect(PLAIN.toWire(ID)).toBe(ID);
  expect(PLAIN.fromWire(ID)).toEqual({ id: ID, wire: ID });
});

test("keyFor() gives another key for another purpose, as another implementation has it", () => {
  const key = createHmac("sha256", "ä").update("with-session csrf").digest();
  expect(Buffer.from(keyFor("csrf", "ä"))).toEqual(key);
});

test.each([
  ["", "", true],
  ["abc", "abc", true],
  ["abc", "abd", false],
  ["abc", "bbc", false],
  ["abc", "ab", false],
  ["ab", "abc", false],
  ["a", "", false],
  ["a", "\u0161", false],
  // Two differences that would cancel each other out, were they added up.
  ["ab", "ba", false],
  ["aa", "bb", false],
])("isEqual() of %j and %j is %j", (left, right, expected) => {
  expect(isEqual(left, right)).toBe(expected);
});

test.each(Array.from({ length: 8 }, (_, length) => length))("toBase64Url() is that of Node for %i bytes", (length) => {
  for (const byte of [0, 251, 254, 255]) {
    const bytes = new Uint8Array(length).fill(byte);
    expect(toBase64Url(bytes)).toBe(Buffer.from(bytes).toString("base64url"));
  }
});
