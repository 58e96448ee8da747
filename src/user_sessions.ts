/**
 * Which sessions belong to which user: to list a user's devices, to end one or all of them, and to limit how many there are.
 *
 * @module
 */
import type { Codec } from "./core/codec.ts";
import { SessionError } from "./core/errors.ts";
import { assertKnown } from "./core/known_options.ts";
import { chain, type MaybePromise } from "./core/maybe_promise.ts";
import type { Plugin, PluginHost } from "./core/plugin.ts";
import { byteLength } from "./core/record_size.ts";
import type { Repository } from "./core/repository.ts";
import { internalsOf, type SessionInternals } from "./core/session_internals.ts";
import {
  FACTS,
  type Facts,
  factsOf,
  isKey,
  listOf,
  type Pending,
  pendingOf,
  reveal,
  userOf,
  versionHash,
} from "./user_sessions/facts.ts";
import { type AdmissionOf, indexedRepository } from "./user_sessions/indexed_repository.ts";
import { listSessions, revoke } from "./user_sessions/user_index.ts";

/** What changes when a user's credentials do: a counter, a date, the hash of a password. */
export type CredentialVersion = string | number;

/** Metadata as the functions of `indexes` get it. */
export type IndexedMetadata<Metadata> = Metadata & { readonly [name: string]: unknown };

/** Options of {@linkcode userSessions}. */
export interface UserSessionsOptions<Metadata = unknown> {
  /**
   * How many sessions one user may have at a time, at least 1: a number, or a function of the user and of what the runtime passes beside the request.
   *
   * @default No limit
   */
  readonly limit?: number | LimitFunction;
  /** Whether one session more ends the oldest one, or is refused with `ERR_SESSION_LIMIT`. @default {"revoke-oldest"} */
  readonly onLimit?: "revoke-oldest" | "refuse";
  /**
   * The version of a user's credentials. It is noted by `bind`, and compared with each load of a bound session, without a call of the store: a session with
   * another version is rejected with the reason `"credentials"`. Null or undefined is not compared, and neither is a session that was bound without a version.
   *
   * @default Sessions outlive a change of the credentials
   */
  credentialVersion?(userId: string, ...rest: unknown[]): MaybePromise<CredentialVersion | null | undefined>;
  /**
   * Other keys by which sessions are found, for `revokeBy`: a function of the metadata for each, which gives a text or a number, or undefined for no key.
   *
   * @default None
   */
  readonly indexes?: { readonly [name: string]: (metadata: IndexedMetadata<Metadata>) => unknown };
}

/** A limit that depends on the user. */
export type LimitFunction = { limit(userId: string, ...rest: unknown[]): MaybePromise<number> }["limit"];

/** One session of a user, as a page about a user's devices shows it. */
export interface UserSession<Metadata = unknown> {
  /** Names the session for {@linkcode UserSessions.revoke}. It is no id, and stays the same when the id changes. */
  readonly handle: string;
  /** When the session began, in epoch milliseconds. */
  readonly createdAt: number;
  /** When it was last used, in epoch milliseconds, exact to the touch interval. */
  readonly lastSeenAt: number;
  /** What `bind` was given. */
  readonly metadata: Metadata;
}

/** The metadata of `bind`, which can be left out if its type allows it. */
export type BindArguments<Metadata> = undefined extends Metadata ? [metadata?: Metadata] : [metadata: Metadata];

/** What {@linkcode UserSessions.revokeAll} leaves alone. */
export interface RevokeAllOptions {
  /** A session that stays, such as the caller's own. @default None: all end */
  readonly except?: object | undefined;
}

