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
  values.remove(key);
}

/** The keys that have a value. */
export function keysOf({ flash, values }: ActiveSession): Set<string> {
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

/** Records a value. `ttl` is in seconds; undefined for as long as the session lives. */
export function set(active: ActiveSession, key: string, value: unknown, ttl: number | undefined): void {
  put(active, key, value, textOf(active, key, value), ttl);
}

/** Records values as {@linkcode set} does. If one value cannot be encoded, none is recorded. */
export function setAll(active: ActiveSession, values: object, ttl: number | undefined): void {
  const texts = Object.entries(values).map(([key, value]) => ({ key, value, text: textOf(active, key, value) }));
  for (const { key, value, text } of texts) put(active, key, value, text, ttl);
}

function textOf({ values }: ActiveSession, key: string, value: unknown): string | undefined {
  return value === undefined ? undefined : values.encode(key, value);
}

function put(
  active: ActiveSession,
  key: string,
  value: unknown,
  text: string | undefined,
  ttl: number | undefined,
): void {
  if (text === undefined) return remove(active, key);
  active.flash.replace(key);
  active.values.set(key, value, text, ttl);
}
