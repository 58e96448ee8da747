import type { MaybePromise } from "./maybe_promise.ts";
import type { Policy } from "./policy.ts";
import type { AnySession, Session } from "./session.ts";

/** The parts of a manager that wrappers and adapters use, also if another copy of this package made the manager. */
export interface ManagerInternals<Data extends object = object> {
  readonly policy: Policy;
  /**
   * Begins the session of a request. With `isShared`, other wrappers find the session by its
   * request. If an outer wrapper has the session open already, that session is returned, and
   * `isJoined` is true: the outer wrapper will store it.
   */
  begin(
    request: Request,
    runtimeArguments: readonly unknown[],
    isShared: boolean,
  ): { readonly session: Session<Data>; readonly isJoined: boolean };
  /**
   * Lets plugins answer a request in place of the handler, and loads the session if the options ask for that. Undefined
   * if neither is needed.
   */
  readonly prepare:
    | ((request: Request, session: AnySession, runtimeArguments: readonly unknown[]) => Promise<Response | undefined>)
    | undefined;
  /**
   * Stores a session at the end of its request. Answers the response with the session's
   * headers, or undefined without a response.
   */
  finish<Answer extends Response | undefined>(
    request: Request,
    session: object,
    response: Answer,
    runtimeArguments: readonly unknown[],
  ): Answer | Promise<Answer>;
  /**
   * Stores a session at the end of its request, and answers the headers that its response must carry; undefined if the
   * request has not used the session. Until `confirm` is called, `discard` can reinstate a retired session.
   */
  commit(session: object): MaybePromise<Headers | undefined>;
  /** Notes that the response carries the headers that `commit` has answered. */
  confirm(session: object): void;
  /** Notes that nothing more can reach the client. */
  close(session: object): void;
  /** Waits for the calls that are under way. */
  idle(session: object): MaybePromise<void>;
  /** Drops the changes that a failed handler has recorded and not stored. */
  dropRecorded(session: object): void;
  /** Ends a request that failed: nothing is stored. A retired session is reinstated if no response carries its new id. */
  discard(session: object): Promise<void> | undefined;
}

/** The key of a manager's internals. */
export const MANAGER: unique symbol = Symbol.for("with-session.SessionManager.1");
