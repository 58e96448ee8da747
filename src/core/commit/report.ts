import type { ActiveSession } from "../session/active_session.ts";
import { isSessionError, type SessionErrorCode } from "../errors.ts";
import type { Operation } from "../repository.ts";

/** After these errors the commit is not tried again, because it can never be stored as it is. The handler gets the error. */
const REFUSALS: ReadonlySet<SessionErrorCode> = new Set([
  "ERR_SCHEMA",
  "ERR_SESSION_LIMIT",
  "ERR_RECORD_TOO_LARGE",
  "ERR_COOKIE_TOO_LARGE",
  "ERR_NOT_SERIALIZABLE",
]);

/** Reports why a commit failed. `isWhole`: the commit held all changes, so all of them are refused. */
export function report(active: ActiveSession, error: unknown, isWhole: boolean, op: Operation | undefined): void {
  if (!isSessionError(error)) return;
  if (error.code === "ERR_SESSION_GONE") {
    active.isGone = true;
    active.emit({ type: "gone" });
  } else {
    if (isWhole && REFUSALS.has(error.code)) active.refusedRevision = active.copy.revision;
    active.emitFailure("store", error, op);
  }
}
