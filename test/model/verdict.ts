import { memoryStore, type SessionStore } from "../../mod.ts";
import { explain } from "../linearizability/checker.ts";
import { play, type Turns } from "./play.ts";
import type { Program } from "./program.ts";
import { EMPTY_WORLD, type World } from "./world.ts";

/** What was played so far. */
export const totals = { programs: 0, requests: 0, conflicts: 0 };

/** Plays a program. Null if the model has an order in which it could have come to that, or else what happened. */
export async function unexplained(program: Program, store: SessionStore, turns: Turns): Promise<string | null> {
  const { history, trace, requests, conflicts } = await play(program, store, turns);
  totals.programs++;
  totals.requests += requests;
  totals.conflicts += conflicts;
  const { isLinearizable, order } = explain<World>(EMPTY_WORLD, history);
  if (isLinearizable) return null;
  const next = history.filter((each) => !order.includes(each)).map(({ label }) => label);
  return `${trace.join("\n")}\n\nNo order explains this, at the latest:\n${next.slice(0, 3).join("\n")}`;
}

/** A store that cannot compare: whatever is expected, the last write wins. */
export function withoutComparing(store: SessionStore): SessionStore {
  return {
    ...store,
    async change(key, change, _expected, expiresAt) {
      const found = await store.load(key);
      return found === null ? "gone" : await store.change(key, change, found.version, expiresAt);
    },
    touch: (key, lastSeenAt, expiresAt) => store.touch(key, lastSeenAt, expiresAt),
    delete: (key) => store.delete(key),
  };
}

/**
 * The same, and saying so. Here a touch knows the timeouts that its request saw, not those that another has set since, and the
 * engine may sweep the record too early: as the last write wins, that is allowed, and left out, or every sweep would have to be modelled.
 */
export function withoutCompareAndSet(): SessionStore {
  const store = memoryStore();
  return {
    ...withoutComparing(store),
    traits: { ...store.traits, compareAndSet: false },
    touch: (key, lastSeenAt) => store.touch(key, lastSeenAt, Infinity),
  };
}
