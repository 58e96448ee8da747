import { ActiveInternals } from "./session/active_internals.ts";
import type { Lifecycle, SessionSource } from "./session/active_session.ts";
import { commitAll, commitKey } from "./commit.ts";
import { commit, discard, respond, type WaitUntil, waitUntilFor } from "./finish.ts";
import { loadSession } from "./load.ts";
import { MANAGER, type ManagerInternals } from "./manager_internals.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import { beginOperation } from "./operation.ts";
import type { SessionOptions } from "./options.ts";
import { resolveOptions } from "./options/resolve_options.ts";
import type { PluginHost } from "./plugin.ts";
import type { Policy } from "./policy.ts";
import { renewByAge } from "./commit/renew_by_age.ts";
import { takeRequest, takeUpgrade } from "./request_transport.ts";
import { isResponse } from "./response.ts";
import type { DefaultData, Session } from "./session.ts";
import type { Activate } from "./session/lazy_session.ts";
import { SessionHandle } from "./session/session_handle.ts";
import { loadToRead } from "./session/session_values.ts";
import { cleanError } from "./store_client.ts";
import { argumentsOf } from "./options/store_resolver.ts";
import { notify } from "./events.ts";
import { isObject } from "./kind_of.ts";

/**
 * The sessions of one application, without a wrapper: for a WebSocket, a queue or a cron job, where there is no request, and for frameworks
 * that answer in another way. One manager serves a whole process; share it.
 *
 * @example A session by hand: start, modify, persist
 * ```ts
 * import { SessionManager } from "with-session";
 *
 * const sessions = new SessionManager<{ user?: string }>();
 *
 * export async function handler(request: Request): Promise<Response> {
 *   const session = sessions.start(request);
 *   session.set("user", "ada");
 *   return await sessions.respond(session, new Response("Hello"));
 * }
 * ```
 */
export class SessionManager<Data extends object = DefaultData> {
  readonly #manager: Manager<Data>;

