import { type Commit, isRotation, type KeyChange, type RotationCommit } from "./changes.ts";
import type { ActiveSession } from "./session/active_session.ts";
import { create } from "./commit/create.ts";
import { commitTogether } from "./commit/group_commit.ts";
import { hasCode, sessionGone } from "./errors.ts";
import { chain, type MaybePromise, recovering } from "./maybe_promise.ts";
import { resolveUnconfirmed } from "./recovery.ts";
import type { Found, Operation } from "./repository.ts";
import { reporting } from "./commit/report.ts";
import { endOrphan, resolveRotation, rotate } from "./commit/rotate.ts";
import { endPending } from "./commit/end_pending.ts";
import { isTouchDue } from "./commit/touch.ts";
import { update } from "./commit/update.ts";

/** Stores everything that is pending: ends the sessions that must end, then creates, updates or rotates the session. */
export function commitAll(active: ActiveSession): MaybePromise<void> {
  return chain(active.load(), () => {
    const { copy, unavailable } = active;
    if (unavailable !== undefined && (copy.isPending || active.pendingDelete !== undefined)) throw unavailable;
    if (active.isGone) throw sessionGone();
    const isResolved = !active.hasRemains;
    // A request that has nothing to store does not open the store, nor join the queue of writers.
    if (isResolved && !copy.isPending && !isTouchDue(active, copy.base)) return undefined;
    return reporting(active, true, (op) => {
      // A change in place, and a flash value that was read, are found only now.
      if (copy.base && copy.isPending) active.assertWritable();
      return chain(isResolved ? undefined : settleRemains(active, op), () => commitPending(active, op));
    });
  });
}

/** Commits one change, with the earlier changes of its key, and nothing else. The session must exist. */
export function commitKey(active: ActiveSession, change: KeyChange): MaybePromise<void> {
  const { copy } = active;
  if (active.isGone) throw sessionGone();
  return chain(settleEarlier(active), () => {
    const { base } = copy;
    // A call of `destroy` may have come first.
    if (!base) throw sessionGone();
    return reporting(active, false, (op) => {
      // The response may have been sent while the change waited for other commits.
      active.assertWritable();
      const earlier = copy.takeKey(change.key);
      const commit = { ...earlier, changes: [...earlier.changes, change] };
      return restoring(active, earlier, () => commitTogether(active, base, commit, op));
    });
  });
}

/**
 * Stores what comes before a change of one key. If the session gets a new id, the change must not be stored under the old
 * one. If an unconfirmed write must be stored again, its changes come first.
 */
function settleEarlier(active: ActiveSession): MaybePromise<void> {
  if (active.rotates) return commitAll(active);
  if (active.unconfirmed === undefined) return undefined;
  // A call of `discard` may come first.
  return reporting(active, false, (op) => active.unconfirmed && resolveUnconfirmed(active, active.unconfirmed, op));
}

/**
 * Resolves and ends what earlier steps have left. A step that has nothing to do takes no turn of the event loop: a logout
 * must have begun when a call of `discard`, which drops what waits, comes right after `save`.
 */
async function settleRemains(active: ActiveSession, op: Operation): Promise<void> {
  if (active.orphan !== undefined) await endOrphan(active, op);
  if (active.unconfirmedRotation !== undefined) await resolveRotation(active, active.unconfirmedRotation, op);
  if (active.unconfirmed !== undefined) await resolveUnconfirmed(active, active.unconfirmed, op);
  if (active.pendingDelete !== undefined) await endPending(active, active.pendingDelete, op);
}

/** Creates a session, or stores changes of one that exists, with those of other requests, or gives it a new id. */
function commitPending(active: ActiveSession, op: Operation): MaybePromise<void> {
  const { copy } = active;
  const { base } = copy;
  // No response can carry a new id any more. The changes are stored without it.
  if (active.isSent) copy.forgetRenewal();
  const commit = copy.take();
  return restoring(active, commit, () => {
    if (!base) return create(active, commit, op);
    return isRotation(commit) ? renew(active, base, commit, op) : commitTogether(active, base, commit, op);
  });
}

/**
 * Stores a commit. If that fails, `taken` is pending again: the part of the commit that was taken from the working copy.
 * If it is unknown whether it was stored, it stays unconfirmed until that is found out.
 */
function restoring(active: ActiveSession, taken: Commit, store: () => MaybePromise<void>): MaybePromise<void> {
  const { unconfirmedRotation, copy } = active;
  const { base, drops } = copy;
  return recovering(store, (error) => {
    // A commit whose result became the base is stored. A rotation without an answer keeps its commit.
    if (copy.base !== base || active.unconfirmedRotation !== unconfirmedRotation) throw error;
    // The request has failed meanwhile, so nothing more of it is stored.
    if (copy.drops !== drops) active.unconfirmed = undefined;
    else if (active.unconfirmed !== undefined) active.unconfirmed = { ...active.unconfirmed, commit: taken };
    else if (!hasCode(error, "ERR_SESSION_GONE")) copy.restore(taken);
    throw error;
  });
}

/** Gives a session a new id. If a record has no room for a renewal by age, the session keeps its id, and its changes are stored. */
function renew(active: ActiveSession, base: Found, commit: RotationCommit, op: Operation): MaybePromise<void> {
  return recovering(
    () => rotate(active, base, commit, op),
    (error) => {
      if (!commit.rotation.untilUsed || !hasCode(error, "ERR_RECORD_TOO_LARGE")) throw error;
      return update(active, base, { ...commit, rotation: undefined }, op);
    },
  );
}
