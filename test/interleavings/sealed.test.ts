/**
 * Several browsers whose sessions are sealed in their cookies, on several servers, while the secret and the name of the cookie change.
 * `sealed/program.ts` says what a program can be, and `sealed/verdict.ts` which promises are judged. `npm run torture -- sealed` plays more programs.
 *
 * @module
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SessionStore } from "../../mod.ts";
import { runsOf } from "../setup/random.ts";
import type { History } from "./sealed/history.ts";
import { playProgram } from "./sealed/play.ts";
import { IDLE, type Program, programInWords, programs } from "./sealed/program.ts";
import type { Breaking } from "./sealed/servers.ts";
import { violationsIn } from "./sealed/verdict.ts";
import { judged, UNBIASED } from "./judged.ts";

const RUNS = 300;
/** The seed with which the verdict notices each of the faults below. */
const FIXED = 7;
const assertKept = judged<Program, Breaking, History>({
  play: playProgram,
  judge: violationsIn,
  inWords: programInWords,
});

test("Whatever browsers do at once with sealed sessions, whatever changes on the servers, and whatever fails, every promise is kept", async () => {
  const property = fc.asyncProperty(programs, (program) => assertKept(program));
  await fc.assert(property, { ...runsOf(RUNS), ...UNBIASED });
});

test("A program that is played twice gives the same history", async () => {
  const [program] = fc.sample(programs, { seed: FIXED, numRuns: 1 });
  if (program === undefined) throw new Error("There is no program");
  const [one, other] = [await playProgram(program), await playProgram(program)];
  expect(one.trace).toEqual(other.trace);
});

describe("The verdict notices", () => {
  const revoking = (change: (store: SessionStore) => Partial<SessionStore>): Breaking => ({
    cookies: ({ revocation, ...options }) =>
      typeof revocation === "object"
        ? { ...options, revocation: { ...revocation, ...change(revocation) } }
        : { ...options, revocation },
  });
  const broken: Readonly<Record<string, Breaking>> = {
    "a revocation store that is not used": { cookies: ({ revocation: _, ...options }) => options },
    "notes that are kept for the idle timeout alone": revoking(({ save }) => ({
      save: (key, write) =>
        save(key, { ...write, expiresAt: Math.min(write.expiresAt, write.record.lastSeenAt + IDLE * 1000) }),
    })),
    "a failure of the revocation store that counts as no note": revoking(({ load }) => ({
      load: async (key) => {
        try {
          return await load(key);
        } catch {
          return null;
        }
      },
    })),
    "an old secret that is dropped at once": {
      cookies: (options, version) =>
        version === 2 && Array.isArray(options.secrets)
          ? { ...options, secrets: options.secrets.slice(0, 1) }
          : options,
    },
    "a cookie whose old name is forgotten": {
      options: (options, version) =>
        version === 2 && typeof options.cookie === "object"
          ? { ...options, cookie: { ...options.cookie, previous: [] } }
          : options,
    },
    "timeouts that the servers do not check": {
      options: (options) => ({ ...options, idleTimeout: 10 * IDLE, touchInterval: 1, absoluteTimeout: false }),
    },
  };

  test.each(Object.entries(broken))("%s", async (_what, breaking) => {
    const property = fc.asyncProperty(programs, (program) => assertKept(program, breaking));
    const { failed } = await fc.check(property, {
      seed: FIXED,
      numRuns: 1000,
      endOnFailure: true,
      ...UNBIASED,
    });
    expect(failed).toBe(true);
  });
});
