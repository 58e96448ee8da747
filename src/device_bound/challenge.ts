/**
 * Challenges, which the browser must sign. A challenge is a number with a signature of the server, so it needs no
 * store.
 *
 * @module
 */
import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import type { Signatures } from "./signatures.ts";

const REGISTRATION = "registration";
const REFRESH = "refresh";
/** In milliseconds. A browser registers within seconds; the clocks of two servers may be five minutes apart. */
const REGISTRATION_LIFE = 600_000;
/**
 * How long, in milliseconds, the challenge of the last proof is still accepted: a response may be lost, or a request
 * sent twice.
 */
const TOLERANCE = 60_000;

/**
 * The challenge of an offer that is made now. It belongs to one login, because the session keeps its secret at a login:
 * an attacker who has planted the session knows a challenge from before.
 *
 * @param login When the user signed in, as the session records it; undefined if it records none
 */
export function registrationChallenge(
  signatures: Signatures,
  login: number | undefined,
  now: number,
): MaybePromise<string> {
  return signatures.sign(`${REGISTRATION} ${login}`, now.toString(36));
}

/** Whether a challenge belongs to an offer that was made a short while ago, for the same login. */
export function isRegistrationChallenge(
  signatures: Signatures,
  challenge: string,
  login: number | undefined,
  now: number,
): MaybePromise<boolean> {
  return chain(signatures.verify(`${REGISTRATION} ${login}`, challenge), (offeredAt) => {
    return offeredAt !== null && now - Number.parseInt(offeredAt, 36) < REGISTRATION_LIFE;
  });
}

/**
 * The challenge for the next proof of a session that has given a number of proofs. It belongs to one login, because each
 * login counts anew, and a browser may register the same key again.
 *
 * @param login When the user signed in, as the session records it; undefined if it records none
 */
export function refreshChallenge(
  signatures: Signatures,
  proofs: number,
  login: number | undefined,
): MaybePromise<string> {
  return signatures.sign(`${REFRESH} ${login}`, proofs.toString(36));
}

/** The state of a challenge: it is due, it is that of a proof a short while ago, or it is another one. */
type ChallengeState = "due" | "repeated" | "old";

/**
 * Checks the challenge of a proof. Each challenge is accepted for one proof, so a proof that was signed in advance or
 * intercepted is soon rejected. A number that is higher than the session's belongs to a newer state, which an
 * eventually consistent store does not show yet.
 */
export function judgeChallenge(
  signatures: Signatures,
  challenge: string,
  { proofs, provedAt }: { readonly proofs: number; readonly provedAt: number },
  login: number | undefined,
  now: number,
): MaybePromise<{ readonly state: ChallengeState; readonly number: number }> {
  return chain(signatures.verify(`${REFRESH} ${login}`, challenge), (text) => {
    const number = text === null ? -1 : Number.parseInt(text, 36);
    if (number >= proofs) return { state: "due", number };
    const isRepeated = number === proofs - 1 && now - provedAt < TOLERANCE;
    return { state: isRepeated && number >= 0 ? "repeated" : "old", number };
  });
}
