/**
 * Pauses between two attempts after a conflict: the library's own, in `src/core/store_client.ts`, and others to compare with it.
 *
 * @module
 */
import { SessionError } from "../mod.ts";
import { StoreClient } from "../src/core/store_client.ts";

/** The milliseconds to wait after `n` conflicts. `took` is the duration of the last attempt, and `left` the time that remains. */
type Pause = (n: number, took: number, left: number) => number;

const jitter =
  (longest: Pause): Pause =>
  (n, took, left) =>
    Math.random() * Math.min(left, longest(n, took, left));

/** The pauses to compare. Null stands for the library's own. */
export const PAUSES = {
  "library": null,
  "none": () => 0,
  "one attempt for each conflict before, ≤ ¼ of what is left": jitter((n, took, left) =>
    Math.min(left / 4, took * (n - 1)),
  ),
  "two attempts times the square of the conflicts, ≤ ¼ of what is left": jitter((n, took, left) =>
    Math.min(left / 4, 2 * took * n ** 2),
  ),
  "0, then doubling from 1 ms, ≤ 50 ms": jitter((n) => Math.min(50, 2 ** (n - 1) - 1)),
  "0, then doubling from 1 ms, ≤ 400 ms": jitter((n) => Math.min(400, 2 ** (n - 1) - 1)),
  "one attempt, ≤ ¼ of what is left": jitter((_n, took, left) => Math.min(left / 4, took)),
  "doubling from one attempt, ≤ ¼ of what is left": jitter((n, took, left) => Math.min(left / 4, took * 2 ** (n - 1))),
  "growing by 4 attempts, ≤ ¼ of what is left": jitter((n, took, left) => Math.min(left / 4, 4 * took * n)),
} satisfies Record<string, Pause | null>;

/** In milliseconds: the default of the option `storeTimeout`. */
const STORE_TIMEOUT = 5000;

export type PauseName = keyof typeof PAUSES;

/** Replaces the library's pause with another one, until the returned function is called. */
export function usePause(name: PauseName): () => void {
  const pause: Pause | null = PAUSES[name];
  const { prototype } = StoreClient;
  const { load, save, backOff } = prototype;
  if (pause === null) return () => {};
  /** The state of one operation: its conflicts, when the present attempt began, and when the time limit ends it. */
  interface State {
    conflicts: number;
    begunAt: number;
    readonly endsAt: number;
  }
  const states = new WeakMap<StoreClient, State>();
  const stateOf = (client: StoreClient): State => {
    const now = performance.now();
    const state = states.get(client) ?? { conflicts: 0, begunAt: now, endsAt: now + STORE_TIMEOUT };
    states.set(client, state);
    return state;
  };
  prototype.load = function (this: StoreClient, key) {
    stateOf(this);
    return load.call(this, key);
  };
  prototype.save = function (this: StoreClient, key, write) {
    stateOf(this);
    return save.call(this, key, write);
  };
  prototype.backOff = async function (this: StoreClient) {
    const state = stateOf(this);
    const now = performance.now();
    const took = now - state.begunAt;
    const left = state.endsAt - now - took;
    if (left <= 0) throw new SessionError("ERR_CONFLICT", "Never won");
    const milliseconds = pause(++state.conflicts, took, left);
    if (milliseconds > 0) await new Promise((resolve) => setTimeout(resolve, milliseconds));
    state.begunAt = performance.now();
  };
  return () => Object.assign(prototype, { load, save, backOff });
}
