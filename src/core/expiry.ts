import type { Metadata, Successor } from "./metadata.ts";
import type { Contents, Found, Operation } from "./repository.ts";

/** The timeouts that are in force for one session, in seconds. */
export interface Timeouts {
  /** The session ends after this time without a request. */
  readonly idle: number;
  /** The session ends when it is this old; `false` for never. */
  readonly absolute: number | false;
  /** How old "last seen" may grow before a request writes it anew. */
  readonly touchInterval: number;
}

/** The longest that the timeouts of one session may be, in seconds. */
export interface TimeoutLimits {
  /** The longest idle timeout. @default No limit */
  readonly idle?: number | undefined;
  /** The longest absolute timeout; with a limit, `false` is not accepted. @default No limit */
  readonly absolute?: number | undefined;
}

/** The timeouts of the options, and the limits of a session's own ones. */
interface TimeoutPolicy {
  readonly timeouts: Timeouts;
  readonly limits: TimeoutLimits;
}

/** How far one server's clock may be wrong, in seconds: the five minutes of SECURITY.md. */
export const CLOCK_ERROR = 300;

/** How far apart, in milliseconds, the clocks of two servers may be. */
export const CLOCK_SKEW: number = 2 * CLOCK_ERROR * 1000;

/**
 * How long after the end of a session, in milliseconds, the engine must keep its record. A
 * server whose clock is behind may need it.
 */
export const SWEEP_MARGIN: number = CLOCK_SKEW;

/** The shortest time, in milliseconds, for which a logout with a retired id also ends the new session, whatever the clocks say. */
const RETIRED_LIFE = 600_000;

/** The timeouts of one session: those of the options, or its own ones within the limits. */
export function timeoutsOf({ timeouts: own }: Metadata, { timeouts, limits }: TimeoutPolicy): Timeouts {
  if (own === undefined) return timeouts;
  const idle = Math.min(own.idle ?? timeouts.idle, limits.idle ?? Infinity);
  const longest = own.absolute ?? timeouts.absolute;
  const absolute = limits.absolute === undefined ? longest : Math.min(longest || Infinity, limits.absolute);
  const interval = own.idle === undefined ? timeouts.touchInterval : idle / 10;
  // A cookie with its own lifetime must be sent again before it expires.
  const touchInterval = typeof own.cookie === "number" ? Math.min(interval, own.cookie / 2) : interval;
  return { idle, absolute, touchInterval };
}

/** The first instant, in epoch milliseconds, at which a session has expired. */
export function endOf(absoluteSince: number, lastSeenAt: number, { idle, absolute }: Timeouts): number {
  const idleEnd = lastSeenAt + idle * 1000;
  return absolute === false ? idleEnd : Math.min(idleEnd, absoluteSince + absolute * 1000);
}

/** The instant from which an engine may sweep a session, in epoch milliseconds. */
export function sweptAt(session: Pick<Contents, "metadata" | "lastSeenAt">, op: Operation): number {
  return op.endsAt(session) + SWEEP_MARGIN;
}

/**
 * Whether a session ended so long ago, as far as this request knows, that an engine may have swept its record. Where the
 * record is still there, a handle that was kept for hours must not bring the session back: it is changed only if another
 * request has used it meanwhile.
 */
export function maySweep(session: Found, op: Operation): boolean {
  return sweptAt(session, op) <= op.now;
}

/** The contents of a session that is used now. If the clock of this server is behind, "last seen" does not move back. */
export function touched({ fields, metadata, lastSeenAt }: Found, now: number): Contents {
  return { fields, metadata, lastSeenAt: Math.max(now, lastSeenAt) };
}

/**
 * The instant, in epoch milliseconds, until which a logout with a retired id also ends the new session. The engine may
 * remove the record then. Not every engine does, so the instant is also checked.
 */
export function followedUntil({ retiredAt, grace }: Successor): number {
  return Math.max(retiredAt + RETIRED_LIFE, grace?.until ?? 0) + CLOCK_SKEW;
}
