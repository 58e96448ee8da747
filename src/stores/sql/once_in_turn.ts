import type { SessionStore } from "../../core/store.ts";

/** Runs something in the next turn of the event loop. Taken before a test can replace it by a clock that stands still. */
const { setImmediate: inNextTurn = (run) => void setTimeout(run) } = globalThis as {
  readonly setImmediate?: (run: () => void) => void;
};

/**
 * Writes a record at most once in a turn of the event loop, except that each further write is done in the next turn. The
 * core stores the requests that come meanwhile together. Otherwise a process whose requests write one record again and
 * again would hold the file's lock nearly all the time, and SQLite has no queue for the other processes.
 */
export function onceInTurn({ save, ...store }: SessionStore): SessionStore {
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
