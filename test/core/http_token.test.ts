import { expect, test } from "vitest";
import { isToken, trimBlanks } from "../../src/core/http_token.ts";

test("a token holds the characters of RFC 9110, 5.6.2, and no others", () => {
  const allowed = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  for (let code = 0; code <= 0x100; code++) {
    const character = String.fromCharCode(code);
    for (const text of [character, `a${character}`, `${character}a`])
      expect(isToken(text), text).toBe(allowed.includes(character));
  }
  for (const none of ["", undefined, null, 7, ["a"]]) expect(isToken(none)).toBe(false);
});

test("trimBlanks() takes spaces and tabs from both ends, and nothing else", () => {
  expect(trimBlanks(" \t a \t b\t ")).toBe("a \t b");
  expect([trimBlanks("a"), trimBlanks(""), trimBlanks(" \t ")]).toEqual(["a", "", ""]);
  for (const other of ["\u00a0a\u00a0", "\na\r\n", "\va\f", "!a!"]) expect(trimBlanks(other)).toBe(other);
});
