/** Decides between `options` ways to go on, by the number of one of them. */
export type Choose = (options: number) => number;

/**
 * Plays once for every sequence of decisions that there is, depth first: each time the last decision that has a way
 * left takes the next one, and what comes after begins anew. The play must be the same when it decides the same.
 *
 * @returns How often it was played
 */
export async function everySchedule(play: (choose: Choose) => Promise<void>): Promise<number> {
  let plan: number[] = [];
  for (let played = 1; ; played++) {
    const decided: { readonly way: number; readonly options: number }[] = [];
    await play((options) => {
      const way = plan[decided.length] ?? 0;
      decided.push({ way, options });
      return way;
    });
    const last = decided.findLastIndex(({ way, options }) => way + 1 < options);
    if (last === -1) return played;
    plan = decided.slice(0, last + 1).map(({ way }, index) => (index === last ? way + 1 : way));
  }
}
