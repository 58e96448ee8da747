/**
 * Stolen ids are useless for clients without cookies: Demonstrating Proof of Possession (RFC 9449). Each request carries a proof that is signed with a key
 * which the client alone has.
 *
 * @module
 */
import { assertKnown } from "./core/known_options.ts";
import type { Plugin, PluginHost } from "./core/plugin.ts";
import type { Contents, Found, Operation } from "./core/repository.ts";
import { wrapRepository } from "./core/repository_wrapper.ts";
import { internalsOf, type SessionInternals } from "./core/session_internals.ts";
import type { Transport } from "./core/transport.ts";
import { toBase64Url } from "./crypto/base64url.ts";
import { PROOF_ALGORITHMS, unverifiedClaims } from "./crypto/proof_jwt.ts";
import { type Binding, bindingToJson, FACTS, NAME, readBinding } from "./dpop/binding.ts";
import { claimedInstant, CLOCK_SKEW, createNonce, isOurs, isRecent } from "./dpop/nonce.ts";
import { checkProof, type DpopFault, type DpopProof } from "./dpop/proof.ts";
import { useOnce, weakStore } from "./dpop/replay.ts";

export type { DpopFault } from "./dpop/proof.ts";
export type { ProofFault } from "./crypto/proof_jwt.ts";

/** How sessions of header clients are bound to a key. All are optional. */
export interface DpopOptions {
  /**
   * Whether a session that is presented in a header must be bound to a key (`"require"`), or may be without one, as long as no proof came with the request
   * that began it (`"offer"`). A bound session needs a proof in both modes.
   *
   * @default {"require"}
   */
  readonly mode?: "offer" | "require";
  /**
   * The origin of the server as clients know it, such as `https://api.example.com`, where a proxy in front changes the address of requests. No header
   * of a request is believed about it.
   *
   * @default The origin of each request
   */
  readonly origin?: string;
  /**
   * How long a nonce serves, in seconds, and 300 seconds more for servers whose clocks differ. A proof that was made in advance, or was seen on its way, is of no use afterwards.
   *
   * @default {300}
   */
  readonly nonceLifetime?: number;
  /** The algorithms of signatures that are accepted. @default {["ES256", "Ed25519", "EdDSA", "RS256", "PS256"]} */
  readonly algorithms?: readonly string[];
}

/** The plugin, with what a program may ask of it. */
export interface Dpop extends Plugin {
  /**
   * Binds a session to a key, for programs that know it from elsewhere, such as from an OAuth token with `cnf.jkt`.
   *
   * @param session The session; it begins if there is none
   * @param thumbprint The thumbprint of the public key, SHA-256 in base64url (RFC 7638)
   * @throws {TypeError} If it is not a session of this package, or the thumbprint is not one
   * @throws {SessionError} `ERR_RESPONSE_SENT`, `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  bind(session: object, thumbprint: string): Promise<void>;
  /**
   * The thumbprint of the key to which a session is bound, or null.
   *
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  thumbprint(session: object): Promise<string | null>;
  /**
   * Why the session of a request was rejected with the reason `"proof"`, for a log; null if it was not.
   *
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  fault(session: object): Promise<DpopFault | null>;
}

const OPTIONS = ["mode", "origin", "nonceLifetime", "algorithms"];
const DEFAULT_ALGORITHMS: readonly string[] = ["ES256", "Ed25519", "EdDSA", "RS256", "PS256"];
/** SHA-256 in base64url. */
const THUMBPRINT = /^[\w-]{43}$/;
/** In seconds: an hour. */
const LONGEST_NONCE = 3600;
const REASON = "proof";

/**
 * Binds the sessions of header clients to a key. A session that begins with a request with a proof is bound to the key of that proof. From then on it
 * is none without a proof for the very request: it is rejected with the reason `"proof"`. `with-session/dpop-client` makes the proofs.
 *
 * @param options Mode, origin, lifetime of nonces, algorithms
 * @returns A plugin for the option `plugins`
 * @throws {TypeError} If an option is unknown or of the wrong kind; if no header carries the id; if the store cannot keep replays out
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
  assertKnown(options, OPTIONS, "dpop");
  const { mode = "require", nonceLifetime = 300, algorithms = DEFAULT_ALGORITHMS, origin } = options;
  assertOptions({ mode, nonceLifetime, algorithms, origin });

  /** One proof is verified once, and used once, however often its request looks at it. */
  const proofs = new WeakMap<Request, Promise<DpopProof | DpopFault>>();
  const uses = new WeakMap<Request, Promise<boolean>>();
  /** Why a session was rejected, and the secret of its nonces. */
  const rejections = new WeakMap<object, { readonly fault: DpopFault; readonly secret?: string }>();
  /** Sessions that were let in: one that is loaded again in the same request stays in. */
  const admitted = new WeakSet<object>();

