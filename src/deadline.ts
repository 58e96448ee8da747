import { BusyError, SessionError } from "./errors.ts";

/**
 * The time that a store may take for one load or one commit, retries included. It is measured on the real
 * clock, not on the `now` of the options: a store that hangs, hangs in real time.
 */
export class Deadline {
  readonly #seconds: number;
  readonly #end: number;
  /** When the attempt under way began. */
  #begun: number = performance.now();
  #conflicts = 0;

  constructor(seconds: number) {
    this.#seconds = seconds;
    this.#end = this.#begun + seconds * 1000;
  }

  /**
   * Puts in order what a failure left behind: within the same time once more, and in a few attempts, for the store
   * that failed may fail again. So the task must be safe to repeat.
   */
  async repair<T>(task: (deadline: Deadline) => Promise<T>): Promise<T> {
    const deadline = new Deadline(this.#seconds);
    for (let attempt = 1; ; attempt++) {
      try {
        return await task(deadline);
      } catch (error) {
        if (attempt === MOST_REPAIRS) throw error;
        await deadline.pause();
      }
    }
  }

  /**
   * Waits for one call of the store.
   *
   * @param interval After how many milliseconds, and then twice as many, to try again if the store is too busy; never, if absent
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`, or what the store itself threw as a `SessionError`
   */
  async call<T>(action: string, start: () => Promise<T>, interval: number = Infinity): Promise<T> {
    try {
      // Some clients send a command anew each time somebody waits for its answer: a promise of our own waits once. A store
      // may also answer with something that is no promise, which is for the caller to refuse.
      const answer = Promise.resolve(start());
      let isSettled = false;
      const settled = (): void => {
        isSettled = true;
      };
      answer.then(settled, settled);
      // One in memory has its answer at hand: a timer would cost more than the answer.
      for (let turn = 0; turn < 3 && !isSettled; turn++) await TURN;
      return await (isSettled ? answer : this.#inTime(action, answer));
    } catch (error) {
      const milliseconds = interval * (1 + Math.random());
      if (!(error instanceof BusyError) || performance.now() + milliseconds >= this.#end)
        throw withoutSecret(action, error);
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
      return await this.call(action, start, interval * 2);
    }
  }

  /** Waits for one write, and repeats it as long as the store is too busy to take it: a `BusyError` comes when the time is over. */
  insist<T>(action: string, start: () => Promise<T>): Promise<T> {
    return this.call(action, start, FIRST_INTERVAL);
  }

  #inTime<T>(action: string, answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const expire = (): void => {
        reject(new SessionError("ERR_STORE_TIMEOUT", `Cannot ${action}: the store did not answer in time`));
      };
      const timer = setTimeout(expire, Math.min(LONGEST_TIMER, Math.max(0, this.#end - performance.now())));
      const inTime =
        <Answer>(settle: (answer: Answer) => void) =>
        (answered: Answer): void => {
          clearTimeout(timer);
          settle(answered);
        };
      answer.then(inTime(resolve), inTime(reject));
    });
  }

  /**
   * Waits before the next attempt after a conflict: for a random time, so that writers who met once do not meet again.
   * The longest is twice what the attempt took, times the square of the conflicts so far: a store that is far away or has
   * much to do needs longer, and two who met are soon done. It is never more than a quarter of what is left, so that whoever
   * has waited longest comes soonest.
   * `bench/README.md` has what else was tried.
   *
   * @throws {SessionError} `ERR_CONFLICT` when there is no time left for another attempt
   */
  async pause(): Promise<void> {
    const now = performance.now();
    const attempt = now - this.#begun;
    const left = this.#end - now - attempt;
    if (left <= 0) {
      throw new SessionError("ERR_CONFLICT", "Cannot store the session: other requests kept changing it");
    }
    this.#conflicts++;
    const longest = Math.min(left / 4, 2 * attempt * this.#conflicts ** 2);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * longest));
    this.#begun = performance.now();
  }
}

/** Enough to get past a connection that broke; an outage is not waited for. */
const MOST_REPAIRS = 3;

/** In milliseconds: a timer that is to wait for longer fires at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** In milliseconds. With the next ones it reaches past the second in which Workers KV takes one write of a key. */
const FIRST_INTERVAL = 100;

const TURN: Promise<void> = Promise.resolve();

/**
 * Waits for what a client of the store does. Whatever it throws comes out as a `SessionError`, without the
 * client's message and cause: those may hold the command, and with it the key and the data.
 *
 * @throws {SessionError} `ERR_STORE`, or what the store itself threw as a `SessionError`
 */
export async function withoutSecrets<T>(action: string, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    throw withoutSecret(action, error);
  }
}

function withoutSecret(action: string, error: unknown): SessionError {
  if (error instanceof SessionError) return error;
  return new SessionError("ERR_STORE", `Cannot ${action}: the store failed`, { cause: nameOnly(error) });
}

/** Of a client's error, only what cannot hold data: its class and a system code such as ECONNREFUSED. */
function nameOnly(error: unknown): Error | undefined {
  if (!(error instanceof Error)) return undefined;
  try {
    const code = "code" in error ? String(error.code) : "";
    const words = [error.constructor.name, code].filter((word) => /^\w{1,40}$/.test(word));
    return new Error(words.join(" "));
  } catch {
    // It fails to be looked at, with an error that may hold just as much.
    return undefined;
  }
}
