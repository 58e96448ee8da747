import type { SessionStore } from "../../mod.ts";
import { altered } from "./sessions.ts";

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

/** What goes wrong with one call of the store. */
export type Fault = "none" | "rejects" | "does it but rejects";

/** Somebody whose every call of the store waits until it is let go, so that nothing depends on time. */
export interface Party<Result> {
  /** What the party came to, once it is done. */
  readonly result: Result | undefined;
  /** The verb that waits, or null when the party is done. */
  readonly waits: string | null;
  /** Lets go of the call that waits, and returns when the next one waits or the party is done. */
  step(fault?: Fault): Promise<void>;
}

/** Starts a party, and returns when its first call waits. `act` must call the store one verb at a time. */
export async function startParty<Result>(
  store: SessionStore,
  act: (store: SessionStore) => Promise<Result>,
): Promise<Party<Result>> {
  let waits: string | null = null;
  let letGo: (fault: Fault) => void = () => {};
  let arrive: () => void = () => {};
  let result: Result | undefined;

  const gated =
    (name: string) =>
    async <Args extends unknown[], Answer>(
      verb: (...args: Args) => Promise<Answer>,
      ...args: Args
    ): Promise<Answer> => {
      const { promise, resolve } = Promise.withResolvers<Fault>();
      waits = name;
      letGo = resolve;
      arrive();
      const fault = await promise;
      if (fault === "rejects") throw new Error("The store was told to fail");
      const answer = await verb(...args);
      if (fault === "does it but rejects") throw new Error("The store was told to fail");
      return answer;
    };
  const verbs = {
    load: gated("load"),
    create: gated("create"),
    change: gated("change"),
    touch: gated("touch"),
    delete: gated("delete"),
  };

  const arrival = new Promise<void>((resolve) => (arrive = resolve));
  const run = async (): Promise<void> => {
    result = await act(altered(store, verbs));
    waits = null;
    arrive();
  };
  const done = run();
  await Promise.race([arrival, done]);

  return {
    get result() {
      return result;
    },
    get waits() {
      return waits;
    },
    async step(fault = "none") {
      const next = new Promise<void>((resolve) => (arrive = resolve));
      letGo(fault);
      await Promise.race([next, done]);
    },
  };
}
