import { createHash } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { isId, keyOfId, mintId, mintToken, portableKeyOfId } from "../src/session_id.ts";

afterEach(() => vi.restoreAllMocks());

/** Lets the generator give 0, 1, 2 … 255, 0 … */
function countInsteadOfChance(): void {
  let next = 0;
  vi.spyOn(crypto, "getRandomValues").mockImplementation((bytes) => {
    if (bytes instanceof Uint8Array) for (let at = 0; at < bytes.length; at++) bytes[at] = next++;
    return bytes;
  });
}

describe("mintId()", () => {
  test("gives 32 characters that need no escaping", () => {
    expect(mintId()).toMatch(/^[A-Za-z0-9_-]{32}$/);
  });

  test("gives each of 64 characters as often as any other when all bytes come as often", () => {
    countInsteadOfChance();
    const times = new Map<string, number>();
    for (let n = 0; n < 8; n++) for (const character of mintId()) times.set(character, (times.get(character) ?? 0) + 1);
    expect(times.size).toBe(64);
    expect(new Set(times.values())).toEqual(new Set([4]));
  });

  test("gives what it takes itself for an id", () => {
    expect(isId(mintId())).toBe(true);
  });
});

test("mintToken() gives 48 random bits, others each time", () => {
  expect(mintToken()).toMatch(/^[0-9a-f]{12}$/);
  expect(mintToken()).not.toBe(mintToken());
});

test.each([
  ["22 characters", "aB3_-aB3_-aB3_-aB3_-aB", true],
  ["21 characters", "aB3_-aB3_-aB3_-aB3_-a", false],
  ["4096 characters", "a".repeat(4096), true],
  ["4097 characters", "a".repeat(4097), false],
  ["nothing", "", false],
  ["a dot", `${"a".repeat(22)}.`, false],
  ["a space in front", ` ${"a".repeat(22)}`, false],
  ["a line feed behind", `${"a".repeat(22)}\n`, false],
  ["a letter that is not ASCII", "ä".repeat(22), false],
  ["a path", `../${"a".repeat(22)}`, false],
])("isId() knows an id by its shape when it is told %s", (_name, text, expected) => {
  expect(isId(text)).toBe(expected);
});

test.each(["", "abc", "\u007f", "\u0080", "an id with ä and €", "a".repeat(1000)])(
  "keyOfId() is the SHA-256 in hexadecimal of %j, on every runtime",
  (id) => {
    expect(keyOfId(id)).toBe(createHash("sha256").update(id).digest("hex"));
    expect(portableKeyOfId(id)).toBe(keyOfId(id));
  },
);

test("keyOfId() is the same where the runtime has no crypto of Node's", async () => {
  const key = keyOfId("an id");
  vi.resetModules();
  vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined!);
  const portable = await import("../src/session_id.ts");
  expect(portable.keyOfId("an id")).toBe(key);
});
