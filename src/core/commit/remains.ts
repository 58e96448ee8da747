import type { ActiveSession } from "../session/active_session.ts";

/** Whether `destroy`, or a step of an earlier commit, has left something that must be resolved or ended first. */
export function hasRemains(active: ActiveSession): boolean {
  return (
    active.orphan !== undefined ||
    active.unconfirmed !== undefined ||
    active.unconfirmedRotation !== undefined ||
    active.pendingDelete !== undefined
  );
}
