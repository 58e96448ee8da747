import { isBusy } from "../core/errors.ts";
import { assertMethods } from "../core/options/option_checks.ts";
import type { SessionStore } from "../core/store.ts";
import type { Check, OpenedStore } from "./cases/case.ts";
import { deleteCases } from "./cases/delete.ts";
import { engineCases } from "./cases/engine.ts";
import { saveCases } from "./cases/save.ts";
import { textCases } from "./cases/text.ts";

/** Opens the store under test. Every case calls it once. */
export type OpenStore = () => SessionStore | OpenedStore | Promise<SessionStore | OpenedStore>;

/** One requirement of a store. */
export interface StoreCase {
  /** The requirement. The name is the same in every version, so that a list of known failures can use it. */
  readonly name: string;
  /** Resolves if the store does it. Rejects with an `Error` that describes what the store did instead. */
  run(openStore: OpenStore): Promise<void>;
}

const CASES: Readonly<Record<string, Check>> = { ...saveCases, ...deleteCases, ...textCases, ...engineCases };

/**
 * All requirements of a store, as data for any test runner.
 *
 * The traits of a store decide which requirements apply. Cases whose names end in `[compareAndSet]` require less of a
 * store without it. Cases whose names end in `[prune]` check nothing if the store does not have `prune`. Cases can run one
 * after the other or at once, on one engine or on a new one each. A read must see the write before it, so test an
 * eventually consistent store in a place where that is so, such as its local simulator.
 *
 * @returns The cases, always in the same order
 *
 * @example
 * ```ts
 * import { memoryStore } from "with-session";
 * import { storeCases } from "with-session/testing";
 *
 * for (const { name, run } of storeCases()) {
 *   // In a test runner: test(name, () => run(() => memoryStore()));
 *   await run(() => memoryStore()).catch((cause) => {
 *     throw new Error(name, { cause });
 *   });
 * }
 * ```
 */
export function storeCases(): StoreCase[] {
  return Object.entries(CASES).map(([name, check]) => ({
    name,
    async run(openStore) {
      if (typeof openStore !== "function")
        throw new TypeError("Give a case a function that opens your store: run(() => myStore())");
      const result = await openStore();
      const opened = typeof result === "object" && result !== null && "store" in result ? result : { store: result };
      assertMethods("The store of a case", opened.store, ["load", "save", "delete"]);
      try {
        await check(patient(opened.store), opened);
      } finally {
        await opened.close?.();
      }
    },
  }));
}

/** A store whose calls are tried again while it is busy, as the core does: a busy store has done nothing. */
function patient(store: SessionStore): SessionStore {
  const whenFree = async <Answer>(call: () => Answer | Promise<Answer>): Promise<Answer> => {
    for (let attempt = 0; ; attempt++) {
      try {
        return await call();
      } catch (error) {
        if (attempt === 100 || !isBusy(error)) throw error;
        // Without a pause, the other calls of a case can refuse each attempt.
        await new Promise((resolve) => setTimeout(resolve, Math.min(attempt, 10)));
      }
    }
  };
  const { prune } = store;
  return {
    traits: store.traits,
    ...(prune && { prune: (now) => prune.call(store, now) }),
    load: (...words) => whenFree(() => store.load(...words)),
    save: (...words) => whenFree(() => store.save(...words)),
    delete: (...words) => whenFree(() => store.delete(...words)),
  };
}
