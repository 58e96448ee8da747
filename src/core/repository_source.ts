import type { MaybePromise } from "./maybe_promise.ts";
import type { Repository } from "./repository.ts";
import type { SessionStore } from "./store.ts";

/**
 * What stands in the option `store` in place of a store: it brings its own repository. `cookieSessions()` is one.
 */
export interface RepositorySource {
  /** Tells a source from a store, also one of another copy of this package. */
  readonly repositorySource: true;
  /** Over how many cookies a token may be split. */
  readonly chunks: number;
  /**
   * The store in which it is noted that sessions were ended or regenerated, or a function that gives one, as the option
   * `store` is. Operations carry it as `op.store`. Undefined if there is none.
   */
  readonly revocation: SessionStore | ((...rest: never[]) => MaybePromise<SessionStore>) | undefined;
  /** Makes the repository of one manager. */
  createRepository(settings?: RepositorySettings): Repository;
}

/** What the manager's option `rotateEvery` asks of a repository. */
export interface RepositorySettings {
  /** Whether ids are renewed by age. @default false */
  readonly rotates?: boolean;
  /** Whether a session ends when its retired id is presented although the client has used the new one. @default false */
  readonly endsOnReuse?: boolean;
}

/** Whether the option `store` brings its own repository: whether it has the shape of a source. */
export function isRepositorySource(value: unknown): value is RepositorySource {
  return typeof value === "object" && value !== null && "repositorySource" in value && value.repositorySource === true;
}
