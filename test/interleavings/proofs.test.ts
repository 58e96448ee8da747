/**
 * Two browsers with DBSC and a client with DPoP, on several servers, and a thief who sees all their requests and has no key. `proofs/program.ts` says
 * what a program can be, and `proofs/verdict.ts` which promises are judged. `npm run torture -- proofs` plays more programs.
 *
 * @module
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runsOf } from "../setup/random.ts";
import { BROKEN } from "./proofs/broken.ts";
import type { History } from "./proofs/history.ts";
import { playProgram } from "./proofs/play.ts";
import { type Program, programInWords, programs } from "./proofs/program.ts";
import type { Breaking } from "./proofs/servers.ts";
import { violationsIn } from "./proofs/verdict.ts";
import { judged, UNBIASED } from "./judged.ts";

const RUNS = 100;
/** The seed with which the verdict notices each of the faults below within a few programs. */
const FIXED = 3;

const assertKept = judged<Program, Breaking, History>({
  play: playProgram,
  judge: violationsIn,
  inWords: programInWords,
  count: ({ sent, audits }) => ({
    "requests of the thief with a session": sent.filter(({ owner, found }) => owner === null && found !== undefined)
      .length,
    "audits": audits.length,
  }),
});

test("Whoever has no key gets in for as long as the documentation says and no longer, and no owner is locked out", async () => {
  const property = fc.asyncProperty(programs, (program) => assertKept(program));
  await fc.assert(property, { ...runsOf(RUNS), ...UNBIASED });
});

test("A program that is played twice gives the same history", async () => {
  const all = fc.sample(programs, { seed: FIXED, numRuns: 5 });
  for (const program of all) {
    const [one, other] = [await playProgram(program), await playProgram(program)];
    // The signatures and the names of proofs differ.
    const facts = ({ sent }: History): unknown[] => sent.map(({ dbsc: _, dpop: __, ...each }) => each);
    expect(facts(one)).toEqual(facts(other));
  }
});

describe("The verdict notices", () => {
  test.each(Object.entries(BROKEN))("%s", async (_what, breaking) => {
    const property = fc.asyncProperty(programs, (program) => assertKept(program, breaking));
    const { failed } = await fc.check(property, { seed: FIXED, numRuns: 500, endOnFailure: true, ...UNBIASED });
    expect(failed).toBe(true);
  });
});
