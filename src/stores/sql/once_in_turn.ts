import type { SessionStore } from "../../core/store.ts";

/** Runs something in the next turn of the event loop. */
type Later = (run: () => void) => unknown;

// Taken with the import, before a test can replace them by a clock that stands still.
const { setTimeout: later, setImmediate: soon } = globalThis as {
  readonly setTimeout: Later;
  readonly setImmediate?: Later;
};
const inNextTurn = soon ?? later;

/**
 * Whether a test had replaced the timers before it imported this module. The next turn would never come, so no write
 * waits for it. The fake timers of Vitest and Jest have a property `clock`.
 */
const standsStill = Object.hasOwn(inNextTurn, "clock");

/**
 * Writes a record at most once in a turn of the event loop, except that each further write is done in the next turn. The
 * core stores the requests that come meanwhile together. Otherwise a process whose requests write one record again and
 * again would hold the file's lock nearly all the time, and SQLite has no queue for the other processes.
 */
export function onceInTurn(store: SessionStore): SessionStore {
  if (standsStill) return store;
  const { save } = store;
  const written = new Set<string>();
  return {
    ...store,
    save(key, write) {
      if (written.has(key)) return new Promise<void>(inNextTurn).then(() => save(key, write));
      if (written.size === 0) inNextTurn(() => written.clear());
      written.add(key);
      return save(key, write);
    },
  };
}
