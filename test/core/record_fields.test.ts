import { describe, expect, test } from "vitest";
import {
  CAPABILITY,
  DATA,
  type Difference,
  EXPIRING,
  type Fields,
  FLASH,
  hasSign,
  METADATA_FIELD,
  RecordFields,
  SEALED_FIELD,
  toLines,
  withChanges,
} from "../../src/core/record_fields.ts";

const LINES = '\n@\n1\n=a\n"1"\n=b\n"2"';
const ENTRIES = [
  ["@", "1"],
  ["=a", '"1"'],
  ["=b", '"2"'],
] as const;

/** Fields of each kind. One name is the beginning of another, one value is the name of a field, and one key is empty. */
const OF_ALL_KINDS = new Map([
  ["@", "[1]"],
  ["%e", '9 "=a"'],
  ["~f", ' "1"'],
  ["*", "sealed"],
  ["=ab", '"=a"'],
  ["=a", "0"],
  ["=", "3"],
]);
const NAMES = [...OF_ALL_KINDS.keys()];

/** Large enough that the fields are kept as a map. */
const LARGE = new Map([...OF_ALL_KINDS, ["=large", `"${"x".repeat(2000)}"`]]);

/** The map after some changes. */
function changedMap(fields: Fields, ...changes: readonly Difference[]): Map<string, string> {
  const result = new Map(fields);
  for (const changed of changes)
    for (const [name, value] of changed) {
      if (value === null) result.delete(name);
      else result.set(name, value);
    }
  return result;
}

function sorted<Value>(list: Iterable<Value>): Value[] {
  return [...list].toSorted();
}

/** Compares fields with a map. It asks for all names twice. */
function expectSame(fields: RecordFields, expected: ReadonlyMap<string, string>): void {
  const names = [...NAMES, "=new", "%new", "=missing"];
  for (const name of [...names, ...names]) {
    expect([name, fields.get(name), fields.has(name)]).toEqual([name, expected.get(name), expected.has(name)]);
    expect([name, fields.get(name)]).toEqual([name, expected.get(name)]);
  }
  expect(sorted(fields)).toEqual(sorted(expected));
  expect(fields.size).toBe(expected.size);
}

/** Each way to keep the same fields. */
const WAYS: readonly (readonly [string, (fields: Fields) => RecordFields])[] = [
  ["lines", (fields) => new RecordFields(toLines(fields) ?? "")],
  ["a map", (fields) => new RecordFields(fields)],
];

