import { createHash } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { nodeCrypto, pad, sha256, unpad } from "../../src/core/hash.ts";

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

/** Loads the module anew with this `getBuiltinModule`. */
async function freshWhere(getBuiltinModule: (() => unknown) | undefined) {
  vi.resetModules();
  const runtime: { getBuiltinModule?: unknown } = process;
  vi.spyOn(runtime, "getBuiltinModule", "get").mockReturnValue(getBuiltinModule);
  return await import("../../src/core/hash.ts");
}

describe("nodeCrypto()", () => {
  test("is Node's crypto, which is looked for once, and not on import", async () => {
    vi.resetModules();
    const look = vi.spyOn(process, "getBuiltinModule");
    const fresh = await import("../../src/core/hash.ts");
    expect(look).not.toHaveBeenCalled();
    const found = fresh.nodeCrypto();
    expect(found?.hash("sha256", "", "hex")).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(fresh.nodeCrypto()).toBe(found);
    expect(look).toHaveBeenCalledTimes(1);
  });

  test.each<[string, (() => unknown) | undefined]>([
    ["nothing tells a runtime's modules", undefined],
    ["there is no such module", () => undefined],
    [
      "a bundler put functions there that throw",
      () => {
        throw new Error("Not implemented");
      },
    ],
    ["it has no hash of one call", () => ({})],
    [
      "its hash only throws",
      () => ({
        hash: () => {
          throw new Error("Not implemented");
        },
      }),
    ],
    ["its hash is another one", () => ({ hash: () => "abc" })],
  ])("is null when %s", async (_when, getBuiltinModule) => {
    expect((await freshWhere(getBuiltinModule)).nodeCrypto()).toBeNull();
  });
});

describe("sha256()", () => {
  const texts = ["", "abc", "\u007f", "\u0080", "a text with ä and €", "a\uD800", "a".repeat(1000)];

  test.each(texts)("is the SHA-256 in hexadecimal of %j, at once", (text) => {
    expect(nodeCrypto()).not.toBeNull();
    expect(sha256(text)).toBe(createHash("sha256").update(text).digest("hex"));
  });

  test.each(texts)("is the same of %j by WebCrypto, where Node's crypto is absent", async (text) => {
    const hash = (await freshWhere(undefined)).sha256(text);
    expect(hash).toBeInstanceOf(Promise);
    expect(await hash).toBe(sha256(text));
  });
});

const ID = "aB3_-aB3_-aB3_-aB3_-aB3_-aB3_-aB";
const OLD = "an-old-id-of-132-bits-";

describe("pad()", () => {
  test.each(["", "A", ID, "a".repeat(31), "a".repeat(33), "z".repeat(64), "-_".repeat(2048)])(
    "gives a plain text of which unpad() makes %j again",
    (text) => {
      const padded = pad(text, OLD);
      expect(padded).toMatch(/^[A-Za-z0-9_-]+$/);
      expect(unpad(String(padded), OLD)).toBe(text);
    },
  );

  test("gives the same by WebCrypto, where Node's crypto is absent", async () => {
    const fresh = await freshWhere(undefined);
    expect(await fresh.pad(ID, OLD)).toBe(pad(ID, OLD));
    expect(await fresh.unpad(String(pad(ID, OLD)), OLD)).toBe(ID);
  });

  test("hides the text: no pad serves two texts, nor two secrets", () => {
    expect(pad(ID, OLD)).not.toContain(ID.slice(0, 4));
    const number = (padded: unknown, at: number): number =>
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".indexOf(String(padded).slice(16).charAt(at));
    const [one, two] = [pad("A".repeat(200), OLD), pad("B".repeat(200), OLD)];
    const differences = new Set(Array.from({ length: 200 }, (_, at) => number(one, at) ^ number(two, at)));
    expect(differences.size).toBeGreaterThan(40);
    expect(pad(ID, `${OLD}2`)).not.toBe(pad(ID, OLD));
  });
});

describe("unpad()", () => {
  const padded = String(pad(ID, OLD));

  test("gives null with another secret", () => {
    expect(unpad(padded, `${OLD}2`)).toBeNull();
    expect(unpad(padded, "")).toBeNull();
  });

  test("gives null when one character differs, is missing or is of another alphabet", () => {
    for (let at = 0; at < padded.length; at++) {
      const other = padded[at] === "A" ? "B" : "A";
      for (const character of [other, "", "!", "ä"]) {
        expect(unpad(padded.slice(0, at) + character + padded.slice(at + 1), OLD), `${at} ${character}`).toBeNull();
      }
    }
  });

  test("gives null when a character of another alphabet is added", () => {
    for (let at = 0; at <= padded.length; at++)
      for (const character of ["!", " ", "ä", "\n"])
        expect(unpad(padded.slice(0, at) + character + padded.slice(at), OLD), `${at} ${character}`).toBeNull();
  });

  test.each(["", "A", "!", "ä".repeat(50), " "])("gives null for %j", (text) => {
    expect(unpad(text, OLD)).toBeNull();
  });
});
