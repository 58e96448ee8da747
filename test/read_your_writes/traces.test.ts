import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runsOf, SEED } from "../setup/random.ts";
import { alone, inTabs, type Step, violationsIn, withJob } from "./traces.ts";
import type { Skews } from "./world.ts";

/** Seconds between two requests, from none to so many that every cache has expired. */
const anyTime = fc.constantFrom(0, 0, 0.2, 1, 3, 10, 30, 59, 61, 90, 119, 121, 300);
/**
 * If one tab has overwritten a change of another, the browser writes the change again, provided that it comes back within
 * a minute.
 */
const withinAMinute = fc.constantFrom(0, 0, 0.2, 1, 3, 10, 30, 50);
/** The job may overwrite a change that it does not see yet, and the browser may see that as late as the job saw the change. */
const soon = fc.constantFrom(0, 0, 0.2, 1, 3, 10);

/** Each clock is wrong by up to five minutes, in either direction. */
const anySkews: fc.Arbitrary<Skews> = fc.record({
  Paris: fc.constantFrom(-300, -60, -1, 0, 45, 300),
  Tokyo: fc.constantFrom(-300, -120, 0, 1, 60, 300),
  Lima: fc.constantFrom(-300, -90, 0, 2, 121, 300),
});
const noSkews: fc.Arbitrary<Skews> = fc.constant({ Paris: 0, Tokyo: 0, Lima: 0 });

describe("readYourWrites() shows a browser that changes places its own writes, and never an older state", () => {
  for (const [name, step, simulated] of [
    ["one request after the other, at any time", alone(anyTime), { delay: 5 }],
    ["two tabs at once", inTabs(withinAMinute), { delay: 5 }],
    ["a job that writes into the session as well", withJob(soon), { cacheTtl: 30, delay: 5 }],
  ] as const) {
    const trace: fc.Arbitrary<Step[]> = fc.array(step, { minLength: 5, maxLength: 40, size: "max" });

    for (const [clocks, skews] of [
      ["with one clock", noSkews],
      ["with clocks that are each up to five minutes off", anySkews],
    ] as const) {
      test(`when traces are random, ${clocks}: ${name}`, async () => {
        const property = fc.asyncProperty(trace, skews, async (steps, skews) => {
          expect(await violationsIn(steps, { simulated, skews })).toEqual([]);
        });
        await fc.assert(property, runsOf(300));
      });
    }

    test(`which it does not without it: ${name}`, async () => {
      const traces = fc.sample(trace, { seed: SEED, numRuns: 100 });
      let violating = 0;
      for (const steps of traces) {
        if ((await violationsIn(steps, { simulated, isOn: false })).length > 0) violating++;
      }
      console.log(`Without the cookies, ${violating} of ${traces.length} traces show an older state`);
      expect(violating).toBeGreaterThan(traces.length / 4);
    });
  }
});
