import { leavesTombstones } from "../core/store_repository/end_record.ts";
import { hasCode, SessionError } from "../core/errors.ts";
import type { RejectReason } from "../core/events.ts";
import { maySweep } from "../core/expiry.ts";
import type { MaybePromise } from "../core/maybe_promise.ts";
import { operationWith } from "../core/operation_with.ts";
import { METADATA_FIELD, NO_FIELDS } from "../core/record_fields.ts";
import type { Contents, Found, Operation, Repository } from "../core/repository.ts";
import { wrapRepository } from "../core/repository/repository_wrapper.ts";
import { reasonOfRetired } from "../core/store_repository/retired_id.ts";
import { changedNames, type Marks, NO_MARKS, withMarks, withoutMarks } from "./marks.ts";
import {
  merge,
  mergedOf,
  type MergedSession,
  clientMetadataText,
  missingSession,
  shortVersion,
  textOf,
} from "./merged_session.ts";
import {
  type FieldChange,
  mergeWrites,
  NO_WRITES,
  type PresentedWrites,
  type RecentWrites,
  type Subject,
} from "./recent_writes.ts";
import type { RecentWritesCookie } from "./recent_writes_cookie.ts";
import { windowOf } from "./window.ts";

/**
 * How often a record is read if it is older than the state that the client has seen. A request does not wait longer for
 * the store to catch up.
 */
const MAX_READS = 3;

/**
 * A repository whose clients see their own writes, and never an older state than they have seen, although the store is
 * eventually consistent. A session is a map in which the last change of each field wins. The instants of changes are a
 * hybrid logical clock: a change is later than all changes that its writer had seen. A record keeps the marks of its
 * recent changes, and the client's cookie holds the changes that the client has seen. Both are merged whenever the
 * session is loaded.
 *
 * @param next The repository on the store
 * @param cookieOf Finds the recent-writes cookies of an operation; undefined if the operation has no client that keeps
 *   cookies
 */
