/** The timeouts that are in force for one session, in seconds. */
export interface Timeouts {
  /** Without a request for so long, the session is over. */
  readonly idle: number;
  /** So long after it began, the session is over whatever happens; `false` for never. */
  readonly absolute: number | false;
  /** How old "last seen" may grow before a request writes it anew. */
  readonly touchInterval: number;
}

/** When a session began and was last used, in epoch milliseconds. */
export interface Times {
  /** The start of the absolute timeout. */
  readonly since: number;
  readonly lastSeenAt: number;
}

/** The first instant, in epoch milliseconds, at which the session is over. */
export function expiryOf(times: Times, timeouts: Timeouts): number {
  const idleEnd = times.lastSeenAt + timeouts.idle * 1000;
  return timeouts.absolute === false ? idleEnd : Math.min(idleEnd, times.since + timeouts.absolute * 1000);
}

/** Whether "last seen" is old enough to be written. Less often would cost a write for every read. */
export function isTouchDue(times: Times, timeouts: Timeouts, now: number): boolean {
  return now > times.lastSeenAt && now - times.lastSeenAt >= timeouts.touchInterval * 1000;
}