  const proofOf = (request: Request): Promise<DpopProof | DpopFault> => {
    const known = proofs.get(request) ?? checkProof(request, { algorithms, address: addressOf(request, origin) });
    proofs.set(request, known);
    return known;
  };

  /** Checks a proof against the session: numbers 10 to 12 of RFC 9449, section 4.3, and that it is used for the first time (11.1). */
  const judge = async (
    request: Request,
    binding: Binding,
    token: string,
    op: Operation,
  ): Promise<DpopProof | DpopFault> => {
    const proof = await proofOf(request);
    if (typeof proof === "string") return proof;
    const { nonce = "", ath, thumbprint } = proof;
    if (!isRecent(claimedInstant(nonce), op.now, nonceLifetime) || !(await isOurs(nonce, binding.secret)))
      return "nonce";
    if (ath !== (await hashOf(token))) return "token";
    if (binding.thumbprint !== undefined && thumbprint !== binding.thumbprint) return "binding";
    const known =
      uses.get(request) ?? useOnce(proof, claimedInstant(nonce) + (nonceLifetime + 2 * CLOCK_SKEW) * 1000, op);
    uses.set(request, known);
    return (await known) ? proof : "replay";
  };

  /** What a session gets when a header client begins it. */
  const withBinding = async (contents: Contents, op: Operation): Promise<Contents> => {
    const { request, transport, now } = op;
    if (request === undefined || !isHeader(transport) || contents.metadata[FACTS] !== undefined) return contents;
    const proof = await proofOf(request);
    // No nonce can be known yet. A proof that somebody saw and sends again begins a session that is of no use to him.
    const isUsable = typeof proof !== "string" && Math.abs(now / 1000 - proof.iat) <= CLOCK_SKEW;
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
    const proof = await judge(request, binding, presented, op);
    if (typeof proof === "string") {
      if (session !== undefined) rejections.set(session, { fault: proof, secret: binding.secret });
      return REASON;
    }
    if (session !== undefined) {
      admitted.add(session);
      if (isOpen) internalsOf(session).setMetadata(FACTS, bindingToJson({ ...binding, thumbprint: proof.thumbprint }));
    }
    return undefined;
  };

  const bind = async (internals: SessionInternals, thumbprint: string): Promise<void> => {
    await internals.begin();
    const binding = readBinding(internals.metadata(FACTS)) ?? undefined;
    internals.setMetadata(FACTS, bindingToJson({ ...binding, thumbprint }));
  };

  return {
    name: NAME,
    attach: assertHost,
    wrap: (next) =>
      wrapRepository(next, {
        // Under a new id a session keeps what it has: whoever has stolen it must not bind it to a key of his own.
        create(id, contents, op, replaces) {
          if (op.session !== undefined) admitted.add(op.session);
          if (replaces !== undefined) return next.create(id, contents, op, replaces);
          return withBinding(contents, op).then((bound) => next.create(id, bound, op));
        },
      }),
    admit(found, op) {
      const { request, session } = op;
      // Who opens a session by its id, without a request, answers for it.
      if (request === undefined || (session !== undefined && admitted.has(session))) return undefined;
      return admit(found, request, op);
    },
    async respond(headers, op) {
      const { request, session, now } = op;
      if (request === undefined || session === undefined) return;
      const { found } = internalsOf(session);
      const binding = found ? readBinding(found.metadata[FACTS]) : undefined;
      const secret = binding?.secret ?? rejections.get(session)?.secret;
      if (secret === undefined || !(request.headers.has("DPoP") || rejections.has(session))) return;
      const proof = proofs.get(request) === undefined ? undefined : await proofs.get(request);
      const madeAt = typeof proof === "object" ? claimedInstant(proof.nonce ?? "") : Number.NaN;
      // Half of its life before it ends, so that a client in use always has one that serves.
      if (now - madeAt < nonceLifetime * 500) return;
      await writeNonce(headers, secret, now);
    },
    answer(request, session) {
      const header = request.headers.get("DPoP");
      if (header === null) return undefined;
      const { now } = internalsOf(session);
      const nonce = unverifiedClaims(header)?.["nonce"];
      // A nonce that looks right is looked at when the session is loaded, if it ever is.
      if (typeof nonce === "string" && isRecent(claimedInstant(nonce), now() + JUST_IN_TIME, nonceLifetime))
        return undefined;
      return askForNonce(session);
    },
    async bind(session, thumbprint) {
      if (typeof thumbprint !== "string" || !THUMBPRINT.test(thumbprint))
        throw new TypeError("dpop.bind takes the thumbprint of a key: SHA-256 in base64url, 43 characters (RFC 7638)");
      const internals = internalsOf(session);
      await internals.track(bind(internals, thumbprint));
      admitted.add(session);
    },
    async thumbprint(session) {
      const internals = internalsOf(session);
      await internals.load();
      return readBinding(internals.metadata(FACTS))?.thumbprint ?? null;
    },
    async fault(session) {
      await internalsOf(session).load();
      return rejections.get(session)?.fault ?? null;
    },
  };

