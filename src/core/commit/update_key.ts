import { type Change, type KeyChange, without } from "../changes.ts";
import type { ActiveSession } from "../session/active_session.ts";
import { sessionGone } from "../errors.ts";
import type { FieldsView } from "../fields.ts";
import { chain, isPromise, type MaybePromise } from "../maybe_promise.ts";
import type { Outcome } from "../values.ts";

/**
 * How often an `update` may run again within one request because another call wrote its key. More runs are taken for an
 * endless loop.
 */
const MAX_UPDATES = 100;

/** Computes a value. It may get the other fields of the record, to read and to change them. */
type Compute = (value: unknown, fields: FieldsView) => unknown;

/** Reads, changes and writes one value as one step: at once on a session that exists, and with everything else otherwise. */
export function updateKey(
  active: ActiveSession,
  key: string,
  change: (value: unknown) => unknown,
): MaybePromise<unknown> {
  if (active.insideUpdate === key) throw nested(key);
  const compute = watched(active, key, change);
  active.values.detectChanges();
  if (active.keepsId) return commitAtOnce(active, key, compute);
  return recordUpdate(active, key, compute);
}

function commitAtOnce(active: ActiveSession, key: string, compute: Compute): MaybePromise<unknown> {
  if (active.isSent) active.emit({ type: "late" });
  return commitComputed(active, key, compute);
}

/** Computes a value of a session that exists, and commits it at once. Returns the value that is stored. */
export function commitComputed(active: ActiveSession, key: string, compute: Compute): MaybePromise<unknown> {
  const { values, flash } = active;
  const outcome: Outcome = {};
  const computed = values.computeChange(key, committed(active, key, compute), outcome);
  return chain(active.commitChange(replacing(computed, flash.removal(key))), () => {
    flash.forget(key);
    values.trackUpdated(key, outcome);
    return outcome.value;
  });
}

async function recordUpdate(
  active: ActiveSession,
  key: string,
  compute: (value: unknown) => unknown,
): Promise<unknown> {
  const { values, flash, copy } = active;
  const { resets } = copy;
  const assertAlive = (): void => {
    if (copy.resets !== resets) throw sessionGone();
  };
  for (let attempt = 0; attempt < MAX_UPDATES; attempt++) {
    if (active.keepsId) return await commitAtOnce(active, key, compute);
    if (!copy.base) active.assertMayBegin();
    const before = values.text(key);
    const computed = compute(before === undefined ? undefined : values.decode(before));
    const next = isPromise(computed) ? await computed : computed;
    assertAlive();
    values.detectChanges();
    // While the function was awaited, another call of this request may have written the key.
    if (values.text(key) !== before || active.keepsId) continue;
    active.assertWritable();
    const text = values.encode(key, next);
    const outcome: Outcome = {};
    const again = committed(active, key, compute);
    // The function runs again only on another value, so that its result for this one, which the caller gets, is stored.
    const known: Compute = (value, fields) => (values.text(key, fields) === before ? next : again(value, fields));
    const recorded = replacing(values.computeChange(key, known, outcome), flash.removal(key));
    flash.forget(key);
    copy.record(recorded);
    values.track(key, next, text ?? "");
    if (!active.rotates) return next;
    // A session that gets a new id is stored as a whole, so that no change of it is stored under the old id.
    try {
      await active.save();
      assertAlive();
    } catch (error) {
      values.track(key, undefined, "");
      await withdraw(active, recorded);
      throw error;
    }
    // The function may have run again, on a value that another request has stored.
    values.trackUpdated(key, outcome);
    return outcome.value;
  }
  throw nested(key);
}

/** Removes a change that was not stored, so that it is not stored later. Its caller gets the error. */
function withdraw(active: ActiveSession, change: Change): MaybePromise<void> {
  const { unconfirmedRotation: rotation, unconfirmed: write, copy } = active;
  active.unconfirmedRotation = rotation && { ...rotation, commit: without(rotation.commit, change) };
  active.unconfirmed = write && { ...write, commit: without(write.commit, change) };
  if (!copy.withdraw(change)) return undefined;
  // The other changes are applied again, which may take time. A commit that began meanwhile would set a newer base.
  return active.exclusively(() =>
    copy.setBase(copy.base ?? null, (active.unconfirmedRotation ?? active.unconfirmed)?.commit.changes),
  );
}

/** A change of a value that removes the flash value of its key as well: both or, if the function of an `update` throws, neither. */
function replacing(change: KeyChange, removal: KeyChange | undefined): KeyChange {
  if (removal === undefined) return change;
  return { key: change.key, run: (fields) => chain(change.run(fields), () => removal.run(fields)) };
}

/** The function of an `update`. While it is on the call stack, its key is noted, so that an `update` within it is recognised. */
function watched(active: ActiveSession, key: string, change: (value: unknown) => unknown): (value: unknown) => unknown {
  return (value) => {
    const outer = active.insideUpdate;
    active.insideUpdate = key;
    try {
      return change(value);
    } finally {
      active.insideUpdate = outer;
    }
  };
}

/** A function that a commit runs. Until it returns, its key is noted: the commit waits for it, so it must not wait for the commit. */
function committed(active: ActiveSession, key: string, compute: Compute): Compute {
  return (value, fields) => {
    active.computing = key;
    let result: unknown;
    try {
      result = compute(value, fields);
    } finally {
      active.computing = undefined;
    }
    if (!isPromise(result)) return result;
    active.computing = key;
    return Promise.resolve(result).finally(() => {
      active.computing = undefined;
    });
  };
}

function nested(key: string): TypeError {
  const call = `update(${JSON.stringify(key)})`;
  return new TypeError(
    `Cannot update ${JSON.stringify(key)}: its function calls ${call} again; use the value that it is given`,
  );
}