describe("the fields of a record", () => {
  test.each([
    ["of lines", new RecordFields(LINES)],
    ["of a map", new RecordFields(new Map(ENTRIES))],
    ["with changes", new RecordFields(new Map([["=b", "0"]])).with(new Map(ENTRIES)).with(new Map())],
  ])("can be walked through as those of a map: %s", (_name, fields) => {
    expect(sorted(fields.keys())).toEqual(sorted(ENTRIES.map(([name]) => name)));
    expect(sorted(fields.values())).toEqual(sorted(ENTRIES.map(([, value]) => value)));
    expect(sorted(fields)).toEqual(sorted(ENTRIES));
    expect(sorted(fields.entries())).toEqual(sorted(ENTRIES));
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

  test.each(WAYS)("are what a map has, kept as %s", (_way, hold) => {
    expectSame(hold(OF_ALL_KINDS), OF_ALL_KINDS);
    expectSame(hold(LARGE), LARGE);
    expectSame(hold(new Map()), new Map());
  });

  test.each(WAYS)("are changed as a map is, kept as %s: whatever is changed, removed or added", (_way, hold) => {
    for (let first = 0; first < NAMES.length; first++) {
      for (let second = 0; second < NAMES.length; second++) {
        for (const value of [null, "1", '"something longer"']) {
          const changed = new Map([
            ["%new", value],
            [NAMES[first] ?? "", null],
            [NAMES[second] ?? "", value],
            ["=new", value],
          ]);
          const fields = hold(OF_ALL_KINDS).with(changed);
          const expected = changedMap(OF_ALL_KINDS, changed);
          expectSame(fields, expected);
          // Fields that are read from the stored lines are the same.
          expectSame(new RecordFields(fields.lines ?? ""), expected);
          expectSame(fields, expected);
        }
      }
    }
  });

  test.each(WAYS)(
    "are changed again as a map is, kept as %s, whether they were stored in between or not",
    (_way, hold) => {
      const first = new Map([
        ["=a", "1"],
        ["=new", "1"],
        ["~f", null],
        ["@", "[2]"],
      ]);
      const second = new Map([
        ["=a", null],
        ["=new", "2"],
        ["~f", "2"],
        ["=ab", null],
      ]);
      for (const isStored of [false, true]) {
        const between = hold(OF_ALL_KINDS).with(first);
        if (isStored) expect(between.lines).toBeDefined();
        const fields = between.with(second);
        expectSame(fields, changedMap(OF_ALL_KINDS, first, second));
        expectSame(new RecordFields(fields.lines ?? ""), changedMap(OF_ALL_KINDS, first, second));
        expectSame(between, changedMap(OF_ALL_KINDS, first));
      }
    },
  );

  test("that were changed are read without those that were not, however many were asked for before", () => {
    const fields = new RecordFields(toLines(LARGE) ?? "");
    for (const name of NAMES) fields.get(name);
    const changed = new Map([
      ["=a", "2"],
      ["=ab", null],
    ]);
    expectSame(fields.with(changed), changedMap(LARGE, changed));
    expectSame(fields, LARGE);
  });

  test("of the map that was given are not changed with them", () => {
    const given = new Map(OF_ALL_KINDS);
    const fields = withChanges(given, new Map([["=a", "2"]]));
    expect(fields.size).toBe(given.size);
    expect(fields.get("=a")).toBe("2");
    expect(given).toEqual(OF_ALL_KINDS);
  });

  test("have one field changed, whether they are of the class or a map, and stay as they were", () => {
    for (const fields of [new Map(OF_ALL_KINDS), new RecordFields(OF_ALL_KINDS), new RecordFields(LINES)]) {
      const before = new Map(fields);
      for (const name of ["@", "=new"]) {
        const changed = new Map([[name, "2"]]);
        expectSame(withChanges(fields, changed, changed), new Map([...before, [name, "2"]]));
      }
      expect(new Map(fields)).toEqual(before);
    }
  });

  test("add their older changes to a map of changes only if it is given for that", () => {
    const fields = new RecordFields(LINES).with(new Map([["=new", "1"]]));
    const changed = new Map([["@", "2"]]);
    const expected = new Map([...new Map(fields), ["@", "2"]]);
    expectSame(withChanges(fields, changed), expected);
    expect(changed).toEqual(new Map([["@", "2"]]));
    expectSame(withChanges(fields, changed, changed), expected);
    expect([...changed]).toEqual([
      ["@", "2"],
      ["=new", "1"],
    ]);
  });

  test("tell those of another class, such as those of another copy of the package", () => {
    expect([RecordFields.is(new RecordFields(LINES)), RecordFields.is(new Map())]).toEqual([true, false]);
  });
});

describe("the lines of a record", () => {
  test("have the data last, also when other fields are added later", () => {
    const fields = new Map([
      ["=a", "1"],
      ["@", "2"],
      ["%b", "3 4"],
    ]);
    expect(toLines(fields)).toBe("\n@\n2\n%b\n3 4\n=a\n1");
    const added = new Map([
      ["=c", "5"],
      ["~d", "6"],
    ]);
    expect(withChanges(new RecordFields(toLines(fields) ?? ""), added).lines).toBe(
      "\n~d\n6\n@\n2\n%b\n3 4\n=a\n1\n=c\n5",
    );
    expect(withChanges(fields, added).lines).toBe("\n@\n2\n%b\n3 4\n~d\n6\n=a\n1\n=c\n5");
  });

  test.each([
    ["removed", new Map([["~f", null]]), "\n@\n1\n=a\n2"],
    ["changed", new Map([["~f", "3"]]), "\n@\n1\n~f\n3\n=a\n2"],
    ["removed that is not there", new Map([["~g", null]]), "\n@\n1\n~f\n0\n=a\n2"],
    ["removed at the end", new Map([["=a", null]]), "\n@\n1\n~f\n0"],
    [
      "changed in another order than that of the text",
      new Map([
        ["=a", "4"],
        ["@", null],
      ]),
      "\n~f\n0\n=a\n4",
    ],
  ])("of which a field is %s", (_what, changed: Difference, expected) => {
    const fields = new RecordFields("\n@\n1\n~f\n0\n=a\n2").with(changed);
    expect(fields.lines).toBe(expected);
    expect(toLines(fields)).toBe(expected);
  });

  test.each([
    ["a name without a sign", "a", "1"],
    ["an empty name", "", "1"],
    ["a value that begins with a sign", "=a", "~1"],
    ["a line end in a name", "=a\nb", "1"],
    ["a line end in a value", "=a", "1\n2"],
    ["half of a surrogate pair in a name", "=\ud800", "1"],
    ["half of a surrogate pair in a value", "=a", "1\udc00"],
  ])("cannot hold %s", (_what, name, value) => {
    expect(toLines(new Map([[name, value]]))).toBeUndefined();
    expect(new RecordFields(new Map([[name, value]])).lines).toBeUndefined();
    expect(toLines(new Map([...OF_ALL_KINDS, [name, value]]))).toBeUndefined();
  });

  test("that were cut off have no half of a field", () => {
    const fields = new RecordFields("\n@\n1\n=a");
    expect([fields.get("=a"), fields.size, [...fields.keys()]]).toEqual([undefined, 1, ["@"]]);
  });

  test("that another program has damaged, so that a value looks like a name, are changed all the same", () => {
    for (const changed of [
      { "=a": '"3"', "=b": '"4"' },
      { "=b": '"4"', "=a": '"3"' },
      { "=a": '"3"', "=b": null },
    ]) {
      // The value of `=a` is missing.
      const damaged = new RecordFields('\n@\n1\n=a\n=b\n"2"').with(new Map(Object.entries(changed)));
      const read = new RecordFields(damaged.lines ?? "");
      expect(Object.keys(changed).map((name) => read.get(name) ?? null)).toEqual(Object.values(changed));
    }
  });

  test("have the signs that stored records have", () => {
    expect([DATA, EXPIRING, FLASH, CAPABILITY, SEALED_FIELD, METADATA_FIELD]).toEqual(["=", "%", "~", "*", "*", "@"]);
  });

  test("have the sign of each kind at the beginning of a name, and of nothing else", () => {
    expect(["=a", "%a", "~a", "*a", "@"].map(hasSign)).toEqual([true, true, true, true, true]);
    expect(["", "a", "?", '"="', "1 =", "[", "!"].map(hasSign)).toEqual(Array.from({ length: 7 }, () => false));
  });
});

describe("mayHave()", () => {
  const withoutFlash = changedMap(OF_ALL_KINDS, new Map([["~f", null]]));

  test("is false for lines without a field of the kind, and true for those with one", () => {
    for (const sign of ["@", "=", "%", "~", "*"]) {
      const without = [...OF_ALL_KINDS].filter(([name]) => !name.startsWith(sign));
      expect(new RecordFields(toLines(OF_ALL_KINDS) ?? "").mayHave(sign)).toBe(true);
      const fields = new RecordFields(toLines(new Map(without)) ?? "");
      expect(fields.mayHave(sign)).toBe(false);
      expect(fields.with(new Map([[`${sign}x`, "1"]])).mayHave(sign)).toBe(true);
    }
    // A sign at the end of a key is not the sign of a name.
    expect(new RecordFields('\n=~\n"~"\n=a%\n1').mayHave("~")).toBe(false);
    expect(new RecordFields("").mayHave("=")).toBe(false);
  });

  test("is false when another kind is changed, and true when this one is", () => {
    const fields = new RecordFields(toLines(withoutFlash) ?? "");
    expect(fields.with(new Map([["=a~", "1"]])).mayHave("~")).toBe(false);
    expect(
      fields
        .with(
          new Map([
            ["=a", "1"],
            ["~", "1"],
          ]),
        )
        .mayHave("~"),
    ).toBe(true);
  });

  test("is never false for a map with fields, and is for one without", () => {
    expect(new RecordFields(OF_ALL_KINDS).mayHave("~")).toBe(true);
    expect(new RecordFields(new Map()).mayHave("~")).toBe(false);
  });
});

describe("changesSince()", () => {
  const changed = new Map([["=a", "2"]]);

  test.each(WAYS)("gives the changes, kept as %s", (_way, hold) => {
    const before = hold(OF_ALL_KINDS);
    const after = before.with(changed);
    expect(after.changesSince(before)).toEqual(changed);
    // Reading `lines` stands for storing. Later changes are relative to that state.
    expect(after.lines).toBeDefined();
    const last = after.with(new Map([["=ab", null]]));
    expect(last.changesSince(after)).toEqual(new Map([["=ab", null]]));
    expect(last.changesSince(before)).toBeUndefined();
  });

  test("gives the changes of a map that was given", () => {
    expect(withChanges(OF_ALL_KINDS, changed).changesSince(OF_ALL_KINDS)).toEqual(changed);
    expect(withChanges(OF_ALL_KINDS, changed).changesSince(new Map(OF_ALL_KINDS))).toBeUndefined();
  });

  test("gives nothing for fields that had changes of their own", () => {
    const before = new RecordFields(LINES).with(new Map([["=b", null]]));
    expect(before.with(changed).changesSince(before)).toBeUndefined();
  });

  test("gives nothing for other fields", () => {
    const after = new RecordFields(LINES).with(changed);
    expect(after.changesSince(new RecordFields('\n=a\n"1"'))).toBeUndefined();
    expect(after.changesSince(new RecordFields(OF_ALL_KINDS).with(changed))).toBeUndefined();
  });
});
