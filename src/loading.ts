import type { Deadline } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import type { Loaded, SessionStore } from "./store.ts";

/**
 * Loads what a store has under a key. An answer that is no record at all is a failure, not a corrupt record: to begin anew in its
 * place would be a logout.
 *
 * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
 */
export async function loadRecord(
  store: SessionStore,
  key: string,
  action: string,
  deadline: Deadline,
): Promise<Loaded | null> {
  const loaded = await deadline.call(action, () => store.load(key));
  if (loaded === null || typeof loaded?.fields?.get === "function") return loaded;
  throw meaningless(action);
}

/** The failure of a store that answers what none may, as if a client gave its word for an aborted request. */
export function meaningless(action: string): SessionError {
  return new SessionError("ERR_STORE", `Cannot ${action}: the store's answer has no meaning`);
}
