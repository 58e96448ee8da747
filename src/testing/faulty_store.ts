import { HEAD_FIELD } from "../record.ts";
import type { Loaded, SessionStore } from "../store.ts";

/** A call of a store that can be made to fail. */
export type StoreVerb = "load" | "create" | "change" | "touch" | "delete";

/**
 * What goes wrong with one call of a store.
 *
 * - `"none"`: nothing.
 * - `"rejects"`: nothing is done, and the answer is an error.
 * - `"hangs"`: nothing is done, and there is never an answer.
 * - `"does it but rejects"`: it is done, and the answer is an error.
 * - `"answers late"`: it is done, and the answer comes at `release()`.
 * - `"does it late"`: it is done at `release()`, as by a command that was under way for long.
 * - `"wrong type"`: nothing is done, and the answer is an object that means nothing.
 */
export type StoreFault =
  | "none"
  | "rejects"
  | "hangs"
  | "does it but rejects"
  | "answers late"
  | "does it late"
  | "wrong type";

/**
 * What can be wrong with a record that `load` finds, without an error.
 *
 * - `"truncated"`: of every text only the first half is there.
 * - `"another key's"`: it is the record of another session, one that this wrapper saw created.
 * - `"newer schema"`: it has the format of a version of this library that is yet to come.
 * - `"future times"`: it was begun and used in a year's time, by a clock that is ahead.
 */
export type RecordFault = "truncated" | "another key's" | "newer schema" | "future times";

/** What goes wrong with the calls of each verb: a list for its next calls in turn, or one word for all of them. */
export interface FaultPlan {
  /** For `load`, whose record may be wrong as well. */
  readonly load?: StoreFault | RecordFault | readonly (StoreFault | RecordFault)[];
  /** For `create`. */
  readonly create?: StoreFault | readonly StoreFault[];
  /** For `change`. */
  readonly change?: StoreFault | readonly StoreFault[];
  /** For `touch`. */
  readonly touch?: StoreFault | readonly StoreFault[];
  /** For `delete`. */
  readonly delete?: StoreFault | readonly StoreFault[];
}

/** A store that fails as it is told. */
export interface FaultyStore extends SessionStore {
  /** How often each verb was called since the last `plan`. */
  readonly calls: Readonly<Record<StoreVerb, number>>;
  /** Decides what goes wrong from now on, in place of what was planned before; `{}` for nothing. Counts anew. */
  plan(faults: FaultPlan): void;
  /** Lets go of the calls that are late. Resolves when they are done and answered. */
  release(): Promise<void>;
}

/**
 * Wraps a store so that its calls fail as planned, to show what an application does then. Nothing sleeps: what is
 * late comes when the test says so, and what hangs ends with `storeTimeout`, which takes fractions of a second.
 *
 * @param store The store that does what is not to fail.
 * @param faults The plan to begin with; nothing goes wrong if it is absent.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { memoryStore } from "with-session/stores/memory";
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
  let plan = faults;
  const calls = { load: 0, create: 0, change: 0, touch: 0, delete: 0 };
  const keys = new Set<string>();
  let late: { readonly letGo: () => void; readonly done: Promise<unknown> }[] = [];

  function nextFault(verb: StoreVerb): StoreFault | RecordFault {
    const planned = plan[verb];
    const call = calls[verb]++;
    return (typeof planned === "string" ? planned : planned?.[call]) ?? "none";
  }

  async function call<Answer>(fault: StoreFault | RecordFault, act: () => Promise<Answer>): Promise<Answer> {
    switch (fault) {
      case "rejects":
        throw new Error("The store was told to fail");
      case "hangs":
        return await new Promise<never>(() => {});
      case "does it but rejects":
        await act();
        throw new Error("The store was told to fail");
      case "answers late": {
        const done = act();
        // A failure is for whoever waits for the answer, and waits until it comes.
        done.catch(() => {});
        return await held(() => done);
      }
      case "does it late":
        return await held(act);
      case "wrong type":
        return meaningless();
      default:
        return await act();
    }
  }

  function held<Answer>(act: () => Promise<Answer>): Promise<Answer> {
    let letGo = (): void => {};
    const done = new Promise<void>((resolve) => (letGo = resolve)).then(act);
    late.push({ letGo, done });
    return done;
  }

  async function loadAnother(key: string): Promise<Loaded | null> {
    const another = [...keys].find((each) => each !== key);
    if (another === undefined) throw new Error("faultyStore saw no other session created");
    return await store.load(another);
  }

  return {
    traits: store.traits,
    calls,

    load(key) {
      const fault = nextFault("load");
      return spoiled(
        fault,
        call(fault, () => (fault === "another key's" ? loadAnother(key) : store.load(key))),
      );
    },

    create(key, record, expiresAt) {
      keys.add(key);
      return call(nextFault("create"), () => store.create(key, record, expiresAt));
    },

    change(key, change, expected, expiresAt) {
      return call(nextFault("change"), () => store.change(key, change, expected, expiresAt));
    },

    touch(key, lastSeenAt, expiresAt, loaded) {
      return call(nextFault("touch"), () => store.touch(key, lastSeenAt, expiresAt, loaded));
    },

    delete(key, expected) {
      return call(nextFault("delete"), () => store.delete(key, expected));
    },

    async prune(now) {
      return (await store.prune?.(now)) ?? 0;
    },

    ...(store.wasDeleted && { wasDeleted: store.wasDeleted.bind(store) }),

    plan(next) {
      plan = next;
      Object.assign(calls, { load: 0, create: 0, change: 0, touch: 0, delete: 0 });
    },

    async release() {
      const waiting = late;
      late = [];
      for (const { letGo } of waiting) letGo();
      await Promise.allSettled(waiting.map(({ done }) => done));
    },
  };
}

async function spoiled(fault: StoreFault | RecordFault, loading: Promise<Loaded | null>): Promise<Loaded | null> {
  const found = await loading;
  if (found === null) return null;
  switch (fault) {
    case "truncated":
      return { ...found, fields: new Map(Array.from(found.fields, ([name, text]) => [name, firstHalf(text)])) };
    case "newer schema":
      return withHead(found, ({ format }) => ({ format: format + 1 }));
    case "future times": {
      const ahead = withHead(found, ({ createdAt, since }) => ({ createdAt: createdAt + YEAR, since: since + YEAR }));
      return { ...ahead, lastSeenAt: found.lastSeenAt + YEAR };
    }
    default:
      return found;
  }
}

const YEAR = 365 * 86_400_000;

/** What no type lets a store answer, but a client that lost its way does. */
function meaningless<Answer>(): Answer {
  return JSON.parse('{ "aborted": true }');
}

function firstHalf(text: string): string {
  return text.slice(0, text.length / 2);
}

/** The record with something else in its head; as it is, if it has none. */
function withHead(found: Loaded, edit: (head: Head) => Partial<Head>): Loaded {
  const text = found.fields.get(HEAD_FIELD);
  if (text === undefined) return found;
  const head: Head = JSON.parse(text);
  return { ...found, fields: new Map(found.fields).set(HEAD_FIELD, JSON.stringify({ ...head, ...edit(head) })) };
}

/** What of a head is spoiled here: its format, and two instants. */
type Head = Record<"format" | "createdAt" | "since", number>;
