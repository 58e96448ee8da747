import type { ActiveSession } from "../session/active_session.ts";
import { isSessionError, type SessionErrorCode } from "../errors.ts";
import { chain, type MaybePromise, recovering } from "../maybe_promise.ts";
import { beginOperation } from "../operation.ts";
import type { Operation } from "../repository.ts";
import { reportFailure } from "../store_client.ts";

/** After these errors the commit is not tried again, because it can never be stored as it is. The handler gets the error. */
const REFUSALS: ReadonlySet<SessionErrorCode> = new Set([
  "ERR_SCHEMA",
  "ERR_SESSION_LIMIT",
  "ERR_RECORD_TOO_LARGE",
  "ERR_COOKIE_TOO_LARGE",
  "ERR_NOT_SERIALIZABLE",
]);

/**
 * Begins an operation, and runs a part of a commit in it. If that fails, it reports why. `isWhole`: the part stores all
 * changes, so all of them are refused.
 */
export function reporting(
  active: ActiveSession,
  isWhole: boolean,
  part: (op: Operation) => MaybePromise<void>,
): MaybePromise<void> {
  let begun: Operation | undefined;
  return recovering(
    () => chain(beginOperation(active), (op) => part((begun = op))),
    (error) => {
      if (!isSessionError(error)) throw error;
      if (error.code === "ERR_SESSION_GONE") {
        active.isGone = true;
        active.emit({ type: "gone" });
      } else {
        if (isWhole && REFUSALS.has(error.code)) active.refusedRevision = active.copy.revision;
        reportFailure(begun ?? active, "store", error);
      }
      throw error;
    },
  );
}
