import { applyChanges, type Change, type Commit, EMPTY, replay, type Rotation } from "./changes.ts";
import { FieldsView } from "./fields.ts";
import { chain, isPromise, type MaybePromise } from "./maybe_promise.ts";
import type { Metadata, OwnTimeouts } from "./metadata.ts";
import { type Fields, NO_FIELDS } from "./record_fields.ts";
import type { Found } from "./repository.ts";

/** The session as one request knows it, and the changes that the request has recorded. It calls no store and no client. */
export class WorkingCopy {
  /** The session as the store knows it; null if there is none, undefined before it was loaded. */
  base: Found | null | undefined;
  /** The fields of the session as this request has loaded it. */
  loaded: Fields = NO_FIELDS;
  /** Counts the recorded changes, so that a refused state can be recognised. */
  revision = 0;
  /** Counts how often recorded changes were dropped, so that a call that began earlier notices it. */
  drops = 0;
  /** Counts how often the session was given up, so that an `update` that began earlier notices it. */
  resets = 0;

  #changes: Change[] = [];
  #view: FieldsView = new FieldsView(NO_FIELDS);
  #metadataChanges: ((metadata: Metadata) => Metadata)[] = [];
  #timeouts: OwnTimeouts | undefined;
  #rotation: Rotation | undefined;
  #begins = false;
  #touches = false;

  /** The fields as this request sees them. */
  get view(): FieldsView {
    return this.#view;
  }

  get rotation(): Rotation | undefined {
    return this.#rotation;
  }

  get timeouts(): OwnTimeouts | undefined {
    return this.#timeouts;
  }

  get touches(): boolean {
    return this.#touches;
  }

  get changesMetadata(): boolean {
    return this.#metadataChanges.length > 0;
  }

  /** Whether anything waits to be stored. */
  get isPending(): boolean {
    return (
      this.#changes.length > 0 ||
      this.#begins ||
      this.#touches ||
      this.#rotation !== undefined ||
      this.#timeouts !== undefined ||
      this.#metadataChanges.length > 0
    );
  }

  /** Whether there is a session, or will be one when everything is stored. */
  get exists(): boolean {
    return Boolean(this.base) || this.#begins || this.#view.fields.size > 0;
  }

