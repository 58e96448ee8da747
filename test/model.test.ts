import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { memoryStore, type SessionStore } from "../mod.ts";
import type { Turns } from "./model/play.ts";
import {
  type Call,
  type Program,
  programs,
  programsWithPeacefulEnds,
  type Round,
  type Visit,
} from "./model/program.ts";
import { totals, unexplained, withoutCompareAndSet, withoutComparing } from "./model/verdict.ts";

const FIXED = 20_260_101;
const RANDOM = Number(process.env["MODEL_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

const UNEXPLAINED: string = expect.stringContaining("No order explains this");

afterAll(() => {
  const { programs, requests, conflicts } = totals;
  console.log(`Seeds ${FIXED} and ${RANDOM}: ${programs} programs, ${requests} requests, ${conflicts} conflicts`);
});

/** Throws what random programs on random interleavings come to that the model does not allow. */
async function assertExplained(
  programs: fc.Arbitrary<Program>,
  open: () => SessionStore,
  { isShrunk = true, ...parameters }: { seed: number; numRuns: number; isShrunk?: boolean },
): Promise<void> {
  const property = fc.asyncProperty(programs, fc.scheduler(), async (program, scheduler) => {
    const cause = await unexplained(program, open(), scheduler);
    if (cause !== null) throw new Error(cause);
  });
  await fc.assert(property, { ...parameters, endOnFailure: !isShrunk });
}

describe.each([FIXED, RANDOM])("A random program on a random interleaving, seed %d,", (seed) => {
  test(
    "comes to what the model of a session allows when the store compares and sets",
    { timeout: 300_000 },
    async () => {
      await assertExplained(programs, memoryStore, { seed, numRuns: 3000 });
    },
  );

  test("comes to what the model allows where the last write wins", { timeout: 300_000 }, async () => {
    await assertExplained(programsWithPeacefulEnds, withoutCompareAndSet, { seed, numRuns: 1500 });
  });
});

describe("The model", () => {
  const broken: Readonly<Record<string, (store: SessionStore) => SessionStore>> = {
    "that says it compares, and does not": withoutComparing,
    "whose change creates what is gone": (store) => ({
      ...store,
      async change(key, change, expected, expiresAt) {
        const answer = await store.change(key, change, expected, expiresAt);
        return answer === "gone" ? await store.create(key, change.record, expiresAt) : answer;
      },
    }),
    "whose touch creates what is gone": (store) => ({
      ...store,
      async touch(key, lastSeenAt, expiresAt, loaded) {
        const touched = await store.touch(key, lastSeenAt, expiresAt, loaded);
        if (touched !== false || loaded === undefined) return touched;
        await store.create(key, { ...loaded, lastSeenAt }, expiresAt);
        return true;
      },
    }),
    "whose touch brings back what its caller saw": (store) => ({
      ...store,
      async touch(key, lastSeenAt, expiresAt, loaded) {
        const found = await store.load(key);
        if (found === null) return false;
        const record = { fields: loaded?.fields ?? found.fields, lastSeenAt };
        await store.change(key, { record, changed: new Map() }, found.version, expiresAt);
        return true;
      },
    }),
    "whose touch looks at no version": (store) => ({
      ...store,
      touch: (key, lastSeenAt, expiresAt) => store.touch(key, lastSeenAt, expiresAt),
    }),
    "whose touch moves nothing": (store) => ({ ...store, touch: async (key) => (await store.load(key)) !== null }),
    "that deletes nothing": (store) => ({ ...store, delete: async () => {} }),
    "that deletes whatever version there is": (store) => ({ ...store, delete: (key) => store.delete(key) }),
    "that answers with what it had before": (store) => {
      const last = new Map<string, Awaited<ReturnType<SessionStore["load"]>>>();
      return {
        ...store,
        async load(key) {
          const found = await store.load(key);
          const before = last.get(key) ?? found;
          last.set(key, found);
          return before;
        },
      };
    },
    "that answers a conflict, and has written": (store) => ({
      ...store,
      async change(key, change, expected, expiresAt) {
        const answer = await store.change(key, change, expected, expiresAt);
        return answer === 5 ? "conflict" : answer;
      },
    }),
  };

  const few = { seed: FIXED, numRuns: 3000, isShrunk: false };

  test.each(Object.entries(broken))("refuses a store %s", async (_what, breaking) => {
    const open = () => breaking(memoryStore());
    await expect(assertExplained(programs, open, few)).rejects.toMatchObject({ cause: { message: UNEXPLAINED } });
  });

  test("refuses a store where the last write wins, if that is not said", async () => {
    const open = () => withoutComparing(memoryStore());
    const playing = assertExplained(programsWithPeacefulEnds, open, few);
    await expect(playing).rejects.toMatchObject({ cause: { message: UNEXPLAINED } });
  });
});

/** What random programs came to that was not right, as small as it could be made. */
describe("withSession()", () => {
  const visit = (presents: Visit["presents"], ...calls: Call[]): Visit => ({ browser: 0, presents, calls });
  const round = (later: number, ...visits: Visit[]): Round => ({ later, meanwhile: 0, visits });
  const count: Call = { call: "count" };
  const get: Call = { call: "get", key: "a" };

  test("keeps the grace of an old id when its session would have ended before", async () => {
    const program = [
      round(0, visit("cookie", count, { call: "setTimeouts", idle: 400, absolute: 300 })),
      round(250, visit("cookie", count)),
      round(31, visit("cookie", { call: "regenerate", grace: 30, reauthenticated: true })),
      round(29, visit("first id", count)),
    ];
    expect(await unexplained(program, memoryStore(), lastOfAll())).toBeNull();
  });

  test("shows what others have stored after a save() that finds its change made by another request", async () => {
    const note: Call = { call: "get", key: "note" };
    const program = [
      round(0, visit("cookie", count, { call: "flash", key: "note" })),
      round(0, visit("cookie", note, { call: "save" }, count), visit("cookie", note, count)),
    ];
    expect(await unexplained(program, memoryStore(), lastOfAll("1a load answers"))).toBeNull();
  });

  test("tells no retired id when a request that saw it before touches it", async () => {
    const regenerate: Call = { call: "regenerate", grace: 0, reauthenticated: false };
    const program = [round(0, visit("cookie", count)), round(11, visit("cookie", get), visit("cookie", regenerate))];
    expect(await unexplained(program, memoryStore(), lastOfAll("1a load answers"))).toBeNull();
  });

  test("keeps a session as long as setTimeouts says when a request that saw it before touches it", async () => {
    const program = [
      round(0, visit("cookie", count)),
      round(31, visit("cookie", get), visit("cookie", { call: "setTimeouts", idle: 400 })),
      // The memory store sweeps when something is created.
      round(101, visit("made-up id", count)),
      round(0, visit("first id", get)),
    ];
    expect(await unexplained(program, memoryStore(), lastOfAll("1a load answers"))).toBeNull();
  });
});

/** Lets everybody go on in the order in which they came, but one call when nobody else waits. */
function lastOfAll(held = "none"): Turns {
  let waiting: { readonly label: string; readonly letGo: () => void }[] = [];
  return {
    count: () => waiting.length,
    schedule: <T>(task: Promise<T>, label = "") =>
      new Promise<T>((resolve) => waiting.push({ label, letGo: () => resolve(task) })),
    async waitNext(_count, act = async (letGo) => letGo()) {
      const next = waiting.find(({ label }) => label !== held) ?? waiting[0];
      waiting = waiting.filter((each) => each !== next);
      await act(async () => next?.letGo());
    },
  };
}
