import { chain, isPromise, type MaybePromise, recovering } from "../maybe_promise.ts";
import { assertStore } from "./option_checks.ts";
import { isRepositorySource } from "../repository/repository_source.ts";
import { sharesPromises } from "../runtime.ts";
import { INTERNALS } from "../session_internals.ts";
import { cleanError } from "../store_client.ts";
import type { SessionStore } from "../store.ts";
import { isObject } from "../kind_of.ts";

type StoreFunction = (...rest: never[]) => MaybePromise<SessionStore>;

/** Stores, by the argument for which they were opened. */
interface OpenedStores {
  get(argument: unknown): MaybePromise<SessionStore> | undefined;
  set(argument: unknown, store: MaybePromise<SessionStore>): unknown;
  delete(argument: unknown): boolean;
}

/**
 * Makes a function that opens the store, or returns the store that is already open. If the option `store` is a
 * function, it is called once if it takes no argument, and otherwise once for each distinct first argument, so that a
 * client is opened once. It is called again after a failure, and when the client has closed for good.
 *
 * @returns A function of the runtime's arguments, without sessions: see {@linkcode argumentsOf}
 */
export function storeResolver(
  store: SessionStore | StoreFunction,
): (runtimeArguments: readonly unknown[]) => MaybePromise<SessionStore> {
  if (typeof store !== "function") return () => store;
  const byObject: OpenedStores = new WeakMap<object, MaybePromise<SessionStore>>();
  const byPrimitive: OpenedStores = new Map<unknown, MaybePromise<SessionStore>>();
  return (given) => {
    const key = store.length === 0 ? undefined : given[0];
    const opened = Object(key) === key ? byObject : byPrimitive;
    const known = opened.get(key);
    if (known !== undefined && (isPromise(known) || known.isClosed?.() !== true)) return known;
    const opening = recovering(
      () =>
        chain(store(...(given as never[])), (found) => {
          assertOpened(found);
          opened.set(key, found);
          return found;
        }),
      (error) => {
        opened.delete(key);
        throw isProgramMistake(error) ? error : cleanError("open the store", error);
      },
    );
    if (isPromise(opening) && sharesPromises()) opened.set(key, opening);
    return opening;
  };
}

/** The runtime's arguments, without the sessions that other wrappers may have put before them. */
export function argumentsOf(rest: readonly unknown[]): readonly unknown[] {
  return rest.some(isSession) ? rest.filter((each) => !isSession(each)) : rest;
}

function isSession(value: unknown): boolean {
  return isObject(value) && INTERNALS in value;
}

function assertOpened(found: unknown): void {
  if (isRepositorySource(found))
    throw new TypeError(
      "store must be cookieSessions() itself, not a function; its secrets can be one: cookieSessions({ secrets: (env) => [env.SECRET] })",
    );
  assertStore("What the function of the option store returns", found);
}

/** Whether an error is a mistake of the program, whose message is kept. The errors of a client have a code or a cause. */
function isProgramMistake(error: unknown): boolean {
  const thrown: { readonly name?: unknown } = Object(error);
  return MISTAKES.includes(thrown.name) && !("code" in thrown) && !("cause" in thrown);
}

const MISTAKES: readonly unknown[] = ["TypeError", "RangeError", "ReferenceError"];
