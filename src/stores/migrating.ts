/**
 * Moves live sessions from one store to another, each one when it is next written.
 *
 * `to` decides the state of a session: it was moved, it has ended, or it was not moved yet. A session that was not
 * moved yet is read from `from`, where nothing is written any more. The move is a creation in `to`. If two requests
 * move one session, one of them is refused and reads again. A deletion leaves a *marker* in `to` for some time, so that
 * a request that read the session in `from` before cannot bring it back.
 *
 * @module
 */
import { validAnswer } from "../core/errors.ts";
import { assertKnown } from "../core/known_options.ts";
import {
  ENDING,
  isDeletion,
  isRecordOrNull,
  isSessionStore,
  isVersion,
  LOADING,
  STORING,
} from "../core/store_answers.ts";
import type { SessionStore } from "../core/store.ts";
import { isMarked, isMarker, unmarkedRecord } from "./migrating/marks.ts";
import { movingStore } from "./migrating/moving_store.ts";

/** Options of {@linkcode migratingStore}. */
export interface MigratingStoreOptions {
  /** The time in epoch milliseconds: the same function as the option `now` of the sessions. @default `Date.now` */
  readonly now?: (() => number) | undefined;
}

/**
 * Moves sessions from one store to another while they are used, so that no user is signed out.
 *
 * ## Setup
 * The two stores. Replace the program on all servers at once: a server that still uses `from` alone does not find
 * sessions that were moved, so it signs their users out and cannot end them, and its changes can be lost. Sessions that
 * are not used stay in `from`. When the longest timeout has passed, use `to` alone and drop `from`. To move on before
 * that, give this store as `from`: `migratingStore(migratingStore(oldest, older), to)`.
 *
 * ## How expiry behaves
 * As in each of the stores. `prune()` of the manager prunes both.
 *
 * ## Key format
 * The same as in each store. A record in `to` has the field `*with-session.migrating` from its move until its next
 * write. After a logout it is the only field, for ten minutes.
 *
 * ## Consistency
 * Compare-and-set if `to` has it: no update is lost and no ended session comes back, also in the request that moves it. Otherwise the last
 * write wins, as in `to` alone. Reads are strong if both stores are. If `from` is eventually consistent, a session that was written in the last minute before the program was replaced may be
 * moved in an older state. If `to` is, a place may not find a session that another place has moved in the last minute.
 *
 * ## Limits
 * - Those of `to`. A session that is too large for `to` cannot be written until it holds less.
 * - Until a session was moved, a load costs one call of each store. Looking for an unknown session costs three calls. A
 *   move costs two calls of each store, a creation one call more than in `to` alone, and a logout three or four.
 * - If `from` fails in the middle of a move, the older state stays there until the next write or logout removes it. The
 *   record in `to` is kept until then, for up to 400 days.
 * - If the process crashes or `from` hangs in the middle of a move, and `to` removes the record before the next write,
 *   the older state is found again and ends by its own timeouts. After `regenerate()`, that is the state under the old
 *   id, about twenty minutes later.
 *
 * @param from The store that has the sessions so far
 * @param to The store that the sessions move to
 * @param options The clock
 * @returns The store
 * @throws {TypeError} If one of the two is not a store, both are the same, `to` is itself a `migratingStore`, or an option is unknown
 *
 * @example
 * ```ts
 * import { memoryStore, withSession } from "with-session";
 * import { fileStore } from "with-session/stores/file";
 * import { migratingStore } from "with-session/stores/migrating";
 *
 * const store = migratingStore(memoryStore(), fileStore({ directory: "./sessions" }));
 * export default {
 *   fetch: withSession(
 *     async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *     { store },
 *   ),
 * };
 * ```
 */
export function migratingStore(
  from: SessionStore,
  to: SessionStore,
  options: MigratingStoreOptions = {},
): SessionStore {
  assertKnown(options, ["now"], "migratingStore");
  const { now = () => Date.now() } = options;
  if (!isSessionStore(from) || !isSessionStore(to) || from === to) {
    throw new TypeError(
      "migratingStore needs two stores: the one that has the sessions, and the one that they move to",
    );
  }
  if (made.has(to)) {
    throw new TypeError(
      "migratingStore: the store that sessions move to cannot be a migratingStore; write migratingStore(migratingStore(oldest, older), to)",
    );
  }
  if (typeof now !== "function") throw new TypeError("migratingStore: now must be a function");
  const store = movingStore(withoutMarks(withCheckedAnswers(from)), withCheckedAnswers(to), now);
  made.add(store);
  return store;
}

/** Stores that this function has made. As `to`, such a store would take the marker of the outer one for its own, and hide it. */
const made: WeakSet<SessionStore> = new WeakSet();

/** A store without the marks of an earlier migration to it, from which the program turned back. */
function withoutMarks(store: SessionStore): SessionStore {
  return {
    ...store,
    load: async (key, signal) => {
      const found = await store.load(key, signal);
      if (found === null || !isMarked(found)) return found;
      return isMarker(found) ? null : { ...unmarkedRecord(found), version: found.version };
    },
  };
}

/**
 * A store whose answers are checked, because this store reads them. The time limit and the retries are those of the
 * operation.
 */
function withCheckedAnswers(store: SessionStore): SessionStore {
  return {
    traits: store.traits,
    load: async (key, signal) => validAnswer(LOADING, await store.load(key, signal), isRecordOrNull),
    save: async (key, write, signal) => validAnswer(STORING, await store.save(key, write, signal), isVersion),
    delete: async (key, expected, signal) => validAnswer(ENDING, await store.delete(key, expected, signal), isDeletion),
    ...(store.prune && { prune: store.prune.bind(store) }),
    ...(store.isClosed && { isClosed: store.isClosed.bind(store) }),
  };
}
