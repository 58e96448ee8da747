import type { ActiveSession } from "./session/active_session.ts";
import { admit, isFinal, publicReason } from "./admission.ts";
import { countsAsUse } from "./commit/touch.ts";
import { isOutage } from "./errors.ts";
import type { RejectReason } from "./events.ts";
import { chain, type MaybePromise, recovering } from "./maybe_promise.ts";
import { beginOperation } from "./operation.ts";
import { forOwnToken } from "./operation_with.ts";
import type { Found, Operation } from "./repository.ts";
import { reportFailure } from "./store_client.ts";

/** Loads the session: reads the token, finds the record, and lets plugins and schema check it. */
export function loadSession(active: ActiveSession): MaybePromise<void> {
  const { transport } = active;
  const presented = transport === undefined ? active.presented : transport.readToken();
  return chain(presented ?? null, (token) => {
    active.presented = token;
    if (token !== null) return find(active, token);
    if (transport?.isAmbiguous === true) {
      active.rejected = "ambiguous";
      active.emit({ type: "ambiguous" });
    }
    return noteLoaded(active, null);
  });
}

function find(active: ActiveSession, token: string): MaybePromise<void> {
  let begun: Operation | undefined;
  return recovering(
    () =>
      chain(beginOperation(active, active.isSent ? undefined : active.arrivedAt), (op) => {
        begun = op;
        return chain(open(active, token, op), (opened) =>
          chain(admit(active, opened, op), (found) => {
            if (typeof found === "string") return reject(active, found, op);
            op.emit({ type: "loaded" });
            if (active.transport?.isStale === true || found.token !== token) active.isRenewed = true;
            noteFirstUse(active, found, token);
            return noteLoaded(active, found);
          }),
        );
      }),
    (error) => {
      if (!isOutage(error)) throw error;
      reportFailure(begun ?? active, "load", error);
      if (!active.policy.toleratesFailure) throw error;
      active.unavailable = error;
      return noteLoaded(active, null);
    },
  );
}

function open(active: ActiveSession, token: string, op: Operation): MaybePromise<Found | RejectReason> {
  if (active.transport !== undefined) return active.policy.repository.open(token, op);
  // The program has kept the id, such as for a WebSocket. If the client uses a newer id by now, that is not a sign of theft.
  return chain(openKept(active, token, op), (opened) => (opened === "reuse" ? "retired" : opened));
}

/**
 * Opens a token without a request. A signature is bound to the name of the cookie or header, which is unknown here, so
 * both are tried.
 */
function openKept(active: ActiveSession, token: string, op: Operation): MaybePromise<Found | RejectReason> {
  const { repository, headerName } = active.policy;
  return chain(repository.open(token, forOwnToken(op)), (opened) => {
    if (opened !== "forged" || headerName === undefined) return opened;
    active.openedName = headerName;
    return chain(repository.open(token, forOwnToken(op)), (again) => {
      if (again === "forged") active.openedName = undefined;
      return again;
    });
  });
}

function reject(active: ActiveSession, reason: RejectReason, op: Operation): MaybePromise<void> {
  active.rejected = reason;
  active.isDead = isFinal(reason, op);
  op.emit({ type: "rejected", reason: publicReason(reason) });
  return noteLoaded(active, null);
}

/** Makes what was found the base of the request. */
function noteLoaded(active: ActiveSession, found: Found | null): MaybePromise<void> {
  active.copy.loaded = found;
  return active.copy.setBase(found);
}

/** For `rotateEvery`: the first use of a new id ends the grace of the old one, and an id that is old enough is rotated. */
function noteFirstUse(active: ActiveSession, found: Found, token: string): void {
  const { policy, copy, transport, isSent } = active;
  // A server that opens the id, such as for a job, does not show that the client has it. After the response, the next request
  // notes the use.
  if (found.token !== token || transport === undefined || isSent) return;
  const { createdAt, unconfirmed, rotatedAt = createdAt } = found.metadata;
  if (unconfirmed === true) {
    // A token that holds the session has little room, and its repository notes the use elsewhere.
    const use = policy.repository.tokenHoldsSession === true ? {} : { usedAt: policy.now() };
    copy.recordMetadata((newest) => {
      // Another request may have renewed the id meanwhile. The client has not used that new one.
      if (newest.rotatedAt !== rotatedAt) return newest;
      const { unconfirmed: _, ...metadata } = newest;
      return { ...metadata, ...use };
    });
    return;
  }
  if (policy.rotateEvery === undefined || !countsAsUse(active)) return;
  if (policy.now() - rotatedAt >= policy.rotateEvery * 1000)
    copy.rotate({ grace: 0, reauthenticated: false, untilUsed: true });
}