export function readYourWritesRepository(
  next: Repository,
  cookieOf: (op: Operation) => RecentWritesCookie | undefined,
): Repository {
  /** For a session that the store did not show: the record that was stored so that the session could be retired. */
  const storedToRetire = new WeakMap<Found, Found>();
  const presentedOf = async (subject: Subject, op: Operation): Promise<PresentedWrites> =>
    (await cookieOf(op)?.of(subject)) ?? NO_WRITES;

  /** The client's cookie may name another token of the session, which was signed with another secret. */
  const subjectOf = async (token: string, op: Operation): Promise<Subject> => ({
    token,
    id: (await next.idOf?.(token, op)) ?? undefined,
  });

  async function open(token: string, op: Operation): Promise<Found | RejectReason> {
    const { tombstone } = await presentedOf(await subjectOf(token, op), op);
    if (tombstone !== undefined) {
      const { at, isRetired, successor } = tombstone;
      if (successor !== undefined && successor.until > op.now) return await open(successor.token, op);
      return isRetired ? reasonOfRetired(at, op.now) : "revoked";
    }
    const found = await find(() => next.open(token, withoutExpiry(op)), token, op);
    if (typeof found === "string") return found;
    // A retired id can lead to a session that has ended, or was retired as well, and whose end this place does not show.
    if (found.token !== token && (await presentedOf(found, op)).tombstone !== undefined)
      return await open(found.token, op);
    return op.endsAt(found) <= op.now ? "expired" : found;
  }

  async function refresh(current: Found, op: Operation): Promise<Found | null> {
    const { shown, isMissing } = mergedOf(current);
    const lenient = withoutExpiry(op);
    const read = async (): Promise<Found | RejectReason> =>
      isMissing ? await next.open(current.token, lenient) : ((await next.refresh(shown, lenient)) ?? "retired");
    const found = await find(read, current.token, op);
    return typeof found === "string" || maySweep(found, op) ? null : found;
  }

  /**
   * Reads a session and merges it with the writes that the client presents. It is read again if the client has seen a
   * newer state that cannot be merged.
   */
  async function find(
    read: () => MaybePromise<Found | RejectReason>,
    token: string,
    op: Operation,
  ): Promise<Found | RejectReason> {
    for (let reads = 1; ; reads++) {
      const answer = await read();
      const presented = await presentedOf(typeof answer === "string" ? await subjectOf(token, op) : answer, op);
      // If the core leaves no tombstones in the store, a session that the store does not show yet cannot be
      // distinguished from an ended one, and it counts as ended.
      const isMissing = answer === "unknown" && presented.changes.size > 0 && leavesTombstones(op.store);
      if (typeof answer === "string" && !isMissing) return answer;
      const shown = typeof answer === "string" ? missingSession(token, presented, op.now) : answer;
      if (isMissing && op.endsAt(shown) <= op.now) return "expired";
      const { found, isStale } = merge(shown, isMissing, presented, op.now, windowOf(op.store));
      const isIncomplete = isMissing && !presented.isComplete;
      if (isStale || isIncomplete) {
        if (reads < MAX_READS && (await backOff(op))) continue;
        op.emit({ type: "stale" });
        if (isIncomplete)
          throw new SessionError(
            "ERR_STORE",
            "Cannot load the session: the store does not show it yet; try the request again",
          );
      }
      if (isNews(found, presented, op)) note(found, presented, op);
      return found;
    }
  }

  /** Stores contents together with the marks of their changes, in place of `before` if that is given. */
  async function store(
    before: Found | undefined,
    contents: Contents,
    op: Operation,
    write: (marked: Contents) => MaybePromise<Found | "conflict">,
  ): Promise<Found | "conflict"> {
    const known = before && mergedOf(before);
    const clock = Math.max(op.now, (known?.clock ?? 0) + 1);
    const { at: times, unsentAt } = known?.marks ?? NO_MARKS;
    const at = new Map(times);
    for (const name of changedNames(before?.fields ?? NO_FIELDS, contents.fields)) at.set(name, clock);
    if (before === undefined || clientMetadataText(before.metadata) !== clientMetadataText(contents.metadata))
      at.set(METADATA_FIELD, clock);
    const cookie = cookieOf(op);
    await cookie?.prepare();
    // A job has no response that could bring its write to a client.
    const marks = { at, unsentAt: cookie?.canSend() === true ? unsentAt : Math.max(unsentAt, clock) };
    const stored = await write({ ...contents, fields: withMarks(contents.fields, marks) });
    return stored === "conflict" ? stored : await written(stored, marks, clock, op, known?.shown);
  }

  /**
   * Turns the record that was stored in place of `before` into the session that the core holds, and notes it for the
   * client.
   */
  async function written(
    shown: Found,
    marks: Marks,
    clock: number,
    op: Operation,
    before: Found | undefined,
  ): Promise<Found> {
    const stored: MergedSession = { shown, isMissing: false, isMerged: false, marks, clock };
    const found = { ...shown, fields: withoutMarks(shown.fields), needsStoring: false, stored };
    if (before === undefined) cookieOf(op)?.begin(found);
    const presented = await presentedOf(found, op);
    const versions = before === undefined ? [] : [shortVersion(before), ...presented.versions];
    note(found, { ...presented, versions }, op);
    return found;
  }

  /**
   * Notes the state that the client sees for its next cookie. Changes that the client presented without their texts are
   * kept.
   */
  function note(found: Found, presented: RecentWrites, op: Operation): void {
    const { lastSeenAt, fields, needsStoring } = found;
    const { shown, marks } = mergedOf(found);
    const { accepted } = windowOf(op.store);
    const changes = new Map<string, FieldChange>();
    for (const [name, at] of marks.at) if (op.now - at < accepted) changes.set(name, { at, text: textOf(found, name) });
    // If a record lacks a change and must be stored again, its version is not noted: it is not merely an older state.
    const versions = needsStoring === true ? [] : [shortVersion(shown)];
    const isComplete = [METADATA_FIELD, ...fields.keys()].every((name) => changes.has(name));
    cookieOf(op)?.note(found, mergeWrites([{ changes, lastSeenAt, isComplete, versions }, presented]));
  }

  async function update(current: Found, contents: Contents, op: Operation): Promise<Found | "conflict"> {
    const { shown, isMerged, isMissing, marks, clock } = mergedOf(current);
    // If the record lacks a change, a touch stores that change as well. Otherwise the touch, as the last write, would
    // remove it.
    if (!isMerged && contents.fields === current.fields && contents.metadata === current.metadata) {
      const touched = await next.update(shown, { ...shown, lastSeenAt: contents.lastSeenAt }, op);
      return touched === "conflict" ? touched : await written(touched, marks, clock, op, shown);
    }
    const known = shownOf(current);
    return await store(current, contents, op, (marked) =>
      isMissing ? next.create(shown.id, marked, op, known) : next.update(known, marked, op),
    );
  }

  return wrapRepository(next, {
    open,
    refresh,
    create: (id, contents, op, replaces) =>
      store(undefined, contents, op, (marked) => next.create(id, marked, op, replaces && shownOf(replaces))),
    update,
    async retire(current, successor, graceUntil, op) {
      // The successor is named in a record, so a session that the store does not show is stored first.
      const stored = mergedOf(current).isMissing ? await update(current, current, op) : current;
      if (stored === "conflict") return stored;
      storedToRetire.set(current, stored);
      const answer = await next.retire(shownOf(stored), shownOf(successor), graceUntil, op);
      if (answer === "conflict") return answer;
      const grace = graceUntil === null ? {} : { successor: { token: successor.token, until: graceUntil } };
      cookieOf(op)?.noteEnd(current, { at: op.now, isRetired: true, ...grace });
      return answer;
    },
    ...(next.reinstate && {
      async reinstate(retired, successor, op) {
        const { shown, isMissing } = mergedOf(storedToRetire.get(retired) ?? retired);
        // A session that the store did not show, and that could not be stored, was not retired.
        if (isMissing) await next.end(mergedOf(successor).shown, op);
        else await next.reinstate?.(shown, mergedOf(successor).shown, op);
        const cookie = cookieOf(op);
        cookie?.drop(retired);
        cookie?.drop(successor);
      },
    }),
    async end(session, op) {
      const subject = typeof session === "string" ? await subjectOf(session, op) : session;
      await next.end(typeof session === "string" || mergedOf(session).isMissing ? subject.token : shownOf(session), op);
      cookieOf(op)?.noteEnd(subject, { at: op.now, isRetired: false });
    },
  });
}