/** The sessions of users: a plugin, and what a program does with it. */
export interface UserSessions<Metadata = unknown> extends Plugin {
  /**
   * Binds a session to a user, in place of the one that it belonged to. Call it at login, beside `regenerate`. It is stored with everything else, and
   * waited for also if nobody awaits it. It begins the session if there is none.
   *
   * @param session The session of the request
   * @param userId The user, by a text that names them for good: the number of an account, not a name that can change
   * @param metadata What `list` shows of the session, such as a browser's name: any value that a session takes, of at most 16 384 bytes when encoded, which is the
   * most that Node accepts for all headers of a request (https://nodejs.org/api/cli.html#--max-http-header-sizesize)
   * @throws {TypeError} If `userId` is not a string, or is empty; if the session's manager does not have this plugin; if a function of `indexes` gives something else
   * than a text or a number
   * @throws {SessionError} `ERR_NOT_SERIALIZABLE` if the metadata cannot be stored or is too large, `ERR_RESPONSE_SENT`, and as loading the session does. When it is
   * stored, `ERR_SESSION_LIMIT` with `onLimit: "refuse"`
   */
  bind(session: object, userId: string, ...metadata: BindArguments<Metadata>): Promise<void>;
  /**
   * Takes a session from its user. The session lives on and is not listed any more.
   *
   * @throws {SessionError} `ERR_RESPONSE_SENT`, and as loading the session does
   */
  unbind(session: object): Promise<void>;
  /**
   * The live sessions of a user, last seen first.
   *
   * @param rest What functions among the options are called with, such as that of the store
   * @throws {TypeError} If `userId` is not a string, or is empty
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  list(userId: string, ...rest: unknown[]): Promise<UserSession<Metadata>[]>;
  /** What names a session in `list`, so that a page can mark "this browser"; null if the store holds no binding of it. */
  handle(session: object): Promise<string | null>;
  /**
   * Ends one session: that of a lost telephone, say. Look for a handle that a client sent in the list of that client's user first: whoever has a handle can end its session.
   *
   * @param handle As `list` gave it. Anything else names no session
   * @param rest What functions among the options are called with
   * @returns Whether there was such a session
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`, `ERR_CONFLICT`
   */
  revoke(handle: string, ...rest: unknown[]): Promise<boolean>;
  /**
   * Ends all sessions of a user: "sign out everywhere". A login that is stored after the call has read the list counts as a later one, and stays.
   *
   * @param options `except` is a session that stays
   * @param rest What functions among the options are called with
   * @returns How many sessions have ended
   * @throws {TypeError} If `userId` is not a string, or is empty
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`, `ERR_CONFLICT`: some may live on then; call it again
   */
  revokeAll(userId: string, options?: RevokeAllOptions, ...rest: unknown[]): Promise<number>;
  /**
   * Ends all sessions with one value of an index, whoever's they are: those of an identity provider's session, for OpenID Connect Back-Channel Logout.
   *
   * @param index A name among `indexes`
   * @param value What its function gave of the metadata
   * @param rest What functions among the options are called with
   * @returns How many sessions have ended
   * @throws {TypeError} If there is no such index, or the value is neither a text nor a number
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`, `ERR_CONFLICT`: some may live on then; call it again
   */
  revokeBy(index: string, value: string | number, ...rest: unknown[]): Promise<number>;
}

