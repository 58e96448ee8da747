/**
 * What capabilities may ask of a session beyond its public calls. There is one way to it, which also works for a session of another
 * copy of this package.
 *
 * @module
 */
import type { Codec } from "./codec.ts";
import type { RejectReason } from "./events.ts";
import type { FieldsView } from "./fields.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import type { JsonValue } from "./metadata.ts";
import type { Found, Operation, Repository } from "./repository.ts";

/** A session from the inside. */
export interface SessionInternals {
  /** Makes sure that the session is loaded. */
  load(): MaybePromise<void>;
  /** The session as the store last showed it; null if there is none, undefined before `load`. */
  readonly found: Found | null | undefined;
  /** Why what the client presented is not its session; null if it is, or if nothing was presented. */
  readonly rejected: RejectReason | null;
  /** Whether the session could not be loaded, where that is tolerated. */
  readonly isUnavailable: boolean;
  /** What the client presented, as far as it is known. */
  readonly presented: string | null | undefined;
  /** The request, and what the runtime passes beside it. */
  readonly request: Request | undefined;
  readonly runtimeArguments: readonly unknown[];
  /** How the manager encodes one value. */
  readonly codec: Codec;
  /** The manager's clock, in epoch milliseconds. */
  now(): number;
  /** The manager's repository, with all plugins around it. */
  readonly repository: Repository;
  /** What a separate load or commit needs, with a time limit that begins now. */
  operation(): MaybePromise<Operation>;
  /** Makes sure that the session will exist. @throws {SessionError} `ERR_RESPONSE_SENT` */
  begin(): Promise<void>;
  /** The id that the session has, or will have; it can no longer change. */
  discloseId(): MaybePromise<string>;
  /** The id of a session that begins or gets a new id in this request, if `discloseId` or the program has made it known. */
  readonly disclosedId: string | undefined;
  /** A plugin's facts as this request sees them, with recorded changes. */
  metadata(name: `+${string}`): JsonValue | undefined;
  /** Records a change of a plugin's facts, which is stored with everything else; null removes them. @throws {SessionError} `ERR_RESPONSE_SENT` */
  setMetadata(name: `+${string}`, value: JsonValue | null): void;
  /** Waits for a call that is under way when the handler returns, also if nobody awaited it. Answers what the call answers. */
  track<T>(call: Promise<T>): Promise<T>;
  /** Notes that this request has proved who the user is, so that a recently retired id does not keep it from beginning a session. */
  authenticate(): void;
  /**
   * Changes one value and commits it at once, as `Session.update` does, together with other fields of the record: `change` gets them to read and to
   * change. It may run again. It begins the session if there is none.
   *
   * @returns The value that is stored
   * @throws {SessionError} `ERR_SESSION_GONE`, `ERR_CONFLICT`, `ERR_STORE`, `ERR_STORE_TIMEOUT`, `ERR_RECORD_TOO_LARGE`; `ERR_RESPONSE_SENT` if there is no session
   * @throws What `change` throws: nothing is stored then
   */
  update(
    key: string,
    change: (value: unknown, fields: Pick<FieldsView, "get" | "set" | "delete">) => unknown,
  ): Promise<unknown>;
  /** Finds the newest state of a session that exists, and applies to it what waits. @throws {SessionError} `ERR_SESSION_GONE` */
  refresh(): Promise<void>;
}

/** The key of a session's internals. */
export const INTERNALS: unique symbol = Symbol.for("with-session.internals.1");

/**
 * The internals of a session.
 *
 * @throws {TypeError} If the value is not a session of this package
 */
export function internalsOf(session: object): SessionInternals {
  const internals: unknown =
    typeof session === "object" && session !== null ? Reflect.get(session, INTERNALS) : undefined;
  if (internals === undefined) throw new TypeError("Expected a Session of with-session");
  return internals as SessionInternals;
}

/**
 * The internals of a session whose manager has a plugin.
 *
 * @param plugin What the program calls to make the plugin, for the message
 * @param repositories Those of the managers that have it
 * @throws {TypeError} If the value is not a session of this package, or its manager does not have the plugin
 */
export function internalsWith(
  session: object,
  plugin: string,
  repositories: { has(repository: Repository): boolean },
): SessionInternals {
  const internals = internalsOf(session);
  if (repositories.has(internals.repository)) return internals;
  throw notAmongPlugins(plugin);
}

/** The error of a plugin that no manager has, or not this one. */
export function notAmongPlugins(plugin: string): TypeError {
  return new TypeError(`${plugin} is not among the plugins of this SessionManager; give it in the option plugins`);
}
