import { expect, test } from "vitest";
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
