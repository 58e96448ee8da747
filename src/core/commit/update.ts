import { changedMetadata, type Commit, replay } from "../changes.ts";
import type { ActiveSession } from "../session/active_session.ts";
import { newestOf } from "../admission.ts";
import { isBusy, isOutage } from "../errors.ts";
import { FieldsView, sweep } from "../fields.ts";
import { chain, type MaybePromise, recovering } from "../maybe_promise.ts";
import type { Found, Operation } from "../repository.ts";
import { isTouchDue } from "./touch.ts";
import { includesWrite } from "../store_repository/write_names.ts";

/** The fields of a state with the changes of a commit applied. */
export function viewOf({ view, changes }: Commit, current: Found): MaybePromise<FieldsView> {
  return view !== undefined && view.base === current.fields ? view : replay(changes, new FieldsView(current.fields));
}

/** Stores changes. After each conflict, it applies them again to the newest record. */
export function update(
  active: ActiveSession,
  current: Found,
  commit: Commit,
  op: Operation,
  attempts = 1,
): MaybePromise<void> {
  return chain(viewOf(commit, current), (changed) => {
    const metadata = changedMetadata(current.metadata, commit);
    const isTouch = isTouchDue(active, current, commit.touches, commit.timeouts);
    const isChange = changed.changed.size > 0 || metadata !== current.metadata;
    if (!isChange && !isTouch) return active.settle(current, op);
    if (isChange) sweep(changed, op.now);
    const lastSeenAt = isTouch ? Math.max(op.now, current.lastSeenAt) : current.lastSeenAt;
    const contents = { fields: changed.fields, metadata, lastSeenAt };
    const { repository, validateChanges } = active.policy;
    const write = (): MaybePromise<Found | "conflict"> =>
      recovering(
        () => repository.update(current, contents, op),
        (error) => {
          // If the store is busy, the next request stores the touch.
          if (isBusy(error) && !isChange) return current;
          if (isOutage(error) && isChange) active.unconfirmed = { writeId: op.writeId, commit, current };
          throw error;
        },
      );
    const stored = isChange && validateChanges !== undefined ? chain(validateChanges(contents.fields), write) : write();
    return chain(stored, (found) => {
      if (found === "conflict") return updateAgain(active, current, commit, op, attempts);
      active.isRenewed ||= isTouch || metadata.timeouts !== current.metadata.timeouts;
      if (found !== current) op.emit(isChange ? { type: "changed", attempts } : { type: "touched" });
      return active.settle(found, op);
    });
  });
}

async function updateAgain(
  active: ActiveSession,
  current: Found,
  commit: Commit,
  op: Operation,
  attempts: number,
): Promise<void> {
  op.emit({ type: "conflict", attempts });
  await op.backOff();
  const newest = await newestOf(active, current, op).catch((error: unknown) => {
    // If the client of the store sent the write twice, the write may be done although the answer was "conflict".
    if (isOutage(error)) active.unconfirmed = { writeId: op.writeId, commit, current };
    throw error;
  });
  if (includesWrite(newest.metadata, op.writeId)) {
    // The client of the store sent the write twice and returned the answer to the second one.
    op.emit({ type: "changed", attempts });
    return await active.settle(newest, op);
  }
  await update(active, newest, commit, op, attempts + 1);
}
