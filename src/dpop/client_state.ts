// The types of Node have no `CryptoKey`, so the keys are typed by the function that returns them.

/** A key pair of the platform, for ECDSA on P-256. */
export interface DpopKeyPair {
  /** The key that signs proofs. It should not be extractable: then a script in the page can use it but not read it. */
  readonly privateKey: Awaited<ReturnType<typeof crypto.subtle.importKey>>;
  /** The key that each proof carries as a JWK (RFC 9449, section 4.2). It must be extractable. */
  readonly publicKey: Awaited<ReturnType<typeof crypto.subtle.importKey>>;
}

/** The state that a client keeps between requests. The server rejects the id without a proof of the key. */
export interface DpopState {
  /** The key pair to which the server binds the session. */
  readonly keys: DpopKeyPair;
  /** The session id as the server sent it, or null. */
  readonly id: string | null;
}

/** Where a client keeps its state. */
export interface DpopStorage {
  /**
   * The state that was saved last, or undefined. The client calls it before each request, so that several pages share
   * one session.
   */
  load(): Promise<DpopState | undefined>;
  /** Keeps a state; undefined removes it. */
  save(state: DpopState | undefined): Promise<void>;
}

/** Keeps the state as long as the process runs. */
export function memoryStorage(): DpopStorage {
  let state: DpopState | undefined;
  return {
    load: () => Promise.resolve(state),
    save(next) {
      state = next;
      return Promise.resolve();
    },
  };
}
