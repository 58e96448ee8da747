import { isBusy, isLocked, isMistake, isSessionError, SessionError, storeTimedOut, validAnswer } from "./errors.ts";
import type { SessionHappening } from "./events.ts";
import { isPromise, type MaybePromise } from "./maybe_promise.ts";
import { inTime } from "./runtime.ts";
import { ENDING, isDeletion, isRecordOrNull, isVersion, LOADING, STORING } from "./store_answers.ts";
import type { RecordVersion, SessionStore, StoredRecord, StoreTraits, Write } from "./store.ts";
import { isObject } from "./kind_of.ts";

/**
 * The first wait before a retry, in milliseconds. The wait doubles with each retry, so that the retries reach beyond
 * one second: Workers KV accepts one write of a key per second.
 */
const FIRST_RETRY = 100;

/**
 * The first wait where another writer holds the lock of the engine, in milliseconds: about the duration of one write. A
 * longer wait is unfair, because the processes that are not waiting go on writing.
 */
const FIRST_RETRY_LOCKED = 2;

/** One call of the store. */
interface Call<T> {
  /** The name of the call, for error messages. */
  readonly action: string;
  readonly start: () => MaybePromise<T>;
  readonly isValid: (answer: unknown) => boolean;
  /** What the call writes. A busy store does not get a touch again: the next request can store it. */
  readonly write?: Write;
}

/**
 * A client of an untrusted store for one operation: one load, one commit, or one attempt to undo a commit. All calls share one time limit.
 * The client retries if the store is busy, checks each answer, and hides errors of the engine's client, whose messages may
 * hold keys and data. The time limit is measured on the real clock, because a store that hangs does so in real time.
 */
export class StoreClient implements SessionStore {
  readonly traits: StoreTraits;
  readonly #store: SessionStore;
  readonly #seconds: number;
  #aborter: AbortController | undefined;
  /** When the attempt under way began; undefined until the clock is needed. Calls that answer at once do not need it. */
  #begunAt: number | undefined;
  #endAt = Infinity;
  #conflicts = 0;

  constructor(store: SessionStore, seconds: number) {
    this.#store = store;
    this.#seconds = seconds;
    this.traits = store.traits;
  }

  load(key: string): MaybePromise<StoredRecord | null> {
    const store = this.#store;
    return this.#call({
      action: LOADING,
      start: () => store.load(key, this.#signalFor(store.load, 1)),
      isValid: isRecordOrNull,
    });
  }

  save(key: string, write: Write): MaybePromise<RecordVersion | "conflict"> {
    const store = this.#store;
    return this.#call({
      action: STORING,
      start: () => store.save(key, write, this.#signalFor(store.save, 2)),
      isValid: isVersion,
      write,
    });
  }

  delete(key: string, expected?: RecordVersion): MaybePromise<void | "conflict"> {
    const store = this.#store;
    return this.#call({
      action: ENDING,
      start: () => store.delete(key, expected, this.#signalFor(store.delete, 2)),
      isValid: isDeletion,
    });
  }

  /**
   * Waits for a random time before the next attempt after a conflict, so that two writers do not collide again. The
   * longest wait is the duration of the attempt times the number of earlier conflicts, and at most a quarter of the
   * remaining time. So there is no wait after the first conflict. `bench/README.md` has the other ways that were measured.
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

  /** The signal for a method of the store; undefined if the method takes only the arguments before it. */
  #signalFor(method: { readonly length: number }, before: number): AbortSignal | undefined {
    return method.length > before ? (this.#aborter ??= new AbortController()).signal : undefined;
  }

  #begin(): number {
    if (this.#begunAt === undefined) {
      this.#begunAt = performance.now();
      this.#endAt = this.#begunAt + this.#seconds * 1000;
    }
    return this.#begunAt;
  }

  #call<T>(call: Call<T>, retry?: number): MaybePromise<T> {
    let answer: MaybePromise<T>;
    try {
      answer = call.start();
    } catch (error) {
      return this.#recover(error, call, retry);
    }
    return isPromise(answer) ? this.#inTime(answer, call, retry) : validAnswer(call.action, answer, call.isValid);
  }

  /** The checked answer, or an error when the time is up. */
  #inTime<T>(answer: Promise<T>, call: Call<T>, retry?: number): Promise<T> {
    this.#begin();
    const expire = (): SessionError => {
      this.#aborter?.abort();
      return storeTimedOut(call.action, this.#seconds);
    };
    return inTime(Promise.resolve(answer), this.#endAt - performance.now(), expire).then(
      (found) => validAnswer(call.action, found, call.isValid),
      (error: unknown) => this.#recover(error, call, retry),
    );
  }

  /** Tries again if the store is only busy, as long as there is time. */
  #recover<T>(
    error: unknown,
    call: Call<T>,
    retry = isLocked(error) ? FIRST_RETRY_LOCKED : FIRST_RETRY,
  ): MaybePromise<T> {
    const milliseconds = retry * (1 + Math.random());
    this.#begin();
    if (!isBusy(error) || isTouch(call.write) || performance.now() + milliseconds >= this.#endAt)
      throw cleanError(call.action, error);
    return wait(milliseconds).then(() => this.#call(call, retry * 2));
  }
}

/** Whether a write changes no field. A write that ends a session does not change one either, but it leaves no field. */
function isTouch(write: Write | undefined): boolean {
  return write !== undefined && write.changed.size === 0 && write.record.fields.size > 0;
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** The errors of the engine's client. Only the event `failed` carries them. */
const engineErrors: WeakMap<SessionError, unknown> = new WeakMap();

/**
 * Reports a failure to the listeners of an operation, or of a session if none has begun. The event has the error that the
 * engine's client threw, for a log that nobody else reads.
 */
export function reportFailure(
  scope: { emit(event: SessionHappening): void },
  during: "load" | "store",
  error: SessionError,
): void {
  const detail = engineErrors.get(error);
  scope.emit({ type: "failed", during, error, ...(detail === undefined ? {} : { detail }) });
}

/**
 * Converts an error of the engine's client into one that holds no key and no data. A `SessionError` and a mistake of
 * the program stay as they are.
 */
export function cleanError(action: string, error: unknown): SessionError | TypeError {
  if (isSessionError(error) || isMistake(error)) return error;
  const words = describe(error);
  const cleaned = new SessionError(
    "ERR_STORE",
    `Cannot ${action}: the store failed${words === "" ? "" : ` (${words})`}; the event "failed" has the engine's own error`,
    words === "" ? undefined : { cause: new Error(words) },
  );
  engineErrors.set(cleaned, error);
  return cleaned;
}

/** The first words of error replies in the RESP protocol. Any other word in capitals may be data. */
const REPLY =
  /^(?:ERR|NOAUTH|WRONGPASS|NOPERM|DENIED|OOM|MISCONF|READONLY|LOADING|BUSY|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|MOVED|ASK|TRYAGAIN|CROSSSLOT|WRONGTYPE|NOSCRIPT|EXECABORT|NOPROTO)(?= )/;

/**
 * The parts of a client's error that cannot hold data: its class, its code, and the first word of a reply such as `NOAUTH …`.
 */
function describe(error: unknown): string {
  try {
    if (!isObject(error)) return "";
    const code = "code" in error ? String(error.code) : "";
    const reply = "message" in error ? (REPLY.exec(String(error.message))?.[0] ?? "") : "";
    const words = [error.constructor.name, code, reply].filter((word) => /^\w{1,40}$/.test(word));
    return [...new Set(words)].join(" ");
  } catch {
    // The error cannot be read. It may be a proxy that throws.
    return "";
  }
}
