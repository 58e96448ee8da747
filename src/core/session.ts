import type { RejectReason } from "./events.ts";
import type { OwnTimeouts } from "./metadata.ts";

/**
 * The data of a session without a declared type. With `unknown`, each line of untyped code would need a cast, such as
 * `update("visits", (n = 0) => n + 1)`.
 */
// oxlint-disable-next-line no-explicit-any
export type UntypedData = Record<string, any>;

/**
 * The type of a project's data, given once:
 *
 * ```ts
 * declare module "with-session" {
 *   interface Register {
 *     data: { visits: number };
 *   }
 * }
 * ```
 */
// oxlint-disable-next-line no-empty-interface, no-empty-object-type
export interface Register {}

/** The registered data, or untyped data. */
export type DefaultData = Register extends { data: infer Data extends object } ? Data : UntypedData;

/** The keys of the data that are strings. */
export type KeyOf<Data extends object> = keyof Data & string;

/** When a session began, was last used and will end. Instants are epoch milliseconds, null if there is no session. */
export interface SessionInfo {
  /** Whether the client came without a live session. */
  readonly isNew: boolean;
  /** When the session began. */
  readonly createdAt: number | null;
  /** When it was last used before this request, exact to the touch interval. */
  readonly lastSeenAt: number | null;
  /** When it ends if it is not used any more. */
  readonly expiresAt: number | null;
  /** When the user last proved who they are: the last `regenerate({ reauthenticated: true })`. */
  readonly authenticatedAt: number | null;
  /**
   * Why the client's token opens no session. Null if the token opens one, or if the client presented none. A session
   * whose record the engine has swept is `"unknown"`.
   */
  readonly ended: RejectReason | null;
}

/** How {@linkcode Session.regenerate} renews the id. */
export interface RegenerateOptions {
  /**
   * How long, in seconds, the old id still opens the session, for requests that are under way. Without a grace it never does.
   *
   * @default {0}
   */
  readonly grace?: number | undefined;
  /**
   * Whether the user has just proved who they are. The absolute timeout begins anew, and `info().authenticatedAt` is now.
   *
   * @default {false}
   */
  readonly reauthenticated?: boolean | undefined;
}

/** How long a value is kept. */
export interface ValueOptions {
  /** Seconds after which the value is gone. @default The life of the session */
  readonly ttl?: number | undefined;
}

/** What a browser clears at logout: https://www.w3.org/TR/clear-site-data/#header. */
export type ClearSiteData = "cache" | "cookies" | "storage" | "executionContexts" | "*";

/** How {@linkcode Session.destroy} logs out. */
export interface DestroyOptions {
  /**
   * What the browser clears of this site; `true` for `["cache", "storage"]`. `"cookies"` and `"*"` remove each cookie that the same response sets, and in Chromium the cookies of other hosts of the same site.
   *
   * @default Nothing
   */
  readonly clearSiteData?: readonly ClearSiteData[] | boolean | undefined;
}

/**
 * A session, as a handler holds it: a small typed map. It is loaded when it is first read, and stored, if it was changed, when the
 * handler is done.
 *
 * Each call can fail with a `SessionError`: `ERR_STORE` and `ERR_STORE_TIMEOUT` if the session cannot be loaded; `ERR_RESPONSE_SENT` if a change
 * comes after the response and there is no session to store it in. Other codes are named at the call.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 *
 * const handler = withSession(async (_request, session) => {
 *   const visits = await session.update("visits", (n = 0) => n + 1);
 *   return new Response(`Visit ${visits}\n`);
 * });
 * ```
 */
export interface Session<Data extends object = DefaultData> {
  /** The value of a key, or undefined. */
  get<Key extends KeyOf<Data>>(key: Key): Promise<Data[Key] | undefined>;
  /** The value of a key, or `fallback`. A fallback object that is then changed in place is saved like any other value. */
  get<Key extends KeyOf<Data>>(
    key: Key,
    fallback: Exclude<Data[Key], undefined>,
  ): Promise<Exclude<Data[Key], undefined>>;
  /** The value of a key, or a `fallback` of another type. */
  get<Key extends KeyOf<Data>, Fallback>(
    key: Key,
    fallback: Fallback,
  ): Promise<Exclude<Data[Key], undefined> | Fallback>;

  /** Whether a key has a value. */
  has(key: KeyOf<Data>): Promise<boolean>;

  /** All values, as a copy without a prototype. */
  all(): Promise<Partial<Data>>;

  /** The keys that have a value. */
  keys(): Promise<KeyOf<Data>[]>;

  /** How many keys have a value. */
  size(): Promise<number>;

  /** Records several values, all or none. */
  set(values: Partial<Data>, options?: ValueOptions): void;
  /**
   * Records a value; `undefined` deletes. An equal value is no change.
   *
   * @param key Any string
   * @param value A structured value. Functions, symbols and class instances are refused, except `Date`, `Map`,
   * `Set`, `RegExp`, `URL`, `ArrayBuffer` and typed arrays
   * @param options `ttl`: seconds after which the value is gone
   * @throws {SessionError} `ERR_NOT_SERIALIZABLE`; in that case nothing is recorded
   */
  set<Key extends KeyOf<Data>>(key: Key, value: Data[Key] | undefined, options?: ValueOptions): void;

