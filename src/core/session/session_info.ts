import type { ActiveSession } from "./active_session.ts";
import { endOf, timeoutsOf } from "../expiry.ts";
import { publicReason } from "../admission.ts";
import type { SessionInfo } from "../session.ts";
import { isTouchDue } from "../commit/touch.ts";

/** The times of a loaded session, with the changes that this request has recorded. */
export function infoOf(active: ActiveSession): SessionInfo {
  const { copy, policy, rejected } = active;
  const isNew = copy.loaded === null;
  const ended = rejected === null ? null : publicReason(rejected);
  if (!copy.exists) return { isNew, createdAt: null, lastSeenAt: null, expiresAt: null, authenticatedAt: null, ended };
  const now = policy.now();
  const {
    base,
    pending: { rotation },
  } = copy;
  const { lastSeenAt = now } = base ?? {};
  const metadata = copy.metadata(now);
  const isFresh = rotation?.reauthenticated === true;
  // A new id also writes "last seen". If the clock of this server is behind, it does not move back.
  const isTouched = rotation !== undefined || isTouchDue(active, base);
  const seenAt = isTouched ? Math.max(now, lastSeenAt) : lastSeenAt;
  const expiresAt = endOf(isFresh ? now : metadata.absoluteSince, seenAt, timeoutsOf(metadata, policy));
  const authenticatedAt = isFresh ? now : (metadata.authenticatedAt ?? null);
  // `lastSeenAt` is the time of the last use before this request, so that a page can show it.
  return { isNew, createdAt: metadata.createdAt, lastSeenAt, expiresAt, authenticatedAt, ended };
}
