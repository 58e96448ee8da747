/**
 * Whether a request may use the session that it presents.
 *
 * @module
 */
import type { MaybePromise } from "../core/maybe_promise.ts";
import type { Found, Operation } from "../core/repository.ts";
import { isUnderWay } from "../core/store_repository/retired_id.ts";
import { internalsOf } from "../core/session_internals.ts";
import { type Binding, FACTS, readFacts } from "./binding.ts";
import { exchangeOf, hasProof } from "./bound_cookie.ts";
import type { DeviceBoundSettings } from "./options.ts";

/** Whether a session needs no proof, or its request shows one. */
export function isProven(
  found: Found,
  op: Operation,
  { isRequired, signaturesOf }: DeviceBoundSettings,
): MaybePromise<boolean> {
  const facts = readFacts(found.metadata[FACTS]);
  if (facts === "unreadable") return false;
  if (facts === "exempt" || (!isRequired && facts?.key === undefined)) return true;
  const exchange = exchangeOf(op);
  if (facts === undefined || exchange === null) return false;
  return wasSentBeforeLogin(found, facts, op) || hasProof(facts, exchange, op.now, signaturesOf);
}

/**
 * Whether a request was sent before the login, and so without a proof. Such a request presents the id that was replaced
 * a moment ago, and the session has no key yet or got one since. The grace of that login admits the request. The grace
 * of another renewal does not.
 */
function wasSentBeforeLogin({ token, metadata }: Found, { key }: Binding, { session, now }: Operation): boolean {
  const { rotatedAt = 0, authenticatedAt } = metadata;
  if (session === undefined || internalsOf(session).presented === token) return false;
  if (rotatedAt !== authenticatedAt || !isUnderWay(rotatedAt, now)) return false;
  return key === undefined || key.provedAt === rotatedAt;
}
