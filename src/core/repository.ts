/**
 * The seam between a session and its token, which the client presents. The core has one repository, which uses a store.
 * Plugins wrap it, and `cookieSessions()` brings another one, which keeps the session in the token itself.
 *
 * @module
 */
import type { RejectReason, SessionHappening } from "./events.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import type { Metadata } from "./metadata.ts";
import type { RecordVersion, SessionStore } from "./store.ts";
import type { Transport } from "./transport.ts";

/** The contents of a session, as they are stored. */
export interface Contents {
  /** The fields: `=key` for data, `~key` for flash values, `%key` for data with a time to live. */
  readonly fields: ReadonlyMap<string, string>;
  /**
   * The facts that the core and its plugins keep beside the fields: when the session began, its own timeouts, its successor.
   */
  readonly metadata: Metadata;
  /** When the session was last used, in epoch milliseconds. */
  readonly lastSeenAt: number;
}

/** A session as it was found, or as it was just stored. */
export interface Found extends Contents {
  /** Names the session until it is regenerated. */
  readonly id: string;
  /** The token that the client holds and presents. */
  readonly token: string;
  /** The version of the stored session. It differs after every write. */
  readonly version: RecordVersion;
  /** Set if the session must be stored although no request changed it, because the store has lost a part of it. */
  readonly needsStoring?: boolean;
  /** Private to the repository that found the session. */
  readonly stored?: unknown;
}

/** The context of one load or one commit: the clock, the store, the request. */
export interface Operation {
  /**
   * The clock, in epoch milliseconds, when the operation began. A load for a handler has the instant at which its request
   * came, because the handler may have waited, such as for an upload.
   */
  readonly now: number;
  /** The store, with the time limit of this operation, retries, checked answers and clean errors. */
  readonly store: SessionStore;
  /** The request; undefined for a session that was opened by its id. */
  readonly request: Request | undefined;
  /** The arguments that the runtime passes beside the request, such as a Worker's `env`. */
  readonly runtimeArguments: readonly unknown[];
  /** The name of the cookie or header under which a token is written. Signatures and sealed values are bound to it. */
  readonly name: string;
  /** The name under which the client presented its token. It differs from `name` if the cookie was renamed. */
  readonly presentedName: string;
  /** Whether this server has made or opened the token before. If so, a retired id does not count as stolen. */
  readonly isOwnToken?: boolean | undefined;
  /**
   * Whether the request has found or stored the session before. It may finish after the session's end, so `endsAt` is
   * later by a margin.
   */
  readonly isKnown?: boolean | undefined;
  /** The transport that presented the token, or will write it; undefined without a request. */
  readonly transport?: Transport | undefined;
  /** The `Session` object that the operation serves; undefined for work on other sessions, such as `revokeAll`. */
  readonly session: object | undefined;
  /**
   * The name of this operation's write in the metadata of the session. It is the same in each attempt: a write that was
   * done is recognised by it, even if the store answered "conflict". It is not `Write.id`, which differs for each write.
   */
  readonly writeId: string;
  /** The instant at which a session ends by the timeouts that apply to it, in epoch milliseconds. */
  endsAt(contents: Pick<Contents, "metadata" | "lastSeenAt">): number;
  /**
   * Rejects a token that the client cannot keep, before anything that depends on it is stored. Absent if there is no client.
   *
   * @throws {SessionError} `ERR_COOKIE_TOO_LARGE`
   */
  assertFits?(token: string): void;
  /** Reports an event. */
  emit(event: SessionHappening): void;
  /**
   * Waits before the next attempt after a conflict.
   *
   * @throws {SessionError} `ERR_CONFLICT` when no time is left
   */
  backOff(): Promise<void>;
}

/** Turns a token into a session, and a session into a token. Each method returns its result with or without a promise. */
export interface Repository {
  /** Whether the token holds the session itself, so that a change reaches the client only with a response. */
  readonly tokenHoldsSession?: boolean;

  /** The token of a session that will be stored under `id`. Absent if the token is known only after storing. */
  tokenFor?(id: string, op: Operation): MaybePromise<string>;

  /** The id from which a token was made; null if the token is forged. Absent if tokens are not made from ids. */
  idOf?(token: string, op: Operation): MaybePromise<string | null>;

  /** Finds the session of a token, or returns the reason why it has none. An unknown id is never adopted. */
  open(token: string, op: Operation): MaybePromise<Found | RejectReason>;

  /** Finds the newest state of a session that was found alive; null if the session was ended or retired since. */
  refresh(current: Found, op: Operation): MaybePromise<Found | null>;

  /**
   * Stores a new session under `id`. `replaces` is the session whose successor it will be. It is the session itself if an
   * eventually consistent store does not show it.
   */
  create(id: string, contents: Contents, op: Operation, replaces?: Found): MaybePromise<Found | "conflict">;

  /** Stores changed contents if nothing else was stored since `current` was found. */
  update(current: Found, contents: Contents, op: Operation): MaybePromise<Found | "conflict">;

  /**
   * Retires an id. With `graceUntil`, the id opens the successor until that instant, in epoch milliseconds; with null
   * it never does. In both cases a logout with the id ends the successor.
   */
  retire(current: Found, successor: Found, graceUntil: number | null, op: Operation): MaybePromise<true | "conflict">;

  /** Puts back a session that this request has retired, and ends the successor: the response will not carry the new id. */
  reinstate?(retired: Found, successor: Found, op: Operation): MaybePromise<void>;

  /** Ends a session, or the session of a token, and all its successors. */
  end(session: Found | string, op: Operation): MaybePromise<void>;
}
