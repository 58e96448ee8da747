/**
 * The seam between a token, which the client presents, and a session. The core has one repository, on a store. Plugins wrap it, and
 * `cookieSessions()` brings another one, which keeps the session in the token itself.
 *
 * @module
 */
import type { RejectReason, SessionHappening } from "./events.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import type { Metadata } from "./metadata.ts";
import type { RecordVersion, SessionStore } from "./store.ts";
import type { Transport } from "./transport.ts";

/** What is to be stored for a session. */
export interface Contents {
  /** The fields: `=key` for data, `~key` for flash values, `%key` for data with a time to live. */
  readonly fields: ReadonlyMap<string, string>;
  /** What the core and its plugins keep beside the fields: when the session began, its own timeouts, its successor. */
  readonly metadata: Metadata;
  /** When the session was last used, in epoch milliseconds. */
  readonly lastSeenAt: number;
}

/** A session as it was found, or as it was just stored. */
export interface Found extends Contents {
  /** Names the session until it is regenerated. */
  readonly id: string;
  /** What the client holds and presents. */
  readonly token: string;
  /** Differs after every write. */
  readonly version: RecordVersion;
  /** Set if the session must be stored although nobody changed it, because the store has lost a part of it. */
  readonly needsStoring?: boolean;
  /** What the repository that found it needs to know. Nobody else reads it. */
  readonly stored?: unknown;
}

/** What one load or one commit needs: the clock, the store, the request. */
export interface Operation {
  /** The clock, in epoch milliseconds, when the operation began. */
  readonly now: number;
  /** The store, with the time limit of this operation, retries, checked answers and clean errors. */
  readonly store: SessionStore;
  /** The request; undefined for a session that was opened by its id. */
  readonly request: Request | undefined;
  /** What the runtime passes beside the request, such as a Worker's `env`. */
  readonly runtimeArguments: readonly unknown[];
  /** The name of the cookie or header under which a token is written. What is signed or sealed is bound to it. */
  readonly name: string;
  /** The name under which the client presented its token; another one than `name` if the cookie was renamed. */
  readonly presentedName: string;
  /** Whether the token is one that this server has made or opened before, so that no retired id is taken for stolen. */
  readonly isOwnToken?: boolean | undefined;
  /** The transport that presented the token, or that will write it; undefined without a request. */
  readonly transport?: Transport | undefined;
  /** The `Session` object that the operation serves; undefined for work on sessions of nobody here, such as `revokeAll`. */
  readonly session: object | undefined;
  /**
   * Names what this operation stores, in the metadata of the session. It is the same in each attempt, so that a write which was done
   * although the answer was "conflict" is recognised. It is not `Write.id`, which is another one for each write.
   */
  readonly writeId: string;
  /** The instant at which a session ends, in epoch milliseconds, by the timeouts that are in force for it. */
  endsAt(contents: Pick<Contents, "metadata" | "lastSeenAt">): number;
  /**
   * Refuses a token that the client cannot keep, before anything is stored that depends on it. Absent where there is no client.
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

/** The place that turns a token into a session, and back. Each answer comes with or without a promise. */
export interface Repository {
  /** Whether the token holds the session itself, so that a change reaches the client only with a response. */
  readonly tokenHoldsSession?: boolean;

  /** What the client will hold of a session that is yet to be stored under `id`. Absent if that is known only after storing. */
  tokenFor?(id: string, op: Operation): MaybePromise<string>;

  /** Finds the session of a token, or says why there is none. An unknown id is never adopted. */
  open(token: string, op: Operation): MaybePromise<Found | RejectReason>;

  /** Finds the newest state of a session that was found alive; null if it was ended or retired since. */
  refresh(current: Found, op: Operation): MaybePromise<Found | null>;

  /** Stores a new session under `id`. `replaces` is the session that it is about to succeed. */
  create(id: string, contents: Contents, op: Operation, replaces?: Found): MaybePromise<Found | "conflict">;

  /** Stores changed contents if nothing else was stored since `current` was found. */
  update(current: Found, contents: Contents, op: Operation): MaybePromise<Found | "conflict">;

  /**
   * Retires an id: with `graceUntil`, it leads to the successor until then; with null, it never does. In both cases a logout with it ends
   * the successor.
   */
  retire(current: Found, successor: Found, graceUntil: number | null, op: Operation): MaybePromise<true | "conflict">;

  /** Puts back a session that was retired in this request, whose response will not carry the new id, and ends the successor. */
  reinstate?(retired: Found, successor: Found, op: Operation): MaybePromise<void>;

  /** Ends a session, or whatever a token leads to, and the sessions that took its place. */
  end(session: Found | string, op: Operation): MaybePromise<void>;
}
