/**
 * The access that capabilities have to a session, beyond its public calls. {@linkcode internalsOf} gives this access,
 * also for a session of another copy of this package.
 *
 * @module
 */
import type { SessionError } from "./errors.ts";
import type { RejectReason } from "./events.ts";
import type { FieldsView } from "./fields.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import type { JsonValue, Metadata } from "./metadata.ts";
import type { Policy } from "./policy.ts";
import type { Found, Operation, Repository } from "./repository.ts";
import { isObject } from "./kind_of.ts";

/** A session from the inside. */
export interface SessionInternals {
  /** Makes sure that the session is loaded. */
  load(): MaybePromise<void>;
  /** The session as the store last returned it; null if there is no session, undefined before `load`. */
  readonly found: Found | null | undefined;
  /** Why the client's token opens no session; null if it opens one, or if the client presented none. */
  readonly rejected: RejectReason | null;
  /** The failure of the store that the options tolerate: the session could not be loaded. */
  readonly unavailable: SessionError | undefined;
  /** How the manager encodes one value, its repository with all plugins around it, its clock, and what it does if the store fails. */
  readonly policy: Pick<Policy, "codec" | "repository" | "now" | "toleratesFailure">;
  /** Drops what was recorded and not stored. */
  dropRecorded(): void;
  /** The token that the client presented; null if it presented none, undefined before the token was read. */
  readonly presented: string | null | undefined;
  /** The request, undefined for a session that was opened by its id, and the arguments that the runtime passes beside it. */
  readonly request: Request | undefined;
  readonly runtimeArguments: readonly unknown[];
  /** The context of a separate load or commit. Its time limit begins now. */
  operation(): MaybePromise<Operation>;
  /** Makes sure that the session will exist. @throws {SessionError} `ERR_RESPONSE_SENT` */
  begin(): Promise<void>;
  /** The id that the session has or will have. From now on it cannot change. */
  discloseId(): MaybePromise<string>;
  /** The id of a session that begins or gets a new id in this request, if `discloseId` or the program has made it known. */
  readonly disclosedId: string | undefined;
  /** The id that the session had before this request renewed it by age. */
  readonly renewedId?: string | undefined;
  /** A plugin's facts as this request sees them, with recorded changes. */
  metadata(name: `+${string}`): JsonValue | undefined;
  /**
   * Records a change of a plugin's facts, which is stored with everything else; null removes them. A function gets the
   * facts and the metadata to which the change applies, and may return these facts. It runs again after a conflict, so
   * that a request does not overwrite facts that it has not seen.
   *
   * @throws {SessionError} `ERR_RESPONSE_SENT`
   */
  setMetadata(name: `+${string}`, value: JsonValue | null | FactsChange): void;
  /** Makes the end of the request wait for a call, even if the handler does not await it. Returns the result of the call. */
  track<T>(call: Promise<T>): Promise<T>;
  /**
   * Notes that this request has proved who the user is. It may then begin a session although it presented a recently retired id.
   */
  authenticate(): void;
  /**
   * Notes, before the session is loaded, that this request does not count as use of it: it neither pushes the idle deadline
   * out nor renews the id by age.
   */
  ignoreUse(): void;
  /**
   * Changes one value and commits it at once, as `Session.update` does. `change` also gets the other fields of the
   * record, and its changes of them are committed too. It may run again. A session is begun if there is none.
   *
   * @returns The value that is stored
   * @throws {SessionError} `ERR_SESSION_GONE`, `ERR_CONFLICT`, `ERR_STORE`, `ERR_STORE_TIMEOUT`,
   * `ERR_RECORD_TOO_LARGE`; `ERR_RESPONSE_SENT` if there is no session
   * @throws The error of `change`; in that case nothing is stored
   */
  update(
    key: string,
    change: (value: unknown, fields: Pick<FieldsView, "get" | "set" | "delete">) => unknown,
  ): Promise<unknown>;
  /**
   * Loads the newest state of a session that exists, and applies the recorded changes to it.
   *
   * @throws {SessionError} `ERR_SESSION_GONE`
   */
  refresh(): Promise<void>;
}

/** A change of a plugin's facts. */
export type FactsChange = (facts: JsonValue | undefined, metadata: Metadata) => JsonValue | undefined;

/** The key of a session's internals. */
export const INTERNALS: unique symbol = Symbol.for("with-session.internals.1");

/**
 * The internals of a session.
 *
 * @throws {TypeError} If the value is not a session of this package
 */
export function internalsOf(session: object): SessionInternals {
  const internals: unknown = isObject(session) ? session[INTERNALS] : undefined;
  if (internals === undefined) throw new TypeError("Expected a Session of with-session");
  return internals as SessionInternals;
}

/**
 * The internals of a session whose manager has a plugin.
 *
 * @param plugin The name of the function that makes the plugin, for the message
 * @param repositories The repositories of the managers that have the plugin
 * @throws {TypeError} If the value is not a session of this package, or its manager does not have the plugin
 */
export function internalsWith(
  session: object,
  plugin: string,
  repositories: { has(repository: Repository): boolean },
): SessionInternals {
  const internals = internalsOf(session);
  if (repositories.has(internals.policy.repository)) return internals;
  throw notAmongPlugins(plugin);
}

/** The error for a plugin that the manager of the session does not have. */
export function notAmongPlugins(plugin: string): TypeError {
  return new TypeError(`${plugin} is not among the plugins of this SessionManager; give it in the option plugins`);
}
