import { FieldsView } from "../fields.ts";
import { type Commit, viewOf } from "../changes.ts";
import type { ActiveSession } from "../session/active_session.ts";
import { hasCode, isOutage, SessionError } from "../errors.ts";
import { chain, type MaybePromise, settling } from "../maybe_promise.ts";
import type { Metadata } from "../metadata.ts";
import { changedMetadata } from "../metadata_changes.ts";
import { NO_FIELDS } from "../record_fields.ts";
import type { Contents, Found, Operation } from "../repository.ts";
import { maxAgeOf } from "./touch.ts";

/** After this many generated ids that are already in use, the creation fails. Random ids are never in use. */
const MAX_IDS = 5;

/** Makes sure that a session will be stored, even an empty one. */
export async function begin(active: ActiveSession): Promise<void> {
  await active.load();
  if (active.copy.base !== null || active.unavailable !== undefined) return;
  active.assertMayBegin();
  active.copy.begin();
}

/**
 * Stores a new session, or a new id, before the id is disclosed: for sessions whose response is sent although the store is down.
 * The handler must not get an id under which no session is stored. Answers whether the id can be disclosed.
 */
export async function storeForId(active: ActiveSession): Promise<boolean> {
  const { copy } = active;
  // A commit that is under way may give the session a new id, or fail. It may also wait for this very call.
  if (active.calls.isBusy && active.computing === undefined) await active.exclusively(() => {});
  if (active.keepsId) return true;
  if (active.unavailable !== undefined) return false;
  try {
    active.detectChanges();
    await active.save();
    return true;
  } catch (error) {
    // A session that exists goes on under its old id, and the end of the request tries once more to give it the new one.
    if (copy.base && (isOutage(error) || hasCode(error, "ERR_SESSION_GONE"))) return false;
    if (!isOutage(error)) throw error;
    // The request goes on without a session, as after a failure to load it.
    active.unavailable = error;
    active.unconfirmed = undefined;
    return false;
  }
}

/** Stores a new session, if there is anything to store. */
export function create(active: ActiveSession, commit: Commit, op: Operation): MaybePromise<void> {
  return chain(viewOf(commit, new FieldsView(NO_FIELDS)), ({ changed, fields }) => {
    // Timeouts, for example, do not begin a session: they stay pending until it begins.
    if (!commit.begins && changed.size === 0) return active.copy.restore(commit);
    active.assertMayBegin();
    const metadata = changedMetadata({ createdAt: op.now, absoluteSince: op.now }, commit);
    return chain(createUnderNewId(active, { fields, metadata, lastSeenAt: op.now }, op), (created) =>
      chain(active.settle(created), () => op.emit({ type: "created" })),
    );
  });
}

/** Stores a new session under an id that is not in use. `replaces` is the session whose successor it will be. */
export function createUnderNewId(
  active: ActiveSession,
  contents: Contents,
  op: Operation,
  replaces?: Found,
): MaybePromise<Found> {
  const { repository, validateChanges } = active.policy;
  const attempt = (id: string, count: number): MaybePromise<Found> =>
    chain(assertFits(active, id, contents.metadata, op), () =>
      settling(
        () => repository.create(id, contents, op, replaces),
        (created) => {
          // The id of a new session stays until `settle`: a call that asks for it in between must not get another one.
          if (created !== "conflict") return created;
          active.nextId = undefined;
          // Another session uses this id, and the handler has got it. If this session got a new id, the
          // handler would hold the id of the other session.
          if (active.isIdDisclosed || count === MAX_IDS) {
            throw new SessionError(
              "ERR_CONFLICT",
              "Cannot store the session: the generated ids are in use; does generateId give random ones?",
            );
          }
          return chain(active.createId(), (next) => attempt(next, count + 1));
        },
        (error) => {
          if (replaces === undefined) active.noteUnconfirmed(error, op, null);
          throw error;
        },
      ),
    );
  const valid = validateChanges?.(contents.fields);
  return chain(valid, () => chain(active.createId(), (id) => attempt(id, 1)));
}

/** Rejects an id whose token the client cannot keep, before a session is stored under it. */
function assertFits(active: ActiveSession, id: string, metadata: Metadata, op: Operation): MaybePromise<void> {
  const token = active.policy.repository.tokenFor?.(id, op);
  return chain(token, (made) => {
    if (made !== undefined) active.transport?.assertFits(made, maxAgeOf(active, metadata));
  });
}
