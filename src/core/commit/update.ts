import { type Commit, viewOf } from "../changes.ts";
import type { ActiveSession } from "../session/active_session.ts";
import { newestOf } from "../admission.ts";
import { isBusy } from "../errors.ts";
import { maySweep } from "../expiry.ts";
import { FieldsView, sweep } from "../fields.ts";
import { chain, type MaybePromise, recovering, settling } from "../maybe_promise.ts";
import type { Contents, Found, Operation } from "../repository.ts";
import { changedMetadata } from "../metadata_changes.ts";
import { isTouchDue } from "./touch.ts";
import { includesWrite } from "../store_repository/write_names.ts";

/** What a commit makes of a state of the session. */
export interface Applied {
  readonly contents: Contents;
  /** Whether fields or metadata change. */
  readonly isChange: boolean;
  /** Whether "last seen" must be written. */
  readonly isTouch: boolean;
  /** Whether the client must get the token again, because its lifetime changes or begins anew. */
  readonly renewsToken: boolean;
}

/** Applies a commit to a state: `view` has the fields of that state with the changes. Data whose time has passed is removed. */
export function applyCommit(
  active: ActiveSession,
  current: Found,
  commit: Commit,
  view: FieldsView,
  op: Operation,
): MaybePromise<Applied> {
  const metadata = changedMetadata(current.metadata, commit);
  const isTouch = isTouchDue(active, current, commit);
  const isChange = view.changed.size > 0 || metadata !== current.metadata;
  if (isChange) sweep(view, op.now);
  const lastSeenAt = isTouch ? Math.max(op.now, current.lastSeenAt) : current.lastSeenAt;
  const contents = { fields: view.fields, metadata, lastSeenAt };
  const renewsToken = isTouch || metadata.timeouts !== current.metadata.timeouts;
  return chain(isChange ? active.policy.validateChanges?.(contents.fields) : undefined, () => {
    return { contents, isChange, isTouch, renewsToken };
  });
}

/**
 * Stores the contents that commits made of a state. If the store is busy, the next request stores a touch, and the answer is
 * `current`.
 */
export function storeApplied(
  { policy }: ActiveSession,
  current: Found,
  { contents, isChange }: Pick<Applied, "contents" | "isChange">,
  op: Operation,
): MaybePromise<Found | "conflict"> {
  if (maySweep(current, op)) return "conflict";
  const storing = (): MaybePromise<Found | "conflict"> => policy.repository.update(current, contents, op);
  if (isChange) return storing();
  return recovering(storing, (error) => {
    if (isBusy(error)) return current;
    throw error;
  });
}

/**
 * Makes the state in which a commit was stored the base of its request, and reports it. That state is `current` if the
 * store has not taken a touch.
 */
export function settleApplied(
  active: ActiveSession,
  current: Found,
  stored: Found,
  { isChange, isTouch, renewsToken }: Applied,
  op: Operation,
  attempts: number,
): MaybePromise<void> {
  active.isRenewed ||= renewsToken;
  if (isChange || (isTouch && stored !== current))
    op.emit(isChange ? { type: "changed", attempts } : { type: "touched" });
  return active.settle(stored);
}

/** Stores changes. After each conflict, it applies them again to the newest record. */
export function update(
  active: ActiveSession,
  current: Found,
  commit: Commit,
  op: Operation,
  attempts = 1,
): MaybePromise<void> {
  return chain(viewOf(commit, new FieldsView(current.fields)), (view) =>
    chain(applyCommit(active, current, commit, view, op), (applied) => {
      const { isChange, isTouch } = applied;
      if (!isChange && !isTouch) return active.settle(current);
      return settling(
        () => storeApplied(active, current, applied, op),
        (found) => {
          if (found === "conflict") return updateAgain(active, current, commit, applied, op, attempts);
          return settleApplied(active, current, found, applied, op, attempts);
        },
        (error) => {
          if (isChange) active.noteUnconfirmed(error, op, current);
          throw error;
        },
      );
    }),
  );
}

async function updateAgain(
  active: ActiveSession,
  current: Found,
  commit: Commit,
  applied: Applied,
  op: Operation,
  attempts: number,
): Promise<void> {
  op.emit({ type: "conflict", attempts });
  await op.backOff();
  const newest = await newestOf(active, current, op).catch((error: unknown) => {
    // If the client of the store sent the write twice, the write may be done although the answer was "conflict".
    active.noteUnconfirmed(error, op, current);
    throw error;
  });
  // The client of the store sent the write twice and returned the answer to the second one.
  if (includesWrite(newest.metadata, op.writeId))
    return await settleApplied(active, current, newest, applied, op, attempts);
  await update(active, newest, commit, op, attempts + 1);
}
