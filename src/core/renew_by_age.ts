import type { ActiveSession } from "./active_session.ts";
import { isSessionError } from "./errors.ts";
import { beginOperation } from "./operation.ts";
import { rotate } from "./rotate.ts";

/**
 * Renews an id that is due by age before the handler gets it, and stores nothing else. If requests overlap, the first one
 * to renew the id chooses the new one. An id that was disclosed before it was stored, and each token made from it, would
 * then be worthless.
 *
 * If another call of this request gives the session a new id, it waits for that. The function of an `update` does not
 * wait, because the rotation may wait for it. When the promise resolves, another rotation may have begun, so the caller
 * calls again until the answer is undefined.
 */
export function renewByAge(active: ActiveSession): Promise<void> | undefined {
  const { rotating, computing } = active;
  if (rotating !== undefined && computing === undefined) return rotating.catch(() => {});
  return isDue(active) ? Promise.resolve(active.exclusively(() => renew(active))) : undefined;
}

function isDue({ copy, policy, isIdDisclosed, isSent }: ActiveSession): boolean {
  if (copy.rotation?.untilUsed !== true || isIdDisclosed || isSent) return false;
  // A token that holds the session must not be made before all changes are known.
  return Boolean(copy.base) && policy.repository.tokenHoldsSession !== true;
}

async function renew(active: ActiveSession): Promise<void> {
  const { copy } = active;
  try {
    const op = await beginOperation(active);
    const { base, rotation } = copy;
    // Another call of this request has renewed the id, or has called `regenerate`.
    if (!base || rotation === undefined || !isDue(active)) return;
    await rotate(active, base, { ...NOTHING, rotation }, op);
  } catch (error) {
    // The end of the request tries again, and reports a failure. No other call makes another id until then.
    if (!isSessionError(error)) throw error;
    if (active.unconfirmedRotation !== undefined) copy.forgetRenewal();
    await active.discloseId();
  }
}

/** A commit without changes. */
const NOTHING = {
  changes: [],
  view: undefined,
  metadataChanges: [],
  timeouts: undefined,
  begins: false,
  touches: false,
};
