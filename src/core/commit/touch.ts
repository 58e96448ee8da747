import { timeoutsOf } from "../expiry.ts";
import type { Metadata } from "../metadata.ts";
import { changedMetadata, type MetadataChanges } from "../metadata_changes.ts";
import type { Policy } from "../policy.ts";
import type { Found } from "../repository.ts";
import type { RequestTransport } from "../request_transport.ts";

/** The parts of a commit that decide whether it writes "last seen". */
interface SeenCommit extends MetadataChanges {
  readonly touches: boolean;
}

/** The parts of the session in this request that decide when it was last seen. */
interface SeenSession {
  readonly policy: Policy;
  readonly transport: RequestTransport | undefined;
  /** Whether a capability has said that the request does not count as use of the session. */
  readonly isUseIgnored?: boolean;
  readonly copy: { readonly pending: SeenCommit };
}

/** Whether "last seen" must be written: the request asked for it, or it is old and the request counts as use. */
export function isTouchDue(
  session: SeenSession,
  current: Found | null | undefined,
  commit: SeenCommit = session.copy.pending,
): boolean {
  if (!current) return false;
  const { policy } = session;
  if (commit.touches || current.needsStoring === true) return true;
  const { metadata, lastSeenAt } = current;
  const elapsed = policy.now() - lastSeenAt;
  if (elapsed <= 0) return false;
  // The new timeouts count. Otherwise a session that was last seen long ago could end as soon as it gets a shorter timeout.
  const changed = changedMetadata(metadata, commit);
  const { touchInterval } = timeoutsOf(changed, policy);
  // The token must be written again before the client drops it.
  if (elapsed < Math.min(touchInterval, (maxAgeOf(session, changed) ?? Infinity) / 2) * 1000) return false;
  // A shorter idle timeout could end the session at once. So a change of it also writes "last seen" in a request that
  // does not count as use.
  const changesIdle = changed.timeouts?.idle !== metadata.timeouts?.idle;
  return changesIdle || countsAsUse(session);
}

/** Whether the request counts as use of the session. Without a request, the program uses the session. */
export function countsAsUse({ policy, transport, isUseIgnored }: Omit<SeenSession, "copy">): boolean {
  return transport === undefined || (isUseIgnored !== true && policy.countsAsUse(transport.request));
}

/** The `Max-Age` of the token, in seconds; null for as long as the client runs. */
export function maxAgeOf({ policy, transport }: Omit<SeenSession, "copy">, metadata: Metadata): number | null {
  const maxAge = metadata.timeouts?.cookie === undefined ? transport?.lifetime?.maxAge : metadata.timeouts.cookie;
  return maxAge === undefined ? timeoutsOf(metadata, policy).idle : maxAge;
}
