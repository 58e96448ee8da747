import { StoreBusyError } from "../core/errors.ts";
import { assertKnown } from "../core/known_options.ts";
import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import { assertMethods } from "../core/options/option_checks.ts";
import { oneOf } from "../core/options/simple_checks.ts";
import { METADATA_FIELD } from "../core/record_fields.ts";
import type { SessionStore, StoredRecord } from "../core/store.ts";

/** A call of a store that can be made to fail. */
export type StoreVerb = "load" | "save" | "delete";

/**
 * The fault of one call of a store.
 *
 * - `"none"`: nothing.
 * - `"rejects"`: nothing is done, and the answer is an error.
 * - `"is busy"`: nothing is done, and the answer is a `StoreBusyError`.
 * - `"hangs"`: nothing is done, and there is never an answer.
 * - `"does it but rejects"`: it is done, and the answer is an error.
 * - `"does it twice"`: it is done, then sent once more, and the answer is that of the second attempt, as if a client
 *   did not get the first answer.
 * - `"answers late"`: it is done, and the answer comes at `release()`.
 * - `"does it late"`: it is done at `release()`, like a command that was delayed on its way.
 * - `"wrong type"`: nothing is done, and the answer is an object that has no meaning.
 */
export type StoreFault =
  | "none"
  | "rejects"
  | "is busy"
  | "hangs"
  | "does it but rejects"
  | "does it twice"
  | "answers late"
  | "does it late"
  | "wrong type";

/**
 * The fault of a record that `load` finds without an error.
 *
 * - `"truncated"`: only the first half of each value is there.
 * - `"another key's"`: it is the record of another session that was created through this wrapper.
 * - `"newer schema"`: it has the format of a later version of this library.
 * - `"future times"`: it was begun and used in a year's time, by a clock that is ahead.
 */
export type RecordFault = "truncated" | "another key's" | "newer schema" | "future times";

/** The faults of each verb's calls: a list for its next calls in turn, or one word for all of them. */
export interface FaultPlan {
  /** For `load`. The record that it finds may be wrong as well. */
  readonly load?: StoreFault | RecordFault | readonly (StoreFault | RecordFault)[] | undefined;
  /** For `save`. */
  readonly save?: StoreFault | readonly StoreFault[] | undefined;
  /** For `delete`. */
  readonly delete?: StoreFault | readonly StoreFault[] | undefined;
}

/** A store that fails as planned. */
export interface FaultyStore extends SessionStore {
  /** How often each verb was called since the last `plan`. */
  readonly calls: Readonly<Record<StoreVerb, number>>;
  /**
   * Sets the faults from now on, in place of the former plan; `{}` for none. The counts start at 0 again.
   *
   * @throws {TypeError} If the plan has an unknown verb or fault
   */
  plan(faults: FaultPlan): void;
  /** Continues the delayed calls. Resolves when they are done and answered. */
  release(): Promise<void>;
}

/**
 * Wraps a store so that its calls fail as planned, to show how an application behaves then.
 *
 * Nothing sleeps. A delayed call continues when the test calls `release()`. A call that hangs ends with `storeTimeout`,
 * which may be a fraction of a second. A call without a fault answers as the store does, with or without a promise.
 *
 * @param store The store that gets the calls that do not fail
 * @param faults The plan to begin with. Default: nothing goes wrong
 * @returns The store that fails
 * @throws {TypeError} If `store` is not a store, or a plan has an unknown verb or fault
 *
 * @example
 * ```ts
 * import { memoryStore, withSession } from "with-session";
 * import { faultyStore } from "with-session/testing";
 *
 * const store = faultyStore(memoryStore());
 * const handler = withSession(
 *   async (_request, session) => new Response(`Hello ${await session.get("name", "stranger")}`),
 *   { store, onStoreError: "anonymous", storeTimeout: 0.05 },
 * );
 * store.plan({ load: ["rejects", "hangs"] });
 * const request = () =>
 *   new Request("https://shop.example/", { headers: { Cookie: `__Host-session=${"A".repeat(32)}` } });
 * await (await handler(request())).text(); // "Hello stranger": the store failed
 * await (await handler(request())).text(); // the same, 50 milliseconds later
 * store.calls.load; // 2
 * ```
 */