/**
 * A session as the store showed it, with the metadata that its client sees: other plugins compare them with those to be
 * stored, and the store may show older ones.
 */
function shownOf(found: Found): Found {
  return { ...mergedOf(found).shown, metadata: found.metadata };
}

/** Whether the client sees a recent change that it has not seen before. */
function isNews(found: Found, presented: PresentedWrites, { now, store }: Operation): boolean {
  const { length, accepted } = windowOf(store);
  const { lastSeenAt } = found;
  if (lastSeenAt > presented.lastSeenAt && now - lastSeenAt < length) return true;
  const { at, unsentAt } = mergedOf(found).marks;
  return [...at].some(([name, instant]) => {
    // The write of a job was not sent to any client, and the job's clock may differ.
    const isRecent = now - instant < (instant <= unsentAt ? accepted : length);
    return isRecent && instant > (presented.changes.get(name)?.at ?? -Infinity);
  });
}

/** Waits before the next read; false if no time is left. Here that is not a conflict. */
async function backOff(op: Operation): Promise<boolean> {
  try {
    await op.backOff();
    return true;
  } catch (error) {
    if (hasCode(error, "ERR_CONFLICT")) return false;
    throw error;
  }
}

/** An operation for which no session expires: the client may have used a session since the store last showed it. */
function withoutExpiry(op: Operation): Operation {
  return operationWith(op, { endsAt: () => Infinity });
}
