/**
 * What can go wrong while a request runs, as a stable word to branch on.
 *
 * - `ERR_STORE`: the store failed.
 * - `ERR_STORE_TIMEOUT`: the store did not answer within `storeTimeout`.
 * - `ERR_CONFLICT`: other requests kept changing the session until `storeTimeout` had passed, or each id that the generator made
 *   was already in use.
 * - `ERR_SESSION_GONE`: the session was destroyed or regenerated meanwhile.
 * - `ERR_RESPONSE_SENT`: the change can no longer reach the client, because the response was sent.
 * - `ERR_NOT_SERIALIZABLE`: a value cannot be stored; the message names its key and path.
 * - `ERR_SCHEMA`: the data fails the schema; the message names the paths and carries the schema's own messages, which
 *   quote the refused value with some schemas.
 * - `ERR_RECORD_TOO_LARGE`: the record is larger than the store accepts.
 * - `ERR_COOKIE_TOO_LARGE`: the cookie is larger than browsers keep.
 * - `ERR_SESSION_LIMIT`: the user has as many sessions as `userSessions({ limit })` allows.
 * - `ERR_AMBIGUOUS_COOKIE`: the request carries several cookies of the session's name, so it is unknown which session to end.
 */
export type SessionErrorCode =
  | "ERR_STORE"
  | "ERR_STORE_TIMEOUT"
  | "ERR_CONFLICT"
  | "ERR_SESSION_GONE"
  | "ERR_RESPONSE_SENT"
  | "ERR_NOT_SERIALIZABLE"
  | "ERR_SCHEMA"
  | "ERR_RECORD_TOO_LARGE"
  | "ERR_COOKIE_TOO_LARGE"
  | "ERR_SESSION_LIMIT"
  | "ERR_AMBIGUOUS_COOKIE";

/** Another copy of this package makes errors of another class. This brand marks them all. */
const BRAND: unique symbol = Symbol.for("with-session.SessionError");

/**
 * A failure of a session while a request runs. No message and no `cause` holds an id, a store key or a value. A mistake in the
 * program is a `TypeError` or a `RangeError` instead.
 *
 * @example
 * ```ts
 * import { SessionError } from "with-session";
 *
 * const error: unknown = new SessionError("ERR_STORE", "Cannot load the session: the store failed");
 * if (error instanceof SessionError && error.code === "ERR_STORE") {
 *   new Response("Please try again", { status: 503 });
 * }
 * ```
 */
export class SessionError extends Error {
  /** Always `"SessionError"`. */
  override readonly name: string = "SessionError";
  /** What went wrong, as a word that does not change between versions. */
  readonly code: SessionErrorCode;

  /**
   * Creates an error.
   *
   * @param code What went wrong
   * @param message What could not be done, why, and what to do about it
   * @param options `cause` must hold no id, no store key and no value
   */
  constructor(code: SessionErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** Accepts an error of another copy of this package as well. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    // A subclass has its own instances.
    return this === SessionError ? isSessionError(value) : Function.prototype[Symbol.hasInstance].call(this, value);
  }
}

/** Whether a value is a `SessionError`, also one of another copy of this package. */
export function isSessionError(value: unknown): value is SessionError {
  return isBranded(value, BRAND);
}

/** Never throws: the value that a store's client throws may be a proxy that throws when it is read. */
function isBranded(value: unknown, brand: symbol): boolean {
  try {
    return typeof value === "object" && value !== null && brand in value;
  } catch {
    return false;
  }
}

/**
 * A store throws this error when its engine refuses a call for the moment and has stored nothing. The call is tried
 * again within `storeTimeout`. The code of the error is `ERR_STORE`.
 *
 * @example
 * ```ts
 * import { StoreBusyError } from "with-session";
 *
 * async function put(write: () => Promise<Response>): Promise<void> {
 *   if ((await write()).status === 429) throw new StoreBusyError();
 * }
 * ```
 */
export class StoreBusyError extends SessionError {
  /** Creates an error. */
  constructor() {
    super("ERR_STORE", "Cannot use the store: it accepts no more calls for the moment");
    Object.defineProperty(this, BUSY, { value: true });
  }
}

