/**
 * Stores that break their contract. They prove that a test would notice it.
 *
 * @module
 */
import type { SessionStore } from "../../mod.ts";
import { chain } from "../../src/core/maybe_promise.ts";

/** A store that claims to compare versions but does not: the last write wins. Deleted records stay deleted. */
export function withoutComparing(store: SessionStore): SessionStore {
  return {
    ...store,
    save: (key, write) =>
      chain(store.load(key), (found) => {
        if ((found === null) !== (write.expected === null)) return "conflict" as const;
        return store.save(key, { ...write, expected: found?.version ?? null });
      }),
    delete: (key) => store.delete(key),
  };
}

/** A store that creates the record if a write expects one that does not exist. */
export function withoutLooking(store: SessionStore): SessionStore {
  return {
    ...store,
    save: (key, write) =>
      chain(store.load(key), (found) => store.save(key, found === null ? { ...write, expected: null } : write)),
  };
}

/** A store that accepts a touch with any version, however old. */
export function withOldTouches(store: SessionStore): SessionStore {
  return {
    ...store,
    save: (key, write) =>
      chain(store.load(key), (found) => {
        const isOld = write.changed.size === 0 && found !== null && write.expected !== null;
        return store.save(key, isOld ? { ...write, expected: found.version } : write);
      }),
  };
}

/** A store whose `load` returns the result of the previous load of that key. */
export function withOldAnswers(store: SessionStore): SessionStore {
  const last = new Map<string, Awaited<ReturnType<SessionStore["load"]>>>();
  return {
    ...store,
    load: (key) =>
      chain(store.load(key), (found) => {
        const before = last.get(key) ?? found;
        last.set(key, found);
        return before;
      }),
  };
}
