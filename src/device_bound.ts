/**
 * Stolen cookies are useless: Device Bound Session Credentials (W3C Working Draft). The browser keeps a private key that cannot be copied, and
 * proves every few minutes that it holds it.
 *
 * @module
 */
import { assertKnown } from "./core/known_options.ts";
import { chain, type MaybePromise } from "./core/maybe_promise.ts";
import type { Plugin, PluginHost } from "./core/plugin.ts";
import type { Contents, Found, Operation } from "./core/repository.ts";
import { wrapRepository } from "./core/repository_wrapper.ts";
import { internalsOf, type SessionInternals } from "./core/session_internals.ts";
import type { Secrets } from "./crypto/secrets.ts";
import { type Binding, FACTS, factsToJson, NAME, newBinding, readFacts } from "./device_bound/binding.ts";
import {
  boundCookieAttributes,
  expireProof,
  type CookieExchange,
  exchangeOf,
  hasProof,
  isCookieTransport,
  presentedProof,
  proofLifetime,
  writeProof,
} from "./device_bound/bound_cookie.ts";
import { registrationChallenge } from "./device_bound/challenge.ts";
import { isFinal, refresh, register } from "./device_bound/endpoints.ts";
import { offerRegistration } from "./device_bound/messages.ts";
import { answerWithoutProof, REASON } from "./device_bound/pages.ts";
import { signaturesUnder } from "./device_bound/signatures.ts";

/** How sessions are bound to the browser's device. All are optional. */
export interface DeviceBoundOptions<Rest extends unknown[] = never[]> {
  /**
   * Whether browsers that cannot bind a session keep it as before (`"offer"`), or lose it when the first proof, which each gets at login, no longer
   * counts (`"require"`).
   *
   * @default {"offer"}
   */
  readonly mode?: "offer" | "require";
  /** Under which path the browser registers and refreshes, as the browser sees it: `/dbsc/start` and `/dbsc/refresh`. @default {"/dbsc"} */
  readonly path?: string;
  /**
   * How long a proof counts, in seconds: a copied cookie is of no use afterwards. The bound cookie's `Max-Age` is 300 seconds less, for servers whose clocks differ, or half
   * of it if that is more. Below 420, a page in constant use needs more than the six signatures in nine minutes that Chromium allows a site.
   *
   * @default {600}
   */
  readonly lifetime?: number;
  /**
   * Secrets that sign challenges and bound cookies beside the one that each record keeps: at least 32 bytes each, the current one first. With them, a reader of the
   * store who has also stolen a session cookie cannot make a bound cookie.
   *
   * @default None
   */
  readonly secrets?: Secrets;
  /**
   * Which requests may lead to an offer, when they begin a session or give it a new id: `(request) => new URL(request.url).pathname === "/login"`. Sessions of other requests need no proof in
   * either mode.
   *
   * @default All
   */
  readonly offerOn?: (request: Request, ...rest: Rest) => boolean;
  /** Hosts whose pages may make the browser refresh, beside the session's own, such as `app.example.com` for an API on another host of the site. @default None */
  readonly refreshInitiators?: readonly string[];
  /** Paths whose requests the browser sends without waiting for a proof, such as `/assets`. @default None */
  readonly exclude?: readonly string[];
}