export function faultyStore(store: SessionStore, faults: FaultPlan = {}): FaultyStore {
  assertMethods("faultyStore: store", store, VERBS);
  let plan = checkedPlan(faults);
  const calls = { load: 0, save: 0, delete: 0 };
  const keys = new Set<string>();
  let late: { readonly proceed: () => void; readonly done: Promise<unknown> }[] = [];

  function nextFault(verb: StoreVerb): StoreFault | RecordFault {
    const planned = plan[verb];
    const call = calls[verb]++;
    return (typeof planned === "string" ? planned : planned?.[call]) ?? "none";
  }

  function call<Answer>(fault: StoreFault | RecordFault, act: () => MaybePromise<Answer>): MaybePromise<Answer> {
    switch (fault) {
      case "rejects":
        return failure();
      case "is busy":
        return Promise.reject(new StoreBusyError());
      case "hangs":
        return new Promise<never>(() => {});
      case "does it but rejects":
        return Promise.resolve(act()).then(failure);
      case "does it twice":
        return Promise.resolve(act()).then(act);
      case "answers late": {
        const done = Promise.resolve(act());
        // A failure is reported to the caller, together with the delayed answer.
        done.catch(() => {});
        return delayed(() => done);
      }
      case "does it late":
        return delayed(act);
      case "wrong type":
        return withoutMeaning();
      default:
        return act();
    }
  }

  function delayed<Answer>(act: () => MaybePromise<Answer>): Promise<Answer> {
    let proceed = (): void => {};
    const done = new Promise<void>((resolve) => (proceed = resolve)).then(act);
    late.push({ proceed, done });
    return done;
  }

  function loadAnother(key: string, signal?: AbortSignal): MaybePromise<StoredRecord | null> {
    const another = [...keys].find((each) => each !== key);
    if (another === undefined) throw new Error("faultyStore saw no other session created");
    return store.load(another, signal);
  }

  return {
    // Answers of this store can be lost, and its writes can be done twice.
    traits: { ...store.traits, exact: false },
    calls,

    load(key, signal) {
      const fault = nextFault("load");
      const found = call(fault, () => (fault === "another key's" ? loadAnother(key, signal) : store.load(key, signal)));
      return chain(found, (record) => spoiled(fault, record));
    },

    save(key, write, signal) {
      if (write.expected === null) keys.add(key);
      return call(nextFault("save"), () => store.save(key, write, signal));
    },

    delete(key, expected, signal) {
      return call(nextFault("delete"), () => store.delete(key, expected, signal));
    },

    ...(store.prune && { prune: store.prune.bind(store) }),
    ...(store.isClosed && { isClosed: store.isClosed.bind(store) }),

    plan(next) {
      plan = checkedPlan(next);
      Object.assign(calls, { load: 0, save: 0, delete: 0 });
    },

    async release() {
      const waiting = late;
      late = [];
      for (const { proceed } of waiting) proceed();
      await Promise.allSettled(waiting.map(({ done }) => done));
    },
  };
}

const VERBS: readonly StoreVerb[] = ["load", "save", "delete"];
const STORE_FAULTS: readonly [StoreFault, ...StoreFault[]] = [
  "none",
  "rejects",
  "is busy",
  "hangs",
  "does it but rejects",
  "does it twice",
  "answers late",
  "does it late",
  "wrong type",
];
const RECORD_FAULTS: readonly RecordFault[] = ["truncated", "another key's", "newer schema", "future times"];

/** Checks a plan: with a misspelt word, nothing would go wrong, and the test would show nothing. */
function checkedPlan(plan: FaultPlan): FaultPlan {
  assertKnown(plan, VERBS, "faultyStore");
  for (const verb of VERBS) {
    const words = verb === "load" ? ([...STORE_FAULTS, ...RECORD_FAULTS] as const) : STORE_FAULTS;
    for (const fault of [plan[verb]].flat()) oneOf(`faultyStore: ${verb}`, fault, words);
  }
  return plan;
}

async function failure(): Promise<never> {
  throw new Error("The store was told to fail");
}

/** An answer that the types exclude, but that a confused client can give. */
function withoutMeaning<Answer>(): Answer {
  return JSON.parse('{ "aborted": true }');
}

function spoiled(fault: StoreFault | RecordFault, found: StoredRecord | null): StoredRecord | null {
  if (found === null) return null;
  switch (fault) {
    case "truncated":
      return { ...found, fields: new Map(Array.from(found.fields, ([name, text]) => [name, firstHalf(text)])) };
    case "newer schema":
      return withWords(found, [FORMAT], (format) => format + 1);
    case "future times": {
      const ahead = withWords(found, [CREATED_AT, ABSOLUTE_SINCE], (instant) => instant + YEAR);
      return { ...ahead, lastSeenAt: found.lastSeenAt + YEAR };
    }
    default:
      return found;
  }
}

const YEAR = 365 * 86_400_000;

function firstHalf(text: string): string {
  return text.slice(0, text.length / 2);
}

// The places of the words in front of a record's metadata: see `metadata.ts`.
const FORMAT = 0;
const CREATED_AT = 2;
const ABSOLUTE_SINCE = 3;

/** The record with other numbers in its metadata; unchanged if its metadata has no such numbers. */
function withWords(found: StoredRecord, places: readonly number[], edit: (word: number) => number): StoredRecord {
  const words = found.fields.get(METADATA_FIELD)?.split(" ") ?? [];
  if (places.some((place) => !/^\d+$/.test(words[place] ?? ""))) return found;
  const edited = words.map((word, place) => (places.includes(place) ? String(edit(Number(word))) : word));
  return { ...found, fields: new Map(found.fields).set(METADATA_FIELD, edited.join(" ")) };
}
