import { describe, expect, test } from "vitest";
import { readCookie, readCookies } from "../../../src/core/cookie_transport/cookie_header.ts";

const there = (value: string | null) => ({ value, isPresent: true, isAmbiguous: false });
const ABSENT = { value: null, isPresent: false, isAmbiguous: false };

describe("readCookie()", () => {
  test.each<[string | null, object]>([
    [null, ABSENT],
    ["", ABSENT],
    ["s", ABSENT],
    ["s; a=1", ABSENT],
    ["s=1", there("1")],
    ["s=", there(null)],
    [";s=1", there("1")],
    ["a=2; s=1; b=3", there("1")],
    ["s=1; s=1", there("1")],
    ["s=1; s=2", { value: null, isPresent: true, isAmbiguous: true }],
  ])("reads %j", (header, expected) => {
    expect(readCookie(header, "s")).toEqual(expected);
  });
});

describe("readCookies()", () => {
  test("gives none for no header", () => {
    expect(readCookies(null, "s.")).toEqual(new Map());
  });

  test("gives those with the prefix, by the rest of the name", () => {
    expect(readCookies("s.a=1; t.a=2; s.b=3; s.c=", "s.")).toEqual(
      new Map([
        ["a", "1"],
        ["b", "3"],
      ]),
    );
  });
});
