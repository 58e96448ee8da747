import type { ActiveSession } from "./active_session.ts";
import { createUnderNewId } from "./create.ts";
import { isOutage, responseSent, sessionGone } from "./errors.ts";
import { isPromise } from "./maybe_promise.ts";
import type { Metadata } from "./metadata.ts";
import { abandonSuccessor, endOrphan } from "./recovery.ts";
import type { Contents, Found, Operation, Repository } from "./repository.ts";
import { update, viewOf } from "./update.ts";
import { changedMetadata } from "./metadata_changes.ts";
import { newestOf } from "./admission.ts";
import { hasGrace, type Rotation, type RotationCommit } from "./rotation.ts";
import { replay } from "./fields.ts";

/**
 * Gives a session a new id. The successor is stored before the old id is retired, so that a failure in between leaves the old session
 * alive. It is ended again if the old id could not be retired, so that there are never two.
 */
export async function rotate(
  active: ActiveSession,
  origin: Found,
  commit: RotationCommit,
  op: Operation,
): Promise<void> {
  const { rotation } = commit;
  if (active.isSent) throw responseSent("regenerate");
  const replayed = viewOf(commit, origin);
  const view = isPromise(replayed) ? await replayed : replayed;
  const metadata = rotatedMetadata(origin.metadata, commit, op.now);
  const progress: Progress = { current: origin, successor: undefined, isRetiring: false };
  let successor: Found;
  let overtaken: Found | undefined;
  try {
    // A clock that is behind must not make the session older than others know it to be.
    const lastSeenAt = Math.max(op.now, origin.lastSeenAt);
    const created = createUnderNewId(active, { fields: view.fields, metadata, lastSeenAt }, op, commit, origin);
    successor = isPromise(created) ? await created : created;
    Object.assign(progress, { successor, isRetiring: true });
    const retired = active.policy.repository.retire(origin, successor, graceEnd(successor, rotation, op), op);
    if ((isPromise(retired) ? await retired : retired) === true) noteRetired(active, origin, successor, rotation);
    else {
      const created = successor;
      successor = await retireAgain(active, progress, created, commit, op);
      overtaken = successor.id === created.id ? undefined : created;
    }
  } catch (error) {
    const { nextId } = active;
    const { current, successor: created, isRetiring } = progress;
    if (created !== undefined && isRetiring && isOutage(error)) {
      // If the old id was retired, the successor is all that is left.
      active.unconfirmedRotation = { current, successor: created, commit };
      throw error;
    }
    // Without an answer, it may be stored under the id that was made for it.
    await abandonSuccessor(active, created ?? (isOutage(error) ? nextId : undefined), op);
    // The handler has got the new id: the next attempt must use the same.
    if (active.isIdDisclosed && created !== undefined) active.nextId = created.id;
    throw error;
  }
  if (overtaken !== undefined) {
    // What this request was to do by age has been done.
    await abandonSuccessor(active, overtaken, op);
    return await update(active, successor, { ...commit, view: undefined, rotation: undefined }, op);
  }
  const settling = active.settle(successor, op);
  if (isPromise(settling)) await settling;
  op.emit({ type: "regenerated" });
}

/** How far a rotation has come. */
interface Progress {
  current: Found;
  successor: Found | undefined;
  isRetiring: boolean;
}

/** Retires the old id once more, after an attempt without an answer. If it cannot be retired any more, the rotation begins anew. */
export async function resolveRotation(active: ActiveSession, op: Operation): Promise<void> {
  const { unconfirmedRotation, policy, copy } = active;
  if (unconfirmedRotation === undefined) return;
  const { current, successor, commit } = unconfirmedRotation;
  const { rotation } = commit;
  const answer = await policy.repository.retire(current, successor, graceEnd(successor, rotation, op), op);
  active.unconfirmedRotation = undefined;
  if (answer === true) {
    noteRetired(active, current, successor, rotation);
    const { nextId, isIdDisclosed } = active;
    await active.settle(successor, op);
    // The handler may have got the id of the next rotation already.
    if (copy.rotation !== undefined) Object.assign(active, { nextId, isIdDisclosed });
    return op.emit({ type: "regenerated" });
  }
  copy.restore(commit);
  active.orphan = successor;
  if (active.isIdDisclosed) active.nextId ??= successor.id;
  await endOrphan(active, op).catch(() => endOrphan(active, op));
}

/** Until when the old id leads to the session, in epoch milliseconds; null for never. It is kept as JSON, which has no infinity. */
function graceEnd(successor: Found, rotation: Rotation, op: Operation): number | null {
  const { grace, untilUsed } = rotation;
  if (!hasGrace(rotation)) return null;
  return Math.min(untilUsed ? op.endsAt(successor) : op.now + grace * 1000, Number.MAX_SAFE_INTEGER);
}

/** Without a grace, only the response leads the client to the session: if none goes out, the old one is put back. */
function noteRetired(active: ActiveSession, current: Found, successor: Found, rotation: Rotation): void {
  if (!hasGrace(rotation)) active.retired ??= { current, successor };
}

/**
 * Retires an id that another request has changed meanwhile: what it has stored moves over as well. Answers the successor; or the session under another
 * id, if another request has renewed it and this one was to do so by age alone.
 */
async function retireAgain(
  active: ActiveSession,
  progress: Progress,
  created: Found,
  commit: RotationCommit,
  op: Operation,
): Promise<Found> {
  const { rotation } = commit;
  const { repository, validateChanges } = active.policy;
  let { current } = progress;
  let successor = created;
  for (let attempts = 1; ; attempts++) {
    progress.isRetiring = false;
    op.emit({ type: "conflict", attempts });
    await op.backOff();
    const newest = await newestOf(active, current, op);
    // Another request has renewed the id, with a grace: this one must not renew it once more under the old one.
    if (newest.id !== current.id) {
      if (rotation.untilUsed && !active.isIdDisclosed) return newest;
      throw sessionGone();
    }
    current = newest;
    const { fields } = await replay(commit.changes, current.fields);
    await validateChanges?.(fields);
    const metadata = rotatedMetadata(current.metadata, commit, op.now);
    const lastSeenAt = Math.max(successor.lastSeenAt, current.lastSeenAt);
    successor = await moveOver(repository, successor, { fields, metadata, lastSeenAt }, op);
    Object.assign(progress, { current, successor, isRetiring: true });
    if ((await repository.retire(current, successor, graceEnd(successor, rotation, op), op)) === true) {
      noteRetired(active, current, successor, rotation);
      return successor;
    }
  }
}

/** Stores what another request has changed under the new id, which nobody else knows: a conflict means that the write was sent twice. */
async function moveOver(repository: Repository, successor: Found, contents: Contents, op: Operation): Promise<Found> {
  const moved = await repository.update(successor, contents, op);
  if (moved !== "conflict") return moved;
  const found = await repository.refresh(successor, op);
  const again = found === null ? "conflict" : await repository.update(found, contents, op);
  if (again === "conflict") throw sessionGone();
  return again;
}

function rotatedMetadata(metadata: Metadata, commit: RotationCommit, now: number): Metadata {
  const { reauthenticated, untilUsed } = commit.rotation;
  const { unconfirmed: _, ...changed } = changedMetadata(metadata, commit);
  return {
    ...changed,
    rotatedAt: now,
    ...(untilUsed ? { unconfirmed: true as const } : {}),
    ...(reauthenticated ? { absoluteSince: now, authenticatedAt: now } : {}),
  };
}
