import type { SessionStore } from "../../mod.ts";
import { openStore } from "./sessions.ts";

/** A store that removes records by itself, as engines with a time to live do. It gets a duration with each write, and measures it on its own clock. */
export function sweepingStore(now: () => number): SessionStore {
  const { store, records } = openStore();
  const ends = new Map<string, number>();
  const sweep = (key: string): void => {
    if ((ends.get(key) ?? Infinity) <= now()) records.delete(key);
  };
  return {
    ...store,
    load: async (key) => {
      sweep(key);
      return await store.load(key);
    },
    save: async (key, write) => {
      sweep(key);
      const version = await store.save(key, write);
      if (version !== "conflict") ends.set(key, now() + write.expiresAt - write.record.lastSeenAt);
      return version;
    },
    delete: async (key, expected) => {
      sweep(key);
      return await store.delete(key, expected);
    },
  };
}
