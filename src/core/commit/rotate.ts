import { FieldsView } from "../fields.ts";
import { hasGrace, type Rotation, type RotationCommit, viewOf } from "../changes.ts";
import type { ActiveSession } from "../session/active_session.ts";
import { createUnderNewId } from "./create.ts";
import { isOutage, responseSent, sessionGone } from "../errors.ts";
import { maySweep } from "../expiry.ts";
import { chain, isPromise, type MaybePromise, settling } from "../maybe_promise.ts";
import type { Metadata } from "../metadata.ts";
import { changedMetadata } from "../metadata_changes.ts";
import { undoing } from "../operation.ts";
import { forOwnToken } from "../operation_with.ts";
import { type Fields, METADATA_FIELD } from "../record_fields.ts";
import type { Contents, Found, Operation } from "../repository.ts";
import { difference } from "../store_repository/record_write.ts";
import { update } from "./update.ts";
import { newestOf } from "../admission.ts";
import type { UnconfirmedRotation } from "../session/unconfirmed.ts";

/**
 * Gives a session a new id. The successor is stored before the old id is retired, so that a failure in between leaves
 * the old session alive. If the old id cannot be retired, the successor is ended, so that there are never two sessions.
 */
export function rotate(
  active: ActiveSession,
  origin: Found,
  commit: RotationCommit,
  op: Operation,
): MaybePromise<void> {
  const rotating = giveNewId(active, origin, commit, op);
  if (!isPromise(rotating)) return undefined;
  const done = (): void => void (active.rotating = undefined);
  // This runs before the callers that await `rotating`.
  rotating.then(done, done);
  active.rotating = rotating;
  return rotating;
}

function giveNewId(active: ActiveSession, origin: Found, commit: RotationCommit, op: Operation): MaybePromise<void> {
  if (active.isSent) throw responseSent("regenerate");
  active.renewedId = commit.rotation.untilUsed ? (active.renewedId ?? origin.id) : undefined;
  // A session that ended long ago may not be brought back, so it is read before a successor is stored.
  return chain(maySweep(origin, op) ? newestOf(active, origin, op) : origin, (current) => {
    if (current.id !== origin.id) return follow(active, undefined, current, commit, op);
    return chain(viewOf(commit, new FieldsView(current.fields)), ({ fields }) =>
      settling(
        () => createUnderNewId(active, rotatedContents(current, fields, commit, op), op, current),
        (successor) => {
          active.successorId = successor.id;
          active.nextId = undefined;
          return retire(active, { current, successor, commit }, op);
        },
        async (error) => {
          // If the store gave no answer, the successor may be stored under the id that was made for it.
          await abandonSuccessor(active, isOutage(error) ? active.nextId : undefined);
          throw error;
        },
      ),
    );
  });
}

/** Retires the old id. After a conflict, the successor first gets the changes that another request has stored. */
function retire(active: ActiveSession, rotation: UnconfirmedRotation, op: Operation, attempts = 1): MaybePromise<void> {
  return settling(
    () => retireOldId(active, rotation, op),
    (answer) => (answer === true ? settleRotation(active, rotation, op) : retireAgain(active, rotation, op, attempts)),
    (error) => {
      if (!isOutage(error)) return giveUp(active, rotation.successor, error);
      // The old id may have been retired. Then the successor is the only session left, so it is kept.
      active.unconfirmedRotation = rotation;
      throw error;
    },
  );
}

async function retireAgain(
  active: ActiveSession,
  { current, successor, commit }: UnconfirmedRotation,
  op: Operation,
  attempts: number,
): Promise<void> {
  let newest: Found;
  let moved: Found | undefined;
  try {
    op.emit({ type: "conflict", attempts });
    await op.backOff();
    newest = await newestOf(active, current, op);
    if (newest.id === current.id) moved = await moveOver(active, successor, newest, commit, op);
  } catch (error) {
    return await giveUp(active, successor, error);
  }
  if (moved === undefined) return await follow(active, successor, newest, commit, op);
  await retire(active, { current: newest, successor: moved, commit }, op, attempts + 1);
}

function retireOldId(
  { policy }: ActiveSession,
  { current, successor, commit }: UnconfirmedRotation,
  op: Operation,
): MaybePromise<true | "conflict"> {
  return policy.repository.retire(current, successor, graceEnd(successor, commit.rotation, op), op);
}

/**
 * Makes the successor the base, and reports the rotation. Without a grace, only the response gives the client access to
 * the successor, so the old session must be put back if no response carries the new id.
 */
function settleRotation(
  active: ActiveSession,
  { current, successor, commit }: UnconfirmedRotation,
  op: Operation,
): MaybePromise<void> {
  if (!hasGrace(commit.rotation)) active.retired ??= { current, successor };
  return chain(active.settle(successor), () => op.emit({ type: "regenerated" }));
}

/** Ends the successor of a rotation that failed, so that only the old session is left. */
async function giveUp(active: ActiveSession, successor: Found, error: unknown): Promise<never> {
  await abandonSuccessor(active, successor);
  // The handler has got the new id, so the next attempt must use the same id.
  if (active.isIdDisclosed) active.nextId = successor.id;
  throw error;
}

