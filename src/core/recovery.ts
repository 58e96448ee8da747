import type { ActiveSession } from "./active_session.ts";
import { isSessionError, SessionError, sessionGone } from "./errors.ts";
import { admit, openAdmitted } from "./admission.ts";
import { forOwnToken } from "./own_token.ts";
import type { Found, Operation } from "./repository.ts";
import { hasGrace } from "./rotation.ts";
import { includesWrite, lastWrite } from "./write_names.ts";

/**
 * Finds out what became of a write that got no answer, before anything else is stored: to repeat it blindly could apply an `update` twice.
 *
 * @throws {SessionError} `ERR_STORE` if that cannot be found out, `ERR_SESSION_GONE`
 */
export async function resolveUnconfirmed(active: ActiveSession, op: Operation): Promise<void> {
  const { unconfirmed, copy } = active;
  if (unconfirmed === undefined) return;
  const { writeId, commit, current } = unconfirmed;
  const found = current === null ? await findCreated(active, op) : await newestAfterTouch(active, current, op);
  if (found === null && current !== null) throw sessionGone();
  if (found !== null && includesWrite(found.metadata, writeId)) {
    active.unconfirmed = undefined;
    active.isRenewed = true;
    // The next id of a session that exists is for its next rotation, and the handler may have got it.
    if (current === null) active.forgetNextId();
    op.emit(current === null ? { type: "created" } : { type: "changed", attempts: 1 });
    return await copy.setBase(found);
  }
  // The names of recent writes are kept: where the last one before ours is still among them, ours was not done.
  const before = current ? lastWrite(current.metadata) : undefined;
  if (found !== null && before !== undefined && !includesWrite(found.metadata, before))
    throw new SessionError(
      "ERR_STORE",
      "Cannot tell whether the session was stored: the store failed meanwhile; try the request again",
    );
  active.unconfirmed = undefined;
  copy.restore(commit);
  // Others may have stored something between what this request saw and what it wrote to. A session under the id of a creation is somebody else's.
  if (found !== null && current !== null) await copy.setBase(found);
}

/** The session that a lost answer may have created. */
async function findCreated(active: ActiveSession, op: Operation): Promise<Found | null> {
  const { nextId, policy } = active;
  if (nextId === undefined || policy.repository.tokenFor === undefined) return null;
  const found = await openAdmitted(active, await policy.repository.tokenFor(nextId, op), op);
  return typeof found === "string" ? null : found;
}

/**
 * The newest state of a session that a write may still be under way to. A touch moves the version first, so that the write is
 * refused if it arrives later.
 */
async function newestAfterTouch(active: ActiveSession, current: Found, op: Operation): Promise<Found | null> {
  const { repository } = active.policy;
  const { fields, metadata } = current;
  // A clock that is behind must not make the session older than others know it to be.
  const touched = await repository.update(
    current,
    { fields, metadata, lastSeenAt: Math.max(op.now, current.lastSeenAt) },
    op,
  );
  if (touched !== "conflict") return touched;
  const newest = await repository.refresh(current, op);
  const admitted = newest === null ? null : await admit(active, newest, op);
  return typeof admitted === "string" ? null : admitted;
}

/** Ends the successor of a rotation that failed, now or with the next commit. Of two failures, the first is the one to report. */
export async function abandonSuccessor(
  active: ActiveSession,
  orphan: Found | string | undefined,
  op: Operation,
): Promise<void> {
  active.orphan = orphan;
  // There may be no further commit of this request that would try it again. No client holds the id of what is left, and it expires.
  for (let attempts = 0; attempts < 2 && active.orphan !== undefined; attempts++)
    await endOrphan(active, op).catch(() => {});
}

export async function endOrphan(active: ActiveSession, op: Operation): Promise<void> {
  const { orphan, policy } = active;
  const session = typeof orphan === "string" ? await policy.repository.tokenFor?.(orphan, op) : orphan;
  if (session !== undefined) await policy.repository.end(session, forOwnToken(op));
  active.orphan = undefined;
}

/** What the request may have retired. With a grace, the old id leads to the successor once it is retired, so nothing is to be put back. */
function perhapsRetired({ unconfirmedRotation }: ActiveSession): ActiveSession["retired"] {
  return unconfirmedRotation && hasGrace(unconfirmedRotation.commit.rotation) ? undefined : unconfirmedRotation;
}

/** Whether an id leads to a successor, after anything that is still under way can change it. */
async function isRetiredFor(
  active: ActiveSession,
  { current, successor }: { readonly current: Found; readonly successor: Found },
  op: Operation,
): Promise<boolean> {
  await newestAfterTouch(active, current, op);
  const found = await openAdmitted(active, current.token, op);
  return typeof found !== "string" && found.id === successor.id;
}

/** Puts back a session whose new id no response will carry. Its successor ends. */
export async function reinstate(active: ActiveSession, op: Operation): Promise<void> {
  const { policy, unconfirmedRotation: unconfirmed } = active;
  const { base } = active.copy;
  const retired = active.retired ?? perhapsRetired(active);
  active.retired = active.unconfirmedRotation = undefined;
  if (!base) return;
  const putBack = async (): Promise<void> => {
    // The first successor, if there are several: it leads to the others, and they end with it.
    if (retired !== undefined) await policy.repository.reinstate?.(retired.current, retired.successor, op);
    // A later state of it may be in other lists, where a login that failed would count against a limit.
    if (retired !== undefined && base !== retired.successor && base.id !== retired.current.id)
      await policy.repository.end(base, op);
    if (unconfirmed === undefined || unconfirmed.successor === retired?.successor) return;
    // Nothing leads to a successor if the old id was not retired, or for another one.
    if (retired !== undefined || !(await isRetiredFor(active, unconfirmed, op)))
      await policy.repository.end(unconfirmed.successor, op);
  };
  // Nothing tries it again later, and what is left would be a second session. The request fails with the failure of its handler, so this one is an event.
  await putBack()
    .catch(putBack)
    .catch((error: unknown) => {
      if (!isSessionError(error)) throw error;
      active.emitFailure("store", error, op);
    });
}
