import { FieldsView, replay } from "./fields.ts";
import { chain, isPromise, type MaybePromise } from "./maybe_promise.ts";
import type { Metadata, OwnTimeouts } from "./metadata.ts";
import { applyChanges } from "./metadata_changes.ts";
import { NO_FIELDS } from "./record_fields.ts";
import type { Found } from "./repository.ts";
import type { Rotation } from "./rotation.ts";

/**
 * One change of a session's fields. It may run several times: on what this request sees, and again on the newest record whenever
 * another request got in between.
 */
export interface Change {
  /** The key that it changes; undefined if it changes all of them. */
  readonly key: string | undefined;
  run(fields: FieldsView): MaybePromise<void>;
}

/** A change of one key. */
export type KeyChange = Change & { readonly key: string };

/** What one request wants stored at one time. */
export interface Commit {
  readonly changes: readonly Change[];
  /** What the changes made of the base's fields; undefined if they must run first. */
  readonly view: FieldsView | undefined;
  readonly metadataChanges: readonly ((metadata: Metadata) => Metadata)[];
  readonly timeouts: OwnTimeouts | undefined;
  readonly rotation: Rotation | undefined;
  /** Whether a session is to exist, even an empty one. */
  readonly begins: boolean;
  readonly touches: boolean;
}

/** What one request knows of its session, and what it wants of it. Plain bookkeeping: no store, no client. */
export class WorkingCopy {
  /** The session as the store knows it; null if there is none, undefined before it was loaded. */
  base: Found | null | undefined;
  /** Counts whatever was recorded, so that a refused state can be recognised. */
  revision = 0;
  /** Counts how often what waited was dropped, so that a call that began before can be recognised. */
  drops = 0;

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

  /** The metadata as this request sees it; undefined if there is no session and no change of any. */
  get metadata(): Metadata | undefined {
    const { base } = this;
    if (!base && this.#metadataChanges.length === 0) return undefined;
    return applyChanges(base?.metadata ?? { createdAt: 0, absoluteSince: 0 }, this.#metadataChanges);
  }

  /** Records a change. `outcome` is what it does to what this request sees, if running it would take time. */
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
    this.#timeouts = { ...this.#timeouts, ...timeouts };
  }

  rotate(rotation: Rotation): void {
    this.revision++;
    this.#rotation = bothRotations(this.#rotation, rotation);
  }

  /** Takes out everything; what is recorded from now on belongs to the next commit. */
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
    // The commit keeps this view. Until it is stored, reads see what it will be.
    this.#view = new FieldsView(commit.view.fields);
    return commit;
  }

  /** Takes out the changes of one key, for it to be committed alone; all changes if one of them is of all keys. */
  takeKey(key: string): Commit {
    const bearsOnAll = this.#changes.some((change) => change.key === undefined);
    const taken = bearsOnAll ? this.#changes : this.#changes.filter((change) => change.key === key);
    if (taken.length > 0) this.#changes = bearsOnAll ? [] : this.#changes.filter((change) => change.key !== key);
    return {
      changes: taken,
      view: undefined,
      metadataChanges: [],
      timeouts: undefined,
      rotation: undefined,
      begins: false,
      touches: false,
    };
  }

  /** Takes back a change that was refused. Its caller gets the error. `unanswered` is as for `setBase`. */
  withdraw(change: Change, unanswered: readonly Change[] = []): MaybePromise<void> {
    if (!this.#changes.includes(change)) return undefined;
    this.revision++;
    this.#changes = this.#changes.filter((each) => each !== change);
    return this.setBase(this.base ?? null, unanswered);
  }

  /** Puts back what was not stored, ahead of what was recorded meanwhile. What this request sees stays as it is. */
  restore(commit: Commit): void {
    this.#changes = [...commit.changes, ...this.#changes];
    this.#metadataChanges = [...commit.metadataChanges, ...this.#metadataChanges];
    if (commit.timeouts !== undefined) this.#timeouts = { ...commit.timeouts, ...this.#timeouts };
    this.#rotation = bothRotations(commit.rotation, this.#rotation);
    this.#begins ||= commit.begins;
    this.#touches ||= commit.touches;
  }

  /**
   * Takes a state that the store answered as the base, and applies to it what waits. This request also sees the changes in `unanswered`: those of a
   * write that got no answer.
   */
  setBase(base: Found | null, unanswered: readonly Change[] = []): MaybePromise<void> {
    const fields = base?.fields ?? NO_FIELDS;
    if (unanswered.length > 0)
      return chain(replay(unanswered, fields), (view) => this.#rebase(base, new FieldsView(view.fields)));
    if (this.#changes.length > 0) return this.#rebase(base, new FieldsView(fields));
    this.base = base;
    if (this.#view.base !== fields || this.#view.changed.size > 0) this.#view = new FieldsView(fields);
  }

  /** Applies what waits from a given change on. What is recorded meanwhile runs here as well. */
  #rebase(base: Found | null, view: FieldsView, from = 0, failures: readonly unknown[] = []): MaybePromise<void> {
    for (let next = from; next < this.#changes.length; next++) {
      const dropped = (error: unknown): MaybePromise<void> => {
        // An `update` whose function throws is dropped. What was stored, perhaps under a new id, is stored nevertheless.
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

  /** Drops what waits; the session stays as it is stored. */
  drop(): void {
    this.revision++;
    this.drops++;
    this.#clear();
    this.#view = new FieldsView(this.base?.fields ?? NO_FIELDS);
  }

  /** Gives up the session and everything that was to be stored in it. */
  reset(): void {
    this.revision++;
    this.#clear();
    this.base = null;
    this.#view = new FieldsView(NO_FIELDS);
  }

  #clear(): void {
    this.#changes = [];
    this.#metadataChanges = [];
    this.#timeouts = this.#rotation = undefined;
    this.#begins = this.#touches = false;
  }
}

/** Whether nothing is to be stored. */
export function isEmpty({ changes, metadataChanges, timeouts, rotation, begins, touches }: Commit): boolean {
  const hasChanges = changes.length > 0 || metadataChanges.length > 0;
  return !(hasChanges || begins || touches) && timeouts === undefined && rotation === undefined;
}

/** What two calls of `regenerate` ask for. The shortest grace counts: after a call without one, the old id must never lead to the session. */
function bothRotations(before: Rotation | undefined, after: Rotation | undefined): Rotation | undefined {
  if (before === undefined || after === undefined) return before ?? after;
  // What `rotateEvery` asks for gives way to each call.
  const isFirst = after.untilUsed || (!before.untilUsed && before.grace < after.grace);
  return { ...(isFirst ? before : after), reauthenticated: before.reauthenticated || after.reauthenticated };
}
