/**
 * Registration and refresh: the two requests that the browser makes by itself.
 *
 * @module
 */
import { urlOf } from "../core/address.ts";
import { isFinal } from "../core/admission.ts";
import { hasCode, isOutage } from "../core/errors.ts";
import type { Operation } from "../core/repository.ts";
import { isUnderWay } from "../core/store_repository/retired_id.ts";
import { internalsOf, type SessionInternals } from "../core/session_internals.ts";
import { verifyProofJwt } from "../crypto/proof_jwt.ts";
import { type Binding, type BoundKey, FACTS, factsToJson, readFacts } from "./binding.ts";
import { type CookieExchange, exchangeOf, writeProof } from "./bound_cookie.ts";
import { isRegistrationChallenge, judgeChallenge, refreshChallenge } from "./challenge.ts";
import { ALGORITHMS, readProof, readSessionId, sessionConfiguration, sessionEnd, writeChallenge } from "./messages.ts";
import type { DeviceBoundSettings } from "./options.ts";

const PROOF_TYPE = "dbsc+jwt";

/** Which of the two endpoints a request is for. */
export function endpointOf({ url }: Request, path: string): "start" | "refresh" | undefined {
  if (!url.includes(path)) return undefined;
  const { pathname } = urlOf(url);
  return pathname === `${path}/start` ? "start" : pathname === `${path}/refresh` ? "refresh" : undefined;
}

/** Takes the key that a browser has made for a session. */
export async function register(request: Request, session: object, settings: DeviceBoundSettings): Promise<Response> {
  const { internals, op, exchange, binding, isLate } = await open(session);
  if (isLate) return later();
  if (exchange === null || binding === null) return refused("no session");
  const { signaturesOf, lifetime, scope } = settings;
  const proof = await verifyProofJwt(readProof(request) ?? "", { type: PROOF_TYPE, algorithms: ALGORITHMS });
  if (typeof proof === "string") return refused(proof);
  // A second key would replace the key of the browser that signed in, so it is refused from any client.
  if (binding.key !== undefined && binding.key.thumbprint !== proof.thumbprint) return refused("key");
  const signatures = await signaturesOf(binding, op.runtimeArguments);
  const { jti } = proof.claims;
  // When the login happened, as the session records it: this server's clock may differ.
  const { authenticatedAt, rotatedAt: provedAt = 0 } = internals.found?.metadata ?? {};
  if (typeof jti !== "string" || !(await isRegistrationChallenge(signatures, jti, authenticatedAt, op.now)))
    return refused("challenge");
  const { algorithm, key: jwk, thumbprint } = proof;
  const key: BoundKey = binding.key ?? { jwk, algorithm, thumbprint, proofs: 0, provedAt };
  const bound = { ...binding, key };
  const headers = new Headers({ "Cache-Control": "no-store", "Content-Type": "application/json" });
  if (binding.key === undefined) {
    const kept = await stored(session, internals, bound);
    if (kept?.key?.thumbprint !== thumbprint) return refused(kept === null ? "no session" : "key");
    // Only the first registration counts as a proof. A thief may repeat an intercepted one, and a browser whose answer was lost has the
    // proof that it got at login.
    await writeProof(headers, bound, exchange, op.now, signaturesOf, lifetime);
  }
  writeChallenge(headers, await refreshChallenge(signatures, key.proofs, authenticatedAt), binding.id);
  return new Response(sessionConfiguration(binding.id, exchange, scope), { headers });
}

