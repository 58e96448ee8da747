/** Chooses one of `options` ways to go on, and returns its number. */
export type Choose = (options: number) => number;

/**
 * Plays once for every possible sequence of choices, depth first. Each new play changes the last choice that has
 * another way left, and all choices after it start again at the first way. The same choices must lead to the same play.
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
