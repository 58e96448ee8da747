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
  const isTouched = isTouchDue(active, base);
  const expiresAt = endOf(isFresh ? now : absoluteSince, isTouched ? now : lastSeenAt, timeouts);
  const authenticatedAt = isFresh ? now : (metadata?.authenticatedAt ?? null);
  return { isNew, createdAt, lastSeenAt, expiresAt, authenticatedAt, ended };
}
