import { mayBeLate } from "../admission.ts";
import type { Found, Operation } from "../repository.ts";
import type { ActiveSession } from "../session/active_session.ts";

/** Reasons of rejected tokens for which the store has no record to end, unless it is eventually consistent. */
const WITHOUT_RECORD: ReadonlySet<string | null> = new Set(["malformed", "forged", "unknown"]);

/** Ends the session that `destroy` has given up. */
export async function endPending(active: ActiveSession, pending: Found | string, op: Operation): Promise<void> {
  const { rejected, presented, policy } = active;
  if (pending !== presented || mayBeLate(rejected, op) || !WITHOUT_RECORD.has(rejected)) {
    await policy.repository.end(pending, op);
    op.emit({ type: "destroyed" });
  }
  active.pendingDelete = undefined;
  active.isEnded = true;
}
