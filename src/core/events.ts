import type { SessionError } from "./errors.ts";
import { isObject } from "./kind_of.ts";

/**
 * Why the token that a client presented was rejected.
 *
 * - `malformed`, `forged`: the token cannot be an id, or its signature is wrong.
 * - `unknown`: the store has no such session. It ended long ago, or never existed.
 * - `expired`: the idle or the absolute timeout of the session has passed.
 * - `retired`: the id was regenerated. `replaced` is the same in the first minute after that, when changes of the request
 *   are dropped; only plugins see it, because events and `info()` report `retired`.
 * - `revoked`, `credentials`: the session was ended from elsewhere, or the user's credentials have changed since.
 * - `schema`, `corrupt`, `misplaced`, `newer`: the record fails the schema, cannot be read, belongs to another
 *   key, or was written by a newer version.
 * - `ambiguous`: the request carries several different cookies of the session's name.
 * - `reuse`: `rotateEvery` retired the id, the client has used the new id, and a request presents the old one: a sign of theft.
 *
 * A plugin may add reasons.
 */
export type RejectReason =
  | "malformed"
  | "forged"
  | "unknown"
  | "expired"
  | "retired"
  | "replaced"
  | "revoked"
  | "credentials"
  | "schema"
  | "corrupt"
  | "misplaced"
  | "newer"
  | "ambiguous"
  | "reuse"
  | (string & {});

/** What happened, without the parts that all events share. */
export type SessionHappening =
  | {
      readonly type:
        | "loaded"
        | "created"
        | "touched"
        | "regenerated"
        | "destroyed"
        | "gone"
        | "stale"
        | "ambiguous"
        | "late";
    }
  | { readonly type: "changed" | "conflict"; readonly attempts: number }
  | { readonly type: "rejected"; readonly reason: RejectReason }
  | { readonly type: "revoked"; readonly sessions: number; readonly reason?: string }
  | {
      readonly type: "failed";
      /** What the store was doing. */
      readonly during: "load" | "store";
      readonly error: SessionError;
      /**
       * The engine's own error. It may hold keys and data, so write it only to a private log. A logger that prints the
       * event does not print it, because the property is not enumerable.
       */
      readonly detail?: unknown;
    };

/** What all events share. */
export interface EventContext {
  /** The name of the cookie or header, to tell sessions of several managers apart. */
  readonly name: string;
  /**
   * The request in which it happened, if there was one. It has the client's cookie. A logger that prints the event does
   * not print it, because the property is not enumerable.
   */
  readonly request?: Request | undefined;
  /** How long it took, in milliseconds; absent if that was not measured. */
  readonly durationMs?: number | undefined;
}

/**
 * What happened to a session, for logs and metrics. No event holds an id, a store key or data, except `detail` of `failed`.
 *
 * - `loaded`: a live session was found. `rejected`: the token that the client presented was rejected; `reason` says why.
 * - `created`, `changed`, `touched`, `regenerated`, `destroyed`: stored; `attempts` counts the tries.
 * - `conflict`: another request wrote in between, and the changes are applied again.
 * - `gone`: another request has destroyed or regenerated the session; the changes of this request were dropped.
 * - `revoked`: sessions of a user were ended; `sessions` counts them.
 * - `ambiguous`: the request carries several cookies of the session's name.
 * - `stale`: an eventually consistent store answered with an older state than this client has seen.
 * - `late`: a change was made after the response was sent.
 * - `failed`: the store failed.
 */
export type SessionEvent = SessionHappening & EventContext;

/** What an event is about: a manager, and perhaps one of its sessions. */
interface EventScope {
  readonly policy: { readonly onEvent: ((event: SessionEvent) => unknown) | undefined; readonly name: string };
  readonly request?: Request | undefined;
  readonly transport?: { readonly name: string } | undefined;
  readonly openedName?: string | undefined;
}

/** The name of the cookie or header that carries the token. */
export function nameOf({ policy, transport, openedName }: EventScope): string {
  return transport?.name ?? openedName ?? policy.name;
}

/** Calls `onEvent`. A listener cannot disturb a request: an error that it throws, or rejects with, is dropped. */
export function notify(scope: EventScope, happening: SessionHappening, durationMs?: number): void {
  const { onEvent } = scope.policy;
  if (onEvent === undefined) return;
  const event: SessionEvent = { ...happening, name: nameOf(scope), durationMs };
  // The request has the client's cookie, and the engine's error may have keys and data. Loggers that print an object, as
  // `console.log` does, print what can be enumerated.
  Object.defineProperty(event, "request", { value: scope.request });
  if ("detail" in event) Object.defineProperty(event, "detail", { enumerable: false });
  try {
    const answer = onEvent(event);
    if (isObject(answer)) Promise.resolve(answer).catch(() => {});
  } catch {
    // See above.
  }
}
