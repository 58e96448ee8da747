/**
 * `npm run torture [-- histories]`: plays random histories, 100 000 by default. In each, several requests meet on one session, on servers whose
 * clocks are up to five minutes wrong, drift, or step back once. Calls of the store fail, get no answer or are done twice, and processes crash
 * between any two of them. The command prints the number of histories and of violations, each violated promise, and the first history with a
 * violation. `npm run torture -- 100 7` plays 100 histories of the seed 7.
 *
 * @module
 */
import fc from "fast-check";
import { playHistory } from "./interleavings/history_play.ts";
import { historyPrograms } from "./interleavings/history_program.ts";
import { violationsIn } from "./interleavings/history_verdict.ts";

const wanted = Number(process.argv[2] ?? 100_000);
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const startedAt = performance.now();
const violations: string[] = [];
let played = 0;
let requests = 0;

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
const seconds = Math.round((performance.now() - startedAt) / 1000);
for (const violation of new Set(violations)) console.log(violation);
console.log(
  `${played} histories of ${requests} requests in ${seconds} s, seed ${seed}: ${violations.length} violations`,
);
process.exitCode = violations.length === 0 && played >= wanted ? 0 : 1;
