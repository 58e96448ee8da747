import { checked, isBusy, isMistake, isSessionError, SessionError } from "./errors.ts";
import { isPromise, type MaybePromise } from "./maybe_promise.ts";
import { ENDING, isDeletion, isRecordOrNull, isVersion, LOADING, STORING } from "./store_answers.ts";
import type { RecordVersion, SessionStore, StoredRecord, StoreTraits, Write } from "./store.ts";

/** In milliseconds. With the doubled ones that follow, it reaches past the second in which Workers KV accepts one write of a key. */
const FIRST_RETRY = 100;
/** In milliseconds: a timer for longer fires at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * A store that is not trusted, for one operation: one load or one commit, repairs included. It has one time limit, tries a busy store
 * again, checks each answer, and hides the client's errors, whose messages may hold keys and data. The limit is measured on the
 * real clock: a store that hangs, hangs in real time.
 */
export class StoreClient implements SessionStore {
  readonly traits: StoreTraits;
  readonly #store: SessionStore;
  readonly #seconds: number;
  #aborter: AbortController | undefined;
  /** When the attempt under way began; undefined while every answer came at once. */
  #begunAt: number | undefined;
  #endAt = Infinity;
  #conflicts = 0;

  constructor(store: SessionStore, seconds: number) {
    this.#store = store;
    this.#seconds = seconds;
    this.traits = store.traits;
  }

  load(key: string): MaybePromise<StoredRecord | null> {
    const { load } = this.#store;
    const start = () => (load.length > 1 ? load.call(this.#store, key, this.#signal) : load.call(this.#store, key));
    return this.#call(LOADING, start, isRecordOrNull);
  }

  save(key: string, write: Write): MaybePromise<RecordVersion | "conflict"> {
    const { save } = this.#store;
    const start = () =>
      save.length > 2 ? save.call(this.#store, key, write, this.#signal) : save.call(this.#store, key, write);
    return this.#call(STORING, start, isVersion, write);
  }

  delete(key: string, expected?: RecordVersion): MaybePromise<void | "conflict"> {
    const store = this.#store;
    const start = () =>
      store.delete.length > 2 ? store.delete(key, expected, this.#signal) : store.delete(key, expected);
    return this.#call(ENDING, start, isDeletion);
  }

  /**
   * Waits before the next attempt after a conflict, for a random time, so that writers who met once do not meet again. The longest wait is
   * what the attempt took, times the conflicts before this one, and never more than a quarter of what is left: the first time there is no
   * wait. `bench/README.md` has what else was measured.
   *
   * @throws {SessionError} `ERR_CONFLICT` when no time is left for another attempt
   */
  async backOff(): Promise<void> {
    const begunAt = this.#begin();
    const now = performance.now();
    const attempt = now - begunAt;
    const left = this.#endAt - now - attempt;
    if (left <= 0) {
      throw new SessionError(
        "ERR_CONFLICT",
        "Cannot store the session: other requests kept changing it; try the request again",
      );
    }
    const earlier = this.#conflicts++;
    if (earlier > 0) await wait(Math.random() * Math.min(left / 4, attempt * earlier));
    this.#begunAt = performance.now();
  }

  get #signal(): AbortSignal {
    return (this.#aborter ??= new AbortController()).signal;
  }

  #begin(): number {
    if (this.#begunAt === undefined) {
      this.#begunAt = performance.now();
      this.#endAt = this.#begunAt + this.#seconds * 1000;
    }
    return this.#begunAt;
  }

  #call<T>(
    action: string,
    start: () => MaybePromise<T>,
    isValid: (answer: unknown) => boolean,
    write?: Write,
    retry = FIRST_RETRY,
  ): MaybePromise<T> {
    let answer: MaybePromise<T>;
    try {
      answer = start();
    } catch (error) {
      return this.#recover(action, error, start, isValid, retry, write);
    }
    if (!isPromise(answer)) return checked(action, answer, isValid);
    this.#begin();
    return this.#inTime(action, answer, start, isValid, retry, write);
  }

  #inTime<T>(
    action: string,
    answer: Promise<T>,
    start: () => MaybePromise<T>,
    isValid: (answer: unknown) => boolean,
    retry: number,
    write: Write | undefined,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const expire = (): void => {
        reject(
          new SessionError(
            "ERR_STORE_TIMEOUT",
            `Cannot ${action}: the store did not answer within ${this.#seconds} s; is it reachable?`,
          ),
        );
        this.#aborter?.abort();
      };
      const timer = setTimeout(expire, Math.min(LONGEST_TIMER, Math.max(0, this.#endAt - performance.now())));
      answer.then(
        (value) => {
          clearTimeout(timer);
          try {
            resolve(checked(action, value, isValid));
          } catch (error) {
            reject(error);
          }
        },
        (error: unknown) => {
          clearTimeout(timer);
          try {
            resolve(this.#recover(action, error, start, isValid, retry, write));
          } catch (failure) {
            reject(failure);
          }
        },
      );
    });
  }

  /** Tries again if the store is only busy, as long as there is time. */
  #recover<T>(
    action: string,
    error: unknown,
    start: () => MaybePromise<T>,
    isValid: (answer: unknown) => boolean,
    retry: number,
    write: Write | undefined,
  ): MaybePromise<T> {
    const milliseconds = retry * (1 + Math.random());
    this.#begin();
    // A touch may wait for the next request. What ends a session changes no field either.
    const isTouch = write?.changed.size === 0 && write.record.fields.size > 0;
    if (!isBusy(error) || isTouch || performance.now() + milliseconds >= this.#endAt) throw cleanError(action, error);
    return wait(milliseconds).then(() => this.#call(action, start, isValid, write, retry * 2));
  }
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** The engine's own errors, for the event `failed` alone. */
const engineErrors: WeakMap<SessionError, unknown> = new WeakMap();

/** What the engine's client threw, for a log that nobody else reads. */
export function engineErrorOf(error: SessionError): unknown {
  return engineErrors.get(error);
}

/** A client's error as one that holds no key and no data. A `SessionError` and a mistake of the program stay as they are. */
export function cleanError(action: string, error: unknown): SessionError | TypeError {
  if (isSessionError(error) || isMistake(error)) return error;
  const words = describe(error);
  const cleaned = new SessionError(
    "ERR_STORE",
    `Cannot ${action}: the store failed${words === "" ? "" : ` (${words})`}; the event "failed" has the details`,
    words === "" ? undefined : { cause: new Error(words) },
  );
  engineErrors.set(cleaned, error);
  return cleaned;
}

/** Of a client's error, only what cannot hold data: its class, its code, and the first word of a reply such as `NOAUTH …`. */
function describe(error: unknown): string {
  try {
    if (typeof error !== "object" || error === null) return "";
    const code = "code" in error ? String(error.code) : "";
    const reply = "message" in error ? (/^([A-Z]{3,16})(?= )/.exec(String(error.message))?.[1] ?? "") : "";
    const words = [error.constructor.name, code, reply].filter((word) => /^\w{1,40}$/.test(word));
    return [...new Set(words)].join(" ");
  } catch {
    // The error is a proxy that refuses to be read, say.
    return "";
  }
}
