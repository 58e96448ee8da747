/**
 * Overlapping requests on servers whose clocks are wrong. Everything that the requests receive must follow from some order of their operations,
 * according to a model of sessions that knows nothing about storage. Broken stores and capabilities prove that the model would notice a fault.
 *
 * @module
 */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { Plugin, Repository, SessionStore } from "../../mod.ts";
import { wrapRepository } from "../../src/core/repository/repository_wrapper.ts";
import { withOldAnswers, withoutComparing, withoutLooking } from "../setup/broken_stores.ts";
import { RIGHT } from "../setup/clocks.ts";
import { runsOf, SEED } from "../setup/random.ts";
import type { Engine } from "./play.ts";
import { type Program, programs, programsWithPeacefulEnds, type Visit } from "./program.ts";
import { broken, comparing, totals, unexplained, withoutCompareAndSet, withPlugin } from "./verdict.ts";

/** The seed with which the model notices each of the faults below. */
const FIXED = 20_261_127;
const RUNS = 600;

afterAll(() => {
  console.log(`Seed ${SEED}: ${totals.programs} programs, ${totals.requests} requests, ${totals.conflicts} conflicts`);
});

async function assertExplained(program: Program, engine: Engine): Promise<void> {
  const failure = await unexplained(program, engine);
  if (failure !== null) throw new Error(failure);
}

describe("requests that overlap, on servers whose clocks are wrong,", () => {
  test("are explained by some order of what each of them did", async () => {
    const property = fc.asyncProperty(programs, (program) => assertExplained(program, comparing()));
    await fc.assert(property, runsOf(RUNS));
  });

  test("are explained where the last write wins, if no id is retired or ended meanwhile", async () => {
    const property = fc.asyncProperty(programsWithPeacefulEnds, (program) =>
      assertExplained(program, withoutCompareAndSet()),
    );
    await fc.assert(property, runsOf(RUNS));
  });
});

describe("the model", () => {
  const stores: Readonly<Record<string, (store: SessionStore) => SessionStore>> = {
    "that says that it compares, and does not": withoutComparing,
    "that creates what is gone": withoutLooking,
    "that deletes nothing": (store) => ({ ...store, delete: () => {} }),
    "that answers with what it had before": withOldAnswers,
  };
  const repositories: Readonly<Record<string, (next: Repository) => Partial<Repository>>> = {
    "that lets a retired id lead on for a moment": (next) => ({
      retire: (current, successor, until, op) => next.retire(current, successor, until ?? op.now + 1000, op),
    }),
    "that ends nothing": () => ({ end: () => {} }),
    "that puts nothing back": () => ({ reinstate: () => {} }),
    "that takes a refused change for a stored one": (next) => ({
      update: async (current, contents, op) => {
        const updated = await next.update(current, contents, op);
        return updated === "conflict" ? { ...current, ...contents } : updated;
      },
    }),
  };
  const isRefused = async (engine: () => Engine): Promise<boolean> => {
    const property = fc.asyncProperty(programs, (program) => assertExplained(program, engine()));
    return (await fc.check(property, { seed: FIXED, numRuns: 3000, endOnFailure: true })).failed;
  };

  test.each(Object.entries(stores))("refuses a store %s", async (_what, breaking) => {
    expect(await isRefused(broken(breaking))).toBe(true);
  });

  test.each(Object.entries(repositories))("refuses a repository %s", async (_what, own) => {
    const plugin = (): Plugin => ({ name: "broken", wrap: (next) => wrapRepository(next, own(next)) });
    expect(await isRefused(withPlugin(plugin))).toBe(true);
  });
});

/** Faults that random programs have found, reduced to the shortest program. */
describe("a request", () => {
  const visit = (...calls: Visit["calls"]): Visit => ({ server: 0, browser: 0, presents: "cookie", calls });

  test("shows what its update() has answered when another one got in between its new id and its change", async () => {
    const rounds = [
      { later: 0, meanwhile: 0, visits: [visit({ call: "count" })] },
      {
        later: 0,
        meanwhile: 0,
        visits: [
          visit(
            { call: "regenerate", grace: 0, reauthenticated: false },
            { call: "append" },
            { call: "get", key: "list" },
          ),
          visit({ call: "append" }),
          visit({ call: "count" }),
        ],
      },
    ];
    await assertExplained(
      { clocks: [RIGHT, RIGHT, RIGHT], rounds, turns: [0, 3, 0, 5, 0, 4, 0, 0, 0, 0] },
      comparing(),
    );
  });

  test("finishes after a deadline that it found ahead, although another one has shortened it and made a new id", async () => {
    const visitAgain = (...calls: Visit["calls"]): Visit => ({ ...visit(...calls), presents: "first id" });
    const rounds = [
      { later: 0, meanwhile: 0, visits: [visit({ call: "count" })] },
      { later: 0, meanwhile: 3700, visits: [visit({ call: "flash", key: "a" })] },
      {
        later: 0,
        meanwhile: 310,
        visits: [
          visitAgain(
            { call: "setTimeouts", absolute: 4000 },
            { call: "regenerate", grace: 900, reauthenticated: false },
            { call: "all" },
          ),
          visitAgain({ call: "save" }),
          visitAgain({ call: "count" }),
        ],
      },
    ];
    await assertExplained(
      { clocks: [RIGHT, RIGHT, RIGHT], rounds, turns: [0, 0, 0, 0, 0, 0, 0, 7, 3, 0, 0, 0, 0, 0] },
      comparing(),
    );
  });

  test("may get the new id with another one of its process that has followed the old one in time", async () => {
    const call = { call: "regenerate", grace: 30, reauthenticated: false } as const;
    const rounds = [
      { later: 0, meanwhile: 0, visits: [visit({ call: "count" })] },
      {
        later: 0,
        meanwhile: 31,
        visits: [visit({ call: "flash", key: "a" }), visit(call), visit({ call: "setTimeouts" }, { call: "save" })],
      },
    ];
    await assertExplained(
      { clocks: [RIGHT, RIGHT, RIGHT], rounds, turns: [0, 0, 1, 0, 2, 2, 1, 0, 2, 0, 1] },
      comparing(),
    );
  });
});