  /** Drops keys. */
  delete(...keys: KeyOf<Data>[]): void;

  /** Drops all keys. The session itself continues. */
  clear(): void;

  /**
   * Reads, changes and writes one value as one step, even if many requests do so at once. On a session that exists, this
   * key alone is committed at once. If the session begins or gets a new id in this request, the value is stored with
   * everything else.
   *
   * @param key Any string
   * @param change Computes the new value. It may be async and may run again, so it must have no other effects, and must not wait for another call of this session
   * @returns The value that is stored
   * @throws {SessionError} `ERR_NOT_SERIALIZABLE`, `ERR_SESSION_GONE`, `ERR_CONFLICT`, `ERR_SCHEMA`, `ERR_RECORD_TOO_LARGE`
   */
  update<Key extends KeyOf<Data>, Next extends Data[Key] | undefined>(
    key: Key,
    change: (value: Data[Key] | undefined) => Next | Promise<Next>,
  ): Promise<Next>;

  /** Reads a value and drops its key. */
  pull<Key extends KeyOf<Data>>(key: Key): Promise<Data[Key] | undefined>;

  /**
   * Records a value for one later request that is not a prefetch. The first request that reads the value gets it; after
   * that request the value is gone.
   *
   * @param options `ttl`: seconds after which the value is gone even if no request has read it
   * @throws {SessionError} `ERR_NOT_SERIALIZABLE`
   */
  flash<Key extends KeyOf<Data>>(key: Key, value: Data[Key], options?: ValueOptions): void;

  /** Keeps flash values for one more request: those of the keys, or all. */
  keepFlash(...keys: KeyOf<Data>[]): void;

  /**
   * Makes sure that a session exists, even an empty one. Calling it again changes nothing. It is stored when the handler is done, and at once if
   * `onStoreError` is `"anonymous"`.
   *
   * @returns The id as the client will hold it; null if the store is down and `onStoreError` is `"anonymous"`
   * @throws {SessionError} `ERR_SESSION_GONE` if the client came with an id that was regenerated within the last minute, `ERR_RESPONSE_SENT`
   */
  create(): Promise<string | null>;

  /**
   * The id as the client holds it, or null. If the session begins or is regenerated in this request, it is the new id. A new session is then
   * stored, even if all its values are deleted again. If `onStoreError` is `"anonymous"`, the new id is stored at once; null if the store is down.
   *
   * @throws {SessionError} `ERR_SESSION_GONE` if the request has recorded a value for a new session, and the client came with an id that was
   *   regenerated within the last minute
   */
  id(): Promise<string | null>;

  /**
   * Stores the recorded changes now. Afterwards reads show the session as it is stored, with the changes of other requests.
   * Changes that are refused are not tried again at the end of the request, unless more changes are recorded.
   *
   * @throws {SessionError} `ERR_SESSION_GONE`, `ERR_CONFLICT`, `ERR_SCHEMA`, `ERR_RECORD_TOO_LARGE`, `ERR_COOKIE_TOO_LARGE`, `ERR_SESSION_LIMIT`, `ERR_NOT_SERIALIZABLE`
   */
  save(): Promise<void>;

  /**
   * Gives the session a new id and keeps its data. Call it at login, and whenever rights change: an attacker who
   * planted or saw the old id gains nothing then. It takes effect when the session is stored. Without a session it does
   * nothing.
   *
   * @param options `grace`: seconds for which the old id still opens the session. `reauthenticated`: whether the user has just proved who they are
   * @throws {RangeError} If `grace` is not a number of seconds, 0 or more
   */
  regenerate(options?: RegenerateOptions): Promise<void>;

  /**
   * Logs out: the record is deleted and the client's cookie expired when the handler is done. The session of
   * `sessions.open(id)` is ended at once. A value that is set afterwards begins a new session. Await the call: it drops
   * the changes that are recorded before it is done.
   *
   * @param options `clearSiteData`: what the browser clears of this site
   * @throws {SessionError} `ERR_AMBIGUOUS_COOKIE` if the request carries several different cookies of the name. Catch it in the handler: the response expires them, so the client can try again
   * @throws {TypeError} If `clearSiteData` is neither a list of known words nor a boolean
   */
  destroy(options?: DestroyOptions): Promise<void>;

  /** Pushes the idle deadline out now, without waiting for the touch interval. */
  touch(): void;

  /** When the session began, was last used and will end, or why the client's token opens no session. */
  info(): Promise<SessionInfo>;

  /**
   * Gives this session other timeouts, in seconds: "remember me". They last until they are set again.
   *
   * @param timeouts `idle`, `absolute` and `cookie`. An absent one stays as it is, at first as the options say
   * @throws {RangeError} If one of them is not a positive number of seconds
   */
  setTimeouts(timeouts: OwnTimeouts): void;
}

/**
 * A session with data of any type, for a function that needs none of its values. With `Session<UntypedData>`, TypeScript
 * before 6 would refuse a session whose data have a required key.
 */
// oxlint-disable-next-line no-explicit-any -- see above
export type AnySession = Session<any>;
