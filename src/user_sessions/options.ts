import { kindOf } from "../core/kind_of.ts";
import { assertKnown } from "../core/known_options.ts";
import type { MaybePromise } from "../core/maybe_promise.ts";
import { oneOf } from "../core/options/simple_checks.ts";

/** A value that changes when a user's credentials change: a counter, a date, the hash of a password. */
export type CredentialVersion = string | number;

/** Metadata as the functions of `indexes` get it. */
export type IndexedMetadata<Metadata> = Metadata & { readonly [name: string]: unknown };

/** Options of {@linkcode userSessions}. */
export interface UserSessionsOptions<Metadata = unknown> {
  /**
   * How many sessions one user may have at a time, at least 1: a number, or a function of the user id and the arguments
   * that the runtime passes after the request.
   *
   * @default No limit
   */
  readonly limit?: number | LimitFunction | undefined;
  /**
   * Whether a session beyond the limit ends the one that was bound to the user first, or is refused with
   * `ERR_SESSION_LIMIT`.
   *
   * @default {"revoke-oldest"}
   */
  readonly onLimit?: "revoke-oldest" | "refuse" | undefined;
  /**
   * The version of a user's credentials. `bind` notes it, and each load of a bound session compares it, without a store
   * call. A session with another version is rejected with the reason `"credentials"`. So it is if the function returns
   * null or undefined, as for a user who was deleted. A session that was bound without a version is not compared.
   *
   * @default Sessions outlive a change of the credentials
   */
  readonly credentialVersion?: CredentialVersionFunction | undefined;
  /**
   * Other keys by which `revokeBy` finds sessions. Each is a function of the metadata, which returns a text or a
   * number, or undefined for no key.
   *
   * @default None
   */
  readonly indexes?: { readonly [name: string]: (metadata: IndexedMetadata<Metadata>) => unknown } | undefined;
}

/** The version of a user's credentials; null or undefined if the user has none. */
export type CredentialVersionFunction = {
  version(userId: string, ...rest: unknown[]): MaybePromise<CredentialVersion | null | undefined>;
}["version"];

/** A limit that depends on the user. */
export type LimitFunction = { limit(userId: string, ...rest: unknown[]): MaybePromise<number> }["limit"];

/** @throws {TypeError | RangeError} If an option is unknown or of the wrong kind */
export function assertOptions<Metadata>(options: UserSessionsOptions<Metadata>): void {
  assertKnown(options, ["limit", "onLimit", "credentialVersion", "indexes"], "userSessions");
  const { limit, onLimit, credentialVersion, indexes = {} } = options;
  if (limit !== undefined && typeof limit !== "function") checkedLimit(limit);
  oneOf("userSessions: onLimit", onLimit, ["revoke-oldest", "refuse"]);
  // This only checks that it is an object: the program chooses the names.
  assertKnown(indexes, ["sid", ...Object.keys(Object(indexes))], "userSessions.indexes");
  for (const each of [credentialVersion, ...Object.values(indexes)])
    if (each !== undefined && typeof each !== "function")
      throw new TypeError("userSessions: credentialVersion and each of the indexes must be a function");
  // Its lists would be those of the users.
  if (Object.hasOwn(indexes, "")) throw new TypeError("userSessions: the name of an index must not be empty");
}

/** @throws {RangeError} If it is neither a whole number of at least 1 nor Infinity */
export function checkedLimit(limit: unknown): number {
  if (typeof limit === "number" && (Number.isInteger(limit) || limit === Infinity) && limit >= 1) return limit;
  throw new RangeError("userSessions: limit must be a whole number of at least 1, or Infinity");
}

/**
 * A value that can be compared; undefined for none.
 *
 * @param rule What must be such a value, for the message
 * @throws {TypeError} If it is neither a string nor a finite number
 */
export function comparable(rule: string, value: unknown): string | number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string" || Number.isFinite(value)) return value as string | number;
  throw new TypeError(`userSessions: ${rule} a string, a finite number or null; it is ${kindOf(value)}`);
}

/** The text of a value by which sessions are found; undefined for none. @throws {TypeError} If it is neither a string nor a finite number */
export function indexText(value: unknown): string | undefined {
  const text = comparable("the value of an index must be", value);
  return text === undefined || text === "" ? undefined : String(text);
}
