import { expect, test } from "vitest";
import { assertDuration, oneOf } from "../../../src/core/options/simple_checks.ts";

const NO_DURATION = [0, -1, Number.NaN, Infinity, "60", null, undefined, true, [60], 60n];

test("assertDuration() accepts positive numbers, and names what is none", () => {
  for (const value of [0.001, 1, 1e9]) expect(assertDuration("idleTimeout", value)).toBeUndefined();
  for (const value of NO_DURATION)
    expect(() => assertDuration("idleTimeout", value)).toThrow(
      new RangeError("idleTimeout must be a positive number of seconds"),
    );
});

test.each([0, false] as const)("assertDuration() accepts %j where an option takes it, and names it", (other) => {
  expect(assertDuration("touchInterval", other, other)).toBeUndefined();
  for (const value of NO_DURATION.filter((each) => each !== other))
    expect(() => assertDuration("touchInterval", value, other)).toThrow(
      new RangeError(`touchInterval must be a positive number of seconds, or ${other}`),
    );
});

test("oneOf() gives the chosen word, or the first one", () => {
  expect([oneOf("load", undefined, ["lazy", "eager"]), oneOf("load", "eager", ["lazy", "eager"])]).toEqual([
    "lazy",
    "eager",
  ]);
  for (const value of ["", "soon", null])
    expect(() => oneOf<string>("load", value as string, ["lazy", "eager"])).toThrow(
      new TypeError('load must be one of "lazy", "eager"'),
    );
  expect(() => oneOf<string>("scheme", "Basic", ["Bearer"])).toThrow(new TypeError('scheme must be "Bearer"'));
});
