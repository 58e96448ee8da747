import type { FieldsView } from "./fields.ts";
import { isPromise, type MaybePromise } from "./maybe_promise.ts";
import type { MetadataChanges } from "./metadata_changes.ts";

/**
 * One change of a session's fields. It may run several times: on the fields that this request sees, and again on the
 * newest record after each conflict.
 */
export interface Change {
  /** The key that it changes; undefined if it changes all of them. */
  readonly key: string | undefined;
  run(fields: FieldsView): MaybePromise<void>;
}

/** A change of one key. */
export type KeyChange = Change & { readonly key: string };

/** How the id is renewed; `grace` in seconds. */
export interface Rotation {
  readonly grace: number;
  readonly reauthenticated: boolean;
  /** Whether it is the grace of `rotateEvery`, which ends a minute after the client first used the new id. */
  readonly untilUsed: boolean;
}

/** The changes that one request stores at one time. */
export interface Commit extends MetadataChanges {
  readonly changes: readonly Change[];
  /** The base's fields with the changes applied; undefined if the changes must run first. */
  readonly view: FieldsView | undefined;
  readonly rotation: Rotation | undefined;
  /** Whether a session must exist afterwards, even an empty one. */
  readonly begins: boolean;
  readonly touches: boolean;
}

/** A commit without changes. */
export const EMPTY: Commit = {
  changes: [],
  view: undefined,
  metadataChanges: [],
  timeouts: undefined,
  rotation: undefined,
  begins: false,
  touches: false,
};

/** Whether a commit has nothing to store. */
export function isEmpty({ changes, metadataChanges, timeouts, rotation, begins, touches }: Commit): boolean {
  const hasChanges = changes.length > 0 || metadataChanges.length > 0;
  return !(hasChanges || begins || touches) && timeouts === undefined && rotation === undefined;
}

/** A commit without one of its changes. */
export function without<Kind extends Commit>(commit: Kind, change: Change): Kind {
  return { ...commit, changes: commit.changes.filter((each) => each !== change), view: undefined };
}

/** A commit that gives the session a new id. */
export type RotationCommit = Commit & { readonly rotation: Rotation };

export function isRotation(commit: Commit): commit is RotationCommit {
  return commit.rotation !== undefined;
}

/** Whether the old id still opens the session for a while. */
export function hasGrace({ grace, untilUsed }: Rotation): boolean {
  return untilUsed || grace > 0;
}

/** Applies changes, in their order and beginning with the one at `from`, to the fields of a view. */
export function replay(changes: readonly Change[], view: FieldsView, from = 0): MaybePromise<FieldsView> {
  for (let next = from; next < changes.length; next++) {
    const running = changes[next]?.run(view);
    if (isPromise(running)) return running.then(() => replay(changes, view, next + 1));
  }
  return view;
}

/** Applies the changes of a commit to a view that has none, unless the commit has the result already. */
export function viewOf({ view, changes }: Commit, unchanged: FieldsView): MaybePromise<FieldsView> {
  return view?.base === unchanged.base ? view : replay(changes, unchanged);
}
