/**
 * The programs of `capabilities.test.ts`, while `migratingStore` moves the sessions from one engine to another and an engine may be down.
 * `capabilities/moves.ts` says which ways a migration can take. `npm run torture -- moving` plays more programs.
 *
 * @module
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SessionStore, Write } from "../../mod.ts";
import { migratingStore } from "../../src/stores/migrating.ts";
import { runsOf } from "../setup/random.ts";
import { movingPrograms } from "./capabilities/moves.ts";
import type { History } from "./capabilities/history.ts";
import { playProgram } from "./capabilities/play.ts";
import { type Program, programInWords } from "./capabilities/program.ts";
import type { Breaking } from "./capabilities/servers.ts";
import { violationsIn } from "./capabilities/verdict.ts";
import { judged, UNBIASED } from "./judged.ts";

const RUNS = 120;
/** The seed with which the verdict notices each of the faults below. */
const FIXED = 3;
const assertKept = judged<Program, Breaking, History>({
  play: playProgram,
  judge: violationsIn,
  inWords: programInWords,
});

test("Whatever meets and whatever fails while sessions move to another store and back, every promise is kept", async () => {
  const property = fc.asyncProperty(movingPrograms, (program) => assertKept(program));
  await fc.assert(property, { ...runsOf(RUNS), ...UNBIASED });
});

describe("The verdict notices", () => {
  const ends = ({ record: { fields } }: Write): boolean => fields.size === 1 && [...fields.values()].includes("ended");
  const moves: Readonly<Record<string, typeof migratingStore>> = {
    "a move that leaves the session in the old store": (from, to, options) =>
      migratingStore({ ...from, delete: () => {} }, to, options),
    "a logout that leaves no marker": (from, to, options) =>
      migratingStore(
        from,
        { ...to, save: (key, write) => (ends(write) ? chained(to.delete(key), write.id) : to.save(key, write)) },
        options,
      ),
    "a logout that does not reach the old store": (from, to, options) => {
      const { delete: end } = migratingStore(from, to, options);
      return {
        ...migratingStore(from, to, options),
        delete: (key, expected) => (expected ? to.delete(key) : end(key)),
      };
    },
    "a move that replaces what another request has moved": (from, to, options) =>
      migratingStore(from, { ...to, save: (key, write) => overwritten(to, key, write) }, options),
    "a load that does not see what is moved meanwhile": (from, to, options) => ({
      ...migratingStore(from, to, options),
      async load(key) {
        let loads = 0;
        const once: SessionStore = { ...to, load: (each) => (loads++ === 0 ? to.load(each) : null) };
        return await migratingStore(from, once, options).load(key);
      },
    }),
  };

  const chained = async <T>(done: unknown, answer: T): Promise<T> => {
    await done;
    return answer;
  };

  async function overwritten(to: SessionStore, key: string, write: Write) {
    const found = write.expected === null ? await to.load(key) : null;
    return await to.save(key, found === null ? write : { ...write, expected: found.version });
  }

  test.each(Object.entries(moves))("%s", async (_what, move) => {
    const property = fc.asyncProperty(movingPrograms, (program) => assertKept(program, { move }));
    const { failed } = await fc.check(property, { seed: FIXED, numRuns: 500, endOnFailure: true, ...UNBIASED });
    expect(failed).toBe(true);
  });
});
