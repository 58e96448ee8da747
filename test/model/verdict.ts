import type { Plugin, SessionStore } from "../../mod.ts";
import { explain } from "../linearizability/checker.ts";
import { withoutComparing } from "../setup/broken_stores.ts";
import { recordingEngine } from "../setup/recording_engine.ts";
import { type Engine, play } from "./play.ts";
import type { Program } from "./program.ts";
import { EMPTY_WORLD, type World } from "./world.ts";

/** What was played so far. */
export const totals = { programs: 0, requests: 0, conflicts: 0 };

/** Plays a program. Null if the model has an order in which it could have come to that, or else what happened. */
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

/** A store that compares and sets, and sweeps nothing: what has run out must be told by its times. */
export function comparing(): Engine {
  return { store: recordingEngine(() => 0, "never").store, isShared: true };
}

/** A store where the last write wins, and which says so. Requests do not wait for each other there, or they would merge more than is promised. */
export function withoutCompareAndSet(): Engine {
  const { store } = comparing();
  return { store: { ...withoutComparing(store), traits: { ...store.traits, compareAndSet: false } }, isShared: false };
}

/** A store that breaks its word. */
export function broken(breaking: (store: SessionStore) => SessionStore): () => Engine {
  return () => ({ store: breaking(comparing().store), isShared: true });
}

/** A good store, with a capability that breaks its word. */
export function withPlugin(plugin: () => Plugin): () => Engine {
  return () => ({ ...comparing(), plugin });
}
