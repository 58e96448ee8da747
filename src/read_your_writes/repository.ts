import { isSessionError, SessionError } from "../core/errors.ts";
import type { RejectReason } from "../core/events.ts";
import { SWEEP_MARGIN } from "../core/expiry.ts";
import { METADATA_FIELD } from "../core/metadata.ts";
import type { Contents, Found, Operation, Repository } from "../core/repository.ts";
import { UNDER_WAY } from "../core/retired_id.ts";
import { changedNames, latestOf, type Marks, withMarks, withoutMarks } from "./marks.ts";
import {
  foundOf,
  merge,
  type Merged,
  mergedOf,
  type MergedSession,
  metadataText,
  missingSession,
  shortVersion,
} from "./merged_session.ts";
import {
  type FieldChange,
  mergeVersions,
  NO_WRITES,
  type PresentedWrites,
  type RecentWrites,
} from "./recent_writes.ts";
import type { RecentWritesCookie } from "./recent_writes_cookie.ts";
import { windowOf } from "./window.ts";

/**
 * A record that is older than the client has seen is read so many times. A request does not wait longer for an engine that is
 * late.
 */
const MOST_READS = 3;

/**
 * A repository whose clients see their own writes, and never an older state than they saw, although the store is
 * eventually consistent. A session is a map in which the last change of each field counts. The instants of changes are
 * a hybrid logical clock: they never run behind what their writer had seen. A record keeps the marks of its recent
 * changes, and the client brings what it has seen of them in its cookie. Both are merged whenever the session is
 * loaded.
 */
export class ReadYourWritesRepository implements Repository {
  readonly tokenFor?: NonNullable<Repository["tokenFor"]>;
  readonly reinstate?: NonNullable<Repository["reinstate"]>;
  readonly respond?: NonNullable<Repository["respond"]>;
  readonly #inner: Repository;
  readonly #cookieOf: (op: Operation) => RecentWritesCookie | undefined;

  /** Wraps a repository. `cookieOf` finds what the client of an operation presented; undefined if it has no client. */
  constructor(inner: Repository, cookieOf: (op: Operation) => RecentWritesCookie | undefined) {
    const { tokenFor, reinstate, respond } = inner;
    this.#inner = inner;
    this.#cookieOf = cookieOf;
    if (tokenFor !== undefined) this.tokenFor = (id, op) => tokenFor.call(inner, id, op);
    if (respond !== undefined) this.respond = (headers, op) => respond.call(inner, headers, op);
    if (reinstate === undefined) return;
    this.reinstate = async (retired, successor, op) => {
      await reinstate.call(inner, mergedOf(retired).shown, mergedOf(successor).shown, op);
      const cookie = cookieOf(op);
      cookie?.drop(retired);
      cookie?.drop(successor);
    };
  }

