import type { SessionStore } from "../../core/store.ts";

/** A store under test, with what some cases need beside it. A bare `SessionStore` can be given as well. */
export interface OpenedStore {
  /** The store. It may hold records already: every case uses fresh random keys. */
  readonly store: SessionStore;
  /** A second store on the same engine under another prefix. Without it, the case about prefixes checks nothing. */
  readonly neighbour?: SessionStore;
  /** Makes the engine fail from now on. Without it, the case about failures checks nothing. */
  readonly fail?: () => void | Promise<void>;
  /** How many calls the engine has received so far. Without it, the case about the size limit does not check that nothing was sent. */
  readonly calls?: () => number;
  /** Puts something under the key that this store has not written. Without it, the case about foreign values checks nothing. */
  readonly spoil?: (key: string) => void | Promise<void>;
  /** Called at the end of every case, also of one that failed. */
  readonly close?: () => void | Promise<void>;
}

/** What a case does: it rejects with an `Error` if the store does not do what the case's name says. */
export type Check = (store: SessionStore, opened: OpenedStore) => Promise<void>;
