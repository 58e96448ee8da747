/**
 * `npm run torture [-- histories]`: plays random histories, 100 000 by default. In each, several requests meet on one session, on servers whose
 * clocks are up to five minutes wrong, drift, or step back once. Calls of the store fail, get no answer or are done twice, and processes crash
 * between any two of them. The command prints the number of histories and of violations, each violated promise, and the first history with a
 * violation. `npm run torture -- 100 7` plays 100 histories of the seed 7.
 *
 * `npm run torture -- capabilities [programs] [seed]`: plays programs of several browsers and users with random capabilities, 10 000 by default. It ends
 * with the first program that breaks a promise, made as short as possible. `npm run torture -- moving` does so while `migratingStore` moves the sessions,
 * `npm run torture -- late` with changes that are stored after the response and with stores that are down, `npm run torture -- sealed` with sessions that
 * `cookieSessions` seals in cookies, and `npm run torture -- proofs` with `deviceBound`, `dpop` and CSRF tokens, and a thief who has no key.
 *
 * @module
 */
import fc from "fast-check";
import { latePrograms } from "./interleavings/capabilities/late.ts";
import { movingPrograms } from "./interleavings/capabilities/moves.ts";
import { playProgram } from "./interleavings/capabilities/play.ts";
import { type Program, programInWords, programs } from "./interleavings/capabilities/program.ts";
import { violationsIn as violationsOfCapabilities } from "./interleavings/capabilities/verdict.ts";
import { playHistory } from "./interleavings/history_play.ts";
import { historyPrograms } from "./interleavings/history_program.ts";
import { violationsIn } from "./interleavings/history_verdict.ts";
import { playProgram as playProofs } from "./interleavings/proofs/play.ts";
import { programInWords as proofsInWords, programs as proofPrograms } from "./interleavings/proofs/program.ts";
import { violationsIn as violationsOfProofs } from "./interleavings/proofs/verdict.ts";
import { playProgram as playSealed } from "./interleavings/sealed/play.ts";
import { programInWords as sealedInWords, programs as sealedPrograms } from "./interleavings/sealed/program.ts";
import { violationsIn as violationsOfSealed } from "./interleavings/sealed/verdict.ts";

const [, , ...given] = process.argv;
const PLAYERS: Readonly<Record<string, () => Promise<void>>> = {
  histories: tortureHistories,
  capabilities: () => tortureCapabilities(programs),
  moving: () => tortureCapabilities(movingPrograms),
  late: () => tortureCapabilities(latePrograms),
  sealed: tortureSealed,
  proofs: tortureProofs,
};
const name = given[0]?.replace(/^--/, "") ?? "";
const player = PLAYERS[name];
if (player !== undefined) given.shift();
const play = player ?? tortureHistories;
const [wanted = play === tortureHistories ? 100_000 : 10_000, seed = Date.now() % 2 ** 31] = given.map(Number);
const startedAt = performance.now();
const violations: string[] = [];
let played = 0;
let requests = 0;
const seconds = (): number => Math.round((performance.now() - startedAt) / 1000);

await play();

async function tortureHistories(): Promise<void> {
  const { errorInstance } = await fc.check(
    fc.asyncProperty(historyPrograms, async (program) => {
      const history = await playHistory(program);
      played++;
      requests += program.rounds.reduce((sum, round) => sum + round.requests.length, 0);
      const found = violationsIn(history);
      if (found.length > 0 && violations.length === 0) console.log(`${found.join("\n")}\n${JSON.stringify(program)}`);
      violations.push(...found);
      if (played % 10_000 === 0) console.log(`${played} histories, ${violations.length} violations`);
    }),
    { numRuns: wanted, seed, endOnFailure: true },
  );

  // An error that a history throws counts as a violation, and ends the run.
  if (errorInstance !== null) violations.push(String(errorInstance));
  for (const violation of new Set(violations)) console.log(violation);
  console.log(
    `${played} histories of ${requests} requests in ${seconds()} s, seed ${seed}: ${violations.length} violations`,
  );
  process.exitCode = violations.length === 0 && played >= wanted ? 0 : 1;
}

async function tortureCapabilities(all: fc.Arbitrary<Program>): Promise<void> {
  await torturePrograms(all, { play: playProgram, judge: violationsOfCapabilities, inWords: programInWords });
}

async function tortureSealed(): Promise<void> {
  await torturePrograms(sealedPrograms, { play: playSealed, judge: violationsOfSealed, inWords: sealedInWords });
}

async function tortureProofs(): Promise<void> {
  await torturePrograms(proofPrograms, { play: playProofs, judge: violationsOfProofs, inWords: proofsInWords });
}

/** How a program is played and judged. */
interface Judged<Each, History> {
  readonly play: (program: Each) => Promise<History>;
  readonly judge: (history: History) => readonly string[];
  readonly inWords: (program: Each) => string;
}

async function torturePrograms<Each, History extends { sent: readonly unknown[]; trace: readonly string[] }>(
  all: fc.Arbitrary<Each>,
  { play: playOne, judge, inWords }: Judged<Each, History>,
): Promise<void> {
  const { counterexample, counterexamplePath, errorInstance, numRuns } = await fc.check(
    fc.asyncProperty(all, async (program) => {
      const history = await playOne(program);
      played++;
      requests += history.sent.length;
      if (played % 1000 === 0) console.log(`${played} programs in ${seconds()} s`);
      const found = judge(history);
      if (found.length > 0) throw new Error(found.join("\n"));
    }),
    { numRuns: wanted, seed, unbiased: true },
  );
  if (counterexample !== null) {
    const [program] = counterexample;
    const { trace } = await playOne(program);
    console.log(`${inWords(program)}\n\n${trace.join("\n")}\n`);
    console.log(errorInstance instanceof Error ? errorInstance.message : String(errorInstance));
    console.log(`Its path is ${counterexamplePath}.\n${JSON.stringify(program)}`);
  }
  const result = counterexample === null ? "no violation" : `the program ${numRuns} breaks a promise`;
  console.log(`${played} programs of ${requests} requests in ${seconds()} s, seed ${seed}: ${result}`);
  process.exitCode = counterexample === null ? 0 : 1;
}
