/**
 * `npm run torture [-- histories]`: plays random histories, 100 000 unless told otherwise. In each, several requests meet on one session, on servers
 * whose clocks are up to five minutes wrong, drift, or step back once; calls of the store fail, get no answer or are done twice, and processes crash
 * between any two of them. It prints what was played, and each violation of a promise.
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

await fc.check(
  fc.asyncProperty(historyPrograms, async (program) => {
    const history = await playHistory(program);
    played++;
    requests += program.rounds.reduce((sum, round) => sum + round.requests.length, 0);
    violations.push(...violationsIn(history));
    if (played % 10_000 === 0) console.log(`${played} histories, ${violations.length} violations`);
  }),
  { numRuns: wanted, seed, endOnFailure: true },
);

const seconds = Math.round((performance.now() - startedAt) / 1000);
for (const violation of new Set(violations)) console.log(violation);
console.log(
  `${played} histories of ${requests} requests in ${seconds} s, seed ${seed}: ${violations.length} violations`,
);
process.exitCode = violations.length === 0 && played >= wanted ? 0 : 1;
