import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { memoryStore, type SessionStore } from "../mod.ts";
import { explain, type Operation } from "./linearizability/checker.ts";
import { runsOf } from "./setup/random.ts";
import { type EngineName, engines, openStore } from "./linearizability/engines.ts";
import {
  begin,
  collect,
  type Deed,
  type Entry,
  INITIAL,
  operationsOf,
  record,
  startProcesses,
  type Told,
} from "./linearizability/history.ts";

describe("explain()", () => {
  /** Operations on a counter. Each line: process, what it did, from, to. */
  const counted = (...lines: readonly (readonly [string, "add" | "read", number | null, number, number])[]) =>
    lines.map(([process, deed, answer, invoked, returned]): Operation<number> => ({
      process,
      invoked,
      returned,
      label: `${process} ${deed} ${answer}`,
      apply(count) {
        const next = deed === "add" ? count + 1 : count;
        return answer === null || answer === next ? [next] : [];
      },
    }));
  const isLinearizable = (history: readonly Operation<number>[]) => explain(0, history).isLinearizable;

  test.each([
    ["nothing", []],
    ["one after the other", counted(["a", "add", 1, 1, 2], ["b", "read", 1, 3, 4])],
    ["overlapping, in the other order", counted(["a", "add", 2, 1, 4], ["b", "add", 1, 2, 3])],
    ["a read that overlaps a write, before it", counted(["a", "add", 1, 1, 4], ["b", "read", 0, 2, 3])],
    ["a read that overlaps a write, after it", counted(["a", "add", 1, 1, 4], ["b", "read", 1, 2, 3])],
    ["without an answer, and done", counted(["a", "add", null, 1, Infinity], ["b", "read", 1, 5, 6])],
    ["without an answer, and not done", counted(["a", "add", null, 1, Infinity], ["b", "read", 0, 5, 6])],
    [
      "without an answer, and done late",
      counted(["a", "add", null, 1, Infinity], ["b", "read", 0, 5, 6], ["b", "read", 1, 7, 8]),
    ],
  ])("finds an order for %s", (_name, history) => {
    expect(isLinearizable(history)).toBe(true);
  });

  test.each([
    ["a lost update", counted(["a", "add", 1, 1, 3], ["b", "add", 1, 2, 4])],
    ["an update that counted twice", counted(["a", "add", 2, 1, 2])],
    ["a read of what was never written", counted(["a", "add", 1, 1, 2], ["b", "read", 2, 1, 4])],
    ["a stale read", counted(["a", "add", 1, 1, 2], ["b", "read", 0, 3, 4])],
    ["an update that forgets the one before", counted(["a", "add", 1, 1, 2], ["b", "add", 1, 3, 4])],
    [
      "the new value and then the old one again",
      counted(["a", "add", 1, 1, 9], ["b", "read", 1, 2, 3], ["c", "read", 0, 4, 5]),
    ],
    ["an order that real time forbids", counted(["a", "add", 2, 1, 2], ["b", "add", 1, 3, 4])],
    ["a process that goes back", counted(["a", "add", 1, 1, 9], ["b", "read", 1, 2, 3], ["b", "read", 0, 4, 5])],
    ["what had no answer done twice", counted(["a", "add", null, 1, Infinity], ["b", "read", 2, 3, 4])],
  ])("refuses %s", (_name, history) => {
    expect(isLinearizable(history)).toBe(false);
  });

  test("tells how far it came, and where it was stuck", () => {
    const history = counted(["a", "add", 1, 1, 2], ["b", "add", 2, 3, 4], ["c", "read", 1, 5, 6]);
    const { order, state } = explain(0, history);
    expect(order.map(({ label }) => label)).toEqual(["a add 1", "b add 2"]);
    expect(state).toBe(2);
  });

  test("agrees with whoever tries all orders", () => {
    const entry = fc.record({
      deed: fc.constantFrom("add" as const, "read" as const),
      answer: fc.option(fc.integer({ min: 0, max: 3 }), { freq: 6 }),
      from: fc.integer({ min: 0, max: 8 }),
      lasts: fc.integer({ min: 0, max: 6 }),
    });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 5 }), (entries) => {
        const history = counted(
          ...entries.map(
            ({ deed, answer, from, lasts }, index) =>
              [`${index}`, deed, answer, from, answer === null ? Infinity : from + lasts] as const,
          ),
        );
        expect(isLinearizable(history)).toBe(hasOrder(history, 0));
      }),
      runsOf(2000),
    );
  });
});

