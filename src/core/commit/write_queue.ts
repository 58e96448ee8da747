import type { Commit } from "../changes.ts";
import type { MaybePromise } from "../maybe_promise.ts";
import type { Policy } from "../policy.ts";
import type { Found, Operation } from "../repository.ts";
import type { ActiveSession } from "../session/active_session.ts";

/** A request that waits to write to a session. */
export interface Job {
  readonly active: ActiveSession;
  readonly current: Found;
  readonly commit: Commit;
  readonly op: Operation;
  /** When it began to wait, on the real clock. */
  readonly since: number;
  /** Runs something in the async context of the request. */
  readonly within: <T>(run: () => T) => T;
  readonly resolve: (settled: MaybePromise<void>) => void;
  readonly reject: (error: unknown) => void;
}

/** The requests of this process that wait to write to one session. Their clients hold the same token. */
export type WriteQueue = Job[];

const queues: WeakMap<Policy, Map<string, WriteQueue>> = new WeakMap();

/** The queues of a manager, by the token. */
export function queuesOf(policy: Policy): Map<string, WriteQueue> {
  const known = queues.get(policy);
  if (known !== undefined) return known;
  const own = new Map<string, WriteQueue>();
  queues.set(policy, own);
  return own;
}
