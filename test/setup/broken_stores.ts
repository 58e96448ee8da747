/**
 * Stores that break their word, so that a test shows that it would notice.
 *
 * @module
 */
import type { SessionStore } from "../../mod.ts";
import { chain } from "../../src/core/maybe_promise.ts";

/** A store that says that it compares, and does not: the last write wins. What is gone stays gone. */
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

/** A store that creates what its caller believes to be there. */
export function withoutLooking(store: SessionStore): SessionStore {
  return {
    ...store,
    save: (key, write) =>
      chain(store.load(key), (found) => store.save(key, found === null ? { ...write, expected: null } : write)),
  };
}

/** A store whose touch writes whatever its caller saw, however old that is. */
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

/** A store whose every load answers what it found the time before. */
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
