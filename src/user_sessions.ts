/**
 * Records which sessions belong to which user. A program can list a user's devices, end one or all of their sessions,
 * and limit their number.
 *
 * @module
 */
import { assertKnown } from "./core/known_options.ts";
import { chain, type MaybePromise } from "./core/maybe_promise.ts";
import type { Plugin, PluginHost } from "./core/plugin.ts";
import type { Repository } from "./core/repository.ts";
import type { AnySession } from "./core/session.ts";
import { internalsWith, notAmongPlugins, type SessionInternals } from "./core/session_internals.ts";
import { assertUserId, bind, decoded, handleOf, tokensOf, unbind } from "./user_sessions/binding.ts";
import { factsOf, isKey, listOf, reveal, versionHash } from "./user_sessions/facts.ts";
import { indexedRepository } from "./user_sessions/indexed_repository.ts";
import {
  assertOptions,
  checkedLimit,
  comparable,
  indexText,
  type UserSessionsOptions,
} from "./user_sessions/options.ts";
import { liveSessions, type PresentVersion } from "./user_sessions/inspection.ts";
import { revoke } from "./user_sessions/user_index.ts";

export type {
  CredentialVersion,
  CredentialVersionFunction,
  IndexedMetadata,
  LimitFunction,
  UserSessionsOptions,
} from "./user_sessions/options.ts";

/** One session of a user, as a page about a user's devices shows it. */
export interface UserSession<Metadata = unknown> {
  /**
   * Names the session for {@linkcode UserSessions.revoke}. It is not the session's id, and stays the same when the id
   * changes.
   */
  readonly handle: string;
  /** When the session began, in epoch milliseconds. */
  readonly createdAt: number;
  /** When it was last used, in epoch milliseconds, exact to the touch interval. */
  readonly lastSeenAt: number;
  /** The metadata that was given to `bind`. */
  readonly metadata: Metadata;
}

/** The metadata of `bind`, which can be left out if its type allows it. */
export type BindArguments<Metadata> = undefined extends Metadata ? [metadata?: Metadata] : [metadata: Metadata];

/** Options of {@linkcode UserSessions.revokeAll}. */
export interface RevokeAllOptions {
  /** A session that stays, such as the caller's own. @default None: all end */
  readonly except?: AnySession | undefined;
}

