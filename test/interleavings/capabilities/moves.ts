/**
 * Programs in which `migratingStore` moves the sessions from one engine to another, while requests meet and calls of an engine fail.
 *
 * @module
 */
import fc from "fast-check";
import type { SessionStore } from "../../../mod.ts";
import { ABSOLUTE, type Key, type Phase, type Program, programs, type Round, SERVERS, type Visit } from "./program.ts";

/** docs/deploying.md: "Wait until the longest timeout has passed." The clocks may differ. In seconds. */
const LONGEST = ABSOLUTE + 1201;

/** The ways through a migration, as docs/deploying.md describes them. */
const WAYS: readonly (readonly Phase[])[] = [
  ["moving"],
  ["moving", "end"],
  ["moving", "back"],
  ["moving", "back", "end"],
  ["moving", "on"],
  ["moving", "on", "end"],
];

/** What happens to sessions of one or two browsers at once, on several servers, right after all servers were replaced. */
const meetings: fc.Arbitrary<readonly Visit[]> = fc.array(
  fc.record({
    browser: fc.constantFrom(0, 0, 0, 1),
    server: fc.nat(SERVERS - 1),
    presents: fc.constant<Visit["presents"]>("cookies"),
    copy: fc.constant(0),
    act: fc.oneof(
      fc.record({ does: fc.constantFrom<"add" | "log out" | "read">("add", "add", "log out", "read") }),
      fc.record({ does: fc.constant("set"), key: fc.constant<Key>("left"), saves: fc.boolean() }),
      fc.record({ does: fc.constant("renew"), grace: fc.constantFrom(0, 10) }),
    ),
  }),
  { minLength: 2, maxLength: 4 },
);

/** Random programs that move sessions. */
export const movingPrograms: fc.Arbitrary<Program> = fc
  .record({
    program: programs,
    way: fc.constantFrom(...WAYS),
    at: fc.array(fc.nat(9), { minLength: 3, maxLength: 3 }),
    down: fc.array(fc.constantFrom(null, null, null, null, 0, 1, 1, 2), { minLength: 9, maxLength: 9 }),
    hasOutages: fc.boolean(),
    meeting: fc.option(meetings, { freq: 2 }),
  })
  .map(({ program, way, at, down, hasOutages, meeting }) => {
    const phases = new Map<number, Phase>();
    const { length } = program.rounds;
    for (const [index, phase] of way.entries()) {
      const before = Math.max(0, ...phases.keys());
      const round = before + 1 + ((at[index] ?? 0) % Math.max(1, Math.ceil(length / 2)));
      if (round < length) phases.set(round, phase);
      else break;
    }
    const rounds = program.rounds.map((round, index): Round => {
      const phase = phases.get(index);
      const engine = hasOutages ? down[index] : null;
      const outage = typeof engine === "number" ? { down: engine } : {};
      if (phase === undefined) return { ...round, ...outage };
      const later = phase === "end" ? round.later + LONGEST : round.later;
      return { ...round, ...outage, phase, later, visits: meeting ?? round.visits };
    });
    return { ...program, setting: { ...program.setting, store: "moving" }, rounds };
  });

/** The store of a server after some phases. */
export function movedStore(
  engines: readonly SessionStore[],
  phases: readonly Phase[],
  move: (from: SessionStore, to: SessionStore) => SessionStore,
): SessionStore {
  const [first, second, third] = engines;
  if (first === undefined || second === undefined || third === undefined) throw new Error("There are no three engines");
  const before = phases.at(-2);
  switch (phases.at(-1)) {
    case "moving":
      return move(first, second);
    case "back":
      return move(second, first);
    case "on":
      return move(move(first, second), third);
    case "end":
      return before === "back" ? first : before === "on" ? third : second;
    default:
      return first;
  }
}