  /**
   * Takes the options once, for all requests.
   *
   * @throws {TypeError} If an option is unknown, of the wrong kind, or contradicts another one
   * @throws {RangeError} If a duration is not a positive number of seconds
   */
  constructor(options: SessionOptions<Data> = {}) {
    this.#manager = new Manager(options);
    Object.defineProperty(this, MANAGER, { value: this.#manager });
  }

  /**
   * The session of an id, as `await session.id()` gave it. `update` and `destroy` commit at once; other changes are stored by `save()`.
   *
   * @param id The id. If no session has it, the session is empty
   * @param rest The arguments for functions among the options, such as a function in `store`
   */
  open(id: string, ...rest: unknown[]): Session<Data> {
    if (typeof id !== "string") throw new TypeError("sessions.open takes the id of a session, as session.id() gave it");
    return this.#manager.session({ token: id, runtimeArguments: argumentsOf(rest) });
  }

  /**
   * The session of a request. It is always the same for the same `Request`; within `withSession`, it is the session of the
   * handler, also in a stream after the response. Nothing is stored before `save()`, `commit` or `respond`, except by `update`.
   *
   * @param request The request, whose cookie or header has the id
   * @param rest The arguments for functions among the options, such as a function in `store`
   * @throws {TypeError} If `request` is not a `Request`
   */
  start(request: Request, ...rest: unknown[]): Session<Data> {
    if (typeof request?.headers?.get !== "function") throw new TypeError("sessions.start takes a Request");
    const inner = requestIn(request);
    if (inner !== undefined)
      throw new TypeError(`sessions.start takes a Request, not an event that has one: pass its ${inner}`);
    const known = this.#manager.shared.get(request);
    // A stream goes on after the response. Another session would read the client's old cookie, and lose what it records.
    return known !== undefined && lazyOf(known).isAnswered ? known : this.#manager.begin(request, rest, true).session;
  }

  /**
   * Stores everything that was recorded, and returns the headers that the response must carry: `Set-Cookie` or the id's
   * header, and those for caches. They are empty if the session was not used.
   *
   * @param session The session that `start` or `open` gave
   * @param waitUntil Keeps the process alive until a promise settles, for `persist: "after-response"`
   * @throws {SessionError} As {@linkcode Session.save} does, except `ERR_SESSION_GONE`: in that case the changes are
   * dropped, and no cookie is touched
   */
  async commit(session: Session<Data>, waitUntil?: WaitUntil): Promise<Headers> {
    const lazy = lazyOf(session);
    const headers = await commit(lazy, waitUntil);
    lazy.confirmNewId();
    return headers ?? new Headers();
  }

  /**
   * Stores everything that was recorded, and returns the response with the session's headers: the same response if the
   * session was not used, and a copy if it carries a token.
   *
   * @param session The session that `start` gave
   * @param response The handler's response. Its body is not read
   * @param waitUntil Keeps the process alive until a promise settles, for `persist: "after-response"`
   * @throws {SessionError} As {@linkcode SessionManager.commit} does
   * @throws {TypeError} If `response` is not a `Response`; in that case nothing is stored
   */
  async respond(session: Session<Data>, response: Response, waitUntil?: WaitUntil): Promise<Response> {
    if (!isResponse(response)) throw new TypeError("sessions.respond takes a session and the Response of its request");
    return await respond(lazyOf(session), response, waitUntil);
  }

  /**
   * Ends a request that failed. The changes recorded so far are dropped: a later commit does not store them either. If
   * `save()` has renewed the id of the session, the session is put back under the id that the client holds.
   *
   * @param session The session that `start` or `open` gave
   */
  async discard(session: Session<Data>): Promise<void> {
    const lazy = lazyOf(session);
    lazy.active?.dropRecorded();
    await discard(lazy);
  }

  /**
   * Removes the records that have expired from a store that does not sweep by itself.
   *
   * @param rest The arguments for functions among the options, such as a function in `store`
   * @returns How many were removed; 0 where the engine sweeps
   * @throws {SessionError} `ERR_STORE`
   */
  async prune(...rest: unknown[]): Promise<number> {
    const { resolveStore, now } = this.#manager.policy;
    const store = await resolveStore(argumentsOf(rest));
    if (store.prune === undefined) return 0;
    try {
      return await store.prune(now());
    } catch (error) {
      throw cleanError("prune the sessions", error);
    }
  }
}

/**
 * What wrappers and adapters need of a manager. If they get options, they make no `SessionManager`, so that a bundle
 * leaves out its other methods.
 */
class Manager<Data extends object> implements ManagerInternals<Data> {
  readonly policy: Policy;
  readonly prepare: ManagerInternals["prepare"];
  /** The sessions that wrappers and `sessions.start` share, by their requests. */
  readonly shared: WeakMap<Request, Session<Data>> = new WeakMap();
  readonly #activate: Activate;

  // oxlint-disable-next-line no-explicit-any -- the handler declares what a runtime passes beside the request
  constructor(options: SessionOptions<Data, any>) {
    const policy = resolveOptions(options);
    this.policy = policy;
    this.prepare = preparation(policy);
    this.#activate = (session, source) => new ActiveInternals(policy, session, source, LIFECYCLE);
    const host = hostOf(policy);
    for (const plugin of policy.plugins) plugin.attach?.(host);
  }

  session(source: SessionSource): Session<Data> {
    return new SessionHandle<Data>(source, this.#activate);
  }

  begin(
    request: Request,
    rest: readonly unknown[],
    isShared: boolean,
  ): { readonly session: Session<Data>; readonly isJoined: boolean } {
    const known = isShared ? this.shared.get(request) : undefined;
    if (known !== undefined && !lazyOf(known).isClosed) return { session: known, isJoined: true };
    takeUpgrade(request);
    const session = this.session({ request, arrivedAt: this.policy.now(), runtimeArguments: argumentsOf(rest) });
    if (isShared) this.shared.set(request, session);
    return { session, isJoined: false };
  }

  finish<Answer extends Response | undefined>(
    request: Request,
    session: object,
    response: Answer,
    rest: readonly unknown[],
  ): MaybePromise<Answer> {
    const lazy = lazyOf(session);
    // The session may be used after the response.
    if (lazy.active === undefined) takeRequest(request);
    lazy.isAnswered = true;
    return respond(lazy, response, waitUntilFor(this.policy, response, rest));
  }

  commit(session: object): MaybePromise<Headers | undefined> {
    return commit(lazyOf(session));
  }

  confirm(session: object): void {
    lazyOf(session).confirmNewId();
  }

  close(session: object): void {
    lazyOf(session).close();
  }

  idle(session: object): MaybePromise<void> {
    return lazyOf(session).active?.calls.done();
  }

  dropRecorded(session: object): void {
    lazyOf(session).active?.dropRecorded();
  }

  discard(session: object): Promise<void> | undefined {
    const lazy = lazyOf(session);
    lazy.isAnswered = false;
    return discard(lazy);
  }
}

/**
 * The property in which the event of a framework has its request, such as that of h3 or Qwik City; undefined for a request. An
 * event can have headers too: taken for a request, it would begin a session that nobody stores. The request of a Next.js
 * proxy also has a `request`, whose getter throws.
 */
export function requestIn(value: { readonly url?: unknown }): "req" | "request" | undefined {
  const name = "req" in value ? "req" : "request" in value ? "request" : undefined;
  return name !== undefined && typeof value.url !== "string" ? name : undefined;
}

/** Whether a value is a manager, also one that another copy of this package made. */
export function isManager<Data extends object>(value: object): value is SessionManager<Data> {
  return isObject(value) && MANAGER in value;
}

/** The parts of a manager that wrappers and adapters use. */
export function managerInternalsOf<Data extends object>(manager: SessionManager<Data>): ManagerInternals<Data> {
  return Reflect.get(manager, MANAGER) as ManagerInternals<Data>;
}

/** The manager of a wrapper or an adapter: that of its options, or the one that it was given. */
export function managerOf<Data extends object, Rest extends unknown[]>(
  options: SessionOptions<Data, Rest> | SessionManager<Data>,
): ManagerInternals<Data> {
  return isManager<Data>(options) ? managerInternalsOf(options) : new Manager<Data>(options);
}

const LIFECYCLE: Lifecycle = { load: loadSession, commitAll, commitKey, renewByAge };

const { lazyOf } = SessionHandle;

function preparation({ plugins, isEager }: Policy): ManagerInternals["prepare"] {
  const answering = plugins.filter(({ answer }) => answer !== undefined);
  if (!isEager && answering.length === 0) return undefined;
  return async (request, session, rest) => {
    let response: Response | undefined;
    for (const plugin of answering) response ??= await plugin.answer?.(request, session, ...rest);
    // A plugin that answers decides how the session is loaded, so it comes first.
    if (isEager) await loadToRead(lazyOf(session).activate());
    return response;
  };
}

function hostOf(policy: Policy): PluginHost {
  const { repository, codec, transports, storeOption, timeouts, name, now } = policy;
  return {
    repository,
    codec,
    transports,
    store: storeOption,
    idleTimeout: timeouts.idle,
    name,
    now,
    operation: (runtimeArguments) => beginOperation({ policy, runtimeArguments: argumentsOf(runtimeArguments) }),
    emit: (event) => notify({ policy }, event),
  };
}
