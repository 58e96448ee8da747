import { describe, expect, test } from "vitest";
import { RecordFields, withChanges } from "../../src/core/record_fields.ts";

const LINES = '\n@\n1\n=a\n"1"\n=b\n"2"';
const ENTRIES = [
  ["@", "1"],
  ["=a", '"1"'],
  ["=b", '"2"'],
] as const;

describe("the fields of a record", () => {
  test.each([
    ["of lines", new RecordFields(LINES)],
    ["of a map", new RecordFields(new Map(ENTRIES))],
    ["with changes", new RecordFields(new Map([["=b", "0"]])).with(new Map(ENTRIES)).with(new Map())],
  ])("can be walked through as those of a map: %s", (_name, fields) => {
    const sorted = <Value>(list: Iterable<Value>): Value[] => [...list].toSorted();
    expect(sorted(fields.keys())).toEqual(sorted(ENTRIES.map(([name]) => name)));
    expect(sorted(fields.values())).toEqual(sorted(ENTRIES.map(([, value]) => value)));
    expect(sorted(fields)).toEqual(sorted(ENTRIES));
    const seen: [string, string][] = [];
    fields.forEach((value, name, all) => {
      expect(all).toBe(fields);
      seen.push([name, value]);
    });
    expect(sorted(seen)).toEqual(sorted(ENTRIES));
    expect(fields.size).toBe(3);
  });

  test("are the very same when nothing changes", () => {
    const fields = new RecordFields(LINES);
    expect(withChanges(fields, new Map())).toBe(fields);
  });
});