  async open(token: string, op: Operation): Promise<Found | RejectReason> {
    const tombstone = (await this.#presented(token, op)).tombstone;
    if (tombstone !== undefined) {
      const { at, isRetired, successor } = tombstone;
      if (successor !== undefined && successor.until > op.now) return await this.open(successor.token, op);
      return isRetired ? (op.now < at + UNDER_WAY ? "replaced" : "retired") : "revoked";
    }
    const found = await this.#find(() => this.#inner.open(token, withoutExpiry(op)), token, op);
    return typeof found !== "string" && op.endsAt(found) <= op.now ? "expired" : found;
  }

  async refresh(current: Found, op: Operation): Promise<Found | null> {
    const { shown, isMissing } = mergedOf(current);
    const lenient = withoutExpiry(op);
    const find = async () =>
      isMissing
        ? await this.#inner.open(current.token, lenient)
        : ((await this.#inner.refresh(shown, lenient)) ?? "retired");
    const found = await this.#find(find, current.token, op);
    return typeof found === "string" || op.endsAt(found) + SWEEP_MARGIN <= op.now ? null : found;
  }

  async create(id: string, contents: Contents, op: Operation, replaces?: Found): Promise<Found | "conflict"> {
    const at = new Map([METADATA_FIELD, ...changedNames(new Map(), contents.fields)].map((name) => [name, op.now]));
    const marks = { at, untoldAt: this.#untoldAt(op, op.now) };
    const marked = { ...contents, fields: withMarks(contents.fields, marks) };
    const stored = await this.#inner.create(id, marked, op, replaces && mergedOf(replaces).shown);
    return stored === "conflict" ? stored : await this.#written(stored, marks, op.now, op, null);
  }

  async update(current: Found, contents: Contents, op: Operation): Promise<Found | "conflict"> {
    const session = mergedOf(current);
    const { shown, isMerged, isMissing } = session;
    const { lastSeenAt } = contents;
    // A touch of a record that lacks a change stores that change as well. Otherwise the last touch would remove it.
    if (!isMerged && contents.fields === current.fields && contents.metadata === current.metadata) {
      const touched = await this.#inner.update(shown, { ...shown, lastSeenAt }, op);
      return touched === "conflict" ? touched : await this.#written(touched, session.marks, session.clock, op, shown);
    }
    const marks = this.#marksOf(session, current, contents, op);
    const marked = { ...contents, fields: withMarks(contents.fields, marks) };
    const stored = isMissing
      ? await this.#inner.create(shown.id, marked, op)
      : await this.#inner.update(shown, marked, op);
    return stored === "conflict" ? stored : await this.#written(stored, marks, latestOf(marks), op, shown);
  }

  async retire(current: Found, successor: Found, graceUntil: number | null, op: Operation): Promise<true | "conflict"> {
    const session = mergedOf(current);
    if (session.isMissing) {
      // Only a record can lead to the successor.
      const stored = await this.#store(session, current, op);
      if (stored === "conflict") return stored;
      session.shown = stored;
      session.isMissing = false;
    }
    const answer = await this.#inner.retire(session.shown, mergedOf(successor).shown, graceUntil, op);
    if (answer === "conflict") return answer;
    const grace = graceUntil === null ? {} : { successor: { token: successor.token, until: graceUntil } };
    this.#cookieOf(op)?.bury(current, { at: op.now, isRetired: true, ...grace });
    return answer;
  }

  async end(session: Found | string, op: Operation): Promise<void> {
    const cookie = this.#cookieOf(op);
    if (typeof session === "string") {
      await this.#inner.end(session, op);
      cookie?.bury({ token: session }, { at: op.now, isRetired: false });
    } else {
      const { shown, isMissing } = mergedOf(session);
      await this.#inner.end(isMissing ? session.token : shown, op);
      cookie?.bury(session, { at: op.now, isRetired: false });
    }
  }

  async #presented(token: string, op: Operation, id?: string): Promise<PresentedWrites> {
    return (await this.#cookieOf(op)?.of({ token, id })) ?? NO_WRITES;
  }

  /**
   * Finds a session and merges it with what the client presents. It is read again if the client has seen a newer state
   * that cannot be merged.
   */
  async #find(
    find: () => Found | RejectReason | Promise<Found | RejectReason>,
    token: string,
    op: Operation,
  ): Promise<Found | RejectReason> {
    const window = windowOf(op.store);
    for (let reads = 1; ; reads++) {
      const found = await find();
      const presented = await this.#presented(
        typeof found === "string" ? token : found.token,
        op,
        typeof found === "string" ? undefined : found.id,
      );
      const isMissing = found === "unknown" && isLate(presented, op);
      if (typeof found === "string" && !isMissing) return found;
      const shown = typeof found === "string" ? missingSession(token, presented, op.now) : found;
      if (isMissing && op.endsAt(shown) <= op.now) return "expired";
      const merged = merge(shown, isMissing, presented, op.now, window);
      const isIncomplete = isMissing && !presented.isComplete;
      if (merged.isStale || isIncomplete) {
        if (reads < MOST_READS && (await backOff(op))) continue;
        op.emit({ type: "stale" });
        if (isIncomplete)
          throw new SessionError(
            "ERR_STORE",
            "Cannot load the session: the store does not show it yet; try the request again",
          );
      }
      if (isNews(merged, presented, op)) this.#note(merged.found, merged.session, presented, op);
      return merged.found;
    }
  }

  /** Stores a session that the store does not show, as the client knows it. */
  async #store(session: MergedSession, current: Found, op: Operation): Promise<Found | "conflict"> {
    const marks = this.#marksOf(session, current, current, op);
    const marked = { ...current, fields: withMarks(current.fields, marks) };
    return await this.#inner.create(current.id, marked, op);
  }

  /** The marks of a record that is about to be written. */
  #marksOf(
    { marks: { at, untoldAt }, clock }: MergedSession,
    current: Found,
    contents: Contents,
    op: Operation,
  ): Marks {
    const instant = Math.max(op.now, clock + 1);
    const next = new Map(at);
    for (const name of changedNames(current.fields, contents.fields)) next.set(name, instant);
    if (metadataText(current.metadata) !== metadataText(contents.metadata)) next.set(METADATA_FIELD, instant);
    return { at: next, untoldAt: Math.max(untoldAt, this.#untoldAt(op, instant)) };
  }

  /** The instant of a write, if no response can bring it to its client. */
  #untoldAt(op: Operation, instant: number): number {
    return this.#cookieOf(op)?.canTell === true ? 0 : instant;
  }

  /** What was stored in place of `before`, null for a new session, as the core holds it. It is noted for the client. */
  async #written(stored: Found, marks: Marks, clock: number, op: Operation, before: Found | null): Promise<Found> {
    const session = { shown: stored, isMissing: false, isMerged: false, marks, clock };
    const found = foundOf(session, { ...stored, fields: withoutMarks(stored.fields), needsStoring: false });
    if (before === null) this.#cookieOf(op)?.begin(found);
    const presented = await this.#presented(found.token, op, found.id);
    const versions = before === null ? [] : [shortVersion(before), ...presented.versions];
    this.#note(found, session, { ...presented, versions, isComplete: before === null || presented.isComplete }, op);
    return found;
  }