const BUSY: unique symbol = Symbol.for("with-session.StoreBusyError");

/** Whether a value is a `StoreBusyError`, also one of another copy of this package. */
export function isBusy(value: unknown): boolean {
  return isBranded(value, BUSY);
}

/**
 * Marks an error as that of an engine that refuses a call because another one holds its lock. The call is tried again, as
 * after a `StoreBusyError`. A lock is free again after milliseconds, a limit of calls after seconds: so the first wait is
 * shorter.
 */
export function storeLocked<Thrown extends object>(error: Thrown): Thrown {
  return Object.defineProperties(error, { [BUSY]: { value: true }, [LOCKED]: { value: true } });
}

const LOCKED: unique symbol = Symbol.for("with-session.locked");

/** Whether a value is such an error, also one of another copy of this package. */
export function isLocked(value: unknown): boolean {
  return isBranded(value, LOCKED);
}

/** Whether a value is a `SessionError` with one of these codes. */
export function hasCode(error: unknown, ...codes: readonly SessionErrorCode[]): error is SessionError {
  return isSessionError(error) && codes.includes(error.code);
}

/** Whether an error is a failure of the store, after which it may be unknown whether a write was stored. */
export function isOutage(error: unknown): error is SessionError {
  return hasCode(error, "ERR_STORE", "ERR_STORE_TIMEOUT");
}

/** The error of a store that takes too long. */
export function storeTimedOut(action: string, seconds: number): SessionError {
  return new SessionError(
    "ERR_STORE_TIMEOUT",
    `Cannot ${action}: the store did not answer within ${seconds} s; is it reachable?`,
  );
}

/** The error of a session that was destroyed or regenerated meanwhile. */
export function sessionGone(): SessionError {
  return new SessionError("ERR_SESSION_GONE", "Cannot store the session: it was destroyed or regenerated meanwhile");
}

/** The error of a change that can no longer reach the client. */
export function responseSent(action: string): SessionError {
  return new SessionError(
    "ERR_RESPONSE_SENT",
    `Cannot ${action} a session: the response was already sent; call it earlier, and await it`,
  );
}

/** The error of a value that a codec has refused. It says where and why, if the codec does. */
export function notSerializable(key: string, error: unknown): SessionError {
  const thrown: { readonly path?: unknown; readonly reason?: unknown } = Object(error);
  const path = typeof thrown.path === "string" ? thrown.path : "";
  const place = JSON.stringify(key) + (path === "" ? "" : ` (at ${key}${/^[.[]/.test(path) ? path : `.${path}`})`);
  const reason = typeof thrown.reason === "string" ? thrown.reason : "codec.encode refused it";
  return new SessionError("ERR_NOT_SERIALIZABLE", `Cannot store ${place}: ${reason}; store plain data instead`);
}

/** The error of a logout that does not know which session to end. */
export function ambiguousCookie(): SessionError {
  return new SessionError(
    "ERR_AMBIGUOUS_COOKIE",
    "Cannot end the session: the request carries several cookies of its name; the response expires the stray ones, so let the client try again",
  );
}

const MISTAKE: unique symbol = Symbol.for("with-session.mistake");

/**
 * A mistake of the program that shows only while it runs, such as a function that opens no client. It is a `TypeError`.
 * Its message is not hidden, as the messages of a store's client are, so it must hold no id, no store key and no value.
 */
export function mistake(message: string): TypeError {
  return Object.defineProperty(new TypeError(message), MISTAKE, { value: true });
}

/** Whether an error is a mistake of the program, also one that another copy of this package has made. */
export function isMistake(error: unknown): error is TypeError {
  return isBranded(error, MISTAKE);
}

/**
 * Returns the answer of a store if it is valid. An invalid answer counts as a failure of the store: if it counted as a
 * success, or as a missing record, data or a logout could be lost.
 */
export function validAnswer<T>(action: string, answer: T, isValid: (answer: unknown) => boolean): T {
  if (isValid(answer)) return answer;
  throw new SessionError("ERR_STORE", `Cannot ${action}: the store gave an invalid answer: see SessionStore`);
}