  /** Answers a request whose proof has no nonce, or an old one, if its session is bound: the client tries again with the new one (RFC 9449, 9). */
  async function askForNonce(session: object): Promise<Response | undefined> {
    const internals = internalsOf(session);
    await internals.load();
    const rejection = rejections.get(session);
    if (internals.rejected !== REASON || rejection?.fault !== "nonce" || rejection.secret === undefined)
      return undefined;
    const headers = new Headers({
      "WWW-Authenticate": 'DPoP error="use_dpop_nonce", error_description="Sign again with the nonce of DPoP-Nonce"',
    });
    await writeNonce(headers, rejection.secret, internals.now());
    headers.append("Access-Control-Expose-Headers", "WWW-Authenticate");
    return new Response(null, { status: 401, headers });
  }
}

/** In milliseconds: what is still good when a request comes must be good when its session is loaded. */
const JUST_IN_TIME = 10_000;

async function writeNonce(headers: Headers, secret: string, now: number): Promise<void> {
  headers.set("DPoP-Nonce", await createNonce(secret, now));
  headers.append("Access-Control-Expose-Headers", "DPoP-Nonce");
  // RFC 9449, 8.2
  headers.set("Cache-Control", "no-store");
}

/** The address that the client has signed. */
function addressOf({ url }: Request, origin: string | undefined): string {
  if (origin === undefined) return url;
  const { pathname } = new URL(url);
  return origin + pathname;
}

/** Whether a token travels in a header that a program sets: a browser sends cookies by itself. */
function isHeader(transport: Transport | undefined): boolean {
  return transport?.requestHeader !== undefined && transport.requestHeader.toLowerCase() !== "cookie";
}

/** RFC 9449, 4.2: the SHA-256 of the token in base64url. */
async function hashOf(token: string): Promise<string> {
  return toBase64Url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token))));
}

/** @throws {TypeError} If the manager has no header, or keeps sessions where a binding would be of no use */
function assertHost({ repository, transports, store }: PluginHost): void {
  if (repository.tokenHoldsSession === true)
    throw new TypeError(
      "dpop() cannot work with cookieSessions(): it keeps replayed proofs out through a store; keep the sessions in one",
    );
  if (!transports.some(isHeader))
    throw new TypeError(
      'dpop() needs a header in which the id travels, such as header: "X-Session-Id"; for cookies there is deviceBound()',
    );
  if (typeof store !== "object" || store === null || !("traits" in store)) return;
  const traits: unknown = store.traits;
  if (typeof traits !== "object" || traits === null) return;
  if (Reflect.get(traits, "compareAndSet") === false) throw weakStore();
}

function assertOptions(given: {
  readonly mode: unknown;
  readonly nonceLifetime: unknown;
  readonly algorithms: unknown;
  readonly origin: unknown;
}): void {
  const { mode, nonceLifetime, algorithms, origin } = given;
  if (mode !== "offer" && mode !== "require") throw new TypeError('dpop: mode must be "offer" or "require"');
  if (typeof nonceLifetime !== "number" || !(nonceLifetime >= 1 && nonceLifetime <= LONGEST_NONCE))
    throw new RangeError(`dpop: nonceLifetime must be a number of seconds from 1 to ${LONGEST_NONCE}`);
  if (
    !Array.isArray(algorithms) ||
    algorithms.length === 0 ||
    !algorithms.every((each) => PROOF_ALGORITHMS.includes(each))
  )
    throw new TypeError(`dpop: algorithms must be a list of ${PROOF_ALGORITHMS.join(", ")}`);
  if (origin !== undefined && !isOrigin(origin))
    throw new TypeError("dpop: origin must be an origin without a path, such as https://api.example.com");
}

function isOrigin(origin: unknown): boolean {
  return typeof origin === "string" && URL.canParse(origin) && new URL(origin).origin === origin;
}
