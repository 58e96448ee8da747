import { describe, expect, test } from "vitest";
import { memoryStore } from "../../mod.ts";
import { everySchedule } from "../setup/schedules.ts";
import { CLOCKS, meet } from "./meeting.ts";
import { type ProgramName, programs } from "./programs.ts";

const names = Object.keys(programs) as ProgramName[];
/** Each schedule of these is played in every suite; their pairs with themselves have too many. */
const LONG: ReadonlySet<string> = new Set(["regenerate, save, regenerate, save, fail"]);
const [clocks] = Object.values(CLOCKS);

// Every order in which two requests can make their calls of the store, enumerated.
describe.each(names.filter((name) => !LONG.has(name)))("%s", (first) => {
  test("keeps all promises whatever another request does meanwhile, in every order", { timeout: 120_000 }, async () => {
    let played = 0;
    for (const second of names.slice(names.indexOf(first))) {
      if (LONG.has(second)) continue;
      played += await everySchedule(async (choose) => {
        const meeting = { store: memoryStore(), names: [first, second] as const, after: 1, clocks: clocks! };
        const { trace, wrong } = await meet(meeting, choose);
        expect(wrong, `${first} and ${second}: ${trace}`).toEqual([]);
      });
    }
    expect(played).toBeGreaterThan(0);
  });
});
