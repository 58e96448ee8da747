/**
 * A value, or a promise of it. A store in memory answers at once, which saves a promise, a timer and a turn of the event loop.
 */
export type MaybePromise<T> = T | Promise<T>;

/**
 * Whether a value is a promise, or another object with a method `then`. The class does not count, because the promise
 * may come from another realm. A value of the program may have no other method, and its `then` may return nothing:
 * `Promise.resolve` makes a promise of it.
 */
export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return typeof value === "object" && value !== null && typeof (value as Partial<Promise<T>>).then === "function";
}

/** Passes a value to `next`: at once, or when its promise is fulfilled. */
export function chain<T, Next>(value: MaybePromise<T>, next: (value: T) => MaybePromise<Next>): MaybePromise<Next> {
  return isPromise(value) ? Promise.resolve(value).then(next) : next(value);
}

/**
 * Runs `attempt`, and passes its value to `next` or its error to `recover`, like `then` of a promise: an error of `next` is not
 * recovered. It makes one promise, where `recovering` and `chain` make two.
 */
export function settling<T, Next>(
  attempt: () => MaybePromise<T>,
  next: (value: T) => MaybePromise<Next>,
  recover: (error: unknown) => MaybePromise<Next>,
): MaybePromise<Next> {
  let value: MaybePromise<T>;
  try {
    value = attempt();
  } catch (error) {
    return recover(error);
  }
  return isPromise(value) ? Promise.resolve(value).then(next, recover) : next(value);
}

/** Runs `attempt`. If it throws or rejects, `recover` gets the error. */
export function recovering<T>(
  attempt: () => MaybePromise<T>,
  recover: (error: unknown) => MaybePromise<T>,
): MaybePromise<T> {
  return settling(attempt, same, recover);
}

function same<T>(value: T): T {
  return value;
}
