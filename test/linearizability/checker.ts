/** One operation of a history: when it was asked for and answered, and what it may do to the state. */
export interface Operation<State> {
  /** Who did it. The operations of one process follow each other, in the order of the history. */
  readonly process: string;
  readonly invoked: number;
  /** `Infinity` if there was no answer: it may have been done, be done later, or never. */
  readonly returned: number;
  /** The states that it may leave behind, given what it answered: none if it cannot have answered that. */
  readonly apply: (state: State) => readonly State[];
  /** Says what it was, for whoever reads a history that cannot be. */
  readonly label: string;
}

/** Either an order that explains the history, or as far as any order came. */
export interface Explanation<State> {
  readonly isLinearizable: boolean;
  readonly order: readonly Operation<State>[];
  /** The state at the end of `order`. */
  readonly state: State;
}

/**
 * Finds an order of a history's operations in which each one, done at a single instant between its invocation and its
 * answer, answers what it did (M. Herlihy and J. Wing, Linearizability: A Correctness Condition for Concurrent Objects,
 * ACM TOPLAS 12(3), 1990). The search is that of J. Wing and C. Gong, Testing and Verifying Concurrent Objects, JPDC
 * 17(1-2), 1993: any operation may come first that was invoked before all others had answered; take it, go on with the
 * rest, and come back if that leads nowhere. What led nowhere is remembered, so that it is not tried again.
 */
export function explain<State>(initial: State, history: readonly Operation<State>[]): Explanation<State> {
  const processes = [...Map.groupBy(history, ({ process }) => process).values()];
  const futile = new Set<string>();
  let furthest: Explanation<State> = { isLinearizable: false, order: [], state: initial };

  function search(
    done: readonly number[],
    state: State,
    order: readonly Operation<State>[],
  ): Explanation<State> | undefined {
    const next = processes.map((operations, index) => operations[done[index] ?? 0]);
    const firstAnswer = Math.min(...next.map((operation) => operation?.returned ?? Infinity));
    if (order.length > furthest.order.length) furthest = { isLinearizable: false, order, state };
    if (firstAnswer === Infinity) return { isLinearizable: true, order, state };
    const position = `${done} ${JSON.stringify(state)}`;
    if (futile.has(position)) return undefined;
    // Whoever had to be done first is tried first, and what may never have been done at last.
    const candidates = [...next.entries()].sort(
      ([, left], [, right]) => (left?.returned ?? 0) - (right?.returned ?? 0),
    );
    for (const [index, operation] of candidates) {
      if (operation === undefined || operation.invoked > firstAnswer) continue;
      const doneThen = done.with(index, (done[index] ?? 0) + 1);
      for (const stateThen of operation.apply(state)) {
        const found = search(doneThen, stateThen, [...order, operation]);
        if (found !== undefined) return found;
      }
    }
    futile.add(position);
    return undefined;
  }

  return (
    search(
      processes.map(() => 0),
      initial,
      [],
    ) ?? furthest
  );
}
