import { describe, expect, test } from "vitest";
import { NO_FIELDS, RecordFields, withChanges } from "../../../src/core/record_fields.ts";
import { difference, isTombstone, writeOf } from "../../../src/core/store_repository/record_write.ts";

const BEFORE = new Map([
  ["@", "[1]"],
  ["=same", "1"],
  ["=changed", "1"],
  ["=removed", "1"],
]);
const AFTER = new Map([
  ["@", "[1]"],
  ["=same", "1"],
  ["=changed", "2"],
  ["=added", "3"],
]);
const CHANGED = new Map([
  ["=changed", "2"],
  ["=added", "3"],
  ["=removed", null],
]);

describe("difference()", () => {
  test("has what was changed and added, and null for what was removed", () => {
    expect(difference(BEFORE, AFTER)).toEqual(CHANGED);
    expect(difference(new RecordFields(BEFORE), new RecordFields(AFTER))).toEqual(CHANGED);
    expect(difference(NO_FIELDS, AFTER)).toEqual(AFTER);
    expect(difference(BEFORE, NO_FIELDS)).toEqual(new Map([...BEFORE.keys()].map((name) => [name, null])));
  });

  test("is empty between states that are the same", () => {
    expect(difference(BEFORE, BEFORE).size).toBe(0);
    expect(difference(BEFORE, new Map(BEFORE)).size).toBe(0);
  });

  test("of a new record removes nothing, although a field was removed before the record is written", () => {
    const stored = withChanges(NO_FIELDS, new Map(Object.entries({ "@": "[1]", "=a": "1" })));
    expect([...difference(NO_FIELDS, withChanges(stored, new Map([["=a", null]])))]).toEqual([["@", "[1]"]]);
  });

  test("is the changes themselves where they are known", () => {
    expect(difference(BEFORE, withChanges(BEFORE, CHANGED))).toBe(CHANGED);
    expect(difference(NO_FIELDS, withChanges(NO_FIELDS, AFTER))).toBe(AFTER);
  });
});

test("writeOf() tells a store what has changed, and what it expects to find", () => {
  const record = { fields: AFTER, lastSeenAt: 5 };
  const write = writeOf(record, BEFORE, 7, 9);
  expect(write).toMatchObject({ record, expected: 7, expiresAt: 9 });
  expect(write.changed).toEqual(CHANGED);
  expect(write.changed).toBe(write.changed);
  expect(writeOf(record, BEFORE, null, 9).expected).toBeNull();
});

test("writeOf() lets an engine remove a record after 50 years, however long the timeout is", () => {
  const record = { fields: AFTER, lastSeenAt: 5 };
  const latest = 5 + 50 * 365 * 86_400_000;
  for (const [given, expected] of [
    [latest - 1, latest - 1],
    [latest + 1, latest],
    [Infinity, latest],
  ] as const)
    expect(writeOf(record, BEFORE, null, given).expiresAt).toBe(expected);
});

describe("isTombstone()", () => {
  test("is true for a record with an instant, and nothing else", () => {
    expect(isTombstone({ fields: new Map(), lastSeenAt: 1 })).toBe(true);
    expect(isTombstone({ fields: new RecordFields(""), lastSeenAt: 1_800_000_000_000 })).toBe(true);
  });

  test.each([
    ["no instant", new Map(), 0],
    ["an instant before all others", new Map(), -1],
    ["an instant that is no number", new Map(), NaN],
    ["an instant without an end", new Map(), Infinity],
    ["an instant that cannot be compared", new Map(), Object.create(null)],
    ["metadata", new Map([["@", "[1]"]]), 1],
    ["data, but no metadata", new Map([["=a", "1"]]), 1],
    ["anything but a field", new RecordFields("\n=a\n1"), 1],
  ])("is false for a record with %s", (_what, fields, lastSeenAt) => {
    expect(isTombstone({ fields, lastSeenAt })).toBe(false);
  });
});
