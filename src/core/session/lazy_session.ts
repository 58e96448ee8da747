import type { ActiveInternals } from "./active_internals.ts";
import type { SessionSource } from "./active_session.ts";

/** Makes the state of a session. */
export type Activate = (session: object, source: SessionSource) => ActiveInternals;

/** The session of one request, before and after its first use. A request that never uses its session makes no state. */
export class LazySession {
  /** The state of the session; undefined if the session was not used. */
  active: ActiveInternals | undefined;
  /** Whether the response was sent. */
  isClosed = false;
  /** Whether a handler of `withSession` or Hono has answered. Then `sessions.start(request)` gives this session to its stream. */
  isAnswered = false;
  readonly #session: object;
  readonly #source: SessionSource;
  readonly #activate: Activate;

  constructor(session: object, source: SessionSource, activate: Activate) {
    this.#session = session;
    this.#source = source;
    this.#activate = activate;
  }

  /** Answers the state of the session, and makes it with the first use. */
  activate(): ActiveInternals {
    if (this.active === undefined) {
      this.active = this.#activate(this.#session, this.#source);
      this.active.isSent = this.isClosed;
    }
    return this.active;
  }

  /** Notes that the response was sent, even if the session has not been used yet. */
  close(): void {
    this.isClosed = true;
    if (this.active !== undefined) this.active.isSent = true;
  }

  /** Notes that the client gets the new id, so that the old session is not put back any more. */
  confirmNewId(): void {
    if (this.active !== undefined) this.active.retired = undefined;
  }
}