/** Gives a new bound cookie to a browser that proves that it holds the key. */
export async function refresh(request: Request, session: object, settings: DeviceBoundSettings): Promise<Response> {
  const id = readSessionId(request);
  const { internals, op, exchange, binding, isLate, mayBeStale } = await open(session);
  const { authenticatedAt, rotatedAt = 0 } = internals.found?.metadata ?? {};
  // Just after a login, the browser may be registering its new key under the same id, and a proof of its former key may be under way.
  const isJustRenewed = isUnderWay(rotatedAt, op.now);
  if (isLate || (binding !== null && binding.key === undefined && (mayBeStale || isJustRenewed))) return later();
  // This also ends a session of an earlier login that the browser still knows.
  if (exchange === null || binding?.id !== id || binding.key === undefined) return ended(id);
  const { key } = binding;
  const { signaturesOf, lifetime } = settings;
  const signatures = await signaturesOf(binding, op.runtimeArguments);
  const headers = new Headers({ "Cache-Control": "no-store" });
  const challenge = async (proofs: number): Promise<void> =>
    writeChallenge(headers, await refreshChallenge(signatures, proofs, authenticatedAt), id);
  const text = readProof(request);
  if (text === null) {
    await challenge(key.proofs);
    return new Response(null, { status: 403, headers });
  }
  const rules = { type: PROOF_TYPE, algorithms: [key.algorithm], key: key.jwk };
  const proof = await verifyProofJwt(text, rules);
  if (typeof proof === "string") return isJustRenewed ? later() : refused(proof);
  const { jti } = proof.claims;
  const challenged = typeof jti === "string" ? jti : "";
  const { state, number } = await judgeChallenge(signatures, challenged, key, authenticatedAt, op.now);
  if (state === "old") {
    await challenge(key.proofs);
    return new Response(null, { status: 403, headers });
  }
  const proofs = state === "due" ? number + 1 : key.proofs;
  if (state === "due") {
    const proved = { ...binding, key: { ...key, proofs, provedAt: op.now } };
    const kept = await stored(session, internals, proved);
    // Another request may have used the same challenge.
    if (kept?.key?.thumbprint !== key.thumbprint || kept.key.proofs !== proofs) return later();
  }
  await writeProof(headers, binding, exchange, op.now, signaturesOf, lifetime);
  await challenge(proofs);
  return new Response(null, { headers });
}

/** Whether an endpoint has accepted the proof of a request. Then it answers with the next challenge. */
export function hasAccepted({ ok, headers }: Response): boolean {
  return ok && headers.has("Secure-Session-Challenge");
}

interface Opened {
  readonly internals: SessionInternals;
  readonly op: Operation;
  readonly exchange: CookieExchange | null;
  /** Null if there is no session, or it has no binding. */
  readonly binding: Binding | null;
  /** Whether the session may exist although it was not found. The endpoints then answer 503. */
  readonly isLate: boolean;
  /** Whether the store may show an older state than it keeps. */
  readonly mayBeStale: boolean;
}

async function open(session: object): Promise<Opened> {
  const internals = internalsOf(session);
  await internals.load();
  const { found, rejected, presented } = internals;
  const op = await internals.operation();
  const facts = found ? readFacts(found.metadata[FACTS]) : undefined;
  const binding = typeof facts === "object" ? facts : null;
  const mayBeStale = op.store.traits.consistency === "eventual";
  // If there is no reason, the store has failed. That is not a logout.
  const isLate = !found && typeof presented === "string" && !isFinal(rejected, op);
  return { internals, op, exchange: exchangeOf(op), binding, isLate, mayBeStale };
}

/**
 * Stores a binding at once, so that the response is not sent before the store has it. If another request has changed
 * the binding meanwhile, such as a login, that one is kept. Returns the binding that the session has then; null if the
 * session has ended.
 */
async function stored(session: object, internals: SessionInternals, binding: Binding): Promise<Binding | null> {
  const judged = JSON.stringify(internals.metadata(FACTS));
  const login = internals.found?.metadata.authenticatedAt;
  internals.setMetadata(FACTS, (facts, { authenticatedAt }) =>
    // A binding without a key stays the same at a login, but the challenge that was signed is of before the login.
    authenticatedAt === login && JSON.stringify(facts) === judged ? factsToJson(binding) : facts,
  );
  try {
    const save: unknown = Reflect.get(session, "save");
    if (typeof save === "function") await save.call(session);
  } catch (error) {
    if (hasCode(error, "ERR_SESSION_GONE")) return null;
    throw error;
  }
  const facts = readFacts(internals.metadata(FACTS));
  return typeof facts === "object" ? facts : null;
}

/**
 * After a refused registration, the session has no key. After a refused refresh, the browser ends its part of the
 * session. The body names the reason, for debugging.
 */
function refused(reason: string): Response {
  return new Response(reason, { status: 403, headers: { "Cache-Control": "no-store" } });
}

function ended(id: string): Response {
  return new Response(sessionEnd(id), { headers: { "Cache-Control": "no-store", "Content-Type": "application/json" } });
}

/**
 * The answer after a failure of the store or endless conflicts, which `onStoreError` tolerates at the end of any request. Nothing
 * of the proof may be stored with it, because the browser takes a registration with this answer for a failed one.
 *
 * @throws The error, if it is not tolerated
 */
export function putOff(session: object, error: unknown): Response {
  const internals = internalsOf(session);
  if (!internals.policy.toleratesFailure || !(isOutage(error) || hasCode(error, "ERR_CONFLICT"))) throw error;
  internals.dropRecorded();
  return later();
}

/** Makes the browser keep its key and try again. */
function later(): Response {
  return new Response(null, { status: 503, headers: { "Cache-Control": "no-store", "Retry-After": "1" } });
}
