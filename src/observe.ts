import type { SessionError } from "./errors.ts";
import type { Refusal } from "./vault.ts";

/**
 * What happened to a session, for logs and metrics. An event never holds an id, a store key or data.
 *
 * - `loaded`: a live session was found.
 * - `created`, `changed`, `touched`, `regenerated`, `destroyed`: so it was stored; `attempts` counts the tries.
 * - `conflict`: another request wrote in between, and the changes are replayed.
 * - `gone`: another request has ended or regenerated the session; what this one wanted stored was dropped.
 * - `rejected`: what the client presented, or the record found for it, is no session, or the guard turned a request away;
 *   `reason` says why.
 * - `revoked`: `revoke`, `revokeAll` or the limit of `perSubject` has ended so many `sessions`.
 * - `stale`: an eventually consistent store answered with an older state than this client has seen.
 * - `failed`: the store failed while loading or storing.
 */
export type SessionEvent =
  | { readonly type: "loaded" | "created" | "touched" | "regenerated" | "destroyed" | "gone" | "stale" }
  | { readonly type: "changed" | "conflict"; readonly attempts: number }
  | { readonly type: "rejected"; readonly reason: Refusal | "cross-site" }
  | { readonly type: "revoked"; readonly sessions: number }
  | { readonly type: "failed"; readonly during: "load" | "store"; readonly error: SessionError };

/** A listener that cannot disturb a request: what it throws is dropped. */
export function quiet(observe: ((event: SessionEvent) => void) | undefined): (event: SessionEvent) => void {
  return (event) => {
    try {
      observe?.(event);
    } catch {
      // An observer that fails must not fail the request that it observes.
    }
  };
}
