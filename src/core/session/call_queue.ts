import { isPromise, type MaybePromise } from "../maybe_promise.ts";
import { inTime } from "../runtime.ts";

/** Keeps the calls that are under way for one session in one request, and decides which of them may run now. */
export class CallQueue {
  readonly #seconds: number;
  #last: Promise<void> | undefined;
  #isRunning = false;
  /** The calls that are under way; undefined before the first one. */
  #underWay: Set<Promise<unknown>> | undefined;

  /** `seconds` is how long a call waits for a function of `update` to return. */
  constructor(seconds: number) {
    this.#seconds = seconds;
  }

  /** Whether a call of {@linkcode exclusively} is running. */
  get isBusy(): boolean {
    return this.#isRunning || this.#last !== undefined;
  }

  /**
   * Runs one call after the other.
   *
   * @param computing The key of an `update` whose function has not returned. That
   * function may wait for this very call: a deadlock
   */
  exclusively<T>(task: () => MaybePromise<T>, computing?: string): MaybePromise<T> {
    // A function of `update` may call the session. That call waits until the function has returned.
    if (this.#isRunning) return Promise.resolve().then(() => this.exclusively(task, computing));
    const before = this.#last;
    const result = before === undefined ? this.#run(task) : this.#inTime(before, computing).then(() => this.#run(task));
    if (isPromise(result)) this.#noteLast(result);
    return result;
  }

  /** Lets the next call wait for this one. */
  #noteLast(call: Promise<unknown>): void {
    const done = (): void => {
      if (this.#last === settled) this.#last = undefined;
    };
    const settled: Promise<void> = call.then(done, done);
    this.#last = settled;
  }

  #run<T>(task: () => MaybePromise<T>): MaybePromise<T> {
    this.#isRunning = true;
    try {
      return task();
    } finally {
      this.#isRunning = false;
    }
  }

  #inTime(call: Promise<void>, computing: string | undefined): Promise<void> {
    if (computing === undefined) return call;
    const name = `update(${JSON.stringify(computing)})`;
    const message = `Cannot use the session: the function of ${name} does not return; it must not wait for a call of the same session`;
    return inTime(call, this.#seconds * 1000, () => new TypeError(message));
  }

  /** Notes a call until it has ended, so that the end of the request waits for it. */
  note(call: Promise<unknown>): void {
    const end = this.#add(call);
    call.then(end, end);
  }

  /**
   * Notes a call as {@linkcode note} does, and returns a promise with the same result. Only the program awaits that one: if it
   * does not, the runtime reports an error as an unhandled rejection.
   */
  track<T>(call: Promise<T>): Promise<T> {
    const end = this.#add(call);
    return call.then(
      (result) => {
        end();
        return result;
      },
      (error: unknown) => {
        end();
        throw error;
      },
    );
  }

  /** Adds a call that is under way. Returns the function that removes it. */
  #add(call: Promise<unknown>): () => void {
    const underWay = (this.#underWay ??= new Set());
    underWay.add(call);
    return () => void underWay.delete(call);
  }

  /**
   * Waits for the calls that are under way. It does not wait for those that begin meanwhile: two tasks that call the session all the
   * time would hold back the response for ever.
   */
  done(): MaybePromise<void> {
    if (this.#underWay === undefined || this.#underWay.size === 0) return undefined;
    return Promise.allSettled(this.#underWay).then(() => {});
  }
}
