/** One operation of a history: when it was invoked and answered, and what it may do to the state. */
export interface Operation<State> {
  /** The process that made it. The operations of one process follow each other, in the order of the history. */
  readonly process: string;
  readonly invoked: number;
  /** `Infinity` if there was no answer: it may have been done, may be done later, or never. */
  readonly returned: number;
  /** The states after the operation, given its answer; empty if it cannot have had that answer. */
  readonly apply: (state: State) => readonly State[];
  /** Describes the operation for a reader of a history without an order. */
  readonly label: string;
}

/** An order that explains the history, or the longest part of one that was found. */
export interface Explanation<State> {
  readonly isLinearizable: boolean;
  readonly order: readonly Operation<State>[];
  /** The state at the end of `order`. */
  readonly state: State;
}

/**
 * Finds an order of the operations in a history that explains every answer, if each operation takes effect at a single
 * instant between its invocation and its answer (M. Herlihy and J. Wing, Linearizability: A Correctness Condition for
 * Concurrent Objects, ACM TOPLAS 12(3), 1990). The search is that of J. Wing and C. Gong, Testing and Verifying
 * Concurrent Objects, JPDC 17(1-2), 1993. Any operation may come first that was invoked before the first answer of all
 * others. The search takes one, continues with the rest, and goes back if it finds no order. It remembers positions
 * without an order, and does not try them again.
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
    // Operations that were answered first are tried first, and those without an answer last.
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
