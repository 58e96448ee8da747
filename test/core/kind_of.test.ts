import { expect, test } from "vitest";
import { kindOf } from "../../src/core/kind_of.ts";

test.each([
  [undefined, /^undefined$/],
  [null, /^null$/],
  ["secret", /string/],
  [5, /number/],
  [() => {}, /function/],
  [Symbol("secret"), /symbol/],
  [["secret"], /list/],
  [Promise.resolve("secret"), /promise.*await/],
  [{ secret: "secret" }, /object/],
  // oxlint-disable-next-line unicorn/no-thenable -- not a promise
  [{ then: "secret" }, /object/],
])("kindOf() says what %s is, and not its value", (value, words) => {
  expect(kindOf(value)).toMatch(words);
  expect(kindOf(value)).not.toContain("secret");
});
