import { createHmac, hash } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { fromBase64Url, toBase64Url } from "../../src/core/base64url.ts";
import { isEqual, signer } from "../../src/crypto/hmac.ts";
import { deriveKey } from "../../src/crypto/keys.ts";

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

const KEY = new Uint8Array(32).map((_, at) => at * 7);
/** Computes the signature with another implementation than the one under test. */
const signatureOf = (text: string): string => createHmac("sha256", KEY).update(text).digest("base64url");
const texts = [
  "",
  "abc",
  "ä€",
  "a\uD800",
  "a".repeat(511),
  "a".repeat(512),
  "a".repeat(513),
  "ä".repeat(256),
  "a".repeat(5000),
];

/** Loads the module anew with this node:crypto. */
async function freshWith(crypto: unknown) {
  vi.resetModules();
  vi.spyOn(process, "getBuiltinModule").mockReturnValue(crypto as never);
  return await import("../../src/crypto/hmac.ts");
}

describe("signer()", () => {
  test.each(texts)("signs at once with HMAC-SHA-256, as another implementation has it: %j", (text) => {
    expect(signer(KEY)(text)).toBe(signatureOf(text));
  });

  test("signs one text after the other, long and short, the same", () => {
    const sign = signer(KEY);
    for (const text of [...texts, ...texts.toReversed()]) expect(sign(text)).toBe(signatureOf(text));
  });

  test.each<[string, unknown]>([
    ["is absent", undefined],
    [
      "has no hash of bytes",
      { hash: (name: string, text: string) => (typeof text === "string" ? hash(name, text) : "") },
    ],
    [
      "throws for bytes",
      {
        hash: (name: string, text: unknown) => {
          if (typeof text !== "string") throw new Error("Not implemented");
          return hash(name, text);
        },
      },
    ],
    [
      "throws for an empty text",
      {
        hash: (name: string, data: string | Uint8Array, encoding?: "base64url") => {
          if (data.length === 64) throw new Error("Not implemented");
          return hash(name, data, encoding ?? "hex");
        },
      },
    ],
  ])("signs the same by WebCrypto where Node's crypto %s", async (_when, crypto) => {
    const sign = (await freshWith(crypto)).signer(KEY);
    for (const text of texts) {
      const signature = sign(text);
      expect(signature).toBeInstanceOf(Promise);
      expect(await signature).toBe(signatureOf(text));
    }
  });
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
  // Two differences that would cancel each other out in a sum.
  ["ab", "ba", false],
  ["aa", "bb", false],
])("isEqual() of %j and %j is %j", (left, right, expected) => {
  expect(isEqual(left, right)).toBe(expected);
});

describe("deriveKey()", () => {
  const key = (...given: Parameters<typeof deriveKey>) =>
    Buffer.from(deriveKey(...given) as Uint8Array).toString("hex");

  test("is one SHA-256 of the purpose and the secrets", () => {
    expect(key("record", "id ä", "secret")).toBe(
      hash("sha256", JSON.stringify(["with-session record", "id ä", "secret"])),
    );
  });

  test("gives another key for another purpose or secret, and wherever the texts are divided otherwise", () => {
    const keys = [
      key("a", "b", "c"),
      key("b", "b", "c"),
      key("a", "bc"),
      key("a", "b", ""),
      key("a", "c", "b"),
      key("a", 'b","c'),
    ];
    expect(new Set(keys).size).toBe(keys.length);
  });
});

test.each(Array.from({ length: 8 }, (_, length) => length))(
  "base64url of %i bytes is that of Node, and back",
  (length) => {
    for (const byte of [0, 251, 254, 255]) {
      const bytes = new Uint8Array(length).fill(byte);
      const text = toBase64Url(bytes);
      expect(text).toBe(Buffer.from(bytes).toString("base64url"));
      expect(fromBase64Url(text)).toEqual(bytes);
    }
  },
);
