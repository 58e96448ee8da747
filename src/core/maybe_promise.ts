/**
 * A value, or a promise of it. A store in memory answers at once, and no promise, timer or extra turn of the event loop is spent then.
 */
export type MaybePromise<T> = T | Promise<T>;

/**
 * Whether a value is a promise, of this realm or another one, or something like it. What counts is its `then`, not its class. What a program gives
 * may have nothing but `then`, and `then` may answer nothing: `Promise.resolve` makes a promise of it.
 */
export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return typeof value === "object" && value !== null && typeof (value as Partial<Promise<T>>).then === "function";
}

/** Passes a value to `next`: now if it is there, otherwise when it comes. */
export function chain<T, Next>(value: MaybePromise<T>, next: (value: T) => MaybePromise<Next>): MaybePromise<Next> {
  return isPromise(value) ? Promise.resolve(value).then(next) : next(value);
}

/** Runs `attempt`. A failure goes to `recover`, whether it comes now or later. */
export function recovering<T>(
  attempt: () => MaybePromise<T>,
  recover: (error: unknown) => MaybePromise<T>,
): MaybePromise<T> {
  try {
    const value = attempt();
    return isPromise(value) ? Promise.resolve(value).catch(recover) : value;
  } catch (error) {
    return recover(error);
  }
}