/** The definition of linearizability as code: some order of all answered operations and some of the unanswered ones. */
function hasOrder(left: readonly Operation<number>[], state: number): boolean {
  if (left.every(({ returned }) => returned === Infinity)) return true;
  return left.some((each, index) => {
    const others = left.toSpliced(index, 1);
    if (others.some(({ returned }) => returned < each.invoked)) return false;
    return each.apply(state).some((next) => hasOrder(others, next));
  });
}

describe("A recorded history", () => {
  async function recorded(store: SessionStore, deeds: readonly Deed[]): Promise<Entry[]> {
    const told: Told[] = [];
    // Two managers, as in two processes. Each of them queues the writes of its own requests.
    const id = await begin(store);
    const recording = { lanes: 2, times: 10, deeds, tell: (each: Told) => told.push(each) };
    await Promise.all(["p", "q"].map((name) => record(store, id, { ...recording, name })));
    return collect(told).entries;
  }

  test("is linearizable when the store compares and sets", async () => {
    const entries = await recorded(memoryStore(), ALL_DEEDS);
    expect(explain(INITIAL, operationsOf(entries)).isLinearizable).toBe(true);
  });

  test("is refused when the store only says so", async () => {
    const store = memoryStore();
    const liar = {
      ...store,
      load: async (key: string) => store.load(key),
      async save(...[key, write]: Parameters<typeof store.save>) {
        const found = await store.load(key);
        return store.save(key, { ...write, expected: found?.version ?? null });
      },
    };
    const entries = await recorded(liar, ["count"]);
    expect(explain(INITIAL, operationsOf(entries)).isLinearizable).toBe(false);
  });

  test("is refused when an acknowledged write is taken out of it", async () => {
    const entries = await recorded(memoryStore(), ["count"]);
    const without = entries.filter(({ answer }) => typeof answer !== "object" || answer?.n !== 7);
    expect(without).toHaveLength(entries.length - 1);
    expect(explain(INITIAL, operationsOf(without)).isLinearizable).toBe(false);
  });
});

const ALL_DEEDS: readonly Deed[] = ["count", "count", "append", "set", "read"];
const PROCESSES = 3;
const summary: string[] = [];
afterAll(() => console.log(summary.join("\n")));

describe("The history of one session, recorded by several processes,", () => {
  test.each(Object.keys(engines) as EngineName[])("is linearizable on %s", async (name) => {
    const { address, stop } = await engines[name]();
    try {
      const { store, close } = await openStore(name, address);
      const id = await begin(store);
      close();
      const load = { lanes: 2, times: 20, deeds: ALL_DEEDS };
      const { told } = await startProcesses(name, address, id, PROCESSES, load);
      const { entries, conflicts } = collect(await told);
      expect(entries).toHaveLength(PROCESSES * 40);
      expect(entries.filter(({ answer }) => answer === null || typeof answer === "string")).toEqual([]);
      expect(conflicts).toBeGreaterThan(0);
      const history = operationsOf(entries);
      const { isLinearizable, order } = explain(INITIAL, history);
      const stuck = history.filter((each) => !order.includes(each)).map(({ label }) => label);
      expect(isLinearizable, stuck.slice(0, 6).join("\n")).toBe(true);
      summary.push(
        `${name}: ${entries.length} operations of ${PROCESSES} processes, ${conflicts} conflicts, one order`,
      );
    } finally {
      await stop();
    }
  });
});
