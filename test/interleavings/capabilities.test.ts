/**
 * Several browsers and users, on several servers, with capabilities in combination. `capabilities/program.ts` says what a program can be,
 * and `capabilities/verdict.ts` which promises are judged. `npm run torture -- capabilities` plays more programs.
 *
 * @module
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Plugin, type Repository, wrapRepository } from "../../mod.ts";
import { runsOf } from "../setup/random.ts";
import type { History } from "./capabilities/history.ts";
import { playProgram } from "./capabilities/play.ts";
import { type Program, programInWords, programs, type Setting } from "./capabilities/program.ts";
import type { Breaking } from "./capabilities/servers.ts";
import { violationsIn } from "./capabilities/verdict.ts";
import { judged, UNBIASED } from "./judged.ts";

const RUNS = 300;
/** The seed with which the verdict notices each of the faults below. */
const FIXED = 20_261_130;

const assertKept = judged<Program, Breaking, History>({
  play: playProgram,
  judge: violationsIn,
  inWords: programInWords,
});

test("Whatever capabilities a program combines, whatever its browsers do at once, and whatever fails, every promise is kept", async () => {
  const property = fc.asyncProperty(programs, (program) => assertKept(program));
  await fc.assert(property, { ...runsOf(RUNS), ...UNBIASED });
});

test("A program that is played twice gives the same history", async () => {
  const [program] = fc.sample(programs, { seed: FIXED, numRuns: 1 });
  if (program === undefined) throw new Error("There is no program");
  const [one, other] = [await playProgram(program), await playProgram(program)];
  expect(one.sent.map(({ headers: _, ...sent }) => sent)).toEqual(other.sent.map(({ headers: _, ...sent }) => sent));
});

describe("The verdict notices", () => {
  const withUsers = (users: Partial<NonNullable<Setting["users"]>>) => (setting: Setting) => ({
    ...setting,
    users: setting.users && { ...setting.users, ...users },
  });
  const settings: Readonly<Record<string, (setting: Setting) => Setting>> = {
    "a limit that is not enforced": withUsers({ limit: null }),
    "a limit that ends sessions although it should refuse": withUsers({ onLimit: "revoke-oldest" }),
    "credentials that are not compared": withUsers({ hasVersions: false }),
    "ids that are not signed": (setting) => ({ ...setting, signedIds: false }),
    "ids that are not renewed by age": (setting) => ({ ...setting, rotateEvery: null }),
    "an old id whose reuse ends no session": (setting) => ({
      ...setting,
      rotateEvery: setting.rotateEvery && { ...setting.rotateEvery, onReuse: "reject" },
    }),
    "that readYourWrites is missing": (setting) => ({ ...setting, readYourWrites: false }),
  };
  const repositories: Readonly<Record<string, (next: Repository) => Partial<Repository>>> = {
    "a logout that ends nothing": () => ({ end: () => {} }),
    "a retired id that leads on for a moment": (next) => ({
      retire: (current, successor, until, op) => next.retire(current, successor, until ?? op.now + 1000, op),
    }),
    "a session that is not put back": () => ({ reinstate: () => {} }),
    "a refused change that is taken for a stored one": (next) => ({
      update: async (current, contents, op) => {
        const updated = await next.update(current, contents, op);
        return updated === "conflict" ? { ...current, ...contents } : updated;
      },
    }),
    "a session that another plugin takes for a new one": (next) => ({
      create: (id, contents, op) => next.create(id, contents, op),
    }),
  };
  const isRefused = async (breaking: Breaking): Promise<boolean> => {
    const property = fc.asyncProperty(programs, (program) => assertKept(program, breaking));
    return (await fc.check(property, { seed: FIXED, numRuns: 2000, endOnFailure: true, ...UNBIASED })).failed;
  };

  test.each(Object.entries(settings))("%s", async (_what, setting) => {
    expect(await isRefused({ setting })).toBe(true);
  });

  test.each(Object.entries(repositories))("%s", async (_what, own) => {
    // Every program with users has the plugin of userSessions. The fault is between it and the plugins around it.
    const plugin = (each: Plugin): Plugin =>
      each.name === "users"
        ? { ...each, wrap: (next) => wrapRepository(each.wrap?.(next) ?? next, own(each.wrap?.(next) ?? next)) }
        : each;
    expect(await isRefused({ plugin })).toBe(true);
  });
});
