import { isOutage, isSessionError, type SessionErrorCode } from "../core/errors.ts";
import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import type { Metadata } from "../core/metadata.ts";
import type { Contents, Found, Operation, Repository } from "../core/repository.ts";
import { wrapRepository } from "../core/repository/repository_wrapper.ts";
import { reportFailure } from "../core/store_client.ts";
import { takeEnded } from "../core/store_repository/ended_sessions.ts";
import { keyOfId } from "../core/store_repository/store_key.ts";
import { FACTS, type Facts, factsFor, factsOf, hide, type ListPlace, pendingOf, reveal } from "./facts.ts";
import { survey } from "./inspection.ts";
import {
  assertRoom,
  enforceLimit,
  type EntryPlace,
  type LimitRule,
  register,
  unregister,
  withdraw,
} from "./user_index.ts";

/** How many sessions a user may have; undefined for no limit. */
type LimitRuleOf = (userId: string, version: string | undefined, op: Operation) => Promise<LimitRule | undefined>;

/**
 * A repository that keeps a list of each user's sessions. An entry is written before its session is stored, and removed
 * after the session has ended, so every stored session is in its list.
 */
export function indexedRepository(next: Repository, ruleOf: LimitRuleOf): Repository {
  /**
   * The id that an operation makes, and the id that it replaces. The session's facts are hidden with the replaced id,
   * and must be hidden again with the new id.
   */
  const replacements: WeakMap<Operation, { readonly id: string; readonly replacedId: string }> = new WeakMap();
  /** The id that an id replaces in an operation. If another request was faster, the operation changes a third session. */
  const replacedBy = (id: string, op: Operation): string | undefined => {
    const replacement = replacements.get(op);
    return replacement?.id === id ? replacement.replacedId : undefined;
  };
  /** The limit to enforce when a session is stored. Storing it may take its request several operations. */
  const rules: WeakMap<object, LimitRule | undefined> = new WeakMap();

  /**
   * Lists a session that is about to be stored under an id. Returns the contents to store; the same object if they
   * already say so. The entries that must go if the session is not stored are added to `added`, also if this fails.
   */
  async function registered(
    id: string,
    contents: Contents,
    op: Operation,
    current: Found | undefined,
    added: EntryPlace[],
  ): Promise<Contents> {
    const before = current && factsOf(current.metadata);
    const pending = pendingOf(contents.metadata);
    const facts = pending === undefined ? factsOf(contents.metadata) : await factsFor(pending, before, id);
    if (facts === undefined) return contents;
    const { token } = facts;
    let { order, user } = facts;
    let userId: string | null = pending?.userId ?? null;
    const replacedId = replacedBy(id, op);
    if (userId === null && replacedId !== undefined) {
      userId = await reveal(user, token, replacedId);
      if (userId !== null) user = await hide(userId, token, id);
    }
    let rule: LimitRule | undefined;
    if (userId !== null && before?.token !== token) {
      rule = await ruleOf(userId, facts.version, op);
      rules.set(op.session ?? op, rule);
    }
    const key = await keyOfId(id);
    // Another request that binds the session to the same user may be about to store it with the same entry in the list
    // of an index. In the list of the user, such an entry is there already.
    const isShared = current?.id === id && before?.token === token;
    const lists: ListPlace[] = [];
    for (const { list, page } of facts.lists) {
      const listed = await register(list, page, { key, token, order }, contents, op, rule);
      const place = { list, page: listed.page };
      lists.push(place);
      if (listed.isNew && (!isShared || lists.length === 1)) added.push({ ...place, key, token });
      order ??= listed.order;
      // The first list is the user's. Sessions are counted only there.
      rule = undefined;
    }
    const stored = { ...facts, lists, order, user };
    if (JSON.stringify(stored) === JSON.stringify(contents.metadata[FACTS])) return contents;
    return { ...contents, metadata: { ...contents.metadata, [FACTS]: stored } };
  }

  /**
   * Removes a session, under all of its keys, from the lists to which it no longer belongs. If that fails, a reader of
   * the lists does it.
   */
  async function unregisterFrom(
    keys: readonly string[],
    metadata: Metadata,
    op: Operation,
    after?: Facts,
  ): Promise<void> {
    const facts = factsOf(metadata);
    if (facts === undefined) return;
    const isSame = facts.token === after?.token;
    for (const place of facts.lists) {
      if (isSame && after.lists.some(({ list }) => list === place.list)) continue;
      // Another request may list the session again under the same token, so its entries stay until it has ended.
      await tolerate(op, unregister(place, isSame ? [] : keys, facts.token, op));
    }
  }

  /**
   * Removes the sessions that an operation has ended, under all ids that led to them, from their lists. `found` is the
   * session that it was to end: a store that is eventually consistent may not have shown its record.
   */
  async function unregisterEnded(op: Operation, found?: Found): Promise<void> {
    const ended = [...takeEnded(op)];
    if (found !== undefined) ended.push({ key: await keyOfId(found.id), metadata: found.metadata });
    const keys = ended.map(({ key }) => key);
    // Most of them stand in the same lists.
    const byLists = new Map(
      ended.map(({ metadata }) => {
        const { token, lists } = factsOf(metadata) ?? {};
        return [JSON.stringify([token, lists]), metadata];
      }),
    );
    for (const metadata of byLists.values()) await unregisterFrom(keys, metadata, op);
  }

  /**
   * Lists a session, and then stores it. If the session is refused, for example because it is too large, its new
   * entries are removed: each would count against a limit until it is too old to be that of a login under way. They are
   * also removed after a conflict, because there may be no other attempt, or another request may have ended the session,
   * and have removed its entry before this one has put it back. After any other failure, also one of a plugin, the
   * write may have been done, and then its session must be listed.
   */
  async function storeListed(
    id: string,
    contents: Contents,
    op: Operation,
    current: Found | undefined,
    write: (listed: Contents) => MaybePromise<Found | "conflict">,
    isTouch = false,
  ): Promise<Found | "conflict"> {
    const added: EntryPlace[] = [];
    const withdrawAll = async (thrown?: SessionErrorCode): Promise<void> => {
      for (const place of added) await tolerate(op, withdraw(place, op), thrown);
    };
    try {
      const listing = registered(id, contents, op, current, added);
      // If the list of a session that is touched cannot be loaded now, the next touch checks it.
      const stored = await write(isTouch ? ((await tolerate(op, listing)) ?? contents) : await listing);
      // A store that hangs leaves no time for another attempt, so "conflict" would hide that.
      if (stored === "conflict") await withdrawAll("ERR_STORE_TIMEOUT");
      return stored;
    } catch (error) {
      if (isSessionError(error) && !isOutage(error)) await withdrawAll();
      throw error;
    }
  }

  /** Ends the sessions over the limit after a new one was bound. A failure of that does not fail the request. */
  async function endOverLimit({ metadata }: Found, op: Operation): Promise<void> {
    const session = op.session ?? op;
    const rule = rules.get(session);
    rules.delete(session);
    const list = factsOf(metadata)?.lists[0].list;
    if (list === undefined || rule === undefined || rule.refuses) return;
    const sessions = (await tolerate(op, enforceLimit(list, rule, op))) ?? 0;
    if (sessions > 0) op.emit({ type: "revoked", sessions, reason: "limit" });
  }

  /**
   * Counts a successor that was not counted when it was listed, because the session belonged to the user already.
   * Another request has unbound the session since, and a login may have taken its place.
   */
  async function countLate(id: string, { user, token, version, lists }: Facts, op: Operation): Promise<void> {
    const userId = await reveal(user, token, id);
    const rule = userId === null ? undefined : await ruleOf(userId, version, op);
    if (rule?.refuses === true) assertRoom(await survey(lists[0].list, op), token, rule, op);
    rules.set(op.session ?? op, rule);
  }

  async function create(id: string, contents: Contents, op: Operation, replaces?: Found): Promise<Found | "conflict"> {
    // A session that the store does not show replaces itself. The operation may also be about to retire it.
    const isSuccessor = replaces !== undefined && replaces.id !== id;
    if (isSuccessor) replacements.set(op, { id, replacedId: replaces.id });
    const created = await storeListed(id, contents, op, replaces, (listed) => next.create(id, listed, op, replaces));
    if (created === "conflict" || isSuccessor || replacements.get(op)?.replacedId === id) return created;
    await endOverLimit(created, op);
    return created;
  }

  async function bind(current: Found, contents: Contents, op: Operation): Promise<Found | "conflict"> {
    const { id } = current;
    const updated = await storeListed(id, contents, op, current, (listed) => next.update(current, listed, op));
    if (updated === "conflict") return updated;
    await unregisterFrom([await keyOfId(id)], current.metadata, op, factsOf(updated.metadata));
    // The limit is enforced when the old id is retired.
    if (replacedBy(id, op) === undefined) await endOverLimit(updated, op);
    return updated;
  }

  return wrapRepository(next, {
    // A session may end when its retired id is used again.
    open: (token, op) =>
      chain(next.open(token, op), (found) => (found === "reuse" ? unregisterEnded(op).then(() => found) : found)),
    create: (id, contents, op, replaces) =>
      contents.metadata[FACTS] === undefined
        ? next.create(id, contents, op, replaces)
        : create(id, contents, op, replaces),
    update(current, contents, op) {
      const facts = contents.metadata[FACTS];
      if (facts !== current.metadata[FACTS]) return bind(current, contents, op);
      const isTouch =
        contents.fields === current.fields ||
        contents.lastSeenAt > current.lastSeenAt ||
        op.endsAt(contents) > op.endsAt(current);
      if (facts === undefined || !isTouch) return next.update(current, contents, op);
      return storeListed(current.id, contents, op, current, (listed) => next.update(current, listed, op), true);
    },
    retire(current, successor, graceUntil, op) {
      const facts = factsOf(successor.metadata);
      if (facts === undefined) return next.retire(current, successor, graceUntil, op);
      const isCounted = facts.token === factsOf(current.metadata)?.token || rules.has(op.session ?? op);
      return chain(isCounted ? undefined : countLate(successor.id, facts, op), () =>
        chain(next.retire(current, successor, graceUntil, op), (answer) =>
          answer === "conflict" ? answer : endOverLimit(successor, op).then(() => answer),
        ),
      );
    },
    ...(next.reinstate && {
      async reinstate(retired, successor, op) {
        await next.reinstate?.(retired, successor, op);
        await unregisterEnded(op, successor);
      },
    }),
    end: (session, op) =>
      chain(next.end(session, op), () => unregisterEnded(op, typeof session === "string" ? undefined : session)),
  });
}

/** Returns the result of a task. If the store fails, the failure is reported and the request continues, unless its code is `thrown`. */
function tolerate<Answer>(
  op: Operation,
  task: Promise<Answer>,
  thrown?: SessionErrorCode,
): Promise<Answer | undefined> {
  return task.catch((error: unknown) => {
    if (!isSessionError(error) || error.code === thrown) throw error;
    reportFailure(op, "store", error);
    return undefined;
  });
}
