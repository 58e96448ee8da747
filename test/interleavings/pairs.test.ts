import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { memoryStore, type SessionStore } from "../../mod.ts";
import { encryption } from "../../src/encryption.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { fileStore } from "../../src/stores/file.ts";
import { everySchedule } from "../setup/schedules.ts";
import { withOldTouches, withoutComparing, withoutLooking } from "../setup/broken_stores.ts";
import { CLOCKS, meet, type Meeting } from "./meeting.ts";
import { type ProgramName, programs } from "./programs.ts";

/** Whether the tests that take minutes run too. */
const isThorough = process.env["THOROUGH"] === "1";

const names = Object.keys(programs) as ProgramName[];
/** A meeting of two such programs has thousands of schedules. */
const isLong = (name: ProgramName): boolean => name.startsWith("regenerate, save");
/** It has too many schedules for a test. */
const tooLong: ProgramName = "regenerate, save, regenerate, save, fail";
const pairs = names
  .flatMap((one, index) => names.slice(index).map((other) => [one, other] as const))
  .filter(([one, other]) => isThorough || !(isLong(one) && isLong(other)))
  .filter((pair) => !pair.includes(tooLong) || pair.includes("read") || pair.includes("update"));
/** The pairs for tests that multiply the schedules. */
const chosenPairs: readonly (readonly [ProgramName, ProgramName])[] = [
  ["set", "set"],
  ["update", "update"],
  ["set, update", "clear"],
  ["update", "destroy"],
  ["update", "regenerate"],
  ["touch", "touch"],
  ["touch", "update"],
  ["touch", "destroy"],
  ["touch", "regenerate"],
  ["set, save, set", "destroy"],
  ["set, save, set", "regenerate with grace"],
  ["flash", "take flash"],
  ["setTimeouts", "regenerate"],
  ["destroy", "destroy"],
  ["destroy", "regenerate"],
  ["destroy", "regenerate with grace"],
  ["regenerate", "regenerate"],
  ["regenerate", "regenerate with grace"],
  ["regenerate, update", "update"],
  ["regenerate, save, fail", "update"],
  ["regenerate, save, fail", "destroy"],
];
/** Programs that retire or end an id, where a fault in the middle could do harm, and the programs that meet them. */
const delicate: readonly ProgramName[] = [
  "update",
  "destroy",
  "set, save, destroy",
  "regenerate",
  "regenerate with grace",
  "log in",
  "regenerate, destroy",
  ...(isThorough ? (["destroy, save", "destroy, set", "regenerate, update", "regenerate, save, set"] as const) : []),
];
const met: readonly ProgramName[] = [
  "read",
  "update",
  "destroy",
  "regenerate",
  "regenerate with grace",
  ...(isThorough ? (["touch", "setTimeouts", "take flash", "set, save, set", "destroy, set"] as const) : []),
];

const totals = new Map<string, number>();

afterAll(() => {
  for (const [what, schedules] of totals) console.log(`${what}: ${schedules} schedules, which are all that there are`);
  console.log(`Together: ${[...totals.values()].reduce((sum, each) => sum + each, 0)} schedules`);
});

/** Plays all schedules of a meeting. Returns the promises that were broken in them. */
async function playEach(meeting: Meeting): Promise<{ readonly violations: string[]; readonly played: number }> {
  const violations: string[] = [];
  const played = await everySchedule(async (choose) => {
    const { trace, wrong } = await meet(meeting, choose);
    for (const each of wrong) violations.push(`${each}\n    when ${trace}`);
  });
  return { violations, played };
}

/** Plays all schedules of a meeting, and expects that no promise is broken. */
async function playAll(what: string, meeting: Meeting): Promise<void> {
  const { violations, played } = await playEach(meeting);
  totals.set(what, (totals.get(what) ?? 0) + played);
  expect(violations.slice(0, 5), `${violations.length} violations in ${played} schedules`).toEqual([]);
}

const right = CLOCKS["clocks that are right"]!;
const wrong = Object.entries(CLOCKS).filter(([, clocks]) => clocks !== right);

describe("Two requests", () => {
  test.each(pairs)(
    "keep every promise in every schedule when %s meets %s",
    { timeout: 600_000 },
    async (one, other) => {
      await playAll("Memory", { store: memoryStore(), names: [one, other], after: 1, clocks: right });
    },
  );
});

describe.each(wrong)("Two requests of a session that is due to be touched, with %s,", (_what, clocks) => {
  const both = isThorough
    ? pairs.flatMap(([one, other]) => [[one, other] as const, [other, one] as const])
    : chosenPairs;
  test.each(both)("keep every promise in every schedule when %s meets %s", { timeout: 600_000 }, async (one, other) => {
    await playAll("Memory, wrong clocks", { store: memoryStore(), names: [one, other], after: 1000, clocks });
  });
});

describe("Two requests of one process, which stores their changes together,", () => {
  test.each(isThorough ? pairs : chosenPairs)(
    "keep every promise in every schedule when %s meets %s",
    { timeout: 600_000 },
    async (one, other) => {
      for (const after of [1, 1000]) {
        await playAll("Memory, one process", {
          store: memoryStore(),
          names: [one, other],
          after,
          clocks: right,
          isOneProcess: true,
        });
      }
    },
  );
});

describe("A request whose store fails once, and another one,", () => {
  const both = delicate.flatMap((one) => met.map((other) => [one, other] as const));
  test.each(both)("keep every promise in every schedule when %s meets %s", { timeout: 600_000 }, async (one, other) => {
    await playAll("Memory, one call fails", {
      store: memoryStore(),
      names: [one, other],
      after: 1,
      clocks: right,
      faults: true,
    });
  });
});

describe("Two requests of an encrypted session with a signed id", () => {
  const secrets = ["a secret of at least thirty-two bytes"];
  const options = { ids: signedIds({ secrets }), encryption: encryption({ secrets }) };
  test.each(chosenPairs)("keep every promise in every schedule when %s meets %s", async (one, other) => {
    const meeting = { store: memoryStore(), names: [one, other], after: 1000, clocks: right, options } as const;
    await playAll("Memory, signed and encrypted", meeting);
  });
});

describe("Two requests, on files,", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "with-session-"));
    return () => rm(directory, { recursive: true });
  });

  test.each(chosenPairs)("keep every promise in every schedule when %s meets %s", async (one, other) => {
    await playAll("Files", { store: fileStore({ directory }), names: [one, other], after: 1000, clocks: right });
  });
});

describe("Two requests, on a store that breaks its word,", () => {
  const broken: Readonly<Record<string, [(store: SessionStore) => SessionStore, ProgramName, ProgramName, string]>> = {
    "which compares nothing": [withoutComparing, "update", "update", "the session holds"],
    "which creates what is gone": [withoutLooking, "update", "destroy", "a session lives on after a logout"],
    "which deletes nothing": [
      (store) => ({ ...store, delete: () => {} }),
      "destroy",
      "read",
      "a session lives on after a logout",
    ],
    "whose touch brings back what its request saw": [withOldTouches, "touch", "set", "the session holds"],
    "which forgets a write that it has acknowledged": [
      (store) => ({ ...store, save: (key, write) => (write.expected === null ? store.save(key, write) : "forgotten") }),
      "set",
      "read",
      "the session holds",
    ],
  };

  test.each(Object.entries(broken))("%s, are found out", async (_what, [breaking, one, other, violation]) => {
    const meeting: Meeting = { store: breaking(memoryStore()), names: [one, other], after: 1, clocks: right };
    const { violations } = await playEach(meeting);
    expect(violations.join("\n")).toContain(violation);
  });
});