/**
 * Another request has renewed the id with a grace, so the old id must not be renewed a second time. A request that also
 * leaves a grace keeps the new id of the other request, unless the handler has got its own new id. Any other request
 * renews the id once more.
 */
async function follow(
  active: ActiveSession,
  successor: Found | undefined,
  newest: Found,
  commit: RotationCommit,
  op: Operation,
): Promise<void> {
  await abandonSuccessor(active, successor);
  const { rotation } = commit;
  if (rotation.untilUsed || (hasGrace(rotation) && !rotation.reauthenticated && !active.isIdDisclosed))
    return await update(active, newest, { ...commit, rotation: undefined }, op);
  if (active.isIdDisclosed && successor !== undefined) {
    // The id is used again, now or by the next commit, so the first session under it must have ended.
    active.nextId = successor.id;
    await endOrphan(active, op);
  }
  await giveNewId(active, newest, commit, op);
}

/**
 * Retires the old id once more, after an attempt without an answer. If the answer is now "conflict", the successor is
 * ended and the rotation begins again.
 */
export async function resolveRotation(
  active: ActiveSession,
  rotation: UnconfirmedRotation,
  op: Operation,
): Promise<void> {
  const { successor, commit } = rotation;
  const answer = await retireOldId(active, rotation, op);
  // Other requests may have followed the old id and have renewed the new one since.
  const newest = answer === true ? await newestOf(active, successor, op) : undefined;
  active.unconfirmedRotation = undefined;
  if (newest !== undefined) return await settleRotation(active, { ...rotation, successor: newest }, op);
  active.copy.restore(commit);
  active.orphan = successor;
  if (active.isIdDisclosed) active.nextId ??= successor.id;
  await undoing(active, (begun) => endOrphan(active, begun));
}

/**
 * Ends the successor of a rotation that failed, now or with the next commit. If this fails too, the first error is reported,
 * and the successor expires; no client holds its id.
 */
async function abandonSuccessor(active: ActiveSession, orphan: Found | string | undefined): Promise<void> {
  active.orphan = orphan;
  if (orphan !== undefined) await undoing(active, (op) => endOrphan(active, op)).catch(() => {});
}

/**
 * Ends the session that a failed attempt has left. A token that holds the session was sent to nobody, so there is
 * nothing to end, and its id may be used again.
 */
export async function endOrphan(active: ActiveSession, op: Operation): Promise<void> {
  const { orphan, policy } = active;
  const { repository } = policy;
  const session = typeof orphan === "string" ? await repository.tokenFor?.(orphan, op) : orphan;
  if (session !== undefined && repository.tokenHoldsSession !== true) await repository.end(session, forOwnToken(op));
  active.orphan = undefined;
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
 * Stores the changes of another request in the successor. Only this request knows the new id, so a conflict means that
 * the client of the store sent the write twice.
 */
async function moveOver(
  active: ActiveSession,
  successor: Found,
  newest: Found,
  commit: RotationCommit,
  op: Operation,
): Promise<Found> {
  const { repository, validateChanges } = active.policy;
  const { fields } = await viewOf(commit, new FieldsView(newest.fields));
  await validateChanges?.(fields);
  const contents = rotatedContents(newest, fields, commit, op);
  const moved = await repository.update(successor, contents, op);
  if (moved !== "conflict") return moved;
  const found = await repository.refresh(successor, op);
  // The client may send each write twice, so a second write could conflict in the same way.
  if (found !== null && found.version !== successor.version && hasSameData(found, contents)) return found;
  const again = found === null ? "conflict" : await repository.update(found, contents, op);
  if (again === "conflict") throw sessionGone();
  return again;
}

/** Whether a session has the fields of these contents. The metadata name the write, so they differ. */
function hasSameData(found: Found, { fields }: Contents): boolean {
  return [...difference(found.fields, fields).keys()].every((name) => name === METADATA_FIELD);
}

/** What the successor of a session holds: `fields` are those of the session with the changes of the commit. */
function rotatedContents(current: Found, fields: Fields, commit: RotationCommit, op: Operation): Contents {
  // If the clock of this server is behind, `lastSeenAt` must not move back.
  const lastSeenAt = Math.max(op.now, current.lastSeenAt);
  return { fields, metadata: rotatedMetadata(current.metadata, commit, op.now), lastSeenAt };
}

function rotatedMetadata(metadata: Metadata, commit: RotationCommit, now: number): Metadata {
  const { reauthenticated, untilUsed } = commit.rotation;
  const changed = changedMetadata(metadata, commit);
  // A capability notices a login by its instant, so the instants of logins in a row differ. A login from a server whose
  // clock was far ahead is not followed.
  const { authenticatedAt: last = -Infinity } = metadata;
  const rotatedAt = reauthenticated && last >= now && last < now + 1000 ? last + 1 : now;
  const rotated = {
    ...changed,
    rotatedAt,
    unconfirmed: untilUsed ? (true as const) : undefined,
    usedAt: undefined,
  };
  return reauthenticated ? { ...rotated, absoluteSince: now, authenticatedAt: rotatedAt } : rotated;
}
