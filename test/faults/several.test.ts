import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StoreFault } from "../../src/testing.ts";
import { type Engine, engines } from "./engines.ts";
import { kinds } from "./kinds.ts";
import { brokenOf, CLOCKS, inTurns, nthOf, POLICIES } from "./plans.ts";
import { type Kind, perform, type PlannedFault, type Policy } from "./scene.ts";
import { takeOverTimers } from "./time.ts";

let giveBack: () => void;
let memory: Engine;
/** Unhandled rejections. The runner would report them too, but not name the test. */
const unhandled: unknown[] = [];
const noteUnhandled = (error: unknown): unknown => unhandled.push(error);
beforeAll(async () => {
  process.on("unhandledRejection", noteUnhandled);
  giveBack = takeOverTimers();
  const open = engines["memory"];
  if (open === undefined) throw new Error("There is no such engine");
  memory = await open();
});
afterAll(async () => {
  giveBack();
  process.off("unhandledRejection", noteUnhandled);
  await memory.stop();
});

const clocks = CLOCKS["ahead, behind, ahead"];
const TOGETHER: readonly StoreFault[] = ["rejects", "does it but rejects"];

describe("Two calls of a store fail", () => {
  test.each(Object.entries(kinds))("and no promise is broken while %s", async (_name, kind) => {
    const broken: object[] = [];
    let played = 0;

    /** Sends the request with these faults, then again with one more fault at each of its calls from number `from` on. */
    async function failing(faults: readonly PlannedFault[], from: number): Promise<void> {
      const outcomes = await Promise.all(
        POLICIES.map(async (policy) => ({
          faults,
          policy,
          outcome: await perform(kind, policy, memory.open, { faults, clocks }),
        })),
      );
      played++;
      broken.push(...brokenOf(outcomes));
      const [first] = outcomes;
      if (faults.length === 2 || first === undefined) return;
      const { calls } = first.outcome;
      for (const [at, call] of calls.entries()) {
        if (at < from) continue;
        for (const fault of TOGETHER) await failing([...faults, { call, nth: nthOf(calls, at), fault }], at + 1);
      }
    }

    await failing([], 0);
    expect(broken).toEqual([]);
    expect(played).toBeGreaterThan(2);
  });
});

describe("Every call of one sort fails", () => {
  test.each(Object.entries(kinds))("and no promise is broken while %s", async (_name, kind) => {
    const { calls } = await perform(kind, "throw", memory.open, { faults: [], clocks });
    const scenes = [...new Set(calls)].flatMap((call) =>
      [...TOGETHER, "hangs" as const, "wrong type" as const].flatMap((fault) =>
        POLICIES.map((policy) => ({ call, fault, policy })),
      ),
    );
    const played = await inTurns(scenes, async ({ call, fault, policy }) => ({
      call,
      fault,
      policy,
      outcome: await perform(kind, policy, memory.open, { faults: [{ call, fault }], clocks }),
    }));
    expect(brokenOf(played)).toEqual([]);
  });
});

describe("A call has no answer, and is still under way", () => {
  test.each(Object.entries(kinds))(
    "and no promise is broken at whatever moment it arrives while %s",
    async (_name, kind) => {
      const { calls } = await perform(kind, "throw", memory.open, { faults: [], clocks });
      const scenes = await inTurns([...calls.entries()], async ([at, call]) => {
        const faults: PlannedFault[] = [{ call, nth: nthOf(calls, at), fault: "does it late" }];
        const { calls: made } = await perform(kind, "throw", memory.open, { faults, clocks });
        return made.map((_, release) => ({ faults, release })).slice(at + 1);
      });
      const played = await inTurns(
        scenes.flat().flatMap((scene) => POLICIES.map((policy) => ({ ...scene, policy }))),
        async ({ faults, release, policy }) => ({
          faults,
          release,
          policy,
          outcome: await late(kind, policy, faults, release),
        }),
      );
      expect(brokenOf(played)).toEqual([]);
    },
  );

  const late = (kind: Kind, policy: Policy, faults: readonly PlannedFault[], release: number) =>
    perform(kind, policy, memory.open, { faults, release, clocks });
});

test("withSession() leaves no rejection unhandled when calls of the store fail", async () => {
  // Node reports unhandled rejections after the microtasks.
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled).toEqual([]);
});
