import { describe, expect, test } from "vitest";
import {
  assertCallOptions,
  assertTimeouts,
  assertValueGiven,
  clearingWords,
  endOfValue,
} from "../../../src/core/session/session_arguments.ts";

const NO_DURATION = [0, -1, Number.NaN, Infinity, "60", null, true, [60]];

test("endOfValue() gives the instant at which a value ends, and throws a RangeError when its ttl is no duration", () => {
  const end = (options: unknown): number | undefined => endOfValue(options, "session.set", { now: () => 7000 });
  expect([end(undefined), end({}), end({ ttl: undefined }), end({ ttl: 0.5 })]).toEqual([
    undefined,
    undefined,
    undefined,
    7500,
  ]);
  for (const ttl of NO_DURATION) expect(() => end({ ttl })).toThrow(RangeError);
  for (const options of [null, 60, "ttl", [], { til: 60 }]) expect(() => end(options)).toThrow(TypeError);
});

test("assertCallOptions() says of a callback that the call is to be awaited, and refuses what is no known option", () => {
  expect(assertCallOptions({ grace: 1 }, ["grace"], "session.regenerate")).toBeUndefined();
  const given = (options: unknown) => () => assertCallOptions(options, ["grace"], "session.regenerate");
  expect(given(() => {})).toThrow(new TypeError("session.regenerate takes no callback: await it"));
  expect(given(7)).toThrow(new TypeError("The options of session.regenerate must be an object, such as { grace: … }"));
  expect(given({ grcae: 1 })).toThrow('session.regenerate has no option "grcae": did you mean grace?');
});

test("assertValueGiven() refuses a key alone, and says which call reads and which deletes", () => {
  expect(assertValueGiven(2, "session.flash")).toBeUndefined();
  for (const given of [0, 1])
    expect(() => assertValueGiven(given, "session.flash")).toThrow(
      new TypeError("session.flash takes a key and a value: to read use session.get, to delete session.delete"),
    );
});

test("clearingWords() takes a list of the words of Clear-Site-Data and no others, true for two of them, and false for none", () => {
  const words = ["cache", "cookies", "storage", "executionContexts", "*"] as const;
  expect(clearingWords(words)).toBe(words);
  expect([clearingWords([]), clearingWords(true), clearingWords(false)]).toEqual([[], ["cache", "storage"], []]);
  for (const wrong of ["cache", undefined, {}, [""], ["cache", "cookie"], ["Cache"]])
    expect(() => clearingWords(wrong as never)).toThrow(TypeError);
});

describe("assertTimeouts()", () => {
  test("accepts durations, nothing at all, no absolute timeout, and a cookie that ends with the browser", () => {
    for (const timeouts of [
      {},
      { idle: 0.5, absolute: 1, cookie: 2 },
      { idle: undefined, absolute: undefined, cookie: undefined },
      { absolute: false },
      { cookie: null },
    ] as object[])
      expect(assertTimeouts(timeouts)).toBeUndefined();
  });

  const OTHERS: Record<string, string> = { idle: "", absolute: ", or false", cookie: ", or null" };
  test.each(["idle", "absolute", "cookie"])("names %s when it is no duration", (name) => {
    const accepted: Record<string, unknown[]> = { idle: [false], absolute: [], cookie: [false] };
    for (const value of [...NO_DURATION, ...(accepted[name] ?? [])]) {
      if (name === "cookie" && value === null) continue;
      expect(() => assertTimeouts({ [name]: value })).toThrow(
        new RangeError(`session.setTimeouts: ${name} must be a positive number of seconds${OTHERS[name]}`),
      );
    }
  });

  test("throws a TypeError for an unknown name, and for what is no object", () => {
    for (const wrong of [{ Idle: 60 }, 60, null, undefined])
      expect(() => assertTimeouts(wrong as never)).toThrow(TypeError);
  });
});
