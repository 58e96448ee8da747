import type { ActiveSession } from "./active_session.ts";
import { responseSent } from "../errors.ts";
import { isPromise, type MaybePromise } from "../maybe_promise.ts";

/**
 * Loads the session for a call that reads. The end of the request waits for the load, even if the handler does not await the
 * call: the session counts as used, and the call may read a flash value or return an object that is then changed in place.
 */
export function loadToRead(active: ActiveSession): MaybePromise<void> {
  const loading = active.load();
  if (isPromise(loading)) active.calls.note(loading);
  return loading;
}

/** The value that a handler reads under a key. A flash value comes before a stored one. */
export function read({ flash, values }: ActiveSession, key: string, fallback?: unknown): unknown {
  const shown = flash.show(key);
  return shown === undefined ? values.get(key, fallback) : values.decode(shown);
}

/** Drops a key, with its flash value. */
export function remove({ flash, values }: ActiveSession, key: string): void {
  flash.remove(key);
  values.set(key, undefined, undefined);
}

/** The keys that have a value, such as a fallback that was changed in place. */
export function keysOf({ flash, values }: ActiveSession): Set<string> {
  values.detectChanges();
  return new Set([...values.keys(), ...flash.keys()]);
}

/**
 * Reads and deletes a value.
 *
 * @throws {SessionError} `ERR_RESPONSE_SENT` if the deletion cannot reach the client, or if the request has failed
 * meanwhile and stores nothing more
 */
export async function pull(active: ActiveSession, key: string): Promise<unknown> {
  const { drops } = active.copy;
  await active.load();
  active.assertWritable();
  if (active.copy.drops !== drops) throw responseSent("change");
  const value = read(active, key);
  remove(active, key);
  active.storeIfLate();
  return value;
}

/** Records a value, which ends at `endsAt` or with the session. */
export function set(active: ActiveSession, key: string, value: unknown, endsAt: number | undefined): void {
  put(active, key, value, active.values.encode(key, value), endsAt);
}

/** Records values as {@linkcode set} does. If one value cannot be encoded, none is recorded. */
export function setAll(active: ActiveSession, values: object, endsAt: number | undefined): void {
  const texts = Object.entries(values).map(([key, value]) => ({ key, value, text: active.values.encode(key, value) }));
  for (const { key, value, text } of texts) put(active, key, value, text, endsAt);
}

function put(
  active: ActiveSession,
  key: string,
  value: unknown,
  text: string | undefined,
  endsAt: number | undefined,
): void {
  if (text === undefined) return remove(active, key);
  active.flash.replace(key);
  active.values.set(key, value, text, endsAt);
}
