import { type Commit, isRotation, type KeyChange, type RotationCommit } from "./changes.ts";
import type { ActiveSession } from "./session/active_session.ts";
import { mayBeLate } from "./admission.ts";
import { create } from "./commit/create.ts";
import { commitTogether } from "./commit/group_commit.ts";
import { isSessionError, sessionGone } from "./errors.ts";
import { chain, isPromise, type MaybePromise, recovering } from "./maybe_promise.ts";
import { beginOperation } from "./operation.ts";
import { resolveUnconfirmed } from "./recovery.ts";
import type { Found, Operation } from "./repository.ts";
import { report } from "./commit/report.ts";
import { endOrphan, resolveRotation, rotate } from "./commit/rotate.ts";
import { needsSteps } from "./commit/steps.ts";
import { isTouchDue } from "./commit/touch.ts";
import { update } from "./commit/update.ts";

/** Stores everything that is pending: ends the sessions that must end, then creates, updates or rotates the session. */
export function commitAll(active: ActiveSession): MaybePromise<void> {
  return chain(active.load(), () => {
    const { copy } = active;
    // A change in place, and a flash value that was read, are found only now.
    if (copy.base && copy.isPending) assertWritable(active);
    if (needsSteps(active)) return commitInSteps(active);
    // A request that has nothing to store does not join the queue of writers.
    if (copy.base && !copy.isPending && !isTouchDue(active, copy.base)) return undefined;
    const commit = copy.take();
    return guarded(active, commit, commit);
  });
}

/** Commits one change, with the earlier changes of its key, and nothing else. The session must exist. */
export function commitKey(active: ActiveSession, change: KeyChange): MaybePromise<void> {
  const { copy } = active;
  if (active.isGone) throw sessionGone();
  return chain(settleEarlier(active), () => {
    // A call of `destroy` may have come first.
    if (!copy.base) throw sessionGone();
    // The response may have been sent while the change waited for other commits.
    assertWritable(active);
    const earlier = copy.takeKey(change.key);
    const commit = { ...earlier, changes: [...earlier.changes, change] };
    return guarded(active, commit, earlier);
  });
}

/** Refuses changes that can no longer reach the client, and reports that. */
function assertWritable(active: ActiveSession): void {
  try {
    active.assertWritable();
  } catch (error) {
    report(active, error, false, undefined);
    throw error;
  }
}

/**
 * Stores what comes before a change of one key. If the session gets a new id, the change must not be stored under the old
 * one. If an unconfirmed write must be stored again, its changes come first.
 */
function settleEarlier(active: ActiveSession): MaybePromise<void> {
  if (active.rotates) return commitAll(active);
  return active.unconfirmed === undefined ? undefined : resolved(active);
}

async function resolved(active: ActiveSession): Promise<void> {
  let op: Operation | undefined;
  try {
    op = await beginOperation(active);
    // A call of `discard` may have come first.
    if (active.unconfirmed !== undefined) await resolveUnconfirmed(active, active.unconfirmed, op);
  } catch (error) {
    report(active, error, false, op);
    throw error;
  }
}

/**
 * Creates a session, or stores changes of one that exists, with those
 * of other requests. If that fails, `restored` is pending again.
 */
function guarded(active: ActiveSession, commit: Commit, restored: Commit): MaybePromise<void> {
  const { settled, copy } = active;
  const { drops } = copy;
  let begun: Operation | undefined;
  return recovering(
    () =>
      chain(beginOperation(active), (op) => {
        begun = op;
        const { base } = copy;
        return base ? commitTogether(active, base, commit, op) : create(active, commit, op);
      }),
    (error) => {
      if (active.settled === settled) restore(active, restored, error, drops);
      report(active, error, commit === restored, begun);
      throw error;
    },
  );
}

/**
 * Makes a commit that was not stored pending again. If it is unknown whether it was
 * stored, the commit stays unconfirmed until that is found out. `drops` is the count of
 * the working copy at the time when the commit was taken from it.
 */
function restore(active: ActiveSession, commit: Commit, error: unknown, drops: number): void {
  const { unconfirmed, copy } = active;
  // The request has failed meanwhile, so nothing more of it is stored.
  if (copy.drops !== drops) active.unconfirmed = undefined;
  else if (unconfirmed !== undefined) active.unconfirmed = { ...unconfirmed, commit };
  else if (!isGoneError(error)) copy.restore(commit);
}

async function commitInSteps(active: ActiveSession): Promise<void> {
  const { copy } = active;
  if (active.unavailable !== undefined && (copy.isPending || active.pendingDelete !== undefined))
    throw active.unavailable;
  if (active.isGone) throw sessionGone();
  let commit: Commit | undefined;
  let { settled } = active;
  let { drops } = copy;
  let op: Operation | undefined;
  try {
    const beginning = beginOperation(active);
    op = isPromise(beginning) ? await beginning : beginning;
    if (active.orphan !== undefined) await endOrphan(active, op);
    if (active.unconfirmedRotation !== undefined) await resolveRotation(active, active.unconfirmedRotation, op);
    if (active.unconfirmed !== undefined) await resolveUnconfirmed(active, active.unconfirmed, op);
    if (active.pendingDelete !== undefined) await endPending(active, active.pendingDelete, op);
    ({ settled } = active);
    ({ drops } = copy);
    // No response can carry a new id any more. The changes are stored without it.
    if (active.isSent) copy.forgetRenewal();
    commit = copy.take();
    if (!copy.base) await create(active, commit, op);
    else if (isRotation(commit)) await renew(active, copy.base, commit, op);
    else await update(active, copy.base, commit, op);
  } catch (error) {
    const isUnconfirmed = active.unconfirmedRotation !== undefined;
    if (commit !== undefined && active.settled === settled && !isUnconfirmed) restore(active, commit, error, drops);
    report(active, error, true, op);
    throw error;
  }
}

/** Gives a session a new id. If a record has no room for a renewal by age, the session keeps its id, and its changes are stored. */
async function renew(active: ActiveSession, base: Found, commit: RotationCommit, op: Operation): Promise<void> {
  try {
    await rotate(active, base, commit, op);
  } catch (error) {
    const isTooLarge = isSessionError(error) && error.code === "ERR_RECORD_TOO_LARGE";
    if (!commit.rotation.untilUsed || !isTooLarge) throw error;
    await update(active, base, { ...commit, view: undefined, rotation: undefined }, op);
  }
}

const isGoneError = (error: unknown): boolean => isSessionError(error) && error.code === "ERR_SESSION_GONE";

/** Reasons of rejected tokens for which the store has no record to end, unless it is eventually consistent. */
const WITHOUT_RECORD: ReadonlySet<string | null> = new Set(["malformed", "forged", "unknown"]);

async function endPending(active: ActiveSession, pending: Found | string, op: Operation): Promise<void> {
  const { rejected, presented, policy } = active;
  if (pending !== presented || mayBeLate(rejected, op) || !WITHOUT_RECORD.has(rejected)) {
    await policy.repository.end(pending, op);
    op.emit({ type: "destroyed" });
  }
  active.pendingDelete = undefined;
  active.isEnded = true;
}
