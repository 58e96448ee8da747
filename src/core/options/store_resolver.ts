import { isPromise, type MaybePromise } from "../maybe_promise.ts";
import { assertStore } from "./option_checks.ts";
import { isRepositorySource } from "../repository/repository_source.ts";
import { sharesPromises } from "../runtime.ts";
import { INTERNALS } from "../session_internals.ts";
import { cleanError } from "../store_client.ts";
import type { SessionStore } from "../store.ts";

type StoreFunction = (...rest: never[]) => MaybePromise<SessionStore>;

/**
 * Makes a function that opens the store, or returns the store that is already open. If the option `store` is a
 * function, it is called once if it takes no argument, and otherwise once for each distinct first argument, so that a
 * client is opened once. After a failure it is called again.
 *
 * @returns A function of the runtime's arguments, without sessions: see {@linkcode argumentsOf}
 */
export function storeResolver(
  store: SessionStore | StoreFunction,
): (runtimeArguments: readonly unknown[]) => MaybePromise<SessionStore> {
  if (typeof store !== "function") return () => store;
  const opened = new WeakMap<object, MaybePromise<SessionStore>>();
  const primitives = new Map<unknown, object>();
  const keyOf = (argument: unknown): object => {
    const value = store.length === 0 ? undefined : argument;
    if ((typeof value === "object" && value !== null) || typeof value === "function") return value;
    const key = primitives.get(value) ?? {};
    primitives.set(value, key);
    return key;
  };
  return (given) => {
    const key = keyOf(given[0]);
    const known = opened.get(key);
    if (known !== undefined) return known;
    const opening = open(store, given);
    if (!isPromise(opening)) {
      opened.set(key, opening);
      return opening;
    }
    const keep = opening.then(
      (found) => {
        opened.set(key, found);
        return found;
      },
      (error: unknown) => {
        opened.delete(key);
        throw error;
      },
    );
    if (sharesPromises()) opened.set(key, keep);
    return keep;
  };
}

/** The runtime's arguments, without the sessions that other wrappers may have put before them. */
export function argumentsOf(rest: readonly unknown[]): readonly unknown[] {
  return rest.some(isSession) ? rest.filter((each) => !isSession(each)) : rest;
}

function isSession(value: unknown): boolean {
  return typeof value === "object" && value !== null && INTERNALS in value;
}

function open(store: StoreFunction, given: readonly unknown[]): MaybePromise<SessionStore> {
  try {
    const found = store(...(given as never[]));
    return isPromise(found) ? Promise.resolve(found).then(checkedStore, refuse) : checkedStore(found);
  } catch (error) {
    return refuse(error);
  }
}

function checkedStore(found: SessionStore): SessionStore {
  if (isRepositorySource(found))
    throw new TypeError("store must be cookieSessions() itself; it is a function that returns it");
  assertStore("What the function of the option store returns", found);
  return found;
}

/** A mistake of the program keeps its message. A failure to connect becomes an error of the store. */
function refuse(error: unknown): never {
  const name = typeof error === "object" && error !== null && "name" in error ? error.name : "";
  const isMistake = name === "TypeError" || name === "RangeError" || name === "ReferenceError";
  if (isMistake && typeof error === "object" && error !== null && !("code" in error) && !("cause" in error))
    throw error;
  throw cleanError("open the store", error);
}
