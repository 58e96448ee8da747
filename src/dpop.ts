/**
 * Makes stolen ids useless for clients without cookies, with Demonstrating Proof of Possession (RFC 9449). Each request
 * carries a proof that is signed with a key which only the client has.
 *
 * @module
 */
import { CLOCK_ERROR } from "./core/expiry.ts";
import type { Plugin } from "./core/plugin.ts";
import type { Contents, Found, Operation, Repository } from "./core/repository.ts";
import { wrapRepository } from "./core/repository/repository_wrapper.ts";
import type { AnySession } from "./core/session.ts";
import { internalsOf, internalsWith, type SessionInternals } from "./core/session_internals.ts";
import { unverifiedClaims } from "./crypto/proof_jwt.ts";
import { bindingToJson, FACTS, NAME, readBinding } from "./dpop/binding.ts";
import { assertHost, isHeader } from "./dpop/host.ts";
import { ProofJudge } from "./dpop/judgement.ts";
import { askForNonce, claimedInstant, isOurs, isRecent, writeNonce } from "./dpop/nonce.ts";
import { type DpopOptions, settingsOf } from "./dpop/options.ts";
import type { DpopFault } from "./dpop/proof.ts";

export type { DpopOptions } from "./dpop/options.ts";
export type { DpopFault } from "./dpop/proof.ts";
export type { ProofFault } from "./crypto/proof_jwt.ts";

