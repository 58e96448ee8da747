import { describe, expect, test } from "vitest";
import { CLOCK_SKEW } from "../../../src/core/expiry.ts";
import { includesWrite, lastWrite, withWrite } from "../../../src/core/store_repository/write_names.ts";

const NOW = 1_800_000_000_000;
const TRAITS = { consistency: "strong", compareAndSet: true, maxBytes: Infinity } as const;
const CREATED = { createdAt: 1, absoluteSince: 2 };

/** A name as long as those of real writes. */
function nameOf(number: number): string {
  return String(number).padStart(16, "w");
}

/** The metadata after a write. It uses only the traits of the store. */
function write(metadata: Parameters<typeof withWrite>[0], writeId: string, now = NOW, exact = false) {
  const unused = (): never => {
    throw new Error("It must not be called");
  };
  return withWrite(metadata, {
    writeId,
    now,
    store: { traits: { ...TRAITS, ...(exact ? { exact } : {}) }, load: unused, save: unused, delete: unused },
  });
}

/** Metadata with this many names, the newest first. */
function written(count: number) {
  return {
    ...CREATED,
    writes: Array.from({ length: count }, (_, at) => nameOf(count - at)).join(""),
    writtenAt: NOW,
  };
}

/** The numbers of the names in metadata. */
function namesIn({ writes = "" }: { readonly writes?: string | undefined }): number[] {
  expect(writes.length % 16).toBe(0);
  return (writes.match(/.{16}/g) ?? []).map((name) => Number(name.replaceAll("w", "")));
}

describe("withWrite()", () => {
  test("adds the name and the instant of a write to those before it, and leaves the rest as it is", () => {
    const first = write(CREATED, nameOf(1));
    expect(first).toEqual({ ...CREATED, writes: nameOf(1), writtenAt: NOW });
    expect(write(first, nameOf(2), NOW + 5)).toEqual({ ...CREATED, writes: nameOf(2) + nameOf(1), writtenAt: NOW + 5 });
  });

  test("adds the name of a write once", () => {
    const first = write(CREATED, nameOf(1));
    expect(write(first, nameOf(1), NOW + 5)).toBe(first);
    const second = write(first, nameOf(2), NOW + 5);
    expect(write(second, nameOf(2), NOW + 9)).toBe(second);
  });

  test.each([
    ["at the same time", 0, 32],
    ["within ten seconds", 9999, 32],
    ["by a clock that is ten seconds behind", -9999, 32],
    ["ten seconds later", 10_000, 8],
    ["ten seconds earlier, by another clock", -10_000, 8],
    ["as late as it can look by another clock", 9999 + CLOCK_SKEW, 8],
    ["later than that", 10_000 + CLOCK_SKEW, 1],
    ["earlier than that", -10_000 - CLOCK_SKEW, 1],
  ])("keeps the names that may be asked for: %s", (_when, age, count) => {
    const expected = [99, ...Array.from({ length: count - 1 }, (_, at) => 40 - at)];
    expect(namesIn(write(written(40), nameOf(99), NOW + age))).toEqual(expected);
  });

  test("keeps the last name alone for a store that sends no write twice", () => {
    expect(namesIn(write(written(3), nameOf(99), NOW, true))).toEqual([99]);
  });
});

test("includesWrite() knows each name, and no text between two names", () => {
  const metadata = written(3);
  expect([0, 1, 2, 3, 4].map((number) => includesWrite(metadata, nameOf(number)))).toEqual([
    false,
    true,
    true,
    true,
    false,
  ]);
  expect(includesWrite(metadata, metadata.writes.slice(1, 17))).toBe(false);
  expect(includesWrite(CREATED, nameOf(1))).toBe(false);
});

test("lastWrite() is the newest name, if there is one", () => {
  expect(lastWrite(written(3))).toBe(nameOf(3));
  expect(lastWrite(CREATED)).toBeUndefined();
});
