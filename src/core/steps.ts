import type { ActiveSession } from "./active_session.ts";

/** Whether a commit must do more than store what waits: finish or end what is left from before, give a new id, or throw. */
export function needsSteps(active: ActiveSession): boolean {
  return (
    active.isGone ||
    active.orphan !== undefined ||
    active.unconfirmed !== undefined ||
    active.unconfirmedRotation !== undefined ||
    active.pendingDelete !== undefined ||
    active.unavailable !== undefined ||
    active.copy.rotation !== undefined
  );
}
