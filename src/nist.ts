/**
 * The session timeouts of NIST SP 800-63B-4 (July 2025), for spreading into options:
 * https://pages.nist.gov/800-63-4/sp800-63b.html
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { aal2 } from "with-session/nist";
 *
 * export default { fetch: withSession(() => new Response("Hello\n"), { ...aal2 }) };
 * ```
 *
 * @module
 */

/** Timeouts in seconds, and the longest that `setTimeouts` can make them. */
export interface AssuranceLevel {
  /** How long a session lasts without a request. */
  readonly idleTimeout: number;
  /** How long a session lasts in all. */
  readonly absoluteTimeout: number;
  /** The longest that `setTimeouts` can make the two. */
  readonly timeoutLimits: { readonly idle: number; readonly absolute: number };
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/**
 * Authentication assurance level 1: 30 days in all (2.1.3). The level requires no inactivity timeout, so that is 30
 * days as well.
 *
 * @example
 * ```ts
 * import { SessionManager } from "with-session";
 * import { aal1 } from "with-session/nist";
 *
 * const sessions = new SessionManager({ ...aal1 });
 * ```
 */
export const aal1: AssuranceLevel = level(30 * DAY, 30 * DAY);

/**
 * Authentication assurance level 2: 24 hours in all, and 1 hour without a request (2.2.3).
 *
 * @example
 * ```ts
 * import { SessionManager } from "with-session";
 * import { aal2 } from "with-session/nist";
 *
 * const sessions = new SessionManager({ ...aal2, idleTimeout: 1800 });
 * ```
 */
export const aal2: AssuranceLevel = level(HOUR, 24 * HOUR);

/**
 * Authentication assurance level 3: 12 hours in all, and 15 minutes without a request (2.3.3).
 *
 * @example
 * ```ts
 * import { SessionManager } from "with-session";
 * import { aal3 } from "with-session/nist";
 *
 * const sessions = new SessionManager({ ...aal3 });
 * ```
 */
export const aal3: AssuranceLevel = level(15 * MINUTE, 12 * HOUR);

function level(idle: number, absolute: number): AssuranceLevel {
  return { idleTimeout: idle, absoluteTimeout: absolute, timeoutLimits: { idle, absolute } };
}