/**
 * Keeps lists of whose sessions are whose, as records in the store of the sessions.
 *
 * - A session is listed before it is stored, so `revokeAll` finds it even if the process ends in between.
 * - An engine that has lost a list, by eviction or a flush, gets it back from the sessions that are used, at the latest when a touch of theirs is written. Until then `credentialVersion` ends them.
 * - The store sees neither user ids nor metadata: it holds hashes of the user ids, and metadata encrypted with keys that are derived from them. Who reads the store and knows
 *   a user id can find its list and its metadata.
 * - On a store without compare-and-set, such as Workers KV, a list that two places change at once can lose an entry until that session is touched, and the limit is not exact.
 *
 * It costs the store one load and one save at login for each list, one load when a touch is written, and nothing when a session is read or changed.
 *
 * @typeParam Metadata What `list` shows of a session
 * @param options Limit, credentials and indexes
 * @returns A plugin with functions. Its managers must share one store
 * @throws {TypeError} If an option is unknown or of the wrong kind; when a manager is made with it, if the sessions are kept in cookies or another manager with another store has it
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
 *   await session.regenerate();
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
  const hosts: PluginHost[] = [];

  const admissionOf: AdmissionOf = async (userId, version, { runtimeArguments }) => {
    const most = typeof limit === "function" ? checkedLimit(await limit(userId, ...runtimeArguments)) : limit;
    return most === undefined ? undefined : { limit: most, refuses: onLimit === "refuse", version };
  };

  async function versionOf(userId: string, rest: readonly unknown[]): Promise<string | undefined> {
    const version = await options.credentialVersion?.(userId, ...rest);
    return version === null || version === undefined ? undefined : await versionHash(await listOf("", userId), version);
  }

  function hostOf(repository?: Repository): PluginHost {
    const host = hosts.find((each) => repository === undefined || each.repository === repository);
    if (host === undefined)
      throw new TypeError(
        "userSessions is not among the plugins of this SessionManager; give it in the option plugins",
      );
    return host;
  }

  function insideOf(session: object): SessionInternals {
    const internals = internalsOf(session);
    hostOf(internals.repository);
    return internals;
  }

  /** What is bound to a session that is loaded is recorded before anything is awaited. */
  async function bind(internals: SessionInternals, userId: string, metadata: unknown): Promise<void> {
    assertUserId(userId);
    const { codec, runtimeArguments } = internals;
    const shown = metadata === undefined ? undefined : encoded(codec, metadata);
    const values: Record<string, string | undefined> = {};
    for (const [name, valueOf] of Object.entries(indexes))
      if (shown !== undefined) values[name] = indexText(valueOf(metadata as IndexedMetadata<Metadata>));
    const loading = internals.load();
    if (loading !== undefined) await loading;
    const version =
      options.credentialVersion && ((await options.credentialVersion(userId, ...runtimeArguments)) ?? undefined);
    internals.authenticate();
    internals.setMetadata(FACTS, { token: createToken(), userId, values, version, shown } satisfies Pending);
    await internals.begin();
  }

  async function unbind(internals: SessionInternals): Promise<void> {
    const loading = internals.load();
    if (loading !== undefined) await loading;
    if (internals.metadata(FACTS) !== undefined) internals.setMetadata(FACTS, null);
  }

  async function revokeFrom(
    list: MaybePromise<string>,
    isMeant: (token: string) => boolean,
    rest: readonly unknown[],
  ): Promise<number> {
    const op = await hostOf().operation(rest);
    const sessions = await revoke(await list, isMeant, op);
    if (sessions > 0) op.emit({ type: "revoked", sessions });
    return sessions;
  }

  function handle(session: object): Promise<string | null> {
    return handleOf(insideOf(session));
  }

  return {
    name: "users",
    wrap: (next) => indexedRepository(next, admissionOf),
    attach(host) {
      if (host.repository.tokenHoldsSession === true)
        throw new TypeError("userSessions needs a store for its lists, which cookieSessions() has not");
      if (hosts.some(({ store }) => store !== host.store))
        throw new TypeError("userSessions serves one store: make another plugin for another store");
      hosts.push(host);
    },
    admit(found, { runtimeArguments }) {
      const facts = factsOf(found.metadata);
      if (facts?.version === undefined || options.credentialVersion === undefined) return undefined;
      return chain(userOf(facts, found.id), async (userId) => {
        const version = userId === null ? "" : await versionOf(userId, runtimeArguments);
        return version === undefined || version === facts.version ? undefined : "credentials";
      });
    },
    bind(session, userId, ...[metadata]) {
      const internals = insideOf(session);
      return internals.track(bind(internals, userId, metadata));
    },
    unbind(session) {
      const internals = insideOf(session);
      return internals.track(unbind(internals));
    },
    async list(userId, ...rest) {
      assertUserId(userId);
      const { codec, operation } = hostOf();
      const list = await listOf("", userId);
      const live = await listSessions(list, await versionOf(userId, rest), await operation(rest));
      return await Promise.all(
        live.map(async ({ metadata: { createdAt }, record: { lastSeenAt }, facts: { shown, token } }) => {
          const metadata = decoded(codec, await reveal(shown, token, userId)) as Metadata;
          return { handle: `${list}.${token}`, createdAt, lastSeenAt, metadata };
        }),
      );
    },
    handle,
    async revoke(handle, ...rest) {
      const [list, named] = typeof handle === "string" ? handle.split(".") : [];
      return isKey(list) && (await revokeFrom(list, (token) => token === named, rest)) > 0;
    },
    async revokeAll(userId, { except } = {}, ...rest) {
      assertUserId(userId);
      const spared = except === undefined ? [] : await tokensOf(insideOf(except));
      return await revokeFrom(listOf("", userId), (token) => !spared.includes(token), rest);
    },
    async revokeBy(index, value, ...rest) {
      const text = indexText(value);
      if (text === undefined || !Object.hasOwn(indexes, index))
        throw new TypeError("users.revokeBy takes a name among the indexes, and a value");
      return await revokeFrom(listOf(index, text), () => true, rest);
    },
  };
}