  /** The metadata as this request sees it; undefined if there is no session and no change of its metadata. */
  get metadata(): Metadata | undefined {
    const { base } = this;
    if (!base && this.#metadataChanges.length === 0) return undefined;
    return applyChanges(base?.metadata ?? { createdAt: 0, absoluteSince: 0 }, this.#metadataChanges);
  }

  /** Records a change. If running the change would take time, `outcome` applies it to the fields that this request sees. */
  record(change: Change, outcome: (fields: FieldsView) => void = (fields) => void change.run(fields)): void {
    this.revision++;
    this.#changes.push(change);
    outcome(this.#view);
  }

  recordMetadata(change: (metadata: Metadata) => Metadata): void {
    this.revision++;
    this.#metadataChanges.push(change);
  }

  begin(): void {
    if (!this.#begins) this.revision++;
    this.#begins = true;
  }

  touch(): void {
    this.revision++;
    this.#touches = true;
  }

  setTimeouts(timeouts: OwnTimeouts): void {
    this.revision++;
    // A timeout that is undefined stays as it is.
    const given = Object.fromEntries(Object.entries(timeouts).filter(([, value]) => value !== undefined));
    this.#timeouts = { ...this.#timeouts, ...given };
  }

  rotate(rotation: Rotation): void {
    this.revision++;
    this.#rotation = bothRotations(this.#rotation, rotation);
  }

  /**
   * Drops a rotation by age after the id was renewed. A call of `regenerate` stays. The revision stays too: changes that were
   * refused must not be tried again.
   */
  forgetRenewal(): void {
    if (this.#rotation?.untilUsed !== true) return;
    this.#rotation = undefined;
  }

  /** Takes out everything that was recorded. Later changes belong to the next commit. */
  take(): Commit {
    const commit = {
      changes: this.#changes,
      view: this.#view,
      metadataChanges: this.#metadataChanges,
      timeouts: this.#timeouts,
      rotation: this.#rotation,
      begins: this.#begins,
      touches: this.#touches,
    };
    this.#clear();
    // The commit keeps this view. Until the commit is stored, reads see its changes.
    this.#view = new FieldsView(commit.view.fields);
    return commit;
  }

  /** Takes out the changes of one key, to commit them alone. If a change affects all keys, it takes out all changes. */
  takeKey(key: string): Commit {
    const bearsOnAll = this.#changes.some((change) => change.key === undefined);
    const taken = bearsOnAll ? this.#changes : this.#changes.filter((change) => change.key === key);
    if (taken.length > 0) this.#changes = bearsOnAll ? [] : this.#changes.filter((change) => change.key !== key);
    return { ...EMPTY, changes: taken };
  }

  /** Takes back a change that was refused. Its caller gets the error. `unanswered` is as for `setBase`. */
  withdraw(change: Change, unanswered: readonly Change[] = []): MaybePromise<void> {
    if (!this.#changes.includes(change)) return undefined;
    this.revision++;
    this.#changes = this.#changes.filter((each) => each !== change);
    return this.setBase(this.base ?? null, unanswered);
  }

  /**
   * Puts back a commit that was not stored, before the changes that were recorded meanwhile. The fields that this
   * request sees stay as they are.
   */
  restore(commit: Commit): void {
    this.#changes = [...commit.changes, ...this.#changes];
    this.#metadataChanges = [...commit.metadataChanges, ...this.#metadataChanges];
    if (commit.timeouts !== undefined) this.#timeouts = { ...commit.timeouts, ...this.#timeouts };
    this.#rotation = bothRotations(commit.rotation, this.#rotation);
    this.#begins ||= commit.begins;
    this.#touches ||= commit.touches;
  }

  /**
   * Sets a state from the store as the base, and applies the recorded changes to it. This request also sees the changes
   * in `unanswered`, which are those of a write that got no answer.
   */
  setBase(base: Found | null, unanswered: readonly Change[] = []): MaybePromise<void> {
    const fields = base?.fields ?? NO_FIELDS;
    // An id that was renewed meanwhile, by this request or another one, is not due.
    if (this.base && this.base.id !== base?.id) this.forgetRenewal();
    if (unanswered.length > 0)
      return chain(replay(unanswered, new FieldsView(fields)), (view) =>
        this.#rebase(base, new FieldsView(view.fields)),
      );
    if (this.#changes.length > 0) return this.#rebase(base, new FieldsView(fields));
    this.base = base;
    if (this.#view.base !== fields || this.#view.changed.size > 0) this.#view = new FieldsView(fields);
  }

  /**
   * Applies the recorded changes, beginning with the change at `from`. Changes that are recorded meanwhile are applied as well.
   */
  #rebase(base: Found | null, view: FieldsView, from = 0, failures: readonly unknown[] = []): MaybePromise<void> {
    for (let next = from; next < this.#changes.length; next++) {
      const dropped = (error: unknown): MaybePromise<void> => {
        // An `update` whose function throws is dropped. The new base is kept: it is stored already, perhaps under a new id.
        this.#changes.splice(next, 1);
        return this.#rebase(base, view, next, [...failures, error]);
      };
      try {
        const running = this.#changes[next]?.run(view);
        if (isPromise(running)) return running.then(() => this.#rebase(base, view, next + 1, failures), dropped);
      } catch (error) {
        return dropped(error);
      }
    }
    this.base = base;
    this.#view = view;
    if (failures.length > 0) throw failures[0];
  }

  /** Drops the recorded changes. The session stays as it is stored. */
  drop(): void {
    this.revision++;
    this.drops++;
    this.#clear();
    this.#view = new FieldsView(this.base?.fields ?? NO_FIELDS);
  }

  /** Gives up the session and all changes that were recorded for it. */
  reset(): void {
    this.revision++;
    this.resets++;
    this.#clear();
    this.base = null;
    this.loaded = NO_FIELDS;
    this.#view = new FieldsView(NO_FIELDS);
  }

  #clear(): void {
    this.#changes = [];
    this.#metadataChanges = [];
    this.#timeouts = this.#rotation = undefined;
    this.#begins = this.#touches = false;
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
