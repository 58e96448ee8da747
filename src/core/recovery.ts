import { hasGrace } from "./changes.ts";
import { touched } from "./expiry.ts";
import type { ActiveSession } from "./session/active_session.ts";
import { isSessionError, SessionError } from "./errors.ts";
import { forKnownSession, newestOf, openAdmitted } from "./admission.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import { undoing } from "./operation.ts";
import type { Found, Operation } from "./repository.ts";
import type { UnconfirmedWrite } from "./session/unconfirmed.ts";
import { reportFailure } from "./store_client.ts";
import { includesWrite, lastWrite } from "./store_repository/write_names.ts";

/**
 * Finds out whether a write that got no answer was done. This comes before anything else is stored: repeating the write
 * blindly could apply an `update` twice.
 *
 * @throws {SessionError} `ERR_STORE` if it cannot be found out, `ERR_SESSION_GONE`
 */
export async function resolveUnconfirmed(
  active: ActiveSession,
  { writeId, commit, current }: UnconfirmedWrite,
  op: Operation,
): Promise<void> {
  const { copy } = active;
  const found = current === null ? await findCreated(active, op) : await newestAfterTouch(active, current, op);
  if (found !== null && includesWrite(found.metadata, writeId)) {
    active.unconfirmed = undefined;
    active.isRenewed = true;
    // For a session that exists, `nextId` is the id of its next rotation, and the handler may have got it already.
    if (current === null) active.forgetNextId();
    op.emit(current === null ? { type: "created" } : { type: "changed", attempts: 1 });
    return await copy.setBase(found);
  }
  // The record names the recent writes. If it still names the last write before ours, it would name ours too, so ours
  // was not done. Otherwise it is unknown whether ours was done.
  const before = current ? lastWrite(current.metadata) : undefined;
  if (found !== null && before !== undefined && !includesWrite(found.metadata, before))
    throw new SessionError(
      "ERR_STORE",
      "Cannot tell whether the session was stored: the store failed meanwhile; try the request again",
    );
  // If the request has failed meanwhile, nothing more of it is stored.
  if (active.unconfirmed !== undefined) copy.restore(commit);
  active.unconfirmed = undefined;
  // Other requests may have changed the session since this request loaded it. But if this request wanted to create a
  // session, a session that is found under the id belongs to another client.
  if (found !== null && current !== null) await copy.setBase(found);
}

/** The session that a write without an answer may have created. */
async function findCreated(active: ActiveSession, op: Operation): Promise<Found | null> {
  const { nextId, policy } = active;
  if (nextId === undefined || policy.repository.tokenFor === undefined) return null;
  const found = await openAdmitted(active, await policy.repository.tokenFor(nextId, op), op);
  return typeof found === "string" ? null : found;
}

/**
 * The newest state of a session after a write that got no answer.
 *
 * @throws {SessionError} `ERR_SESSION_GONE`
 */
async function newestAfterTouch(active: ActiveSession, current: Found, op: Operation): Promise<Found> {
  const touched = await touch(active, current, op);
  return touched === "conflict" ? await newestOf(active, current, op) : touched;
}

/** Moves the version of a session, so that a write that is still under way is rejected if it arrives later. */
function touch({ policy }: ActiveSession, current: Found, op: Operation): MaybePromise<Found | "conflict"> {
  return policy.repository.update(current, touched(current, op.now), op);
}

/**
 * Whether the old id opens the successor, or has opened it for a request that has stored something since. A touch comes
 * first, so that a write that is still under way cannot change the result.
 */
async function isRetiredFor(
  active: ActiveSession,
  { current, successor }: { readonly current: Found; readonly successor: Found },
  op: Operation,
): Promise<boolean> {
  const { repository } = active.policy;
  await touch(active, current, op);
  const found = await repository.open(current.token, forKnownSession(op));
  if (typeof found !== "string" && found.id === successor.id) return true;
  return (await repository.refresh(successor, op))?.version !== successor.version;
}

/**
 * Puts back a session whose new id no response will carry, and ends its successor. `made` is the rotation that this
 * request has made; undefined to undo only one that got no answer.
 */
export async function reinstate(active: ActiveSession, made: ActiveSession["retired"]): Promise<void> {
  const { unconfirmedRotation: unconfirmed } = active;
  const { repository } = active.policy;
  const { base } = active.copy;
  // With a grace, the old id opens the successor once it is retired, so that nothing must be put back.
  const retired = made ?? (unconfirmed && hasGrace(unconfirmed.commit.rotation) ? undefined : unconfirmed);
  if (!base || (retired ?? unconfirmed) === undefined) return;
  active.unconfirmedRotation = undefined;
  const putBack = async (op: Operation): Promise<void> => {
    // After several rotations this is the first successor. Its record names the next one, so that all of them end.
    if (retired !== undefined) await repository.reinstate?.(retired.current, retired.successor, op);
    // Plugins may keep something about a later session, for example in a cookie, so they must learn of its end as well.
    if (made !== undefined && base.id !== made.successor.id && base.id !== made.current.id)
      await repository.end(base, op);
    if (unconfirmed === undefined) return;
    // The unconfirmed successor stays only if the old id opens it. Nothing else ends it if the old id was not retired,
    // or was retired in favour of another successor.
    if (unconfirmed !== retired) {
      if (retired === undefined && (await isRetiredFor(active, unconfirmed, op))) return;
      await repository.end(unconfirmed.successor, op);
    }
    // If a response goes out nevertheless, its program can store the changes later, or it gets the error of that.
    if (!active.isSent) active.copy.restore(unconfirmed.commit);
  };
  // If this fails, a second session stays. The request fails with the error of its handler, so a store error is reported
  // as an event.
  await undoing(active, putBack).catch((error: unknown) => {
    if (!isSessionError(error)) throw error;
    reportFailure(active, "store", error);
  });
}
