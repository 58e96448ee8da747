import type { ActiveSession } from "./session/active_session.ts";
import { mistake, sessionGone } from "./errors.ts";
import type { RejectReason } from "./events.ts";
import { SWEEP_MARGIN } from "./expiry.ts";
import { kindOf } from "./kind_of.ts";
import { chain, type MaybePromise } from "./maybe_promise.ts";
import { forOwnToken } from "./operation_with.ts";
import type { Found, Operation } from "./repository.ts";

/** Opens the token of a session that this request has found or stored, and lets plugins and schema check the session. */
export function openAdmitted(active: ActiveSession, token: string, op: Operation): MaybePromise<Found | RejectReason> {
  return chain(active.policy.repository.open(token, forKnownSession(op)), (found) => admit(active, found, op));
}

/**
 * The same operation for a session that the request has found or stored before. Its deadline was checked then, so the
 * request may finish after it. A session that ended so long ago that its record may be swept stays ended.
 */
export function forKnownSession(op: Operation): Operation {
  return { ...forOwnToken(op), isKnown: true, endsAt: (contents) => op.endsAt(contents) + SWEEP_MARGIN };
}

/** Lets plugins and schema check a session, if one was found. */
export function admit(
  active: ActiveSession,
  found: Found | RejectReason,
  op: Operation,
): MaybePromise<Found | RejectReason> {
  return typeof found === "string" ? found : admitFrom(active, found, op, 0);
}

/** Lets the plugins from this place on check a session, and then the schema. */
function admitFrom(active: ActiveSession, found: Found, op: Operation, at: number): MaybePromise<Found | RejectReason> {
  const { plugins, validateLoaded } = active.policy;
  const plugin = plugins[at];
  if (plugin === undefined) return validateLoaded?.(found) ?? found;
  return chain(plugin.admit?.(found, op), (reason: unknown) => {
    // A plugin in JavaScript may answer null or false.
    if (!reason) return admitFrom(active, found, op, at + 1);
    if (typeof reason === "string") return reason;
    throw mistake(
      `admit of the plugin ${JSON.stringify(plugin.name)} must return a reason or undefined; it returned ${kindOf(reason)}`,
    );
  });
}

/**
 * Loads the newest state of a session after a conflict. A session that was regenerated with a grace is found under its new id.
 *
 * @throws {SessionError} `ERR_SESSION_GONE`
 */
export async function newestOf(active: ActiveSession, current: Found, op: Operation): Promise<Found> {
  const newest = await active.policy.repository.refresh(current, op);
  return alive(await (newest === null ? openAdmitted(active, current.token, op) : admit(active, newest, op)));
}

/** @throws {SessionError} `ERR_SESSION_GONE` if the session was rejected */
export function alive(admitted: Found | RejectReason): Found {
  if (typeof admitted === "string") throw sessionGone();
  return admitted;
}

/** Whether a session that the store did not find may still exist, because the store is eventually consistent. */
export function mayBeLate(reason: RejectReason | null, { store }: Operation): boolean {
  return reason === "unknown" && store.traits.consistency === "eventual";
}

/**
 * Reasons after which the token never opens a session again, so its cookie is cleared. With any other reason, the
 * token may be accepted later: by a newer program, after a proof, by a later read, or by another server. For
 * example, a server with wrong secrets must not sign everybody out. `retired` and `reuse` are not in the list, because
 * the client may have the cookie of the new id already, or another response may be under way that sets it.
 */
const FINAL: ReadonlySet<RejectReason> = new Set(["malformed", "unknown", "expired", "revoked", "credentials"]);

/** Whether a rejected token will never open a session again. */
export function isFinal(reason: RejectReason | null, op: Operation): boolean {
  return reason !== null && FINAL.has(reason) && !mayBeLate(reason, op);
}

/** The reason that `info()` and events report. */
export function publicReason(reason: RejectReason): RejectReason {
  return reason === "replaced" ? "retired" : reason;
}