  /** Notes for the client what it sees. Changes that it knows without their texts stay in what it knows. */
  #note(found: Found, { shown, marks: { at } }: MergedSession, presented: RecentWrites, op: Operation): void {
    const { accepted } = windowOf(op.store);
    const changes = new Map<string, FieldChange>();
    for (const [name, instant] of at) {
      const text = name === METADATA_FIELD ? metadataText(found.metadata) : (found.fields.get(name) ?? null);
      if (op.now - instant < accepted) changes.set(name, { at: instant, text });
    }
    for (const [name, change] of presented.changes)
      if (change.at > (at.get(name) ?? -Infinity)) changes.set(name, change);
    // A record that lacks a change and must be written again is not only late.
    const versions =
      found.needsStoring === true ? presented.versions : mergeVersions([shortVersion(shown), ...presented.versions]);
    this.#cookieOf(op)?.note(found, {
      changes,
      lastSeenAt: found.lastSeenAt,
      isComplete: presented.isComplete,
      versions,
    });
  }
}

/** Whether the client sees a recent change that it has not seen before. */
function isNews(
  { found: { lastSeenAt }, session }: Merged,
  presented: PresentedWrites,
  { now, store }: Operation,
): boolean {
  const { length, accepted } = windowOf(store);
  if (lastSeenAt > presented.lastSeenAt && now - lastSeenAt < length) return true;
  const { at, untoldAt } = session.marks;
  return [...at].some(([name, instant]) => {
    // A job has no client that could be given its write, and its clock may be another one.
    const isRecent = now - instant < (instant <= untoldAt ? accepted : length);
    return isRecent && instant > (presented.changes.get(name)?.at ?? -Infinity);
  });
}

/**
 * Whether a session that the store does not show must be there. Where the core leaves no tombstone, a late session cannot be
 * told from one that was ended: it counts as ended.
 */
function isLate({ changes }: PresentedWrites, { store: { traits } }: Operation): boolean {
  return changes.size > 0 && traits.consistency === "eventual" && !traits.compareAndSet;
}

/** Waits before the next read; false if no time is left, which is no conflict here. */
async function backOff(op: Operation): Promise<boolean> {
  try {
    await op.backOff();
    return true;
  } catch (error) {
    if (isSessionError(error) && error.code === "ERR_CONFLICT") return false;
    throw error;
  }
}

/** An operation for which no session expires: the client may have used a session since the store last showed it. */
function withoutExpiry(op: Operation): Operation {
  const { now, store, request, runtimeArguments, name, presentedName, session, writeId } = op;
  const parts = { now, store, request, runtimeArguments, name, presentedName, session, writeId };
  return {
    ...parts,
    endsAt: () => Infinity,
    emit: (event) => op.emit(event),
    backOff: () => op.backOff(),
  };
}
