import { type Change, type Commit, EMPTY, isEmpty, replay, type Rotation } from "./changes.ts";
import { FieldsView } from "./fields.ts";
import { chain, isPromise, type MaybePromise } from "./maybe_promise.ts";
import type { Metadata, OwnTimeouts } from "./metadata.ts";
import { changedMetadata } from "./metadata_changes.ts";
import { type Fields, NO_FIELDS } from "./record_fields.ts";
import type { Found } from "./repository.ts";

/** A commit that still grows. Its view has the fields as this request sees them. */
type PendingCommit = { -readonly [Part in keyof Commit]: Commit[Part] } & { changes: Change[]; view: FieldsView };

function pendingOn(fields: Fields): PendingCommit {
  return { ...EMPTY, changes: [], view: new FieldsView(fields) };
}

/** The session as one request knows it, and the changes that the request has recorded. It calls no store and no client. */
export class WorkingCopy {
  /** The session as the store knows it; null if there is none, undefined before it was loaded. */
  base: Found | null | undefined;
  /** The session as this request has loaded it; null if it found none, and after `destroy`. */
  loaded: Found | null = null;
  /** Counts the recorded changes, so that a refused state can be recognised. */
  revision = 0;
  /** Counts how often recorded changes were dropped, so that a call that began earlier notices it. */
  drops = 0;
  /** Counts how often the session was given up, so that an `update` that began earlier notices it. */
  resets = 0;

  #pending: PendingCommit = pendingOn(NO_FIELDS);

  /** Everything that was recorded and waits to be stored. */
  get pending(): Commit & { readonly view: FieldsView } {
    return this.#pending;
  }

