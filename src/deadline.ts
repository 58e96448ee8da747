import { SessionError } from "./errors.ts";

/**
 * The time that a store may take for one load or one commit, retries included. It is measured on the real
 * clock, not on the `now` of the options: a store that hangs, hangs in real time.
 */
export class Deadline {
  readonly #seconds: number;
  readonly #end: number;
  #attempts = 0;

  constructor(seconds: number) {
    this.#seconds = seconds;
    this.#end = performance.now() + seconds * 1000;
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
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`, or what the store itself threw as a `SessionError`
   */
  async call<T>(action: string, start: () => Promise<T>): Promise<T> {
    try {
      const answer = start();
      return (await isPrompt(answer)) ? await answer : await this.#inTime(action, answer);
    } catch (error) {
      throw withoutSecret(action, error);
    }
  }

  async #inTime<T>(action: string, answer: Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const expired = new Promise<never>((_, reject) => {
      const error = () =>
        reject(new SessionError("ERR_STORE_TIMEOUT", `Cannot ${action}: the store did not answer in time`));
      timer = setTimeout(error, Math.max(0, this.#end - performance.now()));
    });
    try {
      return await Promise.race([answer, expired]);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Waits before the next attempt after a conflict: not at all before the first, then for a random time that
   * grows, so that writers who met once do not meet again.
   *
   * @throws {SessionError} `ERR_CONFLICT` when the time is over
   */
  async pause(): Promise<void> {
    const longest = Math.min(LONGEST_PAUSE, 2 ** this.#attempts++ - 1);
    const milliseconds = Math.random() * longest;
    if (performance.now() + milliseconds >= this.#end) {
      throw new SessionError("ERR_CONFLICT", "Cannot store the session: other requests kept changing it");
    }
    if (milliseconds > 0) await new Promise((resolve) => setTimeout(resolve, milliseconds));
  }
}

/** Enough to get past a connection that broke; an outage is not waited for. */
const MOST_REPAIRS = 3;

/** Whether a store has its answer at hand, as one in memory has: a timer would cost more than the answer. */
async function isPrompt(answer: Promise<unknown>): Promise<boolean> {
  let isSettled = false;
  const settled = (): void => {
    isSettled = true;
  };
  // A store may answer with something that is no promise, which is for the caller to refuse.
  Promise.resolve(answer).then(settled, settled);
  for (let turn = 0; turn < 3 && !isSettled; turn++) await TURN;
  return isSettled;
}

const TURN: Promise<void> = Promise.resolve();

/** In milliseconds: long beside one round trip, short beside the five seconds of the default deadline. */
const LONGEST_PAUSE = 400;

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
  const code = "code" in error ? String(error.code) : "";
  const words = [error.constructor.name, code].filter((word) => /^\w{1,40}$/.test(word));
  return new Error(words.join(" "));
}
