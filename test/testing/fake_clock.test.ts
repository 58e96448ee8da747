import { describe, expect, it } from "vitest";
import { fakeClock } from "../../src/testing.ts";

describe("fakeClock()", () => {
  it("stands still when nobody advances it", () => {
    const clock = fakeClock(1000);
    expect([clock.now(), clock.now()]).toEqual([1000, 1000]);
  });

  it("moves by seconds, fractions included, when it is advanced", () => {
    const { now, advance } = fakeClock(1000);
    advance(60);
    advance(0.5);
    expect(now()).toBe(61_500);
    advance(-1);
    expect(now()).toBe(60_500);
  });

  it("starts at the current time when no other is given", () => {
    const before = Date.now();
    const start = fakeClock().now();
    expect(start).toBeGreaterThanOrEqual(before);
    expect(start).toBeLessThanOrEqual(Date.now());
  });

  it("refuses a start or a step that is no number, which would spoil each time after it", () => {
    for (const wrong of [NaN, Infinity, "1000", null]) {
      expect(() => fakeClock(wrong as number)).toThrow(RangeError);
      const clock = fakeClock(1000);
      expect(() => clock.advance(wrong as number)).toThrow(RangeError);
      expect(clock.now()).toBe(1000);
    }
  });
});