  /** Whether anything waits to be stored. */
  get isPending(): boolean {
    return !isEmpty(this.#pending);
  }

  /** Whether there is a session, or will be one when everything is stored. */
  get exists(): boolean {
    return Boolean(this.base) || this.#pending.begins || this.#pending.view.fields.size > 0;
  }

  /**
   * The metadata as this request sees it. Without a session, it is that of a session which begins at `now`. `unanswered`
   * are the changes of writes that got no answer.
   */
  metadata(now: number, unanswered: Commit["metadataChanges"] = []): Metadata {
    const { timeouts, metadataChanges } = this.#pending;
    const begun = this.base?.metadata ?? { createdAt: now, absoluteSince: now };
    return changedMetadata(begun, { timeouts, metadataChanges: [...unanswered, ...metadataChanges] });
  }

  /** Records a change, which must run at once on the fields that this request sees. */
  record(change: Change): void {
    this.revision++;
    this.#pending.changes.push(change);
    void change.run(this.#pending.view);
  }

  recordMetadata(change: (metadata: Metadata) => Metadata): void {
    this.revision++;
    this.#pending.metadataChanges = [...this.#pending.metadataChanges, change];
  }

  begin(): void {
    if (!this.#pending.begins) this.revision++;
    this.#pending.begins = true;
  }

  touch(): void {
    this.revision++;
    this.#pending.touches = true;
  }

  setTimeouts(timeouts: OwnTimeouts): void {
    this.revision++;
    // A timeout that is undefined stays as it is.
    const given = Object.fromEntries(Object.entries(timeouts).filter(([, value]) => value !== undefined));
    this.#pending.timeouts = { ...this.#pending.timeouts, ...given };
  }

  rotate(rotation: Rotation): void {
    this.revision++;
    this.#pending.rotation = bothRotations(this.#pending.rotation, rotation);
  }

  /**
   * Drops a rotation by age after the id was renewed. A call of `regenerate` stays. The revision stays too: changes that were
   * refused must not be tried again.
   */
  forgetRenewal(): void {
    if (this.#pending.rotation?.untilUsed !== true) return;
    this.#pending.rotation = undefined;
  }

  /** Takes out everything that was recorded. Later changes belong to the next commit. */
  take(): Commit {
    const commit = this.#pending;
    // Until the commit is stored, reads see its changes.
    this.#pending = pendingOn(commit.view.fields);
    return commit;
  }

  /** Takes out the changes of one key, to commit them alone. If a change affects all keys, it takes out all changes. */
  takeKey(key: string): Commit {
    const { changes } = this.#pending;
    if (changes.length === 0) return EMPTY;
    const takesAll = changes.some((change) => change.key === undefined);
    const isTaken = (change: Change): boolean => takesAll || change.key === key;
    this.#pending.changes = changes.filter((change) => !isTaken(change));
    return { ...EMPTY, changes: changes.filter(isTaken) };
  }

  /**
   * Takes back a change that was refused, and answers whether it waited. Its caller gets the error. This request sees the
   * change until `setBase`; a commit before that does not store it.
   */
  withdraw(change: Change): boolean {
    const { changes, view } = this.#pending;
    if (!changes.includes(change)) return false;
    this.revision++;
    this.#pending.changes = changes.filter((each) => each !== change);
    this.#pending.view = new FieldsView(view.fields);
    return true;
  }

  /**
   * Puts back a commit that was not stored, before the changes that were recorded meanwhile. The fields that this
   * request sees stay as they are.
   */
  restore(commit: Commit): void {
    const pending = this.#pending;
    pending.changes = [...commit.changes, ...pending.changes];
    pending.metadataChanges = [...commit.metadataChanges, ...pending.metadataChanges];
    if (commit.timeouts !== undefined) pending.timeouts = { ...commit.timeouts, ...pending.timeouts };
    pending.rotation = bothRotations(commit.rotation, pending.rotation);
    pending.begins ||= commit.begins;
    pending.touches ||= commit.touches;
  }

  /**
   * Sets a state from the store as the base, and applies the recorded changes to it. This request also sees the changes
   * in `unanswered`, which are those of a write that got no answer.
   */
  setBase(base: Found | null, unanswered: readonly Change[] = []): MaybePromise<void> {
    const fields = base?.fields ?? NO_FIELDS;
    // An id that was renewed meanwhile, by this request or another one, is not due.
    if (this.base && this.base.id !== base?.id) this.forgetRenewal();
    if (unanswered.length === 0) return this.#rebase(base, new FieldsView(fields));
    return chain(replay(unanswered, new FieldsView(fields)), (view) => this.#rebase(base, new FieldsView(view.fields)));
  }

  /**
   * Applies the recorded changes, beginning with the change at `from`. Changes that are recorded meanwhile are applied as well.
   */
  #rebase(base: Found | null, view: FieldsView, from = 0, failures: readonly unknown[] = []): MaybePromise<void> {
    for (let next = from; next < this.#pending.changes.length; next++) {
      try {
        const running = this.#pending.changes[next]?.run(view);
        if (isPromise(running)) {
          return running.then(
            () => this.#rebase(base, view, next + 1, failures),
            (error: unknown) => this.#rebaseWithout(error, base, view, next, failures),
          );
        }
      } catch (error) {
        return this.#rebaseWithout(error, base, view, next, failures);
      }
    }
    this.base = base;
    this.#pending.view = view;
    if (failures.length > 0) throw failures[0];
  }

  /** Goes on without the change at `next`, an `update` whose function has failed. The new base is kept: it is stored already, perhaps under a new id. */
  #rebaseWithout(
    error: unknown,
    base: Found | null,
    view: FieldsView,
    next: number,
    failures: readonly unknown[],
  ): MaybePromise<void> {
    this.#pending.changes.splice(next, 1);
    return this.#rebase(base, view, next, [...failures, error]);
  }

  /** Drops the recorded changes. The session stays as it is stored. */
  drop(): void {
    this.revision++;
    this.drops++;
    this.#pending = pendingOn(this.base?.fields ?? NO_FIELDS);
  }

  /** Gives up the session and all changes that were recorded for it. */
  reset(): void {
    this.revision++;
    this.resets++;
    this.#pending = pendingOn(NO_FIELDS);
    this.base = this.loaded = null;
  }
}

/**
 * Combines two calls of `regenerate`. The shorter grace counts: after a call without a grace, the old id must never
 * open the session.
 */
function bothRotations(before: Rotation | undefined, after: Rotation | undefined): Rotation | undefined {
  if (before === undefined || after === undefined) return before ?? after;
  // A call of `regenerate` takes precedence over `rotateEvery`.
  const isFirst = after.untilUsed || (!before.untilUsed && before.grace < after.grace);
  return { ...(isFirst ? before : after), reauthenticated: before.reauthenticated || after.reauthenticated };
}
