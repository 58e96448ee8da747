/**
 * Programs that store changes after the response, and programs whose requests go on without a session when the store fails.
 *
 * @module
 */
import fc from "fast-check";
import { type Act, type Program, programs, type Round } from "./program.ts";

/** Random programs with `persist: "after-response"` or `onStoreError: "anonymous"`, or both. */
export const latePrograms: fc.Arbitrary<Program> = fc
  .record({
    program: programs,
    options: fc.constantFrom<Pick<Program["setting"], "persist" | "onStoreError">>(
      { persist: "after-response" },
      { onStoreError: "anonymous" },
      { persist: "after-response", onStoreError: "anonymous" },
    ),
    /** With a plugin that adds headers to responses, every change is stored before the response. */
    hasPlugins: fc.constantFrom(false, false, false, true),
    redirects: fc.nat(7),
    /** Which of the requests that only read or add set something. */
    sets: fc.nat(1),
    /** Whether "last seen" is due only in few requests, so that most changes can wait for the response. */
    isQuick: fc.boolean(),
    /** In which of the rounds calls of the store fail. */
    outages: fc.array(fc.constantFrom("none", "none", "none", "all calls", "writes"), { minLength: 10, maxLength: 10 }),
  })
  .map(({ program, options, hasPlugins, redirects, sets, isQuick, outages }) => {
    const plugins = hasPlugins ? {} : { readYourWrites: false, deviceBound: false, ownPlugins: 0 };
    const rounds = program.rounds.map((round, at): Round => {
      const visits = round.visits.map((visit, index) => {
        const isSet = (visit.act.does === "read" || visit.act.does === "add") && (index + at) % 2 === sets;
        const act: Act = isSet ? { does: "set", key: "left", saves: false } : visit.act;
        return { ...visit, act, redirects: (index + at) % 8 === redirects };
      });
      const outage = options.onStoreError === undefined || at === 0 ? "none" : (outages[at] ?? "none");
      const later = isQuick ? Math.min(round.later, 61) : round.later;
      return { ...round, later, visits, ...(outage === "none" ? {} : { down: 0, isReadable: outage === "writes" }) };
    });
    return { ...program, setting: { ...program.setting, store: "comparing", ...plugins, ...options }, rounds };
  });
