/**
 * Makes stolen cookies useless, with Device Bound Session Credentials (W3C Working Draft). The browser keeps a private
 * key that cannot be copied, and every few minutes proves that it holds the key.
 *
 * @module
 */
import { isFinal } from "./core/admission.ts";
import { chain } from "./core/maybe_promise.ts";
import type { Plugin } from "./core/plugin.ts";
import type { Repository } from "./core/repository.ts";
import { wrapRepository } from "./core/repository/repository_wrapper.ts";
import type { AnySession } from "./core/session.ts";
import { internalsOf, internalsWith, type SessionInternals } from "./core/session_internals.ts";
import type { Transport } from "./core/transport.ts";
import { isProven } from "./device_bound/admission.ts";
import { FACTS, NAME, readFacts } from "./device_bound/binding.ts";
import { exchangeOf, expireProof, keepSessionCookie, presentedProof } from "./device_bound/bound_cookie.ts";
import { endpointOf, hasAccepted, putOff, refresh, register } from "./device_bound/endpoints.ts";
import { assertHost } from "./device_bound/host.ts";
import { Offers } from "./device_bound/offers.ts";
import { type DeviceBoundOptions, settingsOf } from "./device_bound/options.ts";
import { answerWithoutProof, REASON } from "./device_bound/pages.ts";

export type { DeviceBoundOptions } from "./device_bound/options.ts";
export type { Secrets } from "./crypto/secrets.ts";

/** The plugin, with the functions that a program can call. */
export interface DeviceBound extends Plugin {
  /**
   * Makes the response of this request ask the browser to bind the session. It is for programs whose sign-in neither
   * begins a session nor regenerates its id. A session that is bound already is not changed.
   *
   * @throws {TypeError} If `session` does not belong to a manager with this plugin
   * @throws {SessionError} `ERR_RESPONSE_SENT`, `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  offer(session: AnySession): Promise<void>;
  /**
   * The thumbprint of the key to which the session is bound (RFC 7638), or null.
   *
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  thumbprint(session: AnySession): Promise<string | null>;
}

/**
 * Binds sessions to the browser's device. A response that begins a session, or gives it a new id, asks the browser for
 * a key. Once the browser has registered a key, the session of a request without a fresh proof is rejected with the
 * reason `"proof"`.
 *
 * @param options Mode, path, lifetime of a proof, and others
 * @returns A plugin for the option `plugins`
 * @throws {TypeError} If an option is unknown or of the wrong kind, or if sessions do not travel in cookies or are kept
 *   in the cookie itself
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
  const settings = settingsOf(options);
  const offers = new Offers(settings);
  /** Sessions of requests to the endpoints. They are loaded without a proof, because the request gives one. */
  const proving = new WeakSet<object>();
  /** Those of them whose request has given a valid proof. */
  const proved = new WeakSet<object>();
  /** Sessions that were admitted. A session that is loaded again in the same request is not checked again. */
  const admitted = new WeakSet<object>();
  /** Sessions that were ended in their request. */
  const ended = new WeakSet<object>();
  /** The repositories of the managers with this plugin, and how their tokens travel. */
  const transports = new WeakMap<Repository, readonly Transport[]>();

  const ownInternalsOf = (session: object): SessionInternals => internalsWith(session, "deviceBound", transports);

  return {
    name: NAME,
    attach(host) {
      assertHost(host);
      transports.set(host.repository, host.transports);
    },
    wrap: (next) =>
      wrapRepository(next, {
        create(id, contents, op, replaces) {
          const { session, runtimeArguments } = op;
          if (session !== undefined) admitted.add(session);
          const given = offers.onCreate(id, contents, op, replaces);
          // The response needs the program's secrets. If they are wrong, that must show before anything is stored.
          const needsSecrets = session !== undefined && offers.has(session);
          return chain(needsSecrets ? settings.signaturesOf({ secret: "" }, runtimeArguments) : undefined, () =>
            next.create(id, given, op, replaces),
          );
        },
        update: (current, contents, op) => next.update(current, offers.onUpdate(current.id, contents, op), op),
        end(current, op) {
          if (op.session !== undefined) ended.add(op.session);
          return next.end(current, op);
        },
      }),
    admit(found, op) {
      const { session, request } = op;
      // A session that the program opens by its id, without a request, needs no proof.
      if (request === undefined || (session !== undefined && (proving.has(session) || admitted.has(session))))
        return undefined;
      return chain(isProven(found, op, settings), (isIn) => {
        if (isIn && session !== undefined) admitted.add(session);
        return isIn ? undefined : REASON;
      });
    },
    respond(headers, op) {
      const { session } = op;
      const exchange = exchangeOf(op);
      if (exchange === null || session === undefined) return undefined;
      const { found, rejected, presented } = internalsOf(session);
      // Who presents an old id without a proof gets no new one. The browser gets it with the answer to its proof.
      if (found && proving.has(session) && !proved.has(session)) return keepSessionCookie(headers, exchange);
      const facts = found ? readFacts(found.metadata[FACTS]) : undefined;
      if (typeof facts === "object")
        return offers.has(session)
          ? offers.write(headers, facts, found?.metadata.authenticatedAt, exchange, op)
          : undefined;
      // The session cookie stays. The request that the browser holds back presents it, and learns why the session has
      // ended.
      if (!found && proving.has(session)) return keepSessionCookie(headers, exchange);
      // Without the bound cookie the browser refreshes, and learns that the session has ended. After a failure of the
      // store it is unknown whether the session has ended, so the cookie stays.
      const isKnown =
        Boolean(found) || presented === null || ended.has(session) || rejected === REASON || isFinal(rejected, op);
      if (isKnown && presentedProof(exchange) !== undefined) {
        expireProof(headers, exchange);
        headers.set("Cache-Control", "no-store");
      }
      return undefined;
    },
    answer(request, session) {
      const endpoint = endpointOf(request, settings.scope.path);
      if (endpoint === undefined) return answerWithoutProof(request, session, transports);
      if (request.method !== "POST") return new Response(null, { status: 405, headers: { Allow: "POST" } });
      proving.add(session);
      // A thief without a proof must not keep the session alive.
      internalsOf(session).ignoreUse();
      const answering =
        endpoint === "start" ? register(request, session, settings) : refresh(request, session, settings);
      return answering.then(
        (response) => {
          if (hasAccepted(response)) proved.add(session);
          return response;
        },
        (error: unknown) => putOff(session, error),
      );
    },
    async offer(session) {
      const internals = ownInternalsOf(session);
      await internals.track(offers.make(session, internals));
    },
    async thumbprint(session) {
      const internals = ownInternalsOf(session);
      await internals.load();
      const facts = readFacts(internals.metadata(FACTS));
      return typeof facts === "object" ? (facts.key?.thumbprint ?? null) : null;
    },
  };
}
