import type { PortableCase } from "./cases.ts";

/** The results that a runner prints as one line of JSON. test/run.ts adds them up. */
export interface Outcomes {
  readonly passed: number;
  readonly failed: readonly { readonly name: string; readonly error: string }[];
}

/** Runs cases one after the other. */
export async function outcomesOf(cases: readonly PortableCase[]): Promise<Outcomes> {
  const failed: { name: string; error: string }[] = [];
  for (const { name, run } of cases) {
    try {
      await run();
    } catch (error) {
      failed.push({ name, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  }
  return { passed: cases.length - failed.length, failed };
}
