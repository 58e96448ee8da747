import { describe, expect, test } from "vitest";
import {
  type Change,
  computeField,
  difference,
  removeFields,
  removeIfStill,
  replay,
  setField,
} from "../src/changes.ts";

/** What a change makes of fields. */
const after = async (change: Change, fields: Record<string, string>): Promise<Record<string, string>> =>
  Object.fromEntries(await replay([change], new Map(Object.entries(fields))));

test("setField() sets one field and leaves the others", async () => {
  expect(await after(setField("a", "2"), { a: "1", b: "1" })).toStrictEqual({ a: "2", b: "1" });
  expect(await after(setField("c", "2"), { a: "1" })).toStrictEqual({ a: "1", c: "2" });
});

test("removeFields() removes the fields of these names, absent ones as well, and leaves the others", async () => {
  expect(await after(removeFields(["a", "c", "x"]), { a: "1", b: "1", c: "1" })).toStrictEqual({ b: "1" });
});

test("removeIfStill() removes a field only while it holds that text", async () => {
  expect(await after(removeIfStill("a", "1"), { a: "1", b: "1" })).toStrictEqual({ b: "1" });
  expect(await after(removeIfStill("a", "1"), { a: "2", b: "1" })).toStrictEqual({ a: "2", b: "1" });
});

describe("computeField()", () => {
  test("is told the present text, and stores what it answers", async () => {
    expect(
      await after(
        computeField("a", async (text) => `${text}!`),
        { a: "1", b: "1" },
      ),
    ).toStrictEqual({ a: "1!", b: "1" });
  });

  test("is told undefined when there is none, and an empty text is one", async () => {
    const answer = async (text: string | undefined): Promise<string> => (text === undefined ? "" : "wrong");
    expect(await after(computeField("a", answer), {})).toStrictEqual({ a: "" });
  });

  test("removes the field when it answers undefined", async () => {
    expect(
      await after(
        computeField("a", async () => undefined),
        { a: "1", b: "1" },
      ),
    ).toStrictEqual({ b: "1" });
  });
});

describe("replay()", () => {
  test("runs changes in their order, each when the one before is done", async () => {
    const slow = computeField("a", async (text) => {
      await Promise.resolve();
      return `${text}1`;
    });
    const changes = [slow, computeField("a", async (text) => `${text}2`), slow];
    expect(await replay(changes, new Map([["a", "0"]]))).toEqual(new Map([["a", "0121"]]));
  });

  test("leaves the record's own fields as they were", async () => {
    const fields = new Map([["a", "1"]]);
    await replay([removeFields(["a"]), setField("b", "1")], fields);
    expect(fields).toEqual(new Map([["a", "1"]]));
  });
});

describe("difference()", () => {
  const before = new Map([
    ["same", "1"],
    ["changed", "1"],
    ["removed", "1"],
  ]);

  test("has the text of each new and changed field, and null for each removed one", () => {
    const now = new Map([
      ["same", "1"],
      ["changed", "2"],
      ["new", ""],
    ]);
    expect(difference(before, now)).toEqual(
      new Map([
        ["changed", "2"],
        ["new", ""],
        ["removed", null],
      ]),
    );
  });

  test("is empty when nothing differs", () => {
    expect(difference(before, before)).toEqual(new Map());
    expect(difference(before, new Map(before))).toEqual(new Map());
  });
});
