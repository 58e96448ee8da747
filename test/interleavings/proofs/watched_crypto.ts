import { quiet } from "../../setup/processes.ts";

const METHODS = ["sign", "verify", "digest", "importKey", "exportKey", "encrypt", "decrypt", "deriveBits"] as const;

/** What WebCrypto is while a program is played. */
export interface WatchedCrypto {
  /** Waits until the only work left waits for a store, for another request or for a time limit. */
  settle(): Promise<void>;
  giveBack(): void;
}

/**
 * Makes WebCrypto do one call after the other. It works in other threads: `quiet` does not wait for it, and two calls would end in any order.
 */
export function watchCrypto(): WatchedCrypto {
  const { subtle } = crypto;
  let pending = 0;
  let last: Promise<unknown> = Promise.resolve();
  for (const name of METHODS) {
    const real: unknown = Reflect.get(subtle, name);
    const inTurn = (...args: unknown[]): Promise<unknown> => {
      pending++;
      const call = last.then(() => Reflect.apply(real as () => Promise<unknown>, subtle, args));
      last = call.then(
        () => pending--,
        () => pending--,
      );
      return call;
    };
    Object.defineProperty(subtle, name, { value: inTurn, configurable: true });
  }
  return {
    settle: () => quiet(() => pending > 0),
    giveBack() {
      for (const name of METHODS) Reflect.deleteProperty(subtle, name);
    },
  };
}
