import { changedMetadata, type Commit, replay } from "../changes.ts";
import type { ActiveSession } from "../session/active_session.ts";
import { isOutage, SessionError } from "../errors.ts";
import { chain, type MaybePromise, recovering } from "../maybe_promise.ts";
import { FieldsView } from "../fields.ts";
import { NO_FIELDS } from "../record_fields.ts";
import type { Contents, Found, Operation } from "../repository.ts";
import { maxAgeOf } from "./touch.ts";
import type { WorkingCopy } from "../working_copy.ts";

/** After this many generated ids that are already in use, the creation fails. Random ids are never in use. */
const MOST_IDS = 5;

/** Makes sure that a session will be stored, even an empty one. */
export async function begin(active: ActiveSession): Promise<void> {
  await active.load();
  if (active.copy.base !== null || active.unavailable !== undefined) return;
  active.assertMayBegin();
  active.copy.begin();
}

/**
 * Stores a new session before its id is disclosed, where the response is sent although the store is down. The handler
 * must not get an id under which no session is stored.
 */
export async function storeForId(active: ActiveSession): Promise<WorkingCopy> {
  const { copy, policy } = active;
  if (!policy.toleratesFailure || copy.base || active.unavailable !== undefined) return copy;
  try {
    await active.save();
  } catch (error) {
    if (!isOutage(error)) throw error;
    // The request goes on without a session, as after a failure to load it.
    active.unavailable = error;
    active.unconfirmed = undefined;
  }
  return copy;
}

/** Stores a new session, if there is anything to store. */
export function create(active: ActiveSession, commit: Commit, op: Operation): MaybePromise<void> {
  const { copy } = active;
  const { view } = commit;
  const replayed =
    view !== undefined && view.base.size === 0 ? view : replay(commit.changes, new FieldsView(NO_FIELDS));
  return chain(replayed, (changed) => {
    // Timeouts, for example, do not begin a session: they stay pending until it begins.
    if (!commit.begins && changed.changed.size === 0) return copy.restore(commit);
    active.assertMayBegin();
    const metadata = changedMetadata({ createdAt: op.now, absoluteSince: op.now }, commit);
    const contents = { fields: changed.fields, metadata, lastSeenAt: op.now };
    return chain(createUnderNewId(active, contents, op, commit), (created) =>
      chain(active.settle(created, op), () => op.emit({ type: "created" })),
    );
  });
}

/** Stores a new session under an id that is not in use. */
export function createUnderNewId(
  active: ActiveSession,
  contents: Contents,
  op: Operation,
  commit: Commit,
  replaces?: Found,
): MaybePromise<Found> {
  const { validateChanges } = active.policy;
  const begin = (): MaybePromise<Found> => attempt(active, contents, op, commit, replaces, 1);
  return validateChanges === undefined ? begin() : chain(validateChanges(contents.fields), begin);
}

function attempt(
  active: ActiveSession,
  contents: Contents,
  op: Operation,
  commit: Commit,
  replaces: Found | undefined,
  count: number,
): MaybePromise<Found> {
  const { repository } = active.policy;
  return chain(active.createId(), (id) => {
    const write = (): MaybePromise<Found | "conflict"> =>
      recovering(
        () => repository.create(id, contents, op, replaces),
        (error) => {
          if (isOutage(error) && replaces === undefined)
            active.unconfirmed = { writeId: op.writeId, commit, current: null };
          throw error;
        },
      );
    // A session whose token the client cannot keep must not be stored.
    const fitting =
      repository.tokenFor === undefined
        ? undefined
        : chain(repository.tokenFor(id, op), (token) =>
            active.transport?.assertFits(token, maxAgeOf(active, contents.metadata)),
          );
    return chain(chain(fitting, write), (created) => {
      // The id of a new session stays until `settle`: a call that asks for it in between must not get another one.
      if (created === "conflict" || replaces !== undefined) active.nextId = undefined;
      if (created !== "conflict") return created;
      // Another session uses this id, and the handler has got it. If this session got a new id, the
      // handler would hold the id of the other session.
      if (active.isIdDisclosed || count === MOST_IDS) {
        throw new SessionError(
          "ERR_CONFLICT",
          "Cannot store the session: the generated ids are in use; does generateId give random ones?",
        );
      }
      return attempt(active, contents, op, commit, replaces, count + 1);
    });
  });
}
