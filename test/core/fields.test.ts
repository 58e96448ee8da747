import { describe, expect, test } from "vitest";
import { FieldsView, fieldName, keyOf, splitEnd, withEnd } from "../../src/core/fields.ts";
import { DATA, EXPIRING, FLASH } from "../../src/core/record_fields.ts";

const KEYS = ["", "@", "=", "~", "%", "a", "__proto__", "a\nb", '"', '"a"', "\ud800", "1 2"];

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

  test("names() gives those of one kind, removed ones left out", () => {
    expect(changedView().names(DATA)).toEqual(["=same", "=changed", "=new"]);
    expect(changedView().names(FLASH)).toEqual(["~flash"]);
    expect(changedView().names(EXPIRING)).toEqual([]);
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
});
