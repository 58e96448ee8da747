import kept from "./kept_histories.json" with { type: "json" };
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { Plugin, Repository, SessionStore } from "../../mod.ts";
import { wrapRepository } from "../../src/core/repository/repository_wrapper.ts";
import { type ClockPlan, RIGHT } from "../setup/clocks.ts";
import { runsOf, SEED } from "../setup/random.ts";
import { withOldAnswers, withoutComparing, withoutLooking } from "../setup/broken_stores.ts";
import { type Breaking, type History, playHistory } from "./history_play.ts";
import { type Decision, type HistoryProgram, historyPrograms, type HistoryRequest } from "./history_program.ts";
import { violationsIn } from "./history_verdict.ts";
import type { Fate } from "./stage.ts";

const FIXED = 20_260_101;
const RUNS = 3000;
/** Each call of `migratingStore` is several calls. */
const MIGRATIONS = 300;

const totals = { histories: 0, requests: 0, calls: 0, faults: 0, crashes: 0, conflicts: 0 };

afterAll(() => {
  const { histories, requests, calls, faults, crashes, conflicts } = totals;
  console.log(
    `Seed ${SEED}: ${histories} histories, ${requests} requests, ${calls} calls of the store, ${faults} of them failed, ${crashes} processes crashed, ${conflicts} conflicts`,
  );
});

/** Plays a history, and throws if it broke a promise. */
async function assertKept(program: HistoryProgram, breaking: Breaking = {}): Promise<History> {
  const history = await playHistory(program, breaking);
  totals.histories++;
  totals.requests += history.sent.length;
  totals.calls += history.calls;
  totals.faults += history.faults;
  totals.crashes += history.crashes;
  totals.conflicts += history.conflicts;
  const violations = violationsIn(history);
  if (violations.length > 0) throw new Error(`${violations.join("\n")}\n\n${history.trace.join("\n")}`);
  return history;
}

describe("Whatever requests meet on whatever clocks, and whatever fails or crashes between two calls of the store,", () => {
  test("every promise is kept", async () => {
    const property = fc.asyncProperty(historyPrograms, async (program) => void (await assertKept(program)));
    await fc.assert(property, runsOf(RUNS));
  });

  test("every promise is kept while migratingStore() moves the sessions to another store", async () => {
    const migrated = async (program: HistoryProgram) => void (await assertKept(program, { migrates: true }));
    await fc.assert(fc.asyncProperty(historyPrograms, migrated), runsOf(MIGRATIONS));
  });
});

describe("The histories", () => {
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
    "that retires an id and leaves it alive": () => ({ retire: () => true }),
  };
  const refused = (breaking: Breaking): Promise<unknown> => {
    const property = fc.asyncProperty(historyPrograms, async (program) => void (await assertKept(program, breaking)));
    return fc.assert(property, { seed: FIXED, numRuns: 3000, endOnFailure: true }).then(
      () => "nothing was wrong",
      () => "refused",
    );
  };

  test.each(Object.entries(stores))("refuse a store %s", async (_what, store) => {
    expect(await refused({ store })).toBe("refused");
  });

  test.each(Object.entries(repositories))("refuse a repository %s", async (_what, own) => {
    const plugin = (): Plugin => ({ name: "broken", wrap: (next) => wrapRepository(next, own(next)) });
    expect(await refused({ plugin })).toBe("refused");
  });
});

/** Faults that random histories have found, reduced to the shortest history. */
describe("A request", () => {
  const request = (acts: HistoryRequest["acts"], server = 0): HistoryRequest => ({
    server,
    client: 0,
    presents: "cookie",
    acts,
  });
  const ahead = (seconds: number): ClockPlan => ({ ...RIGHT, ahead: seconds });
  /** Decisions: which of the waiting calls goes on, and what becomes of it. */
  const steps = (...taken: readonly (number | readonly [number, Fate])[]): Decision[] =>
    taken.map((each) => (typeof each === "number" ? { who: each, fate: "done" } : { who: each[0], fate: each[1] }));
  const meet = (
    requests: readonly HistoryRequest[],
    decisions: readonly Decision[] = [],
    more: Partial<HistoryProgram> = {},
  ) =>
    assertKept({
      clocks: [RIGHT, RIGHT, RIGHT],
      engineClock: RIGHT,
      sweeping: "never",
      seed: 0,
      isBound: false,
      rounds: [{ later: 0, requests }],
      decisions,
      ...more,
    });

  test("is not dropped that sets back what another process has just changed, while its own process stores something", async () => {
    const taken = steps(0, 2, [2, "done, answered later"], 0, 2, 2, 2, 0, 1, 0);
    const { sent } = await meet([request(["append"]), request(["on"], 1), request(["off"])], taken);
    expect(sent.map(({ outcome }) => outcome)).toEqual(["answered", "answered", "answered"]);
  });

  test("counts once when the client of the store sends its write twice, and a server with another clock writes next", async () => {
    const taken = steps(0, 1, [1, "done twice"], 0, 1, 1);
    const { sent } = await meet([request(["append"]), request(["append"], 1)], taken, {
      clocks: [ahead(-300), ahead(300), RIGHT],
    });
    expect(sent.flatMap(({ deeds }) => deeds.map(({ list }) => list?.length)).sort()).toEqual([1, 2]);
  });

  test("that was under way at a login does not take the new cookie away, on a server whose clock is five minutes ahead", async () => {
    const [login, other] = [request(["regenerate"]), request(["touch"], 2)];
    const { clients } = await meet([other, login], steps(1, 1, 1, 1, 0, 1, 1, 0), {
      clocks: [RIGHT, RIGHT, ahead(300)],
    });
    expect(clients[0]?.cookie).not.toBeNull();
  });

  test("that logs out ends the session also if another one has renewed its id and taken it from the user, while all sessions of the user ended", async () => {
    const taken = steps(0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    for (const who of [0, 1, 2, 3]) {
      const decisions = taken.map((each, index) => ({ ...each, who: index % (who + 1) }));
      await meet([request(["revokeAll", "destroy"]), request(["unbind", "regenerate"])], decisions, { isBound: true });
    }
  });

  test("may end all sessions but its own after a logout, which leaves none", async () => {
    const { sent } = await meet([request(["destroy", "revokeAll but this"])], [], { isBound: true });
    expect(sent[0]?.outcome).toBe("answered");
  });

  test("that renews the id twice and fails leaves the session under the first one", async () => {
    const { audits, clients } = await meet([request(["regenerate", "save", "regenerate", "save", "fail"])]);
    expect(audits[0]?.seen.filter(({ birth }) => birth === "client 0").map(({ id }) => id)).toEqual(
      Array(3).fill(clients[0]?.first),
    );
  });

  test("that renews the id and stores the changes of another one in two sendings is not told that the session is gone", async () => {
    const taken = steps(0, 0, 1, 0, 1, 1, 0, 0, [0, "done twice"]);
    for (let who = 0; who < 4; who++) {
      const decisions = taken.map((each, index) => (index < 5 ? { ...each, who: (each.who + who) % 3 } : each));
      await meet([request(["regenerate"]), request(["append"], 1)], decisions);
    }
  });
});

// Found by `npm run torture`.
test.each(Object.entries(kept))("every promise is kept in the history in which %s", async (_why, program) => {
  expect(violationsIn(await playHistory(program as unknown as HistoryProgram))).toEqual([]);
});
