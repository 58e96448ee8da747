import type { SessionStore } from "../../core/store.ts";

/** A store under test, with functions that some cases need. A bare `SessionStore` can be given as well. */
export interface OpenedStore {
  /** The store. It may hold records already: every case uses fresh random keys. */
  readonly store: SessionStore;
  /** A second store on the same engine under another prefix. Without it, the case about prefixes checks nothing. */
  readonly neighbour?: SessionStore;
  /** Makes the engine fail from now on. Without it, the case about failures checks nothing. */
  readonly fail?: () => void | Promise<void>;
  /** How many calls the engine has received so far. Without it, the case about the size limit does not check that nothing was sent. */
  readonly calls?: () => number;
  /**
   * Writes a value under the key that this store has not written. Without it, the case about foreign values checks
   * nothing.
   */
  readonly spoil?: (key: string) => void | Promise<void>;
  /** Called at the end of every case, also if the case failed. */
  readonly close?: () => void | Promise<void>;
}

/** The check of a case. It rejects with an `Error` if the store does not do what the case's name says. */
export type Check = (store: SessionStore, opened: OpenedStore) => Promise<void>;
