import type { ActiveSession } from "./active_session.ts";
import { isSessionError } from "./errors.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import { beginOperation } from "./operation.ts";
import type { Found } from "./repository.ts";
import { rotate } from "./rotate.ts";
import type { Rotation } from "./rotation.ts";

/**
 * Renews an id that is due by age before the handler gets it, and stores nothing else. If requests overlap, the first one
 * to renew the id chooses the new one. An id that was disclosed before it was stored, and each token made from it, would
 * then be worthless.
 */
export function renewByAge(active: ActiveSession): MaybePromise<void> {
  return findDue(active) === undefined ? undefined : active.exclusively(() => renew(active));
}

/** The session whose id must be renewed now, and how; undefined if there is none. */
function findDue({ copy, policy, isIdDisclosed, isSent }: ActiveSession): Due | undefined {
  const { base, rotation } = copy;
  if (!base || rotation?.untilUsed !== true || isIdDisclosed || isSent) return undefined;
  // A token that holds the session must not be made before all changes are known.
  return policy.repository.tokenHoldsSession === true ? undefined : { base, rotation };
}

interface Due {
  readonly base: Found;
  readonly rotation: Rotation;
}

async function renew(active: ActiveSession): Promise<void> {
  const { copy } = active;
  const due = findDue(active);
  // Another call of this request has renewed it.
  if (due === undefined) return;
  const { base, rotation } = due;
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
