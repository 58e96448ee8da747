import { describe, expect, test } from "vitest";
import { FieldsView, fieldName, keyOf, splitEnd, sweep, withEnd } from "../../src/core/fields.ts";
import { DATA, EXPIRING, FLASH, RecordFields } from "../../src/core/record_fields.ts";

const KEYS = [
  "",
  "@",
  "=",
  "~",
  "%",
  "a",
  "__proto__",
  "a\nb",
  '"',
  '"a"',
  "\ud800",
  "1 2",
  "1e3",
  "[1]",
  ' "a"',
  'a"',
];

describe("fieldName()", () => {
  test("gives another name to each kind of each key, of which keyOf() gives the key", () => {
    const names = KEYS.flatMap((key) => ([DATA, EXPIRING, FLASH] as const).map((sign) => fieldName(sign, key)));
    expect(new Set(names).size).toBe(3 * KEYS.length);
    expect(names.map(keyOf)).toEqual(KEYS.flatMap((key) => [key, key, key]));
  });

  test("keyOf() answers when a name is no name of this library", () => {
    expect(['="', '="a" b', "=", '=null"'].map(keyOf)).toEqual(['"', '"a" b', "", 'null"']);
  });

  test("gives a name that one line of UTF-8 can hold", () => {
    for (const key of KEYS) {
      const name = fieldName(DATA, key);
      expect(name.includes("\n") || !name.isWellFormed()).toBe(false);
    }
  });

  test("writes a key as it is where it can, as records that are stored have it", () => {
    const names = ["a", 'a"', ' "a"', "1e3", '"a', "a\nb", "\ud800"].map((key) => fieldName(DATA, key));
    expect(names).toEqual([
      "=a",
      '=a"',
      '= "a"',
      "=1e3",
      String.raw`="\"a"`,
      String.raw`="a\nb"`,
      String.raw`="\ud800"`,
    ]);
  });

  test.each([
    [undefined],
    [5],
    [["a"]],
    [{ startsWith: () => false, includes: () => false, isWellFormed: () => true }],
  ])("refuses a key that is no string: %s", (key) => {
    expect(() => Reflect.apply(fieldName, undefined, [DATA, key])).toThrow(/^A key of a session must be a string/);
  });
});

test.each([
  ["", undefined],
  ["a b", undefined],
  ["", 5],
  [" a", 1_795_804_303_032],
])("splitEnd() gives what withEnd() got: %j, which ends at %j", (text, endsAt) => {
  expect(splitEnd(withEnd(text, endsAt))).toEqual({ text, endsAt: endsAt ?? Infinity });
});

describe("FieldsView", () => {
  const base = new Map([
    ["=same", "1"],
    ["=changed", "1"],
    ["=removed", "1"],
    ["~flash", "1"],
  ]);

  /** A view with one change of each kind. */
  function changedView(): FieldsView {
    const view = new FieldsView(base);
    view.set("=changed", "2");
    view.set("=new", "");
    view.delete("=removed");
    return view;
  }

  test("get() gives the changed text, and the base's where nothing changed", () => {
    const view = changedView();
    const names = ["=same", "=changed", "=new", "=removed", "=missing"];
    expect(names.map((name) => view.get(name))).toEqual(["1", "2", "", undefined, undefined]);
  });

  test("changed has only what differs, and null for what was removed", () => {
    const view = changedView();
    view.set("=same", "1");
    view.delete("=missing");
    view.set("~flash", "2");
    view.set("~flash", "1");
    view.set("=for a moment", "1");
    view.delete("=for a moment");
    expect(view.changed).toEqual(
      new Map([
        ["=changed", "2"],
        ["=new", ""],
        ["=removed", null],
      ]),
    );
  });

  test("nothing has changed when nothing new is set, and nothing that is there deleted", () => {
    const view = new FieldsView(base);
    view.set("=same", "1");
    view.delete("=missing");
    expect([view.changed.size, view.fields]).toEqual([0, base]);
  });

  test("names() gives those of one kind, removed ones left out", () => {
    expect(changedView().names(DATA)).toEqual(["=same", "=changed", "=new"]);
    expect(changedView().names(FLASH)).toEqual(["~flash"]);
    expect(changedView().names(EXPIRING)).toEqual([]);
  });

  test("fields that a caller has got stay as they are when the view changes", () => {
    const view = changedView();
    const before = view.fields;
    view.set("=later", "1");
    view.set("=changed", "1");
    view.delete("=same");
    expect([before.get("=later"), before.get("=changed"), before.get("=same")]).toEqual([undefined, "2", "1"]);
    expect([view.get("=later"), view.get("=changed"), view.get("=same")]).toEqual(["1", "1", undefined]);
  });

  test("fields gives the whole, the base itself if nothing changed, and leaves the base as it is", () => {
    const before = new Map(base);
    expect(new Map(changedView().fields)).toEqual(
      new Map([
        ["=same", "1"],
        ["=changed", "2"],
        ["~flash", "1"],
        ["=new", ""],
      ]),
    );
    expect(new FieldsView(base).fields).toBe(base);
    expect(base).toEqual(before);
  });

  test("mayHave() is false only if there is no field of the kind, in the base or changed", () => {
    const view = (): FieldsView => new FieldsView(new RecordFields("\n~f\n 1\n=a\n1"));
    expect(([DATA, FLASH, EXPIRING] as const).map((sign) => view().mayHave(sign))).toEqual([true, true, false]);
    const changed = view();
    changed.set("=a%", "2");
    expect(changed.mayHave(EXPIRING)).toBe(false);
    changed.set("%b", "1 2");
    expect(changed.mayHave(EXPIRING)).toBe(true);
    expect([new FieldsView(base).mayHave(FLASH), new FieldsView(new Map()).mayHave(FLASH)]).toEqual([true, false]);
  });
});

test("sweep() removes the data and the flash values whose time has come, and nothing else", () => {
  const fields = [
    ["~past", "99 1"],
    ["~future", "101 1"],
    ["~no end", " 1"],
    ["%past", "99 1"],
    ["%now", "100 1"],
    ["%future", "101 1"],
    ["%no end", " 1"],
    ["%damaged", "soon 1"],
    ["=plain", "1 1"],
  ] as const;
  for (const base of [new Map(fields), new RecordFields(fields.map((field) => `\n${field.join("\n")}`).join(""))]) {
    const view = new FieldsView(base);
    sweep(view, 100);
    expect(view.changed).toEqual(
      new Map([
        ["~past", null],
        ["%past", null],
        ["%now", null],
        ["%damaged", null],
      ]),
    );
  }
});
