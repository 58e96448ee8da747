import { isSessionError } from "../core/errors.ts";
import { chain } from "../core/maybe_promise.ts";
import type { Contents, Found, Operation, Repository } from "../core/repository.ts";
import { wrapRepository } from "../core/repository_wrapper.ts";
import { keyOfId } from "../core/store_key.ts";
import { FACTS, type Facts, factsFor, factsOf, hide, type ListPlace, pendingOf, userOf } from "./facts.ts";
import { type Admission, enforceLimit, register, unregister } from "./user_index.ts";

/** How many sessions a user may have; undefined for no limit. */
type AdmissionOf = (userId: string, version: string | undefined, op: Operation) => Promise<Admission | undefined>;

/**
 * A repository that keeps lists of whose sessions are whose. An entry is written before its session is stored, and removed after the session
 * has ended, so there is never a session that no list knows.
 */
export function indexedRepository(next: Repository, admissionOf: AdmissionOf): Repository {
  /** The id that the successor of an operation is about to replace: the facts of the one are hidden by the id of the other. */
  const replacedIds: WeakMap<Operation, string> = new WeakMap();
  /** What is to be enforced when a session is stored, which may take its request several operations. */
  const admissions: WeakMap<object, Admission | undefined> = new WeakMap();

  /** Lists a session that is about to be stored under an id. Answers the contents to store; the very same if they say so already. */
  async function enter(id: string, contents: Contents, op: Operation, before: Facts | undefined): Promise<Contents> {
    const pending = pendingOf(contents.metadata);
    const facts = pending === undefined ? factsOf(contents.metadata) : await factsFor(pending, before, id);
    if (facts === undefined) return contents;
    const { token } = facts;
    const replacedId = replacedIds.get(op);
    const userId = pending?.userId ?? (replacedId === undefined ? null : await userOf(facts, replacedId));
    const isNew = before?.token !== token && userId !== null;
    let admission = isNew ? await admissionOf(userId, facts.version, op) : undefined;
    if (isNew) admissions.set(op.session ?? op, admission);
    const key = await keyOfId(id);
    let { order } = facts;
    const lists: ListPlace[] = [];
    for (const { list, page } of facts.lists) {
      const listed = await register(list, page, { key, token, order }, contents, op, admission);
      lists.push({ list, page: listed.page });
      order ??= listed.order;
      // The first list is that of the user, and only there sessions are counted.
      admission = undefined;
    }
    const stored = { ...facts, lists, order, ...(userId === null ? {} : { user: await hide(userId, token, id) }) };
    if (JSON.stringify(stored) === JSON.stringify(contents.metadata[FACTS])) return contents;
    return { ...contents, metadata: { ...contents.metadata, [FACTS]: stored } };
  }

  /** Takes a session from the lists in which it is not any more. If that fails, a reader of the lists does it. */
  const leave = (session: Found, op: Operation, after?: Facts): Promise<void> =>
    tolerate(op, async () => {
      const facts = factsOf(session.metadata);
      const kept = facts?.token === after?.token ? after : undefined;
      for (const place of facts?.lists ?? []) {
        if (kept?.lists.some(({ list }) => list === place.list) !== true)
          await unregister(place, await keyOfId(session.id), facts?.token ?? "", op);
      }
    });

  /** Ends the sessions over the limit after a new one was bound. A failure of that does not fail the request. */
  const makePlace = (session: Found, op: Operation): Promise<void> =>
    tolerate(op, async () => {
      const list = factsOf(session.metadata)?.lists[0].list;
      const admission = admissions.get(op.session ?? op);
      admissions.delete(op.session ?? op);
      if (list === undefined || admission === undefined || admission.refuses) return;
      const sessions = await enforceLimit(list, admission, op);
      if (sessions > 0) op.emit({ type: "revoked", sessions, reason: "limit" });
    });

  return wrapRepository(next, {
    create(id, contents, op, replaces) {
      if (contents.metadata[FACTS] === undefined) return next.create(id, contents, op, replaces);
      const create = async (): Promise<Found | "conflict"> => {
        if (replaces !== undefined) replacedIds.set(op, replaces.id);
        const created = await next.create(
          id,
          await enter(id, contents, op, replaces && factsOf(replaces.metadata)),
          op,
          replaces,
        );
        if (created !== "conflict" && replaces === undefined) await makePlace(created, op);
        return created;
      };
      return create();
    },
    update(current, contents, op) {
      const isUnchanged = contents.metadata[FACTS] === current.metadata[FACTS];
      const isTouch =
        contents.fields === current.fields ||
        contents.lastSeenAt > current.lastSeenAt ||
        op.endsAt(contents) > op.endsAt(current);
      if (isUnchanged && (!isTouch || contents.metadata[FACTS] === undefined))
        return next.update(current, contents, op);
      const update = async (): Promise<Found | "conflict"> => {
        let listed = contents;
        const list = async (): Promise<void> => {
          listed = await enter(current.id, contents, op, factsOf(current.metadata));
        };
        // If the list cannot be loaded now, the next touch checks it.
        await (isUnchanged ? tolerate(op, list) : list());
        const updated = await next.update(current, listed, op);
        // After a conflict the entry stays: the write may have been done, and then its session must be listed.
        if (updated === "conflict" || isUnchanged) return updated;
        await leave(current, op, factsOf(updated.metadata));
        if (!replacedIds.has(op)) await makePlace(updated, op);
        return updated;
      };
      return update();
    },
    retire: (current, successor, graceUntil, op) =>
      chain(next.retire(current, successor, graceUntil, op), (answer) =>
        answer === "conflict" || successor.metadata[FACTS] === undefined
          ? answer
          : makePlace(successor, op).then(() => answer),
      ),
    ...(next.reinstate && {
      reinstate: (retired, successor, op) =>
        chain(next.reinstate?.(retired, successor, op), () => leave(successor, op)),
    }),
    end: (session, op) =>
      chain(next.end(session, op), () => (typeof session === "string" ? undefined : leave(session, op))),
  });
}

/** Runs a task. If the store fails, that is reported, and the request goes on. */
async function tolerate(op: Operation, task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    if (!isSessionError(error)) throw error;
    op.emit({ type: "failed", during: "store", error });
  }
}