/** The plugin, with what a program may ask of it. */
export interface DeviceBound extends Plugin {
  /**
   * Asks the browser, with this response, to bind the session, for programs whose sign-in neither begins a session nor regenerates its id. A session that is bound
   * stays as it is.
   *
   * @throws {TypeError} If it is not a session of this package
   * @throws {SessionError} `ERR_RESPONSE_SENT`, `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  offer(session: object): Promise<void>;
  /**
   * The thumbprint of the key to which the session is bound (RFC 7638), or null.
   *
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  thumbprint(session: object): Promise<string | null>;
}

const OPTIONS = ["mode", "path", "lifetime", "secrets", "offerOn", "refreshInitiators", "exclude"];

/**
 * Binds sessions to the browser's device. A response that begins a session, or gives it a new id, asks the browser for a key. From the
 * moment at which the browser has registered one, the session is none without a fresh proof: it is rejected with the reason `"proof"`.
 *
 * @param options Mode, path, lifetime of a proof, and others
 * @returns A plugin for the option `plugins`
 * @throws {TypeError} If an option is unknown or of the wrong kind, or if sessions travel without cookies or lie in the cookie itself
 * @throws {RangeError} If `lifetime` is not a number of seconds from 2 to 86 400, or a secret is too short
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { deviceBound } from "with-session/device-bound";
 *
 * export default {
 *   fetch: withSession(
 *     async (request, session) => {
 *       if (new URL(request.url).pathname !== "/login") return new Response((await session.get("user")) ?? "nobody");
 *       await session.regenerate({ reauthenticated: true });
 *       session.set("user", "ada");
 *       return new Response(null, { status: 303, headers: { Location: "/" } });
 *     },
 *     { plugins: [deviceBound()] },
 *   ),
 * };
 * ```
 */
export function deviceBound<Rest extends unknown[] = never[]>(options: DeviceBoundOptions<Rest> = {}): DeviceBound {
  assertKnown(options, OPTIONS, "deviceBound");
  assertOptions({ ...options });
  const { mode = "offer", path = "/dbsc", lifetime: counts = 600, secrets, offerOn } = options;
  const { refreshInitiators = [], exclude = [] } = options;
  const signaturesOf = signaturesUnder(secrets);
  const lifetime = proofLifetime(counts);
  const settings = { scope: { path, refreshInitiators, exclude }, lifetime, signaturesOf };

  /** Sessions that are loaded without a proof, because the request is to give one. */
  const proving = new WeakSet<object>();
  /** Sessions that were let in: one that is loaded again in the same request stays in. */
  const admitted = new WeakSet<object>();
  /** Sessions whose response asks the browser for a key. */
  const offered = new WeakSet<object>();
  /** Sessions that this request has ended. */
  const ended = new WeakSet<object>();
  /** The binding that a commit gives to what it creates, also if it must store it again. */
  const given = new WeakMap<Operation, Binding>();

  const mayOffer = (op: Operation): boolean => {
    if (exchangeOf(op) === null || op.request === undefined) return false;
    return offerOn === undefined || Reflect.apply(offerOn, undefined, [op.request, ...op.runtimeArguments]) === true;
  };

  /** What a session gets when it begins, or continues under a new id. */
  const withBinding = (contents: Contents, op: Operation, replaces: Found | undefined): Contents => {
    const { metadata } = contents;
    const known = given.get(op);
    if (known !== undefined) return withFacts(contents, known);
    const facts = readFacts(metadata);
    const isOffered = op.session !== undefined && offered.has(op.session);
    // A new login needs a new key: the one before may be of whoever planted the session.
    const isLogin = replaces === undefined || metadata.authenticatedAt !== replaces.metadata.authenticatedAt;
    const isBound = facts === "unreadable" || (typeof facts === "object" && facts.key !== undefined);
    const asks = isLogin || (!isBound && metadata.unconfirmed !== true);
    if (asks && !isOffered && mayOffer(op)) {
      // The browser replaces what it calls by the same id, and requests under way with the old proof stay in.
      const binding = typeof facts === "object" ? { id: facts.id, secret: facts.secret } : newBinding();
      given.set(op, binding);
      if (op.session !== undefined) offered.add(op.session);
      return withFacts(contents, binding);
    }
    return facts === undefined && mode === "require" ? withFacts(contents, "exempt") : contents;
  };

  const judge = (found: Found, op: Operation): MaybePromise<boolean> => {
    const facts = readFacts(found.metadata);
    if (facts === "unreadable") return false;
    if (facts === "exempt" || (mode === "offer" && facts?.key === undefined)) return true;
    const exchange = exchangeOf(op);
    if (facts === undefined || exchange === null) return false;
    if (isUnderWay(found, facts, op)) return true;
    return hasProof(facts, exchange, op.now, signaturesOf);
  };

  /** Asks the browser for a key. Its first proof is the login itself, so that no request comes between login and registration without one. */
  const ask = (headers: Headers, binding: Binding, exchange: CookieExchange, op: Operation): MaybePromise<void> => {
    if (binding.key !== undefined) return undefined;
    const attributes = boundCookieAttributes(exchange);
    assertCookie(path, attributes);
    headers.set("Cache-Control", "no-store");
    return chain(writeProof(headers, binding, exchange, op.now, signaturesOf, lifetime), () =>
      chain(signaturesOf(binding, op.runtimeArguments), (signatures) =>
        chain(registrationChallenge(signatures, op.now), (challenge) => {
          // Browsers bind sessions over https alone.
          if (/; Secure\b/i.test(`; ${attributes}`)) offerRegistration(headers, challenge, path);
        }),
      ),
    );
  };

  const offer = async (session: object, internals: SessionInternals): Promise<void> => {
    await internals.load();
    const facts = readFacts({ [FACTS]: internals.metadata(FACTS) });
    if (facts === "unreadable" || (typeof facts === "object" && facts.key !== undefined)) return;
    await internals.begin();
    if (typeof facts !== "object") internals.setMetadata(FACTS, factsToJson(newBinding()));
    offered.add(session);
  };

  return {
    name: NAME,
    attach: assertHost,
    wrap: (next) =>
      wrapRepository(next, {
        create(id, contents, op, replaces) {
          if (op.session !== undefined) admitted.add(op.session);
          return next.create(id, withBinding(contents, op, replaces), op, replaces);
        },
        update(current, contents, op) {
          const binding = given.get(op);
          return next.update(current, binding === undefined ? contents : withFacts(contents, binding), op);
        },
        end(current, op) {
          if (op.session !== undefined) ended.add(op.session);
          return next.end(current, op);
        },
      }),
    admit(found, op) {
      const { session, request } = op;
      // Who opens a session by its id, without a request, answers for it.
      if (request === undefined || (session !== undefined && (proving.has(session) || admitted.has(session))))
        return undefined;
      return chain(judge(found, op), (isProven) => {
        if (isProven && session !== undefined) admitted.add(session);
        return isProven ? undefined : REASON;
      });
    },
    respond(headers, op) {
      const { session } = op;
      const exchange = exchangeOf(op);
      if (exchange === null || session === undefined) return undefined;
      const { found, rejected, presented } = internalsOf(session);
      const facts = found ? readFacts(found.metadata) : undefined;
      if (typeof facts === "object") return offered.has(session) ? ask(headers, facts, exchange, op) : undefined;
      // The page that the browser holds back is to hear why the session is not there.
      if (!found && proving.has(session)) return keepSessionCookie(headers, exchange);
      // Without its cookie the browser asks whether the session goes on, and hears that it does not. After a failure of the store nobody knows.
      const isKnown =
        Boolean(found) || presented === null || ended.has(session) || rejected === REASON || isFinal(rejected, op);
      if (isKnown && presentedProof(exchange) !== undefined) {
        expireProof(headers, exchange);
        headers.set("Cache-Control", "no-store");
      }
      return undefined;
    },
    answer(request, session) {
      const endpoint = endpointOf(request, path);
      if (endpoint === undefined) return answerWithoutProof(request, session);
      if (request.method !== "POST") return new Response(null, { status: 405, headers: { Allow: "POST" } });
      proving.add(session);
      return endpoint === "start" ? register(request, session, settings) : refresh(request, session, settings);
    },
    async offer(session) {
      const internals = internalsOf(session);
      await internals.track(offer(session, internals));
    },
    async thumbprint(session) {
      const internals = internalsOf(session);
      await internals.load();
      const facts = readFacts({ [FACTS]: internals.metadata(FACTS) });
      return typeof facts === "object" ? (facts.key?.thumbprint ?? null) : null;
    },
  };
}

/** Takes back what would make the browser forget the session cookie. */
function keepSessionCookie(headers: Headers, { transport, request, runtimeArguments }: CookieExchange): void {
  const name = transport.cookieName(request, runtimeArguments);
  const cookies = headers.getSetCookie().filter((line) => !line.startsWith(`${name}=`));
  headers.delete("Set-Cookie");
  for (const line of cookies) headers.append("Set-Cookie", line);
}

function withFacts(contents: Contents, binding: Binding | "exempt"): Contents {
  return { ...contents, metadata: { ...contents.metadata, [FACTS]: factsToJson(binding) } };
}

/**
 * Whether a request was sent before the login, and so without a proof: it comes with the id that was renewed a moment ago, and the session was bound since. The grace of
 * that login lets it in.
 */
function isUnderWay({ token, metadata }: Found, { key }: Binding, { session, now }: Operation): boolean {
  const { rotatedAt = 0 } = metadata;
  if (session === undefined || internalsOf(session).presented === token || now - rotatedAt >= UNDER_WAY) return false;
  return key === undefined || (key.proofs === 0 && key.provedAt >= rotatedAt);
}

/** How long, in milliseconds, a request with a retired id counts as one that was under way when the id was retired; as in the core. */
const UNDER_WAY = 60_000;

/** Which of the two endpoints a request is for. */
function endpointOf({ url }: Request, path: string): "start" | "refresh" | undefined {
  if (!url.includes(path)) return undefined;
  const { pathname } = new URL(url);
  return pathname === `${path}/start` ? "start" : pathname === `${path}/refresh` ? "refresh" : undefined;
}

/** @throws {TypeError} If the manager keeps sessions where a binding would be of no use */
function assertHost({ repository, transports }: PluginHost): void {
  if (repository.tokenHoldsSession === true)
    throw new TypeError(
      "deviceBound() cannot work with cookieSessions(): an older copy of the cookie stays good; keep the sessions in a store",
    );
  if (!transports.some(isCookieTransport))
    throw new TypeError("deviceBound() needs the session cookie; for header clients there is dpop()");
}

/** @throws {TypeError} If browsers would not bind a session with this cookie, or not send it to the endpoints */
function assertCookie(path: string, attributes: string): void {
  if (/; Partitioned\b/i.test(attributes))
    throw new TypeError("deviceBound() cannot work with a partitioned cookie: browsers refuse to bind it");
  const cookiePath = /(?:^|; )Path=([^;]*)/i.exec(attributes)?.[1] ?? "/";
  if (`${path}/`.startsWith(cookiePath.endsWith("/") ? cookiePath : `${cookiePath}/`)) return;
  throw new TypeError(`deviceBound() cannot use the path ${path}: the session cookie is sent under ${cookiePath} only`);
}

function assertOptions({
  mode,
  path,
  lifetime,
  offerOn,
  refreshInitiators,
  exclude,
}: Readonly<Record<string, unknown>>): void {
  const isList = (value: unknown): boolean =>
    value === undefined || (Array.isArray(value) && value.every((each) => typeof each === "string" && each !== ""));
  const mistake =
    mode !== undefined && mode !== "offer" && mode !== "require"
      ? 'mode must be "offer" or "require"'
      : path !== undefined && !/^(?:\/[\w.~-]+)+$/.test(String(path))
        ? "path must begin with / and not end with it"
        : offerOn !== undefined && typeof offerOn !== "function"
          ? "offerOn must be a function"
          : !isList(refreshInitiators)
            ? "refreshInitiators must be a list of hosts"
            : !isList(exclude)
              ? "exclude must be a list of paths"
              : undefined;
  if (mistake !== undefined) throw new TypeError(`deviceBound: ${mistake}`);
  if (lifetime === undefined || (typeof lifetime === "number" && lifetime >= 2 && lifetime <= LONGEST_LIFETIME)) return;
  throw new RangeError(`deviceBound: lifetime must be a number of seconds from 2 to ${LONGEST_LIFETIME}`);
}

/** A day, in seconds: a proof that counts longer protects from nothing. */
const LONGEST_LIFETIME = 86_400;
