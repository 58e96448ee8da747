/**
 * Whether the proof of a request is right for the session that the request presents.
 *
 * @module
 */
import { urlOf } from "../core/address.ts";
import { CLOCK_ERROR } from "../core/expiry.ts";
import type { Operation } from "../core/repository.ts";
import { internalsOf } from "../core/session_internals.ts";
import type { Binding } from "./binding.ts";
import { claimedInstant, isOurs, isRecent } from "./nonce.ts";
import type { DpopSettings } from "./options.ts";
import { checkProof, type DpopFault, type DpopProof } from "./proof.ts";
import { useOnce } from "./replay.ts";
import { hashOfToken } from "./token_hash.ts";

/**
 * Checks the proofs of requests. Each proof is verified once and used once, even if its request is checked several
 * times.
 */
export class ProofJudge {
  readonly #settings: DpopSettings;
  readonly #proofs: WeakMap<Request, Promise<DpopProof | DpopFault>> = new WeakMap();
  readonly #uses: WeakMap<Request, Promise<boolean>> = new WeakMap();

  constructor(settings: DpopSettings) {
    this.#settings = settings;
  }

  /** The proof of a request, or its fault. The session is not known yet. */
  proofOf(request: Request): Promise<DpopProof | DpopFault> {
    const { algorithms, origin } = this.#settings;
    const known = this.#proofs.get(request) ?? checkProof(request, { algorithms, address: addressOf(request, origin) });
    this.#proofs.set(request, known);
    return known;
  }

  /** The proof of a request if `proofOf` was called for it before. */
  async knownProofOf(request: Request): Promise<DpopProof | undefined> {
    const proof = await this.#proofs.get(request);
    return typeof proof === "object" ? proof : undefined;
  }

  /** Checks a proof against the session: numbers 10 to 12 of RFC 9449, section 4.3, and that it is used for the first time (11.1). */
  async judge(request: Request, binding: Binding, token: string, op: Operation): Promise<DpopProof | DpopFault> {
    const { nonceLifetime } = this.#settings;
    const proof = await this.proofOf(request);
    if (typeof proof === "string") return proof;
    const { nonce = "", ath, thumbprint } = proof;
    const madeAt = claimedInstant(nonce);
    if (!isRecent(madeAt, op.now, nonceLifetime) || !(await isOurs(nonce, binding.secret))) return "nonce";
    const until = madeAt + (nonceLifetime + 2 * CLOCK_ERROR) * 1000;
    // A request counts from the instant at which it came. If it has waited for too long, such as for an upload, the note of
    // an earlier use may be gone.
    if (op.session !== undefined && internalsOf(op.session).policy.now() >= until) return "nonce";
    if (ath !== (await hashOfToken(token))) return "token";
    if (binding.thumbprint !== undefined && thumbprint !== binding.thumbprint) return "binding";
    const used = this.#uses.get(request) ?? useOnce(proof, until, op);
    this.#uses.set(request, used);
    return (await used) ? proof : "replay";
  }
}

/** The address that the client has signed. */
function addressOf({ url }: Request, origin: string | undefined): string {
  if (origin === undefined) return url;
  const { pathname } = urlOf(url);
  return origin + pathname;
}