/** The sessions of users: a plugin, with the functions that a program calls. */
export interface UserSessions<Metadata = unknown> extends Plugin {
  /**
   * Binds a session to a user. The session no longer belongs to the user that it was bound to before. Call it at login,
   * beside `regenerate`. It begins the session if there is none. The binding is stored with the other changes of the
   * request, also if the call is not awaited.
   *
   * @param session The session of the request
   * @param userId A text that always identifies the user: the number of an account, not a name that can change
   * @param metadata The metadata that `list` shows, such as a browser's name. Any value that a session takes, of at
   *   most 16 384 bytes when encoded: Node accepts no more for all headers of a request
   *   (https://nodejs.org/api/cli.html#--max-http-header-sizesize)
   * @throws {TypeError} If `userId` is not a string, or is empty; if the session's manager does not have this plugin;
   *   if a function of `indexes` returns a value that is neither a text nor a finite number, or `credentialVersion` one
   *   that is neither of them nor null
   * @throws {SessionError} `ERR_NOT_SERIALIZABLE` if the metadata cannot be stored or is too large,
   *   `ERR_RESPONSE_SENT`, and the errors of loading the session. Storing the binding throws `ERR_SESSION_LIMIT` with
   *   `onLimit: "refuse"`
   */
  bind(session: AnySession, userId: string, ...metadata: BindArguments<Metadata>): Promise<void>;
  /**
   * Unbinds a session from its user. The session continues, and is no longer listed.
   *
   * @throws {SessionError} `ERR_RESPONSE_SENT`, and the errors of loading the session
   */
  unbind(session: AnySession): Promise<void>;
  /**
   * The live sessions of a user, last seen first.
   *
   * @param rest Arguments for the functions among the options, such as the one that opens the store
   * @throws {TypeError} If `userId` is not a string, or is empty
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  list(userId: string, ...rest: unknown[]): Promise<UserSession<Metadata>[]>;
  /**
   * The handle of a session in `list`, so that a page can mark "this browser"; null if it is bound to no user. After
   * `bind`, it is the handle that the session has as soon as it is stored.
   */
  handle(session: AnySession): Promise<string | null>;
  /**
   * Ends one session, such as that of a lost telephone. If a client sent the handle, check first that it is in the list
   * of that client's user: a handle alone is enough to end its session.
   *
   * @param handle A handle from `list`. Any other value matches no session
   * @param rest Arguments for the functions among the options
   * @returns Whether there was such a session
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`, `ERR_CONFLICT`
   */
  revoke(handle: string, ...rest: unknown[]): Promise<boolean>;
  /**
   * Ends all sessions of a user: "sign out everywhere". A login that is stored after the call has read the list is not
   * ended.
   *
   * @param options `except` is a session that stays
   * @param rest Arguments for the functions among the options
   * @returns How many sessions have ended
   * @throws {TypeError} If `userId` is not a string, or is empty
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`, `ERR_CONFLICT`: some may live on then; call it again
   */
  revokeAll(userId: string, options?: RevokeAllOptions, ...rest: unknown[]): Promise<number>;
  /**
   * Ends all sessions that have one value of an index, of any user. With it a program ends the sessions of an identity
   * provider's session, for OpenID Connect Back-Channel Logout.
   *
   * @param index A name among `indexes`
   * @param value The value that the index's function returned for the metadata
   * @param rest Arguments for the functions among the options
   * @returns How many sessions have ended
   * @throws {TypeError} If there is no such index, or the value is neither a text nor a number
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`, `ERR_CONFLICT`: some may live on then; call it again
   */
  revokeBy(index: string, value: string | number, ...rest: unknown[]): Promise<number>;
}

/**
 * Keeps a list of each user's sessions, as records in the store of the sessions.
 *
 * - A session is listed before it is stored, so `revokeAll` finds it even if the process ends in between.
 * - If an engine loses a list, by eviction or a flush, the sessions that are used rebuild it, at the latest when their
 *   next touch is written. Until then `credentialVersion` ends them.
 * - The store sees neither user ids nor metadata: it holds hashes of the user ids, and metadata encrypted with keys
 *   that are derived from the user ids. A reader of the store who knows a user id can find its list and its metadata.
 * - On a store without compare-and-set, such as Workers KV, a list that two places change at once can lose an entry until that session is touched, and the limit is not exact.
 *
 * It costs the store one load and one save at login for each list, one load when a touch is written, and nothing when a session is read or changed.
 *
 * @typeParam Metadata The metadata of a session in `list`
 * @param options Limit, credentials and indexes
 * @returns A plugin with functions. Its managers must share one store
 * @throws {TypeError} If an option is unknown or of the wrong kind; when a manager is made with it, if the sessions are
 *   kept in cookies or the plugin belongs to a manager with another store
 * @throws {RangeError} If `limit` is not a whole number of at least 1
 *
 * @example
 * ```ts
 * import { SessionManager, withSession } from "with-session";
 * import { userSessions } from "with-session/user-sessions";
 *
 * const users = userSessions<{ browser: string }>({ limit: 5 });
 * const sessions = new SessionManager({ plugins: [users] });
 *
 * export const logIn = withSession(async (request, session) => {
 *   await session.regenerate({ reauthenticated: true });
 *   await users.bind(session, "user-1815", { browser: request.headers.get("User-Agent") ?? "" });
 *   return new Response("Welcome");
 * }, sessions);
 *
 * export const logOutElsewhere = withSession(async (_request, session) => {
 *   const ended = await users.revokeAll("user-1815", { except: session });
 *   return new Response(`${ended} sessions have ended`);
 * }, sessions);
 * ```
 */
