import type { ActiveSession } from "./active_session.ts";
import { isSessionError } from "./errors.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import { beginOperation } from "./operation.ts";
import { rotate } from "./rotate.ts";

/**
 * Renews an id that is due by age before the handler gets it, and stores nothing else. If requests overlap, the first one
 * to renew the id chooses the new one. An id that was disclosed before it was stored, and each token made from it, would
 * then be worthless.
 */
export function renewByAge(active: ActiveSession): MaybePromise<void> {
  return isDue(active) ? active.exclusively(() => renew(active)) : undefined;
}

function isDue({ copy, policy, isIdDisclosed, isSent }: ActiveSession): boolean {
  if (copy.rotation?.untilUsed !== true || isIdDisclosed || isSent) return false;
  // A token that holds the session must not be made before all changes are known.
  return Boolean(copy.base) && policy.repository.tokenHoldsSession !== true;
}

async function renew(active: ActiveSession): Promise<void> {
  const { copy } = active;
  const { base, rotation } = copy;
  // Another call of this request has renewed it.
  if (!base || rotation === undefined || !isDue(active)) return;
  const nothing = {
    changes: [],
    view: undefined,
    metadataChanges: [],
    timeouts: undefined,
    begins: false,
    touches: false,
  };
  try {
    await (active.rotating = rotate(active, base, { ...nothing, rotation }, await beginOperation(active)));
    copy.forgetRotation();
  } catch (error) {
    // The end of the request tries again, and reports a failure.
    if (!isSessionError(error)) throw error;
    if (active.unconfirmedRotation !== undefined) copy.forgetRotation();
  }
}
