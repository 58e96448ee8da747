import type { ActiveSession } from "../session/active_session.ts";
import { timeoutsOf } from "../expiry.ts";
import type { Metadata, OwnTimeouts } from "../metadata.ts";
import type { Found } from "../repository.ts";

/** Whether "last seen" must be written: the request asked for it, or it is old and the request counts as use. */
export function isTouchDue(
  active: ActiveSession,
  current: Found | null | undefined,
  touches: boolean = active.copy.touches,
  timeouts: OwnTimeouts | undefined = active.copy.timeouts,
): boolean {
  if (!current) return false;
  const { policy, transport } = active;
  if (touches || current.needsStoring === true) return true;
  const { metadata, lastSeenAt } = current;
  const elapsed = policy.now() - lastSeenAt;
  if (elapsed <= 0) return false;
  // The new timeouts count. Otherwise a session that was last seen long ago could end as soon as it gets a shorter timeout.
  const own = timeouts === undefined ? metadata : { ...metadata, timeouts: { ...metadata.timeouts, ...timeouts } };
  const { touchInterval } = timeoutsOf(own, policy.timeouts, policy.limits);
  // The token must be written again before the client drops it.
  if (elapsed < Math.min(touchInterval, (maxAgeOf(active, own) ?? Infinity) / 2) * 1000) return false;
  // A shorter idle timeout could end the session at once. So a change of it also writes "last seen" in a request that
  // does not count as use.
  const changesIdle = timeouts?.idle !== undefined && timeouts.idle !== metadata.timeouts?.idle;
  return changesIdle || transport === undefined || policy.countsAsUse(transport.request);
}

/** The `Max-Age` of the token, in seconds; null for as long as the client runs. */
export function maxAgeOf({ policy, transport }: ActiveSession, { timeouts: own }: Metadata): number | null {
  if (own?.cookie !== undefined) return own.cookie;
  const { timeouts, limits } = policy;
  const lifetime = transport?.lifetime?.maxAge;
  if (lifetime !== undefined) return lifetime;
  return Math.min(own?.idle ?? timeouts.idle, limits.idle ?? Infinity);
}
