import type { Plugin, SessionStore } from "../../mod.ts";
import { explain } from "../linearizability/checker.ts";
import { withoutComparing } from "../setup/broken_stores.ts";
import { recordingEngine } from "../setup/recording_engine.ts";
import { type Engine, play } from "./play.ts";
import type { Program } from "./program.ts";
import { EMPTY_WORLD, type World } from "./world.ts";

/** Totals of all programs so far. */
export const totals = { programs: 0, requests: 0, conflicts: 0 };

/** Plays a program. Returns null if the model has an order that explains the results, otherwise a description. */
export async function unexplained(program: Program, engine: Engine): Promise<string | null> {
  const { history, trace, requests, conflicts } = await play(program, engine);
  totals.programs++;
  totals.requests += requests;
  totals.conflicts += conflicts;
  const { isLinearizable, order } = explain<World>(EMPTY_WORLD, history);
  if (isLinearizable) return null;
  const next = history.filter((each) => !order.includes(each)).map(({ label }) => label);
  return `${trace.join("\n")}\n\nNo order explains this, at the latest:\n${next.slice(0, 3).join("\n")}`;
}

/** A store with compare-and-set that removes no record by itself, so that the library must reject expired ones by their times. */
export function comparing(): Engine {
  return { store: recordingEngine(() => 0, "never").store, isShared: true };
}

/**
 * A store that reports that the last write wins. Each request gets a process of its own; otherwise their changes would merge more than this store
 * promises.
 */
export function withoutCompareAndSet(): Engine {
  const { store } = comparing();
  return { store: { ...withoutComparing(store), traits: { ...store.traits, compareAndSet: false } }, isShared: false };
}

/** A store that breaks its contract. */
export function broken(breaking: (store: SessionStore) => SessionStore): () => Engine {
  return () => ({ store: breaking(comparing().store), isShared: true });
}

/** A correct store with a capability that breaks its contract. */
export function withPlugin(plugin: () => Plugin): () => Engine {
  return () => ({ ...comparing(), plugin });
}