export function userSessions<Metadata = unknown>(options: UserSessionsOptions<Metadata> = {}): UserSessions<Metadata> {
  assertOptions(options);
  const { limit, onLimit, indexes = {} } = options;
  /** The first manager of the plugin. It stands for all of them, because they share one store. */
  let first: PluginHost | undefined;
  const repositories = new WeakSet<Repository>();

  function anyHost(): PluginHost {
    if (first === undefined) throw notAmongPlugins("userSessions");
    return first;
  }

  function ownInternalsOf(session: object): SessionInternals {
    return internalsWith(session, "userSessions", repositories);
  }

  /** The present version of a user's credentials, hashed; null if the user has none. Undefined if versions are not compared. */
  async function versionOf(userId: string, rest: readonly unknown[]): Promise<PresentVersion> {
    if (options.credentialVersion === undefined) return undefined;
    const version = comparable("credentialVersion must return", await options.credentialVersion(userId, ...rest));
    return version === undefined ? null : await versionHash(await listOf("", userId), version);
  }

  async function revokeFrom(
    list: MaybePromise<string>,
    isMeant: (token: string) => boolean,
    rest: readonly unknown[],
  ): Promise<number> {
    const op = await anyHost().operation(rest);
    const sessions = await revoke(await list, isMeant, op);
    if (sessions > 0) op.emit({ type: "revoked", sessions });
    return sessions;
  }

  return {
    name: "users",
    wrap: (next) =>
      indexedRepository(next, async (userId, version, { runtimeArguments }) => {
        const most = typeof limit === "function" ? checkedLimit(await limit(userId, ...runtimeArguments)) : limit;
        return most === undefined || most === Infinity
          ? undefined
          : {
              limit: most,
              refuses: onLimit === "refuse",
              version: options.credentialVersion === undefined ? undefined : (version ?? null),
            };
      }),
    attach(host) {
      if (host.repository.tokenHoldsSession === true)
        throw new TypeError("userSessions needs a store for its lists, which cookieSessions() does not have");
      if (first !== undefined && first.store !== host.store)
        throw new TypeError("userSessions serves one store: make another plugin for another store");
      first ??= host;
      repositories.add(host.repository);
    },
    admit(found, { runtimeArguments }) {
      const facts = factsOf(found.metadata);
      if (facts?.version === undefined || options.credentialVersion === undefined) return undefined;
      return chain(reveal(facts.user, facts.token, found.id), async (userId) => {
        const version = userId === null ? null : await versionOf(userId, runtimeArguments);
        return version === facts.version ? undefined : "credentials";
      });
    },
    bind(session, userId, ...[metadata]) {
      const internals = ownInternalsOf(session);
      return internals.track(bind(internals, userId, metadata, options));
    },
    unbind(session) {
      const internals = ownInternalsOf(session);
      return internals.track(unbind(internals));
    },
    handle: (session) => handleOf(ownInternalsOf(session)),
    async list(userId, ...rest) {
      assertUserId(userId);
      const { codec, operation } = anyHost();
      const list = await listOf("", userId);
      const live = await liveSessions(list, await versionOf(userId, rest), await operation(rest));
      return await Promise.all(
        live.map(async ({ metadata: { createdAt }, lastSeenAt, facts: { shown, token } }) => {
          const metadata = decoded(codec, await reveal(shown, token, userId)) as Metadata;
          return { handle: `${list}.${token}`, createdAt, lastSeenAt, metadata };
        }),
      );
    },
    async revoke(handle, ...rest) {
      const [list] = typeof handle === "string" ? handle.split(".", 1) : [];
      return isKey(list) && (await revokeFrom(list, (token) => `${list}.${token}` === handle, rest)) > 0;
    },
    async revokeAll(userId, options = {}, ...rest) {
      assertUserId(userId);
      assertKnown(options, ["except"], "users.revokeAll");
      const { except } = options;
      const spared = except === undefined ? [] : await tokensOf(ownInternalsOf(except));
      return await revokeFrom(listOf("", userId), (token) => !spared.includes(token), rest);
    },
    async revokeBy(index, value, ...rest) {
      const text = indexText(value);
      if (text === undefined || !Object.hasOwn(indexes, index))
        throw new TypeError(
          "users.revokeBy needs a name among the indexes of userSessions, and a value that is not empty",
        );
      return await revokeFrom(listOf(index, text), () => true, rest);
    },
  };
}
