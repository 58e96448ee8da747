import { describe, expect, test } from "vitest";
import { withChanges } from "../../src/core/record_fields.ts";
import { parseRecord, serializeRecord } from "../../src/core/record_text.ts";

test.each([
  ["a line end in a name", "=a\nb", "1"],
  ["a line end in a value", "=a", "1\n2"],
  ["half of a surrogate pair in a name", "=\ud800", "1"],
  ["half of a surrogate pair in a value", "=a", "\udc00"],
  ["a name without a sign", "a", "1"],
  ["a value that begins with a sign", "=a", "=1"],
])("serializeRecord() keeps %s", (_what, name, value) => {
  const record = { fields: new Map([[name, value]]), lastSeenAt: 1_800_000_000_000 };
  const { fields, lastSeenAt } = parseRecord(serializeRecord(record));
  expect([[...fields], lastSeenAt]).toEqual([[[name, value]], 1_800_000_000_000]);
});

describe("the text of a record", () => {
  const fields = new Map([
    ["@", "[1]"],
    ["=a", "1"],
  ]);

  test.each([
    [1_800_000_000_000, "11800000000000\n@\n[1]\n=a\n1"],
    [1_800_000_000_000.7, "11800000000000\n@\n[1]\n=a\n1"],
    [9_999_999_999_999, "19999999999999\n@\n[1]\n=a\n1"],
    [5, "10000000000005\n@\n[1]\n=a\n1"],
    [0, "10000000000000\n@\n[1]\n=a\n1"],
    [-1, "10000000000000\n@\n[1]\n=a\n1"],
    [10_000_000_000_000, '2[10000000000000,[["@","[1]"],["=a","1"]]]'],
  ])("of the instant %d is the same in each version, and is read again", (lastSeenAt, text) => {
    expect(serializeRecord({ fields, lastSeenAt })).toBe(text);
    const read = parseRecord(text);
    expect([[...read.fields], read.lastSeenAt]).toEqual([[...fields], Math.max(0, Math.trunc(lastSeenAt))]);
  });

  test("is the same again when it was read", () => {
    const text = serializeRecord({ fields, lastSeenAt: 5 });
    expect(serializeRecord(parseRecord(text))).toBe(text);
    const { fields: read } = parseRecord(text);
    const changed = withChanges(read, new Map([["=a", "2"]]));
    expect(serializeRecord({ fields: changed, lastSeenAt: 6 })).toBe("10000000000006\n@\n[1]\n=a\n2");
  });

  test("of an ended session is its instant", () => {
    expect(serializeRecord({ fields: new Map(), lastSeenAt: 1_800_000_000_000 })).toBe("11800000000000");
    const read = parseRecord("11800000000000");
    expect([read.fields.size, read.lastSeenAt]).toEqual([0, 1_800_000_000_000]);
  });

  test.each([
    "",
    "1",
    "1180000000000",
    "1abcdefghijklm\n@\n[1]",
    "1-100000000000\n@\n[1]",
    "11800000000000x",
    "11800000000000@\n[1]",
    "2",
    "2[",
    "2[5]",
    '2["5",[["@","[1]"]]]',
    '2[5,[["@",1]]]',
    '2[5,[[1,"@"]]]',
    '2[5,[["@","[1]"],[1,2]]]',
    '2[5,[["@","[1]"],["=a"]]]',
    '2{"length":2,"0":5,"1":[]}',
    "OK",
    "x3",
    "0",
    '0[5,[["@","[1]"]]]',
    "[3]",
  ])("%j that was not written by this library gives a record without fields, and without an instant", (text) => {
    const { fields: read, lastSeenAt } = parseRecord(text);
    expect([[...read], lastSeenAt]).toEqual([[], 0]);
  });

  test.each(["3", "4 anything", '9[5,[["=a","1"]]]'])("%j of a newer version gives its number", (text) => {
    const { fields: read, lastSeenAt } = parseRecord(text);
    expect([[...read], lastSeenAt]).toEqual([[["@", text[0]]], 0]);
  });
});
