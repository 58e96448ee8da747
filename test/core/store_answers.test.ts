import { describe, expect, test } from "vitest";
import { memoryStore } from "../../mod.ts";
import { isDeletion, isRecordOrNull, isSessionStore, isVersion } from "../../src/core/store_answers.ts";

describe("isVersion()", () => {
  test.each(["1", "0", "ok 1", "book", "conflict", 0, 1, -1, Infinity])(
    "%j is one, or says that there is none",
    (answer) => {
      expect(isVersion(answer)).toBe(true);
    },
  );

  test.each(["", "OK", "ok", NaN, undefined, null, true, false, 1n, {}, ["1"]])("%s is none", (answer) => {
    expect(isVersion(answer)).toBe(false);
  });
});

describe("isRecordOrNull()", () => {
  const fields = new Map();
  /** Fields of another copy of the package are not instances of this copy's class. */
  const others = { get: (name: string) => name, has: () => true };

  test.each([[null], [{ fields, lastSeenAt: 1, version: 1 }], [{ fields: others, version: "1" }]])(
    "%j is a record, or none",
    (answer) => {
      expect(isRecordOrNull(answer)).toBe(true);
    },
  );

  test.each([
    [undefined],
    [""],
    ["OK"],
    [0],
    [true],
    [{}],
    [{ fields }],
    [{ version: 1 }],
    [{ fields, version: undefined }],
    [{ fields, version: "OK" }],
    [{ fields: null, version: 1 }],
    [{ fields: undefined, version: 1 }],
    [{ fields: "=a", version: 1 }],
    [{ fields: () => fields, version: 1 }],
    [{ fields: Object.assign(() => fields, { get: () => "" }), version: 1 }],
    [{ fields: {}, version: 1 }],
    [{ fields: { get: "=a" }, version: 1 }],
    [Object.assign(() => null, { fields, version: 1 })],
  ])("%j is neither", (answer) => {
    expect(isRecordOrNull(answer)).toBe(false);
  });
});

test("isDeletion() takes nothing and a conflict, and no answer of an engine", () => {
  expect([undefined, "conflict"].map(isDeletion)).toEqual([true, true]);
  expect([null, "", "OK", 0, 1, true, false, {}].map(isDeletion)).toEqual(Array.from({ length: 8 }, () => false));
});

test("isSessionStore() asks for each verb, and for traits", () => {
  const { load, save, traits } = memoryStore();
  const verbs = { load, save, delete: () => {}, traits };
  const eventual = { ...verbs, traits: { consistency: "eventual", compareAndSet: false, maxBytes: 9999 } };
  expect([memoryStore(), verbs, eventual].map(isSessionStore)).toEqual([true, true, true]);
  const others = [
    undefined,
    null,
    "load",
    () => verbs,
    {},
    { ...verbs, load: undefined },
    { ...verbs, save: "save" },
    { ...verbs, delete: null },
    { load, save, traits },
    { ...verbs, traits: undefined },
    { ...verbs, traits: null },
    { ...verbs, traits: { ...traits, consistency: "evenutal" } },
    { ...verbs, traits: { ...traits, compareAndSet: undefined } },
    Object.assign(() => {}, verbs),
  ];
  expect(others.map(isSessionStore)).toEqual(others.map(() => false));
});
