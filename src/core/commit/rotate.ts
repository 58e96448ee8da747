import { FieldsView } from "../fields.ts";
import { changedMetadata, hasGrace, replay, type Rotation, type RotationCommit } from "../changes.ts";
import type { ActiveSession } from "../session/active_session.ts";
import { createUnderNewId } from "./create.ts";
import { isOutage, responseSent, sessionGone } from "../errors.ts";
import { isPromise } from "../maybe_promise.ts";
import type { Metadata } from "../metadata.ts";
import { abandonSuccessor, endAbandoned } from "../recovery.ts";
import type { Contents, Found, Operation, Repository } from "../repository.ts";
import { update, viewOf } from "./update.ts";
import { newestOf } from "../admission.ts";

/**
 * Gives a session a new id. The successor is stored before the old id is retired, so that a failure in between leaves
 * the old session alive. If the old id cannot be retired, the successor is ended, so that there are never two sessions.
 */
export async function rotate(
  active: ActiveSession,
  origin: Found,
  commit: RotationCommit,
  op: Operation,
): Promise<void> {
  try {
    await (active.rotating = giveNewId(active, origin, commit, op));
  } finally {
    active.rotating = undefined;
  }
}

async function giveNewId(active: ActiveSession, origin: Found, commit: RotationCommit, op: Operation): Promise<void> {
  const { rotation } = commit;
  if (active.isSent) throw responseSent("regenerate");
  active.renewedId = rotation.untilUsed ? (active.renewedId ?? origin.id) : undefined;
  const replayed = viewOf(commit, origin);
  const view = isPromise(replayed) ? await replayed : replayed;
  const metadata = rotatedMetadata(origin.metadata, commit, op.now);
  const progress: Progress = { current: origin, successor: undefined, isRetiring: false };
  let successor: Found;
  let overtaken: Found | undefined;
  try {
    // If the clock of this server is behind, `lastSeenAt` must not move back.
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
      // The old id may have been retired. Then the successor is the only session left, so it is kept.
      active.unconfirmedRotation = { current, successor: created, commit };
      throw error;
    }
    // If the store gave no answer, the successor may be stored under the id that was made for it.
    await abandonSuccessor(active, created ?? (isOutage(error) ? nextId : undefined));
    // The handler has got the new id, so the next attempt must use the same id.
    if (active.isIdDisclosed && created !== undefined) active.nextId = created.id;
    throw error;
  }
  if (overtaken !== undefined) {
    // Another request has already renewed the id by age.
    await abandonSuccessor(active, overtaken);
    const rest = { ...commit, view: undefined };
    if (rotation.untilUsed) return await update(active, successor, { ...rest, rotation: undefined }, op);
    return await giveNewId(active, successor, rest, op);
  }
  const settling = active.settle(successor, op);
  if (isPromise(settling)) await settling;
  op.emit({ type: "regenerated" });
}

/** The progress of a rotation. */
interface Progress {
  current: Found;
  successor: Found | undefined;
  isRetiring: boolean;
}

/**
 * Retires the old id once more, after an attempt without an answer. If the answer is now "conflict", the successor is
 * ended and the rotation begins again.
 */
export async function resolveRotation(active: ActiveSession, op: Operation): Promise<void> {
  const { unconfirmedRotation, policy, copy } = active;
  if (unconfirmedRotation === undefined) return;
  const { current, successor, commit } = unconfirmedRotation;
  const { rotation } = commit;
  const answer = await policy.repository.retire(current, successor, graceEnd(successor, rotation, op), op);
  active.unconfirmedRotation = undefined;
  if (answer === true) {
    noteRetired(active, current, successor, rotation);
    await active.settle(successor, op);
    return op.emit({ type: "regenerated" });
  }
  copy.restore(commit);
  active.orphan = successor;
  if (active.isIdDisclosed) active.nextId ??= successor.id;
  await endAbandoned(active);
}

/**
 * The instant until which the old id opens the session, in epoch milliseconds; null for never. It is stored as JSON,
 * which has no infinity.
 */
function graceEnd(successor: Found, rotation: Rotation, op: Operation): number | null {
  const { grace, untilUsed } = rotation;
  if (!hasGrace(rotation)) return null;
  return Math.min(untilUsed ? op.endsAt(successor) : op.now + grace * 1000, Number.MAX_SAFE_INTEGER);
}

/**
 * Notes the session that must be put back if no response carries the new id. Without a grace, only the response gives
 * the client access to the session.
 */
function noteRetired(active: ActiveSession, current: Found, successor: Found, rotation: Rotation): void {
  if (!hasGrace(rotation)) active.retired ??= { current, successor };
}

/**
 * Retires an id whose session another request has changed meanwhile. The changes of that request are stored in the successor too.
 *
 * Returns the successor. If another request has already renewed the id by age, it returns the session under the id of
 * that other request.
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
    // Another request has renewed the id with a grace. This request must not renew the old id a second time.
    if (newest.id !== current.id) {
      // If it was renewed by age and the client has not used it, a call of `regenerate` renews it once more.
      const mayFollow = newest.metadata.unconfirmed === true && !active.isIdDisclosed;
      if (rotation.untilUsed || mayFollow) return newest;
      throw sessionGone();
    }
    current = newest;
    const { fields } = await replay(commit.changes, new FieldsView(current.fields));
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

/**
 * Stores the changes of another request in the successor. Only this request knows the new id, so a conflict means that
 * the client of the store sent the write twice.
 */
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
  const { unconfirmed: _, usedAt: __, ...changed } = changedMetadata(metadata, commit);
  return {
    ...changed,
    rotatedAt: now,
    ...(untilUsed ? { unconfirmed: true as const } : {}),
    ...(reauthenticated ? { absoluteSince: now, authenticatedAt: now } : {}),
  };
}
