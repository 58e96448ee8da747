import type { ActiveSession } from "../session/active_session.ts";

/**
 * Whether a commit must do more than store the recorded changes: resolve or end the remains of an earlier step, renew
 * the id, or throw.
 */
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
