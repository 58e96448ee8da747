import type { ActiveSession } from "./active_session.ts";

/** The value that a handler reads under a key: a flash value before others. */
export function read({ flash, values }: ActiveSession, key: string, fallback?: unknown): unknown {
  const shown = flash.show(key);
  return shown === undefined ? values.get(key, fallback) : values.decode(shown);
}

/** Drops a key, whatever is under it. */
export function remove({ flash, values }: ActiveSession, key: string): void {
  flash.remove(key);
  values.remove(key);
}

/** The keys that have a value. */
export function keysOf({ flash, values }: ActiveSession): Set<string> {
  return new Set([...values.keys(), ...flash.keys()]);
}
