/**
 * Random tests play the same programs in each run. `TEST_SEED=random` plays others, to search for new faults, and `TEST_SEED=7` repeats a run.
 * `TEST_RUNS=100` plays 100 times as many.
 *
 * @module
 */
const { TEST_SEED: given = "20261127", TEST_RUNS: factor = "1" } = process.env;

export const SEED: number = given === "random" ? Math.floor(Math.random() * 2 ** 31) : Number(given);

/** Parameters of `fc.assert` for a number of programs. */
export function runsOf(count: number): { readonly seed: number; readonly numRuns: number } {
  return { seed: SEED, numRuns: count * Number(factor) };
}