/** The most that metadata may take when encoded, in bytes. */
const MOST_METADATA = 16_384;

/** What the store has of a session's user. */
async function storedFacts(internals: SessionInternals): Promise<Facts | undefined> {
  await internals.load();
  // Stored together with what other requests wanted, a session is known as it was to be stored.
  if (internals.found && pendingOf(internals.found.metadata) !== undefined) await internals.refresh();
  return internals.found ? factsOf(internals.found.metadata) : undefined;
}

/** What names the session in its user's list; null if the store holds no binding of it. */
async function handleOf(internals: SessionInternals): Promise<string | null> {
  const facts = await storedFacts(internals);
  return facts === undefined ? null : `${facts.lists[0].list}.${facts.token}`;
}

/**
 * What names a session that is to stay.
 *
 * @throws {SessionError} `ERR_STORE` if it could not be loaded: it must not end because nobody knows which one it is
 */
async function tokensOf(internals: SessionInternals): Promise<unknown[]> {
  const facts = await storedFacts(internals);
  const recorded = internals.metadata(FACTS);
  if (internals.isUnavailable && recorded === undefined) {
    throw new SessionError("ERR_STORE", "Cannot revoke the sessions: the excepted one could not be loaded");
  }
  return [facts?.token, Object(recorded).token];
}

/** Refuses what names nobody: to end the sessions of `undefined` would look like success. */
function assertUserId(userId: unknown): asserts userId is string {
  if (typeof userId === "string" && userId !== "" && userId.isWellFormed()) return;
  throw new TypeError("The id of a user must be a string that is well-formed and not empty");
}

/** 96 random bits: a handle cannot be guessed. */
function createToken(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(-24);
}

function encoded({ encode }: Codec, metadata: unknown): string {
  let reason = "it has a function, a symbol or a class instance";
  try {
    const text = encode(metadata);
    const size = byteLength(text);
    if (size <= MOST_METADATA) return text;
    reason = `it has ${size} bytes, and the most is ${MOST_METADATA}`;
  } catch (error) {
    const { path } = Object(error);
    if (typeof path === "string" && path !== "") reason += `, at ${path}`;
  }
  throw new SessionError("ERR_NOT_SERIALIZABLE", `Cannot bind the session: its metadata cannot be stored, ${reason}`);
}

/** Metadata that cannot be read must not hide the session that it is about. */
function decoded({ decode }: Codec, text: string | null): unknown {
  try {
    return text === null ? undefined : decode(text);
  } catch {
    return undefined;
  }
}

/** The text of a value by which sessions are found; undefined for none. */
function indexText(value: unknown): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string" || typeof value === "number") return String(value);
  throw new TypeError("userSessions: the value of an index must be a string or a number");
}

function assertOptions<Metadata>(options: UserSessionsOptions<Metadata>): void {
  assertKnown(options, ["limit", "onLimit", "credentialVersion", "indexes"], "userSessions");
  const { limit, onLimit = "refuse", credentialVersion, indexes = {} } = options;
  if (limit !== undefined && typeof limit !== "function") checkedLimit(limit);
  const functions = [credentialVersion, ...Object.values(indexes)].filter((each) => each !== undefined);
  if (!["revoke-oldest", "refuse"].includes(onLimit) || functions.some((each) => typeof each !== "function")) {
    throw new TypeError(
      'userSessions: onLimit must be "revoke-oldest" or "refuse", and credentialVersion and the indexes functions',
    );
  }
}

function checkedLimit(limit: number): number {
  if (Number.isInteger(limit) && limit >= 1) return limit;
  throw new RangeError("userSessions: limit must be a whole number of at least 1");
}
