import type { ActiveSession } from "./active_session.ts";
import { isOutage, SessionError } from "./errors.ts";
import { chain, type MaybePromise, recovering } from "./maybe_promise.ts";
import { NO_FIELDS } from "./record_fields.ts";
import type { Contents, Found, Operation } from "./repository.ts";
import { changedMetadata } from "./metadata_changes.ts";
import { maxAgeOf } from "./touch.ts";
import type { Commit, WorkingCopy } from "./working_copy.ts";
import { replay } from "./fields.ts";

/** Ids that may be in use before the generator is given up: a random one never is. */
const MOST_IDS = 5;

/** Makes sure that there will be a session. */
export async function begin(active: ActiveSession): Promise<void> {
  await active.load();
  active.assertWritable();
  if (active.copy.base !== null || active.unavailable !== undefined) return;
  active.assertMayBegin();
  active.copy.begin();
}

/**
 * Stores a new session before its id is told, where the response goes out although the store is down: nobody must be told an id under which nothing
 * will be found.
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
    active.forgetNextId();
  }
  return copy;
}

/** Stores a new session, if there is anything to store. */
export function create(active: ActiveSession, commit: Commit, op: Operation): MaybePromise<void> {
  const { copy } = active;
  const { view } = commit;
  const replayed = view !== undefined && view.base.size === 0 ? view : replay(commit.changes, NO_FIELDS);
  return chain(replayed, (changed) => {
    // Timeouts, say, wait for the session to which they are given.
    if (!commit.begins && changed.changed.size === 0) return copy.restore(commit);
    active.assertMayBegin();
    const metadata = changedMetadata({ createdAt: op.now, absoluteSince: op.now }, commit);
    const contents = { fields: changed.fields, metadata, lastSeenAt: op.now };
    return chain(createUnderNewId(active, contents, op, commit), (created) =>
      chain(active.settle(created, op), () => op.emit({ type: "created" })),
    );
  });
}

/** Stores a new session under an id that nobody has. */
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
      active.nextId = undefined;
      if (created !== "conflict") return created;
      // The handler has got this id, and another session uses it: under a new id, the handler would hold the id of that other session.
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
