import { createHash } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createId, createWriteId, isDefaultId, isId } from "../../src/core/session_id.ts";
import { keyOfId } from "../../src/core/store_repository/store_key.ts";

afterEach(() => vi.restoreAllMocks());

/** Makes the random generator return 0, 1, 2 … 255, 0 … */
function countInsteadOfChance(): void {
  let next = 0;
  vi.spyOn(crypto, "getRandomValues").mockImplementation((bytes) => {
    if (bytes instanceof Uint8Array) for (let at = 0; at < bytes.length; at++) bytes[at] = next++;
    return bytes;
  });
}

describe("createId()", () => {
  test("gives 32 characters that need no escaping", () => {
    expect(createId()).toMatch(/^[A-Za-z0-9_-]{32}$/);
  });

  test("gives each of 64 characters as often as any other when all bytes come as often", () => {
    countInsteadOfChance();
    const times = new Map<string, number>();
    for (let n = 0; n < 8; n++)
      for (const character of createId()) times.set(character, (times.get(character) ?? 0) + 1);
    expect(times.size).toBe(64);
    expect(new Set(times.values())).toEqual(new Set([4]));
  });

  test("gives what it takes itself for an id", () => {
    expect(isId(createId())).toBe(true);
  });
});

describe("createWriteId()", () => {
  test("gives 16 or more characters that need no escaping, others each time", () => {
    const ids = Array.from({ length: 10_000 }, createWriteId);
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{16,}$/);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("draws random bits for 64 names at a time", () => {
    const draw = vi.spyOn(crypto, "randomUUID");
    for (let n = 0; n < 640; n++) createWriteId();
    expect(draw.mock.calls.length).toBeLessThanOrEqual(11);
    expect(draw.mock.calls.length).toBeGreaterThanOrEqual(10);
  });
});

test.each([
  ["an id of the default generator", createId(), true],
  ["31 characters", "a".repeat(31), false],
  ["33 characters", "a".repeat(33), false],
  ["30 letters", "a".repeat(30), false],
  ["4000 letters", "a".repeat(4000), false],
  ["a dot", `${"a".repeat(31)}.`, false],
  ["a line feed behind", `${"a".repeat(31)}\n`, false],
  ["a line feed behind 32 characters", `${"a".repeat(32)}\n`, false],
  ["nothing", "", false],
])("isDefaultId() tells whether the default generator can have made %s", (_name, text, expected) => {
  expect(isDefaultId(text)).toBe(expected);
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

test.each(["abc", "an id with ä and €", "a".repeat(1000)])("keyOfId() is the SHA-256 in hexadecimal of %j", (id) => {
  expect(keyOfId(id)).toBe(createHash("sha256").update(id).digest("hex"));
});

test("createWriteId() gives names of exactly 16 characters, of which none comes twice", () => {
  const names = Array.from({ length: 200 }, createWriteId);
  expect(names.filter((name) => !/^[A-Za-z0-9_-]{16}$/.test(name))).toEqual([]);
  expect(new Set(names).size).toBe(200);
});
