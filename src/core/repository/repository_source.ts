import type { CookieSplitting } from "../cookie_transport/cookie_splitting.ts";
import type { MaybePromise } from "../maybe_promise.ts";
import type { RecordCodec } from "../record_codec.ts";
import type { Repository } from "../repository.ts";
import type { SessionStore } from "../store.ts";
import type { TokenFormat } from "../token_format.ts";
import { isObject } from "../kind_of.ts";

/** A value of the option `store` that is not a store, but brings its own repository. `cookieSessions()` is one. */
export interface RepositorySource {
  /** Marks a source. It is recognised even if another copy of this package made it. */
  readonly repositorySource: true;
  /** How a token is split over several cookies. @default One cookie */
  readonly splitting?: CookieSplitting | undefined;
  /**
   * The store that records which sessions were ended or regenerated, or a function that returns one, as in the option
   * `store`. Operations carry it as `op.store`. Without revocation, it is a store that holds nothing.
   */
  readonly revocation: SessionStore | ((...rest: never[]) => MaybePromise<SessionStore>);
  /**
   * Makes the repository of one manager.
   *
   * @throws {TypeError} If it cannot serve an option of the manager
   */
  createRepository(settings: RepositorySettings): Repository;
}

/** What the options of the manager ask of a repository. */
export interface RepositorySettings {
  /** How an id becomes a token; undefined without the option. */
  readonly ids: TokenFormat | undefined;
  /** How the fields are stored; undefined without the option. */
  readonly encryption: RecordCodec | undefined;
  /** The clock, in epoch milliseconds. */
  readonly now: () => number;
  /** Whether ids are renewed by age. */
  readonly rotates: boolean;
  /** Whether a session ends when a client presents its retired id although the new one was used. */
  readonly endsOnReuse: boolean;
}

/** Whether a value of the option `store` brings its own repository. It is recognised by its shape. */
export function isRepositorySource(value: unknown): value is RepositorySource {
  return isObject(value) && value.repositorySource === true;
}
