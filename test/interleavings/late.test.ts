/**
 * The programs of `capabilities.test.ts`, with `persist: "after-response"` and `onStoreError: "anonymous"`, while the store may be down.
 * `capabilities/verdict_of_outages.ts` says which promises are judged beside the others. `npm run torture -- late` plays more programs.
 *
 * @module
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Repository, wrapRepository } from "../../mod.ts";
import { runsOf } from "../setup/random.ts";
import { latePrograms } from "./capabilities/late.ts";
import type { History } from "./capabilities/history.ts";
import { playProgram } from "./capabilities/play.ts";
import { type Program, programInWords } from "./capabilities/program.ts";
import type { Breaking } from "./capabilities/servers.ts";
import { violationsIn } from "./capabilities/verdict.ts";
import { judged, UNBIASED } from "./judged.ts";

const RUNS = 200;
/** The seed with which the verdict notices each of the faults below. */
const FIXED = 3;
const assertKept = judged<Program, Breaking, History>({
  play: playProgram,
  judge: violationsIn,
  inWords: programInWords,
  count: ({ sent }) => ({
    "responses before a change was stored": sent.filter(({ storedAt }) => storedAt !== undefined).length,
  }),
});

test("Whatever is stored after the response, and whatever goes on without a session when the store fails, every promise is kept", async () => {
  const property = fc.asyncProperty(latePrograms, (program) => assertKept(program));
  await fc.assert(property, { ...runsOf(RUNS), ...UNBIASED });
});

describe("The verdict notices", () => {
  const failing = (act: () => unknown, answer: unknown): Promise<never> =>
    Promise.resolve()
      .then(act)
      .catch(() => answer) as Promise<never>;
  const repositories: Readonly<Record<string, (next: Repository) => Partial<Repository>>> = {
    "an outage that counts as an unknown session": (next) => ({
      open: (token, op) => failing(() => next.open(token, op), "unknown"),
    }),
    "a logout that succeeds although the store fails": (next) => ({
      end: (session, op) => failing(() => next.end(session, op), undefined),
    }),
    "a change that is dropped where the store fails": (next) => ({
      update: (current, contents, op) => failing(() => next.update(current, contents, op), { ...current, ...contents }),
    }),
  };

  test.each(Object.entries(repositories))("%s", async (_what, own) => {
    const breaking: Breaking = { wrap: (next) => wrapRepository(next, own(next)) };
    const property = fc.asyncProperty(latePrograms, (program) => assertKept(program, breaking));
    const { failed } = await fc.check(property, {
      seed: FIXED,
      numRuns: 500,
      endOnFailure: true,
      ...UNBIASED,
    });
    expect(failed).toBe(true);
  });
});