/** The plugin, with the functions that a program can call. */
export interface Dpop extends Plugin {
  /**
   * Binds a session to a key that the program knows from elsewhere, such as from an OAuth token with `cnf.jkt`.
   *
   * @param session The session; it begins if there is none
   * @param thumbprint The thumbprint of the public key, SHA-256 in base64url (RFC 7638)
   * @throws {TypeError} If `session` does not belong to a manager with this plugin, or `thumbprint` is not a SHA-256 in
   *   base64url
   * @throws {SessionError} `ERR_RESPONSE_SENT`, `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  bind(session: AnySession, thumbprint: string): Promise<void>;
  /**
   * The thumbprint of the key to which a session is bound, or null.
   *
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  thumbprint(session: AnySession): Promise<string | null>;
  /**
   * Why the session of a request was rejected with the reason `"proof"`, for a log; null if it was not.
   *
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  fault(session: AnySession): Promise<DpopFault | null>;
}

/** SHA-256 in base64url. */
const THUMBPRINT = /^[\w-]{43}$/;
const REASON = "proof";
/**
 * In milliseconds. A nonce that expires within this time could expire before the handler loads the session, so the
 * session is loaded at once.
 */
const JUST_IN_TIME = 10_000;

/**
 * Binds the sessions of header clients to a key. A session that begins with a request that carries a proof is bound to
 * the key of that proof. From then on the session is rejected with the reason `"proof"` unless the request carries a
 * proof made for that request. `with-session/dpop-client` makes the proofs.
 *
 * @param options Mode, origin, lifetime of nonces, algorithms
 * @returns A plugin for the option `plugins`
 * @throws {TypeError} If an option is unknown or of the wrong kind; if no header carries the id; if the store cannot
 *   detect replayed proofs
 * @throws {RangeError} If `nonceLifetime` is not a number of seconds from 1 to 3 600
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { dpop } from "with-session/dpop";
 *
 * export default {
 *   fetch: withSession(
 *     async (_request, session) => {
 *       const calls = await session.update("calls", (n = 0) => n + 1);
 *       return Response.json({ calls });
 *     },
 *     { header: "X-Session-Id", plugins: [dpop()] },
 *   ),
 * };
 * ```
 */
export function dpop(options: DpopOptions = {}): Dpop {
  const settings = settingsOf(options);
  const { mode, nonceLifetime } = settings;
  const judge = new ProofJudge(settings);
  /** Why a session was rejected, and the secret of its nonces. */
  const rejections = new WeakMap<object, { readonly fault: DpopFault; readonly secret?: string }>();
  /**
   * Sessions that were admitted, with the key that the request proved. A session that is loaded again in the same
   * request is not checked again, unless it was bound to another key in between.
   */
  const admitted = new WeakMap<object, string | undefined>();
  const repositories = new WeakSet<Repository>();

  const ownInternalsOf = (session: object): SessionInternals => internalsWith(session, "dpop", repositories);

  /** Adds a binding to a session that a header client begins. */
  const withBinding = async (contents: Contents, op: Operation): Promise<Contents> => {
    const { request, transport, now } = op;
    if (request === undefined || !isHeader(transport) || contents.metadata[FACTS] !== undefined) return contents;
    const proof = await judge.proofOf(request);
    // The client cannot have a nonce yet. A thief who replays a proof begins a session that the thief cannot use,
    // because it is bound to the client's key.
    const isUsable = typeof proof !== "string" && Math.abs(now / 1000 - proof.iat) <= CLOCK_ERROR;
    const facts = bindingToJson(isUsable ? { thumbprint: proof.thumbprint } : {});
    return { ...contents, metadata: { ...contents.metadata, [FACTS]: facts } };
  };

  const admit = async (found: Found, request: Request, op: Operation): Promise<string | undefined> => {
    const { session, transport } = op;
    const binding = readBinding(found.metadata[FACTS]);
    if (binding === undefined && (mode === "offer" || !isHeader(transport))) return undefined;
    if (binding === undefined || binding === null) {
      if (session !== undefined) rejections.set(session, { fault: "unbound" });
      return REASON;
    }
    const isOpen = binding.thumbprint === undefined;
    if (isOpen && !request.headers.has("DPoP") && (mode === "offer" || !isHeader(transport))) return undefined;
    const presented = (session && internalsOf(session).presented) ?? found.token;
    const proof = await judge.judge(request, binding, presented, op);
    if (typeof proof === "string") {
      if (session !== undefined) rejections.set(session, { fault: proof, secret: binding.secret });
      return REASON;
    }
    if (session !== undefined) {
      admitted.set(session, proof.thumbprint);
      if (isOpen) internalsOf(session).setMetadata(FACTS, bindingToJson({ ...binding, thumbprint: proof.thumbprint }));
    }
    return undefined;
  };

  const bind = async (internals: SessionInternals, thumbprint: string): Promise<void> => {
    await internals.begin();
    const binding = readBinding(internals.metadata(FACTS)) ?? undefined;
    internals.setMetadata(FACTS, bindingToJson({ ...binding, thumbprint }));
  };

  /** Answers a request whose session is bound, and was rejected only because of the nonce. */
  const answerOldNonce = async (session: object): Promise<Response | undefined> => {
    const internals = internalsOf(session);
    await internals.load();
    const { fault, secret } = rejections.get(session) ?? {};
    if (internals.rejected !== REASON || fault !== "nonce" || secret === undefined) return undefined;
    return await askForNonce(secret, internals.policy.now());
  };

  return {
    name: NAME,
    attach(host) {
      assertHost(host);
      repositories.add(host.repository);
    },
    wrap: (next) =>
      wrapRepository(next, {
        // Under a new id a session keeps its binding: a thief must not be able to bind it to another key.
        create(id, contents, op, replaces) {
          if (op.session !== undefined && !admitted.has(op.session)) admitted.set(op.session, undefined);
          if (replaces !== undefined) return next.create(id, contents, op, replaces);
          return withBinding(contents, op).then((bound) => next.create(id, bound, op));
        },
      }),
    admit(found, op) {
      const { request, session } = op;
      // A session that the program opens by its id, without a request, needs no proof.
      if (request === undefined) return undefined;
      if (session === undefined || !admitted.has(session)) return admit(found, request, op);
      const proved = admitted.get(session);
      const bound = readBinding(found.metadata[FACTS])?.thumbprint;
      return proved === undefined || bound === undefined || bound === proved ? undefined : REASON;
    },
    async respond(headers, op) {
      const { request, session, now } = op;
      if (request === undefined || session === undefined) return;
      const { found } = internalsOf(session);
      const binding = found ? readBinding(found.metadata[FACTS]) : undefined;
      const secret = binding?.secret ?? rejections.get(session)?.secret;
      if (secret === undefined || !(request.headers.has("DPoP") || rejections.has(session))) return;
      const { nonce = "" } = (await judge.knownProofOf(request)) ?? {};
      // A nonce is renewed after half of its lifetime, so an active client always has a valid one.
      const isYoung = now - claimedInstant(nonce) < nonceLifetime * 500;
      // A nonce of an earlier session of this client, for example from before a logout, is not valid for this one.
      if (isYoung && (await isOurs(nonce, secret))) return;
      await writeNonce(headers, secret, now);
    },
    answer(request, session) {
      const header = request.headers.get("DPoP");
      if (header === null) return undefined;
      const nonce = unverifiedClaims(header)?.["nonce"];
      const soon = internalsOf(session).policy.now() + JUST_IN_TIME;
      // The signature of a recent nonce is checked when the session is loaded, if the handler loads it at all.
      if (typeof nonce === "string" && isRecent(claimedInstant(nonce), soon, nonceLifetime)) return undefined;
      return answerOldNonce(session);
    },
    async bind(session, thumbprint) {
      if (typeof thumbprint !== "string" || !THUMBPRINT.test(thumbprint))
        throw new TypeError("dpop.bind takes the thumbprint of a key: SHA-256 in base64url, 43 characters (RFC 7638)");
      const internals = ownInternalsOf(session);
      await internals.track(bind(internals, thumbprint));
      // The program may have chosen another key than the one that the request proved.
      admitted.set(session, undefined);
    },
    async thumbprint(session) {
      const internals = ownInternalsOf(session);
      await internals.load();
      return readBinding(internals.metadata(FACTS))?.thumbprint ?? null;
    },
    async fault(session) {
      await ownInternalsOf(session).load();
      return rejections.get(session)?.fault ?? null;
    },
  };
}
