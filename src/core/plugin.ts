/**
 * The seam for capabilities that see every load and commit. A plugin keeps its facts in the record's metadata under `+name`, which
 * `clear()` and `all()` do not touch.
 *
 * @module
 */
import type { Codec } from "./codec.ts";
import type { RejectReason, SessionHappening } from "./events.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import type { Found, Operation, Repository } from "./repository.ts";
import type { AnySession } from "./session.ts";
import type { Transport } from "./transport.ts";

/** The parts of its manager that a plugin may need. */
export interface PluginHost {
  /** The repository, with all plugins around it. */
  readonly repository: Repository;
  /** How the manager encodes one value. */
  readonly codec: Codec;
  /** The transports, in the order in which they are asked. */
  readonly transports: readonly Transport[];
  /** The option `store`, to tell whether two managers share it. */
  readonly store: unknown;
  /** The idle timeout, in seconds. */
  readonly idleTimeout: number;
  /** The name of the cookie or header, if it does not depend on the request. */
  readonly name: string;
  /** The manager's clock, in epoch milliseconds. */
  now(): number;
  /** The context of a load or commit without a request. Its time limit begins now. */
  operation(runtimeArguments: readonly unknown[]): MaybePromise<Operation>;
  /** Reports an event. */
  emit(event: SessionHappening): void;
}

/** A capability. All members except the name are optional; at least one of them must be present. */
export interface Plugin {
  /** A name that no other plugin of the manager has. */
  readonly name: string;
  /**
   * Called once, when a manager is made with this plugin.
   *
   * @throws {TypeError} If the plugin cannot work with the options of the manager
   */
  attach?(host: PluginHost): void;
  /**
   * Wraps the repository; called once for a manager, before `attach`. The first plugin is the innermost. An optional member
   * that the result leaves out is that of `next`.
   */
  wrap?(next: Repository): Repository;
  /** Called on each load: returns a reason to reject the session that was found, or undefined to accept it. */
  admit?(found: Found, op: Operation): MaybePromise<RejectReason | undefined>;
  /** Adds headers to a response, after the session was stored. Called for each request whose session was used. */
  respond?(headers: Headers, op: Operation): MaybePromise<void>;
  /** Answers a request in place of the handler, such as one to the plugin's path; undefined lets the handler answer. Called for each request. */
  answer?(request: Request, session: AnySession, ...rest: unknown[]): MaybePromise<Response | undefined>;
}
