import type { ActiveSession } from "./active_session.ts";
import { endOf, timeoutsOf } from "../expiry.ts";
import { publicReason } from "../admission.ts";
import type { SessionInfo } from "../session.ts";
import { isTouchDue } from "../commit/touch.ts";

/** The times of a loaded session, with the changes that this request has recorded. */
export function infoOf(active: ActiveSession): SessionInfo {
  const { copy, policy, rejected, isNew } = active;
  const ended = rejected === null ? null : publicReason(rejected);
  const { base, rotation, timeouts: own, metadata } = copy;
  if (!copy.exists) return { isNew, createdAt: null, lastSeenAt: null, expiresAt: null, authenticatedAt: null, ended };
  const now = policy.now();
  const { createdAt, absoluteSince, lastSeenAt } = base
    ? { ...base.metadata, lastSeenAt: base.lastSeenAt }
    : { createdAt: now, absoluteSince: now, lastSeenAt: now };
  const isFresh = rotation?.reauthenticated === true;
  const timeouts = timeoutsOf(
    { createdAt, absoluteSince, timeouts: { ...base?.metadata.timeouts, ...own } },
    policy.timeouts,
    policy.limits,
  );
  // A new id also writes "last seen". If the clock of this server is behind, it does not move back.
  const isTouched = rotation !== undefined || isTouchDue(active, base);
  const seenAt = isTouched ? Math.max(now, lastSeenAt) : lastSeenAt;
  const expiresAt = endOf(isFresh ? now : absoluteSince, seenAt, timeouts);
  const authenticatedAt = isFresh ? now : (metadata?.authenticatedAt ?? null);
  // `lastSeenAt` is the time of the last use before this request, so that a page can show it.
  return { isNew, createdAt, lastSeenAt, expiresAt, authenticatedAt, ended };
}
