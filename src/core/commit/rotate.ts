import { FieldsView } from "../fields.ts";
import { changedMetadata, hasGrace, type Rotation, type RotationCommit, viewOf } from "../changes.ts";
import type { ActiveSession } from "../session/active_session.ts";
import { createUnderNewId } from "./create.ts";
import { isOutage, responseSent, sessionGone } from "../errors.ts";
import { chain, isPromise, type MaybePromise, settling } from "../maybe_promise.ts";
import type { Metadata } from "../metadata.ts";
import { undoing } from "../operation.ts";
import { forOwnToken } from "../operation_with.ts";
import { type Fields, METADATA_FIELD } from "../record_fields.ts";
import type { Contents, Found, Operation, Repository } from "../repository.ts";
import { difference } from "../store_repository/record_write.ts";
import { update } from "./update.ts";
import { maySweep, newestOf } from "../admission.ts";
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
  const end = (): void => {
    active.rotating = active.successorId = undefined;
  };
  return settling(
    () => {
      const giving = giveNewId(active, origin, commit, op);
      if (isPromise(giving)) active.rotating = giving;
      return giving;
    },
    end,
    (error) => {
      end();
      throw error;
    },
  );
}

function giveNewId(active: ActiveSession, origin: Found, commit: RotationCommit, op: Operation): MaybePromise<void> {
  if (active.isSent) throw responseSent("regenerate");
  active.renewedId = commit.rotation.untilUsed ? (active.renewedId ?? origin.id) : undefined;
  // A session that ended long ago may not be brought back, so it is read before a successor is stored.
  return chain(maySweep(origin, op) ? newestOf(active, origin, op) : origin, (current) => {
    if (current.id !== origin.id) return follow(active, undefined, current, commit, op);
    return chain(viewOf(commit, new FieldsView(current.fields)), ({ fields }) =>
      replace({ active, commit, op, current, fields, successor: undefined, retiring: undefined }),
    );
  });
}

/** A session on its way to a new id. */
interface Replacement {
  readonly active: ActiveSession;
  readonly commit: RotationCommit;
  readonly op: Operation;
  /** The newest state of the session under its old id. */
  current: Found;
  /** The fields of that state with the changes of this commit. */
  fields: Fields;
  /** The session under its new id, once it is stored. */
  successor: Found | undefined;
  /** The retirement that is under way. */
  retiring: UnconfirmedRotation | undefined;
}

/** Stores a session under a new id, and retires the old id. */
function replace(replacement: Replacement): MaybePromise<void> {
  const { active, commit, op, current } = replacement;
  return settling(
    () =>
      chain(createUnderNewId(active, contentsOf(replacement), op, commit, current), (successor) => {
        active.successorId = successor.id;
        active.nextId = undefined;
        return retire(replacement, successor, 1);
      }),
    ({ current: retired, successor, others }) => {
      if (others !== undefined) return follow(active, successor, others, commit, op);
      noteRetired(active, retired, successor, commit.rotation);
      return chain(active.settle(successor), () => op.emit({ type: "regenerated" }));
    },
    (error) => giveUp(replacement, error),
  );
}

/** The end of a replacement: the old id was retired, or `others` is the session to which other requests have moved. */
interface Replaced {
  readonly current: Found;
  readonly successor: Found;
  readonly others?: Found;
}

function retire(replacement: Replacement, successor: Found, attempts: number): MaybePromise<Replaced> {
  const { active, commit, op, current } = replacement;
  replacement.successor = successor;
  replacement.retiring = { current, successor, commit };
  const until = graceEnd(successor, commit.rotation, op);
  return chain(active.policy.repository.retire(current, successor, until, op), (answer) =>
    answer === true ? { current, successor } : retireNewest(replacement, successor, attempts),
  );
}

/** Another request has changed the session. Its changes are stored in the successor too, before the old id is retired. */
async function retireNewest(replacement: Replacement, successor: Found, attempts: number): Promise<Replaced> {
  const { active, commit, op, current } = replacement;
  const { repository, validateChanges } = active.policy;
  replacement.retiring = undefined;
  op.emit({ type: "conflict", attempts });
  await op.backOff();
  const newest = await newestOf(active, current, op);
  if (newest.id !== current.id) return { current, successor, others: newest };
  replacement.current = newest;
  const { fields } = await viewOf(commit, new FieldsView(newest.fields));
  replacement.fields = fields;
  await validateChanges?.(fields);
  return await retire(replacement, await moveOver(repository, successor, contentsOf(replacement), op), attempts + 1);
}

/** Leaves only one session after a failure: the successor if the old id may have been retired, otherwise the old one. */
async function giveUp({ active, successor, retiring }: Replacement, error: unknown): Promise<never> {
  if (retiring !== undefined && isOutage(error)) {
    // The old id may have been retired. Then the successor is the only session left, so it is kept.
    active.unconfirmedRotation = retiring;
    throw error;
  }
  // If the store gave no answer, the successor may be stored under the id that was made for it.
  await abandonSuccessor(active, successor ?? (isOutage(error) ? active.nextId : undefined));
  // The handler has got the new id, so the next attempt must use the same id.
  if (active.isIdDisclosed && successor !== undefined) active.nextId = successor.id;
  throw error;
}

function contentsOf({ commit, op, current, fields }: Replacement): Contents {
  return {
    fields,
    metadata: rotatedMetadata(current.metadata, commit, op.now),
    // If the clock of this server is behind, `lastSeenAt` must not move back.
    lastSeenAt: Math.max(op.now, current.lastSeenAt),
  };
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
  { current, successor, commit }: UnconfirmedRotation,
  op: Operation,
): Promise<void> {
  const { policy, copy } = active;
  const { rotation } = commit;
  const answer = await policy.repository.retire(current, successor, graceEnd(successor, rotation, op), op);
  // Other requests may have followed the old id and have renewed the new one since.
  const newest = answer === true ? await newestOf(active, successor, op) : undefined;
  active.unconfirmedRotation = undefined;
  if (newest !== undefined) {
    noteRetired(active, current, newest, rotation);
    await active.settle(newest);
    return op.emit({ type: "regenerated" });
  }
  copy.restore(commit);
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
 * Notes the session that must be put back if no response carries the new id. Without a grace, only the response gives
 * the client access to the session.
 */
function noteRetired(active: ActiveSession, current: Found, successor: Found, rotation: Rotation): void {
  if (!hasGrace(rotation)) active.retired ??= { current, successor };
}

/**
 * Stores the changes of another request in the successor. Only this request knows the new id, so a conflict means that
 * the client of the store sent the write twice.
 */
async function moveOver(repository: Repository, successor: Found, contents: Contents, op: Operation): Promise<Found> {
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

function rotatedMetadata(metadata: Metadata, commit: RotationCommit, now: number): Metadata {
  const { reauthenticated, untilUsed } = commit.rotation;
  const changed = changedMetadata(metadata, commit);
  const rotated = {
    ...changed,
    rotatedAt: now,
    unconfirmed: untilUsed ? (true as const) : undefined,
    usedAt: undefined,
  };
  return reauthenticated ? { ...rotated, absoluteSince: now, authenticatedAt: now } : rotated;
}
